import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.options import EXAMPLE, IngestOptions, Source
from protein_robust.ingest.sources import check_sources, identify_source, read_source

TABLE = b"sequence,family\nMK,F1\n"
STOCKHOLM = b"# STOCKHOLM 1.0\n#=GF AC   F1\nrow/1-2   MK\n//\n"


def names(path: Path, **options: str) -> list[str]:
    batches = read_source(Source(path), IngestOptions(**options))  # type: ignore[arg-type]
    return [record.sequence_name for batch, _ in batches for record in batch]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", TABLE, "a:1"),
        ("a.CSV", TABLE, "a:1"),
        ("a.csv.gz", gzip.compress(TABLE), "a:1"),
        ("a.tsv", TABLE.replace(b",", b"\t"), "a:1"),
        ("Pfam-A.seed", STOCKHOLM, "row/1-2"),
        ("Pfam-A.seed.gz", gzip.compress(STOCKHOLM), "row/1-2"),
        ("a.txt", STOCKHOLM, "row/1-2"),
    ],
)
def test_the_format_is_found(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert names(tmp_path / name) == [expected]


@pytest.mark.parametrize("name", ["a.parquet", "a.data"])
def test_parquet_is_found_by_name_or_content(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"sequence": ["MK"], "family": ["F1"]}), tmp_path / name)
    assert names(tmp_path / name) == ["a:1"]


def test_a_format_that_is_asked_for_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TABLE)
    assert names(tmp_path / "a.txt", format="table") == ["a:1"]
    with pytest.raises(InputError, match=r"a\.txt:1: Expected '# STOCKHOLM 1\.0', got 'sequence"):
        names(tmp_path / "a.txt", format="stockholm")


def test_a_stockholm_name_without_its_first_line_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_bytes(STOCKHOLM[16:])
    with pytest.raises(InputError, match=r"a\.seed:1: Expected '# STOCKHOLM 1\.0', got '#=GF"):
        names(tmp_path / "a.seed")


def test_an_unknown_format_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_bytes(b">x\nMK\n")
    with pytest.raises(InputError, match=r"a file that begins with b'>x\\nMK\\n'"):
        names(tmp_path / "a.fasta")


def test_a_truncated_gzip_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.seed.gz").write_bytes(gzip.compress(STOCKHOLM)[:-9])
    with pytest.raises(InputError, match="Expected a whole gzip file, got a damaged one"):
        names(tmp_path / "a.seed.gz")


def test_a_reader_can_be_left_half_way(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE + b"ML,F1\n" * 20_000)
    batches = read_source(Source(tmp_path / "a.csv"), IngestOptions())
    assert len(next(batches)[0]) == 10_000
    batches.close()  # type: ignore[attr-defined]  # must not raise


def test_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one source, got none"):
        check_sources([], tmp_path)


def test_the_example_is_not_mixed_with_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'example' as the only source, got 2 sources"):
        check_sources([Source(EXAMPLE), Source("a.csv")], tmp_path)


def test_a_source_inside_the_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    with pytest.raises(InputError, match=r"a source outside the output folder .*, got one inside"):
        check_sources([Source(tmp_path / "a.csv")], tmp_path)


def test_a_file_called_example_is_no_example(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected an existing file, got none"):
        check_sources([Source("./example")], tmp_path)


def test_a_source_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert identify_source(Source(tmp_path / "a", "dev")) == {
        "path": str(tmp_path / "a"),
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "num_bytes": 3,
        "split": "valid",
    }
