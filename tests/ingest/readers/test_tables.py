import csv
import gzip
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.readers import cells, lines
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.readers.tables import (
    TableColumns,
    looks_like_table,
    read_parquet_table,
    read_text_table,
)
from protein_robust.ingest.records import UNLABELLED, BadRecords, Block, FamilyFacts

FULL = "sequence_name,sequence,family_accession,family_id,clan,split\na,MK,F1,one,C1,dev\n"
ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


class Row(NamedTuple):
    name: str
    letters: bytes
    family: str
    line: int


class Pipe(io.BytesIO):
    """Bytes that cannot be read twice."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def blocks(text: str | bytes, bad: BadRecords | None = None, **columns: str) -> list[Block]:
    content = text.encode() if isinstance(text, str) else text
    chosen = TableColumns(**columns)
    found = read_text_table(Pipe(content), "dir/my.csv", columns=chosen, bad=bad or BadRecords())
    return list(found)


def rows_of(found: Sequence[Block]) -> list[Row]:
    return [
        Row(*row)
        for block in found
        for row in zip(block.names, block.letters, block.families, block.lines, strict=True)
    ]


def rows(text: str | bytes, bad: BadRecords | None = None, **columns: str) -> list[Row]:
    return rows_of(blocks(text, bad, **columns))


def skipped(text: str | bytes, **columns: str) -> tuple[list[Row], list[tuple[int | None, str]]]:
    """The good rows, and lines and reasons of the bad ones."""
    bad = BadRecords("skip")
    return rows(text, bad, **columns), [(entry.line, entry.reason) for entry in bad.skipped]


def parquet(table: pa.Table, bad: BadRecords | None = None) -> list[Row]:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    stream = io.BytesIO(buffer.getvalue())
    return rows_of(list(read_parquet_table(stream, "my.parquet", bad=bad or BadRecords())))


def test_all_recognised_columns_are_read() -> None:
    text = (
        "sequence_name,sequence,family_accession,family_id,clan,split,family_type,description,"
        "sequence_accession\na,MK,F1,one,C1,dev,Domain,some text,A1.2\nb,ML,F1,,,test,,,\n"
    )
    assert blocks(text) == [
        Block(
            path="dir/my.csv",
            lines=[2, 3],
            names=["a", "b"],
            letters=[b"MK", b"ML"],
            families=["F1", "F1"],
            sequence_accessions=["A1.2", None],
            splits=["dev", "test"],
            facts={"F1": FamilyFacts("one", "some text", "Domain", "C1")},
        )
    ]


def test_a_table_of_two_columns_says_nothing_else() -> None:
    (block,) = blocks("family,sequence\nF1,MK\n")
    assert (block.sequence_accessions, block.splits, block.facts) == (None, None, {})
    assert not block.is_aligned
    assert not block.is_whole


def test_the_random_split_layout_gives_aligned_rows() -> None:
    (block,) = blocks(
        "family_id,sequence_name,family_accession,aligned_sequence,sequence\n"
        "one,a/1-3,PF1.2,M-k.V,MKV\n"
    )
    assert rows_of([block]) == [Row("a/1-3", b"M-k.V", "PF1.2", 2)]
    assert block.is_aligned
    assert block.facts == {"PF1.2": FamilyFacts("one")}


def test_an_aligned_sequence_of_other_residues_is_a_bad_row() -> None:
    text = "family,aligned_sequence,sequence\nF1,M-K,MK\nF1,M-K,MV\nF1,M-V,MV\n"
    with pytest.raises(InputError, match=r"my\.csv:3: .* aligned sequence without gaps, got other"):
        rows(text)
    good, reasons = skipped(text)
    assert [row.line for row in good] == [2, 4]
    assert [line for line, _ in reasons] == [3]


@pytest.mark.parametrize(
    ("column", "letters", "is_aligned"),
    [("sequence", b"MK", False), ("aligned_sequence", b"M-K", True), ("other", b"WW", False)],
)
def test_a_sequence_column_that_is_named_stands_alone(
    column: str, letters: bytes, is_aligned: bool
) -> None:
    text = "family,aligned_sequence,sequence,other\nF1,M-K,MK,WW\n"
    (block,) = blocks(text, sequence=column)
    assert (block.letters, block.is_aligned) == ([letters], is_aligned)


def test_names_are_made_from_the_file_and_the_row() -> None:
    # The blank line counts as a line, not as a row.
    read = rows("family,sequence\nF1,MK\n\nF2,ML\n")
    assert [(row.name, row.line) for row in read] == [("my:1", 2), ("my:2", 4)]


def test_names_from_standard_input_say_so() -> None:
    stream = Pipe(b"family,sequence\nF1,MK\n")
    (block,) = read_text_table(stream, "-", bad=BadRecords())
    assert block.names == ["stdin:1"]


def test_tabs_quotes_marks_and_windows_ends_are_read() -> None:
    read = rows('\ufefflabel\tsequence\r\n"F 1"\tMK\r\n')
    assert read == [Row("my:1", b"MK", "F 1", 2)]


def test_quoted_cells_may_hold_line_ends_and_lines_stay_right() -> None:
    text = 'family,name,sequence\nF1,"one\r\n""two"", three",MK\nF2,x,ML\n'
    assert rows(text) == [
        Row('one\r\n"two", three', b"MK", "F1", 2),
        Row("x", b"ML", "F2", 4),
    ]


def test_named_columns_win_over_recognised_ones() -> None:
    text = "sequence,family,x,y,z,w\nMK,F1,AC,G1,n,test\n"
    (block,) = blocks(text, sequence="x", family="y", name="z", split="w")
    assert rows_of([block]) == [Row("n", b"AC", "G1", 2)]
    assert block.splits == ["test"]


def test_an_unknown_family_is_unlabelled() -> None:
    text = "family,sequence,clan\nF1,MK,\n?,ML,C1\n"
    (block,) = blocks(text, unknown="?")
    assert block.families == ["F1", UNLABELLED]
    assert UNLABELLED not in block.facts
    assert rows("family,sequence\n,MK\n", unknown="")[0].family == UNLABELLED


def test_a_gzip_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "my.csv.gz"
    path.write_bytes(gzip.compress(FULL.encode()))
    with open_source(path) as opened:
        assert len(list(read_text_table(opened.stream, str(path), bad=BadRecords()))) == 1


def test_many_rows_come_in_blocks() -> None:
    found = blocks("family,sequence\n" + "F1,MK\n" * 10_000)
    assert sum(len(block.names) for block in found) == 10_000
    assert max(len(block.names) for block in found) < 10_000


def test_a_long_protein_is_read_with_and_without_quotes() -> None:
    long = "M" * 200_000  # csv's own bound is 131,072 letters
    bound = csv.field_size_limit()
    assert [len(row.letters) for row in rows(f'family,sequence\nF,{long}\nF,"{long}"\n')] == [
        200_000,
        200_000,
    ]
    assert csv.field_size_limit() == bound


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "family,residues\nF1,MK\n",
            r"^dir/my.csv: Expected a sequence column \('sequence'\), got columns 'family', 're",
        ),
        ("sequence\nMK\n", r"\('family_accession' or 'family' or 'label'\), got columns 'seq"),
        ("sequence,family,family\nMK,F,F\n", "Expected one column 'family', got columns 'seq"),
        ("\n\n", r"Expected a sequence column .*, got no columns"),
        ("\ufeff", r"Expected a sequence column .*, got no columns"),
        ("", r"Expected a sequence column .*, got no columns"),
        ("sequence,family\n", "Expected rows below the header, got none"),
        ("sequence,family\n\n\n", "Expected rows below the header, got none"),
        ('sequence,"family\nMK,F1\n', "my.csv:1: Expected names of columns, got unexpected end"),
        (b"sequence,family\xff\n", "my.csv:1: Expected a table in UTF-8 text, got byte 0xff"),
        ("sequence,family\n".encode("utf-16"), "my.csv:1: .* UTF-8 text, got byte 0xff"),
        (b"\x00\x01\x02\x80" * 30, "my.csv:1: Expected a table in UTF-8 text, got byte 0x80"),
    ],
)
def test_a_table_without_a_usable_header_is_refused_whatever_the_policy(
    text: str | bytes, message: str
) -> None:
    for policy in ("error", "skip"):
        with pytest.raises(InputError, match=message):
            rows(text, BadRecords(policy))


BAD_ROWS = {
    "blank family": ("MK, ,", "Expected a family, got an empty cell"),
    "no family": ("MK,,", "Expected a family, got an empty cell"),
    "more cells": ("MK,F1,,x", "Expected 3 cells, as in the header, got 4"),
    "fewer cells": ("MK", "Expected 3 cells, as in the header, got 1"),
    "a quote without end": ('"MK,F1,', "Expected cells of a CSV or TSV table, got ',' expected"),
    "a lone return": ("MK\rF1,,", "Expected cells of a CSV or TSV table, got new-line character"),
    "another encoding": (b"MK,F\xfc,", "Expected a table in UTF-8 text, got byte 0xfc"),
    "a wrong split": ("MK,F1,fold", "Expected a split, one of train, .*, got 'fold'"),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_refused_or_passed_over(row: str | bytes, message: str) -> None:
    bad_row = row.encode() if isinstance(row, str) else row
    text = b"sequence,family,split\nMA,F1,dev\n" + bad_row + b'\n"MC",F1,test\nMD,F1,\n'
    with pytest.raises(InputError, match=rf"^dir/my\.csv:3: {message}"):
        rows(text)
    good, reasons = skipped(text)
    assert [(row.letters, row.line) for row in good] == [(b"MA", 2), (b"MC", 4), (b"MD", 5)]
    assert [line for line, _ in reasons] == [3]


def test_a_quote_that_never_ends_costs_one_row() -> None:
    good, reasons = skipped('sequence,family\n"MK,F1\n' + "ML,F1\n" * 5)
    assert [row.line for row in good] == [3, 4, 5, 6, 7]
    assert reasons == [(2, "Expected cells of a CSV or TSV table, got unexpected end of data.")]


def test_a_family_of_two_clans_is_a_bad_row() -> None:
    text = "sequence,family,clan\nMK,F1,C1\nML,F1,\nMV,F1,C2\n"
    with pytest.raises(InputError, match=r"4: Expected one clan for family F1 \('C1' before\), go"):
        rows(text)


def test_facts_of_later_rows_complete_those_before() -> None:
    (block,) = blocks("sequence,family,clan,family_id\nMK,F1,,one\nML,F1,C1,\nMV,F1,C1,one\n")
    assert block.facts == {"F1": FamilyFacts("one", clan="C1")}


def test_a_line_that_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(cells, "MAX_LINE_BYTES", 100)
    with pytest.raises(InputError, match=r"my\.csv:2: Expected lines of at most 100 bytes, got a"):
        rows("sequence,family\n" + "M" * 101 + ",F1\n", BadRecords("skip"))
    good, reasons = skipped('sequence,family\n"' + "MK,F1\n" * 30)
    assert len(good) == 29
    assert reasons == [(2, "Expected cells of a CSV or TSV table, got a row of more than 100 byte"
                           "s.")]  # fmt: skip


def test_rows_before_a_damage_of_the_file_are_not_lost() -> None:
    class Damaged(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            if not line:
                raise EOFError("the end is missing")
            return line

    reader = read_text_table(Damaged(FULL.encode()), "a", bad=BadRecords("skip"))
    assert next(reader).names == ["a"]
    with pytest.raises(EOFError, match="the end is missing"):
        next(reader)


@pytest.mark.parametrize("role", ["sequence", "family", "name", "split"])
def test_a_named_column_must_be_there(role: str) -> None:
    with pytest.raises(InputError, match=rf"Expected a {role} column \('q'\), got columns 'seq"):
        rows(FULL, None, **{role: "q"})


def test_parquet_rows_are_numbered_and_whole_numbers_are_families() -> None:
    table = pa.table({"label": [7, 8], "sequence": ["MK", "ML"], "other": [0.5, 0.5]})
    assert parquet(table) == [Row("my:1", b"MK", "7", 1), Row("my:2", b"ML", "8", 2)]


def test_parquet_from_a_stream_that_cannot_seek_is_read() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"label": ["F"], "sequence": ["MK"]}), buffer)
    found = list(read_parquet_table(Pipe(buffer.getvalue()), "-", bad=BadRecords()))
    assert rows_of(found) == [Row("stdin:1", b"MK", "F", 1)]


@pytest.mark.parametrize(
    "families",
    [
        pa.array(["F1", "F1"]).dictionary_encode(),
        pa.array(["F1", "F1"], pa.large_string()),
        pa.array([b"F1", b"F1"], pa.binary()),
    ],
    ids=["dictionary", "large", "binary"],
)
def test_parquet_text_of_any_type_is_text(families: pa.Array) -> None:
    table = pa.table({"family": families, "sequence": ["A", "C"]})
    assert [row.family for row in parquet(table)] == ["F1", "F1"]


def test_a_missing_parquet_family_is_reported() -> None:
    table = pa.table({"family": ["F1", None], "sequence": ["MK", "ML"]})
    with pytest.raises(InputError, match=r"my.parquet:2: Expected a family, got an empty cell"):
        parquet(table)


def test_a_parquet_column_of_another_type_is_refused() -> None:
    table = pa.table({"family": [0.5], "sequence": ["MK"]})
    with pytest.raises(InputError, match="whole numbers in column 'family', got double"):
        parquet(table)


def test_parquet_text_that_is_not_utf8_is_a_bad_row() -> None:
    text = pa.array([b"MK", b"M\xff"]).view(pa.string())
    table = pa.table({"sequence": text, "family": ["F1", "F1"]})
    with pytest.raises(InputError, match=r"my\.parquet:2: Expected .* UTF-8 text, got byte 0xff"):
        parquet(table)
    assert len(parquet(table, BadRecords("skip"))) == 1


def test_a_parquet_file_without_rows_is_refused() -> None:
    table = pa.table({"sequence": pa.array([], pa.string()), "family": pa.array([], pa.string())})
    with pytest.raises(InputError, match="Expected rows below the header, got none"):
        parquet(table)


def test_what_is_no_parquet_file_is_refused() -> None:
    content = io.BytesIO(b"PAR1" + b"x" * 50)
    with pytest.raises(InputError, match=r"my\.parquet: Expected a Parquet file, got "):
        list(read_parquet_table(content, "my.parquet", bad=BadRecords()))


def test_a_damaged_parquet_file_is_refused() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"family": ["F1"] * 50, "sequence": ["MKV"] * 50}), buffer)
    content = bytearray(buffer.getvalue())
    content[4:40] = b"\xff" * 36
    with pytest.raises(InputError, match=r"my\.parquet: Expected a Parquet file, got "):
        list(read_parquet_table(io.BytesIO(bytes(content)), "my.parquet", bad=BadRecords()))


@pytest.mark.parametrize(
    ("head", "is_table"),
    [
        (b"family_id,sequence_name,family_accession,aligned_sequence,sequence\nx", True),
        (b"\xef\xbb\xbflabel\tsequence\r\n", True),
        (b'"family","sequence"', True),
        (b"family,residues\n", False),
        (b"sequence,name\n", False),
        (b">a family,sequence\n", False),
        (b"# STOCKHOLM 1.0\n", False),
        (b"", False),
        (b"\n", False),
        (b'family,"sequence\n', False),
        (b"\xff\xfef\x00a\x00", False),
    ],
)
def test_tables_are_known_by_their_header(head: bytes, is_table: bool) -> None:
    assert looks_like_table(head) == is_table


CELL = st.text('ab \t\r\n",;é\x00\x85\u2028', max_size=6)


@given(
    st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8),
    st.sampled_from([",", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_csv_writes_is_read_as_csv_reads_it(
    table: list[tuple[str, str, str]], delimiter: str, end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("sequence", "family", "name"), *table])
    found = rows(text.getvalue(), BadRecords("skip"), unknown="")
    expected = [
        (name.strip() or f"my:{number}", sequence.strip().encode(), family.strip())
        for number, (sequence, family, name) in enumerate(table, start=1)
    ]
    assert [row[:3] for row in found] == expected


@given(
    st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "MK,F", '""', "é"]), max_size=30).map(
        "".join
    )
)
def test_lines_are_cut_as_csv_cuts_them(body: str) -> None:
    text = "sequence,family\n" + body
    try:
        expected = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    except csv.Error:
        return  # one broken row is the end for `csv`
    bad = BadRecords("skip")
    table = cells.open_text_table(Pipe(text.encode()), "a", bad=bad)
    found = [list(row) for _, row in table.rows([0, 1])]
    assert found == [row for row in expected if len(row) == 2]
    assert len(bad.skipped) == sum(bool(row) for row in expected) - len(found)


@settings(max_examples=300)
@given(st.binary(max_size=120), st.sampled_from(["error", "skip"]))
def test_any_bytes_give_rows_or_a_clear_error(content: bytes, policy: str) -> None:
    for head in (b"", b"sequence,family,split\n", b'sequence\tfamily\n"'):
        bad = BadRecords(policy)
        try:
            found = rows(head + content, bad)
        except InputError:
            continue
        assert found or bad.skipped


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_of_a_parquet_file_gives_rows_or_a_clear_error(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"family": ["F1", "F2"], "sequence": ["MK", "ML"]}), buffer)
    content = bytearray(buffer.getvalue())
    start = data.draw(st.integers(0, len(content) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=16))
    content[start : start + len(damage)] = damage
    bad = BadRecords("skip")
    try:
        found = list(read_parquet_table(io.BytesIO(bytes(content)), "a", bad=bad))
    except InputError as error:
        assert str(error).startswith("a: Expected ")  # noqa: PT017
        return
    assert found or bad.skipped


@pytest.mark.parametrize(
    ("name", "num_rows", "num_families"),
    [("validation_100", 1_611, 100), ("test_1", 11_565, 100)],
)
def test_real_tables_are_read_whole(name: str, num_rows: int, num_families: int) -> None:
    path = DATA / "pfam" / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    with path.open("rb") as stream:
        found = rows_of(list(read_text_table(stream, str(path), bad=BadRecords())))
    with path.open(newline="") as file:
        expected = [(row["family_accession"], row["sequence"]) for row in csv.DictReader(file)]
    assert [(row.family, row.letters.decode()) for row in found] == expected
    assert len(found) == num_rows
    assert len({row.family for row in found}) == num_families
