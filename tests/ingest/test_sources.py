import gzip
import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.options import EXAMPLE, STDIN, IngestOptions, Source
from protein_robust.ingest.readers.headers import NO_LABELS, header_rule
from protein_robust.ingest.records import BadRecords, Block
from protein_robust.ingest.sources import (
    Reading,
    check_sources,
    expand_sources,
    identify_source,
    read_source,
)

TABLE = b"sequence,family\nMK,F1\n"
STOCKHOLM = b"# STOCKHOLM 1.0\n#=GF AC   F1\nrow/1-2   MK\n//\n"
FASTA = b">x one\nMK\n"


def blocks(path: str | Path, **options: Any) -> list[Block]:
    reading = Reading(IngestOptions(**options), NO_LABELS, BadRecords())
    return [block for block, _ in read_source(Source(path), reading, identity={})]


def names(path: str | Path, **options: Any) -> list[str]:
    return [name for block in blocks(path, **options) for name in block.names]


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", TABLE, "a:1"),
        ("a.CSV", TABLE, "a:1"),
        ("a.csv.gz", gzip.compress(TABLE), "a:1"),
        ("a.csv.zst", zstd(TABLE), "a:1"),
        ("a.tsv", TABLE.replace(b",", b"\t"), "a:1"),
        ("a.txt", TABLE, "a:1"),
        ("train-00001-of-00002", TABLE, "train-00001-of-00002:1"),
        ("Pfam-A.seed", STOCKHOLM, "row/1-2"),
        ("Pfam-A.seed.gz", gzip.compress(STOCKHOLM), "row/1-2"),
        ("a.txt", STOCKHOLM, "row/1-2"),
        ("a.csv", STOCKHOLM, "row/1-2"),
        ("a.fasta", FASTA, "x"),
        ("a.FA.gz", gzip.compress(FASTA), "x"),
        ("a.txt", FASTA, "x"),
        ("a", b"\n" + FASTA, "x"),
    ],
)
def test_the_format_is_found(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert names(tmp_path / name) == [expected]


@pytest.mark.parametrize("name", ["a.parquet", "a.data", "a.seed"])
def test_parquet_is_found_by_name_or_content(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"sequence": ["MK"], "family": ["F1"]}), tmp_path / name)
    assert names(tmp_path / name) == ["a:1"]


def test_a_format_that_is_asked_for_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TABLE)
    assert names(tmp_path / "a.txt", format="table") == ["a:1"]
    with pytest.raises(InputError, match=r"a\.txt:1: Expected '# STOCKHOLM 1\.0', got 'sequence"):
        names(tmp_path / "a.txt", format="stockholm")
    with pytest.raises(InputError, match=r"a\.txt:1: Expected '>' before the first sequence"):
        names(tmp_path / "a.txt", format="fasta")


def test_a_stockholm_name_without_its_first_line_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_bytes(STOCKHOLM[16:])
    with pytest.raises(InputError, match=r"a\.seed:1: Expected '# STOCKHOLM 1\.0', got '#=GF"):
        names(tmp_path / "a.seed")


def test_an_unknown_format_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello\nMK\n")
    message = r"a\.txt: Expected a table \(.*\), a Stockholm or a FASTA file, or the `format` to "
    with pytest.raises(
        InputError, match=message + r"be given, got a file that .* b'hello\\nMK\\n'"
    ):
        names(tmp_path / "a.txt")


def test_a_truncated_gzip_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.seed.gz").write_bytes(gzip.compress(STOCKHOLM)[:-9])
    with pytest.raises(InputError, match="Expected a whole gzip file, got a damaged one"):
        names(tmp_path / "a.seed.gz")


def test_columns_are_those_of_the_options(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("s,f,n,p\nMK,F1,x,dev\nML,?,y,test\n")
    (block,) = blocks(
        tmp_path / "a.csv",
        format="table",
        sequence_column="s",
        family_column="f",
        name_column="n",
        split_column="p",
        unknown="?",
    )
    assert (block.names, block.families) == (["x", "y"], ["F1", ""])
    assert list(block.splits or []) == ["dev", "test"]


def test_fasta_headers_are_read_by_the_rule(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(b">P1 Membrane-M test\nMK\n")
    reading = Reading(IngestOptions(), header_rule(preset="deeploc"), BadRecords())
    ((block, _),) = read_source(Source(tmp_path / "a.fa"), reading, identity={})
    assert (list(block.families), list(block.splits or [])) == (["M"], ["test"])


def test_a_reader_can_be_left_half_way(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE + b"ML,F1\n" * 20_000)
    reading = Reading(IngestOptions(), NO_LABELS, BadRecords())
    found = read_source(Source(tmp_path / "a.csv"), reading, identity={})
    assert len(next(found)[0].names) < 20_000
    found.close()  # type: ignore[attr-defined]  # must not raise


def test_positions_rise_to_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE + b"ML,F1\n" * 20_000)
    reading = Reading(IngestOptions(), NO_LABELS, BadRecords())
    positions = [at for _, at in read_source(Source(tmp_path / "a.csv"), reading, identity={})]
    assert positions == sorted(positions)
    assert positions[-1] == (tmp_path / "a.csv").stat().st_size


def test_standard_input_is_identified_once_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Standard:
        buffer = io.BytesIO(gzip.compress(STOCKHOLM))

    content = Standard.buffer.getvalue()
    monkeypatch.setattr("sys.stdin", Standard)
    identity = identify_source(Source(STDIN))
    assert identity == {"path": "-", "sha256": "", "num_bytes": 0, "split": None}
    reading = Reading(IngestOptions(), NO_LABELS, BadRecords())
    ((block, _),) = read_source(Source(STDIN), reading, identity=identity)
    assert list(block.names) == ["row/1-2"]
    assert identity["sha256"] == hashlib.sha256(content).hexdigest()
    assert identity["num_bytes"] == len(content)


def test_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one source, got none"):
        check_sources([], tmp_path)


def test_the_example_is_not_mixed_with_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'example' as the only source, got 2 sources"):
        check_sources([Source(EXAMPLE), Source("a.csv")], tmp_path)


def test_standard_input_is_not_read_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"standard input \(-\) once, got it several times"):
        check_sources([Source(STDIN, "train"), Source(STDIN, "test")], tmp_path)
    check_sources([Source(STDIN)], tmp_path)


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


def test_a_folder_stands_for_its_shards(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        (tmp_path / "shards" / split).mkdir(parents=True)
        for number in range(2):
            name = f"data-{number:05d}-of-00002"
            (tmp_path / "shards" / split / name).write_bytes(TABLE)
    (tmp_path / "a.csv").write_bytes(TABLE)
    other = Source(tmp_path / "a.csv", "test")
    files = expand_sources([Source(tmp_path / "shards"), other])
    assert [(Path(file.path).name, file.split) for file in files] == [
        ("data-00000-of-00002", "train"),
        ("data-00001-of-00002", "train"),
        ("data-00000-of-00002", "valid"),
        ("data-00001-of-00002", "valid"),
        ("a.csv", "test"),
    ]
    forced = expand_sources([Source(tmp_path / "shards" / "train", "test")])
    assert [file.split for file in forced] == ["test", "test"]


def test_the_example_and_standard_input_are_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / EXAMPLE).mkdir()
    (tmp_path / STDIN).mkdir()
    sources = [Source(EXAMPLE), Source(STDIN)]
    assert expand_sources(sources) == sources
