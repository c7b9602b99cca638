import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.alphabet import RESIDUES
from protein_robust.errors import InputError
from protein_robust.ingest.records import BadRecords, Block, CleanBlock, clean_block, select_rows


def block_of(*letters: bytes, is_whole: bool = False) -> Block:
    return Block(
        path="a.csv",
        lines=range(7, 7 + len(letters)),
        names=[f"n{i}" for i in range(len(letters))],
        letters=letters,
        families=["PF1"] * len(letters),
        splits=[f"s{i}" for i in range(len(letters))],
        is_whole=is_whole,
    )


def clean(*letters: bytes) -> CleanBlock:
    cleaned = clean_block(block_of(*letters), BadRecords())
    assert cleaned is not None
    return cleaned


def test_clean_letters_pass_unchanged() -> None:
    cleaned = clean(b"ACDW")
    assert cleaned.sequences == [b"ACDW"]
    assert not +cleaned.letters


def test_lower_case_gaps_stops_and_rare_letters_are_counted() -> None:
    # 3 lower-case (a, x, b), 3 gaps, one final stop behind a gap, rare letters X, B and U.
    cleaned = clean(b"M.a-xbU*-", b"MK")
    assert cleaned.sequences == [b"MAXBU", b"MK"]
    assert +cleaned.letters == {"lower_case": 3, "gaps": 3, "stops": 1, "X": 1, "B": 1, "U": 1}


@pytest.mark.parametrize(
    ("raw", "letter", "position"),
    [
        (b"ACD1E", "'1'", 4),
        (b"A*CD", r"'\*'", 2),
        (b"ACD**", r"'\*'", 4),
        (b"A*C*", r"'\*'", 2),
        (b"AC D", "' '", 3),
        ("ACΩ".encode(), "'Ω'", 3),
        ("Aß1".encode(), "'ß'", 2),
        ("Aß1".encode("latin-1"), "'ß'", 2),
        (b"A\x00C", r"'\\x00'", 2),
        (b"-A?", r"'\?'", 3),
    ],
)
def test_an_illegal_letter_is_named_with_its_place(raw: bytes, letter: str, position: int) -> None:
    message = rf"^a\.csv:8: .*got {letter} at position {position} of"
    with pytest.raises(InputError, match=message):
        clean(b"MK", raw)


@pytest.mark.parametrize(
    ("raw", "shown"), [(b"", "no letter"), (b"*", r"'\*'"), (b"..-", r"'\.\.-'"), (b".*", "")]
)
def test_a_sequence_without_residues_is_refused(raw: bytes, shown: str) -> None:
    with pytest.raises(InputError, match=f"^a.csv:7: .*at least one residue, got {shown}"):
        clean(raw)


def test_bad_rows_are_skipped_and_listed_one_by_one() -> None:
    bad = BadRecords("skip")
    cleaned = clean_block(block_of(b"M1", b"MK", b"--", b"ML"), bad)
    assert cleaned is not None
    assert cleaned.sequences == [b"MK", b"ML"]
    assert list(cleaned.block.names) == ["n1", "n3"]
    assert list(cleaned.block.splits or []) == ["s1", "s3"]
    assert [(s.path, s.line, s.record, s.num_rows) for s in bad.skipped] == [
        ("a.csv", 7, "n0", 1),
        ("a.csv", 9, "n2", 1),
    ]
    assert bad.skipped[0].reason.startswith("Expected residue letters of")


def test_an_alignment_is_skipped_whole() -> None:
    bad = BadRecords("skip")
    assert clean_block(block_of(b"MK", b"M1", b"M2", is_whole=True), bad) is None
    assert [(s.line, s.record, s.num_rows) for s in bad.skipped] == [(8, "PF1", 3)]


def test_a_block_of_bad_rows_only_leaves_nothing() -> None:
    bad = BadRecords("skip")
    assert clean_block(block_of(b"1", b"2"), bad) is None
    assert len(bad.skipped) == 2


def test_rows_are_selected_in_all_columns() -> None:
    block = select_rows(block_of(b"A", b"C", b"D"), [2, 0])
    assert (list(block.letters), list(block.lines)) == ([b"D", b"A"], [9, 7])
    assert block.sequence_accessions is None


@given(st.lists(st.text(alphabet=RESIDUES + RESIDUES.lower() + ".-", min_size=1), min_size=1))
def test_cleaning_is_upper_case_without_gaps(rows: list[str]) -> None:
    expected = [re.sub(r"[.-]", "", row).upper().encode() for row in rows]
    block = block_of(*(row.encode() for row in rows))
    cleaned = clean_block(block, BadRecords("skip"))
    assert (cleaned.sequences if cleaned else []) == [row for row in expected if row]
    if all(expected):
        assert cleaned is not None
        joined = "".join(rows)
        assert cleaned.letters["gaps"] == joined.count(".") + joined.count("-")
        assert cleaned.letters["lower_case"] == sum(letter.islower() for letter in joined)
