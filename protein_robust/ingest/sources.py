"""Turn a `Source` into records: find its format, choose its reader, identify its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from protein_robust.errors import InputError
from protein_robust.ingest import lg, synthetic
from protein_robust.ingest.files import OpenSource, check_is_file, file_sha256, open_source
from protein_robust.ingest.options import EXAMPLE, IngestOptions, Source, normalize_split
from protein_robust.ingest.records import Record
from protein_robust.ingest.stockholm import read_stockholm
from protein_robust.ingest.tables import TableColumns, read_parquet_table, read_text_table

_BATCH_RECORDS = 10_000
_PARQUET_MAGIC = b"PAR1"
_STOCKHOLM_MAGIC = b"# STOCKHOLM"
_TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
_STOCKHOLM_SUFFIXES = (".seed", ".sto", ".stk", ".stockholm")


def read_source(source: Source, options: IngestOptions) -> Iterator[tuple[list[Record], int]]:
    """Yield the records of a source in batches.

    Args:
        source: the file, or the example.
        options: the format and the columns.

    Yields:
        Some thousand records, and how many bytes of the file have been read so far (0 for the
        example).

    Raises:
        InputError: if the file cannot be read, is of no known format, or is broken.
    """
    if source.is_example:
        yield from ((batch, 0) for batch in _batches(synthetic.synthetic_records()))
        return
    with open_source(source.path) as opened:
        for batch in _batches(_records(opened, str(source.path), options=options)):
            yield batch, opened.file.tell()


def identify_source(source: Source) -> dict[str, Any]:
    """Say which content a source has, for the manifest.

    The example is identified by the code that generates it.

    Args:
        source: the file, or the example.

    Returns:
        ``path``, ``sha256`` and ``num_bytes`` of the file as it is, ``split`` or None.

    Raises:
        InputError: if the file cannot be read, or the split is unknown.
    """
    split = None if source.split is None else normalize_split(source.split)
    if source.is_example:
        code = b"".join(Path(str(module.__file__)).read_bytes() for module in (lg, synthetic))
        sha256, num_bytes = hashlib.sha256(code).hexdigest(), len(code)
    else:
        sha256, num_bytes = file_sha256(source.path), Path(source.path).stat().st_size
    return {"path": str(source.path), "sha256": sha256, "num_bytes": num_bytes, "split": split}


def check_sources(sources: list[Source], output: str | Path) -> None:
    """Refuse sources that cannot be ingested together, before anything is read.

    Args:
        sources: all of them.
        output: the dataset folder to be.

    Raises:
        InputError: if there is none, one is no file with content, one stands inside ``output``,
            or the example is not alone.
    """
    if not sources:
        raise InputError("at least one source", "none")
    if len(sources) > 1 and any(source.is_example for source in sources):
        raise InputError(f"{EXAMPLE!r} as the only source", f"{len(sources)} sources")
    for source in sources:
        if not source.is_example:
            check_is_file(source.path)
            if Path(source.path).resolve().is_relative_to(Path(output).resolve()):
                expected = f"a source outside the output folder {output}"
                raise InputError(expected, "one inside it", path=source.path)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, _BATCH_RECORDS)):
        yield batch


def _records(opened: OpenSource, path: str, *, options: IngestOptions) -> Iterator[Record]:
    """The records of an open file, by the reader of its format."""
    if _find_format(opened, path, options=options) == "stockholm":
        return read_stockholm(opened.stream, path)
    columns = TableColumns(
        sequence=options.sequence_column,
        family=options.family_column,
        name=options.name_column,
        split=options.split_column,
    )
    if Path(path).suffix == ".parquet" or _head(opened).startswith(_PARQUET_MAGIC):
        return read_parquet_table(opened.stream, path, columns=columns)
    return read_text_table(opened.stream, path, columns=columns)


def _find_format(opened: OpenSource, path: str, *, options: IngestOptions) -> str:
    """``table`` or ``stockholm``: as asked, else from the first bytes, else from the name."""
    if options.format != "auto":
        return options.format
    head = _head(opened)
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if head.startswith(_STOCKHOLM_MAGIC):
        return "stockholm"
    if head.startswith(_PARQUET_MAGIC) or suffix in (*_TABLE_SUFFIXES, ".parquet"):
        return "table"
    if suffix in _STOCKHOLM_SUFFIXES:
        return "stockholm"
    expected = "a table (.csv, .tsv, .parquet) or a Stockholm file, or the `format` to be given"
    raise InputError(expected, f"a file that begins with {head[:40]!r}", path=path)


def _head(opened: OpenSource) -> bytes:
    """The first bytes, which stay to be read."""
    head = opened.stream.read(64)
    opened.stream.seek(0)
    return head
