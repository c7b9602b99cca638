import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.files import open_source
from protein_robust.ingest.records import Record
from protein_robust.ingest.tables import TableColumns, read_parquet_table, read_text_table

FULL = "sequence_name,sequence,family_accession,family_id,clan,split\na,MK,F1,one,C1,dev\n"


def rows(text: str | bytes, **columns: str) -> list[Record]:
    content = text.encode() if isinstance(text, str) else text
    chosen = TableColumns(**columns)
    return list(read_text_table(io.BytesIO(content), "dir/my.csv", columns=chosen))


def parquet(table: pa.Table) -> list[Record]:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return list(read_parquet_table(io.BytesIO(buffer.getvalue()), "my.parquet"))


def test_all_recognised_columns_are_read() -> None:
    assert rows(FULL) == [Record("a", "MK", "F1", "one", "C1", "dev", "dir/my.csv", 2)]


def test_names_are_made_from_the_file_and_the_row() -> None:
    # The blank line counts as a line, not as a row.
    read = rows("family,sequence\nF1,MK\n\nF2,ML\n")
    assert [(r.sequence_name, r.line) for r in read] == [("my:1", 2), ("my:2", 4)]


def test_tabs_quotes_marks_and_windows_ends_are_read() -> None:
    read = rows('\ufefflabel\tsequence\r\n"F 1"\tMK\r\n')
    assert [(r.family_accession, r.residues) for r in read] == [("F 1", "MK")]


def test_named_columns_win_over_recognised_ones() -> None:
    text = "sequence,family,x,y,z,w\nMK,F1,AC,G1,n,test\n"
    read = rows(text, sequence="x", family="y", name="z", split="w")
    assert read == [Record("n", "AC", "G1", None, None, "test", "dir/my.csv", 2)]


def test_a_gzip_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "my.csv.gz"
    path.write_bytes(gzip.compress(FULL.encode()))
    with open_source(path) as opened:
        assert len(list(read_text_table(opened.stream, str(path)))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "family,residues\nF1,MK\n",
            r"^dir/my.csv: Expected a sequence column \('sequence'\), got c",
        ),
        ("sequence\nMK\n", r"\('family_accession' or 'family' or 'label'\), got columns sequence"),
        ("sequence,family,family\nMK,F,F\n", "Expected one column 'family', got columns sequence"),
        ("\n\n", r"Expected a sequence column \('sequence'\), got no columns"),
        ("\ufeff", r"Expected a sequence column \('sequence'\), got no columns"),
        ("sequence,family\nMK, \n", "my.csv:2: Expected a family in column 'family', got an"),
        ("sequence,family\n", "Expected rows below the header, got none"),
        ("sequence,family\nMK,F1\nMK,\n", "my.csv:3: Expected a family in column 'family', got an"),
        ("sequence,family\nMK,F1,x\n", "my.csv:2: Expected 2 cells, as in the header, got 3"),
        ('sequence,family\n"MK,F1\n', r"my.csv:2: Expected cells of a CSV or TSV table, got unexp"),
        (
            b"sequence,family\nMK,\xff\xfe\n",
            "my.csv: Expected a table in UTF-8 text, got byte 0xff",
        ),
        (b"\x00\x01\x02\x80" * 30, "Expected a table in UTF-8 text, got byte 0x80"),
    ],
)
def test_a_broken_table_is_reported(text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows(text)


@pytest.mark.parametrize("role", ["sequence", "family", "name", "split"])
def test_a_named_column_must_be_there(role: str) -> None:
    with pytest.raises(InputError, match=rf"Expected a {role} column \('q'\), got columns seq"):
        rows(FULL, **{role: "q"})


def test_a_cell_without_end_is_reported() -> None:
    with pytest.raises(InputError, match="got field larger than field limit"):
        rows('sequence,family\n"' + "A" * 200_000)


def test_parquet_rows_are_numbered_and_whole_numbers_are_families() -> None:
    table = pa.table({"label": [7, 8], "sequence": ["MK", "ML"], "other": [0.5, 0.5]})
    read = parquet(table)
    assert [(r.family_accession, r.sequence_name, r.line) for r in read] == [
        ("7", "my:1", 1),
        ("8", "my:2", 2),
    ]


def test_parquet_dictionary_columns_are_text() -> None:
    families = pa.array(["F1", "F1"]).dictionary_encode()
    table = pa.table({"family": families, "sequence": ["A", "C"]})
    assert [r.family_accession for r in parquet(table)] == ["F1", "F1"]


def test_a_missing_parquet_family_is_reported() -> None:
    table = pa.table({"family": ["F1", None], "sequence": ["MK", "ML"]})
    with pytest.raises(InputError, match=r"my.parquet:2: Expected a family in column 'family'"):
        parquet(table)


def test_a_parquet_column_of_another_type_is_refused() -> None:
    table = pa.table({"family": [0.5], "sequence": ["MK"]})
    with pytest.raises(InputError, match="whole numbers in column 'family', got double"):
        parquet(table)


def test_parquet_text_that_is_not_utf8_is_reported() -> None:
    text = pa.array([b"M\xff"]).view(pa.string())
    with pytest.raises(InputError, match=r"Expected a Parquet file, got 'utf-8' codec can't"):
        parquet(pa.table({"sequence": text, "family": ["F1"]}))


def test_what_is_no_parquet_file_is_refused() -> None:
    with pytest.raises(InputError, match=r"my\.parquet: Expected a Parquet file, got "):
        list(read_parquet_table(io.BytesIO(b"PAR1" + b"x" * 50), "my.parquet"))
