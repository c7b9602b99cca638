import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.alphabet import RESIDUES
from protein_robust.errors import InputError
from protein_robust.ingest.records import LetterCounts, clean_sequence


def test_clean_letters_pass_unchanged() -> None:
    assert clean_sequence("ACDW") == ("ACDW", LetterCounts(0, 0, 0, ""))


def test_lower_case_gaps_stop_and_rare_letters_are_counted() -> None:
    # 3 lower-case (a, x, b), 3 gaps, one final stop behind a gap, rare letters X, B and U.
    assert clean_sequence("M.a-xbU*-") == ("MAXBU", LetterCounts(3, 3, 1, "XBU"))


@pytest.mark.parametrize(
    ("raw", "letter", "position"),
    [
        ("ACD1E", "'1'", 4),
        ("A*CD", r"'\*'", 2),
        ("ACD**", r"'\*'", 4),
        ("AC D", "' '", 3),
        ("ACΩ", "'Ω'", 3),
        ("Aß1", "'ß'", 2),
        ("A\x00C", r"'\\x00'", 2),
        ("-A?", r"'\?'", 3),
    ],
)
def test_an_illegal_letter_is_named_with_its_place(raw: str, letter: str, position: int) -> None:
    with pytest.raises(InputError, match=rf"^a\.csv:7: .*got {letter} at position {position} of"):
        clean_sequence(raw, path="a.csv", line=7)


@pytest.mark.parametrize(("raw", "shown"), [("", "no letter"), ("*", r"'\*'"), ("..-", r"'\.\.-'")])
def test_a_sequence_without_residues_is_refused(raw: str, shown: str) -> None:
    with pytest.raises(InputError, match=f"at least one residue, got {shown}"):
        clean_sequence(raw)


@given(st.text(alphabet=RESIDUES + RESIDUES.lower() + ".-", min_size=1))
def test_cleaning_is_upper_case_without_gaps(raw: str) -> None:
    expected = raw.upper().replace(".", "").replace("-", "")
    if expected:
        sequence, counts = clean_sequence(raw)
        assert sequence == expected
        assert len(sequence) + counts.gaps == len(raw)
        assert counts.lower_case == sum(letter.islower() for letter in raw)
