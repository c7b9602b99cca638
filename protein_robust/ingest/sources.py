"""Turn a `Source` into blocks of rows: find its format, choose its reader, identify its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from protein_robust.errors import InputError
from protein_robust.ingest.options import (
    EXAMPLE,
    STDIN,
    IngestOptions,
    Source,
    check_path,
    normalize_split,
)
from protein_robust.ingest.readers import lg, synthetic
from protein_robust.ingest.readers.fasta import read_fasta
from protein_robust.ingest.readers.files import OpenSource, check_is_file, file_sha256, open_source
from protein_robust.ingest.readers.headers import HeaderRule
from protein_robust.ingest.readers.shards import expand_folder
from protein_robust.ingest.readers.stockholm import read_stockholm
from protein_robust.ingest.readers.tables import (
    TableColumns,
    looks_like_table,
    read_parquet_table,
    read_text_table,
)
from protein_robust.ingest.records import BadRecords, Block, TruncatedError
from protein_robust.ingest.store import MANIFEST

_PARQUET_MAGIC = b"PAR1"
_STOCKHOLM_MAGIC = b"# STOCKHOLM"
_COMPRESSED = (".gz", ".zst")
_SUFFIXES = {
    "table": (".csv", ".tsv", ".tab", ".parquet"),
    "stockholm": (".seed", ".sto", ".stk", ".stockholm"),
    "fasta": (".fasta", ".fa", ".faa", ".fas"),
}


@dataclass(frozen=True)
class Reading:
    """How sources are read.

    Attributes:
        options: the format and the columns.
        rule: how FASTA headers are read.
        bad: what becomes of broken records.
        formats: those that were met so far.
    """

    options: IngestOptions
    rule: HeaderRule
    bad: BadRecords
    formats: set[str] = field(default_factory=set)


def read_source(
    source: Source, reading: Reading, *, identity: dict[str, Any]
) -> Iterator[tuple[Block, int]]:
    """Yield the rows of a source in blocks.

    Args:
        source: the file, or the example.
        reading: how.
        identity: what `identify_source` said; completed once standard input has been read.

    Yields:
        Some rows, and how many bytes of the file have been read so far (0 for the example).

    Raises:
        InputError: if the file cannot be read, is of no known format, or is broken.
    """
    if source.is_example:
        _require_plain(reading.options)
        yield from ((block, 0) for block in synthetic.synthetic_blocks())
        return
    try:
        with open_source(source.path) as opened:
            for block in _blocks(opened, str(source.path), reading):
                yield block, opened.position
            if opened.sha256 is not None:
                identity |= {"sha256": opened.sha256, "num_bytes": opened.position}
    except TruncatedError as error:
        reading.bad.refuse(error, num_rows=0)  # what came before the end is there


def expand_sources(sources: Sequence[Source]) -> list[Source]:
    """Put the files of a folder of shards in place of the folder.

    Args:
        sources: files and folders.

    Returns:
        Files only, in a fixed order.

    Raises:
        InputError: if a folder holds something else, or lacks a shard.
    """
    files: list[Source] = []
    for source in sources:
        if source.is_example or source.path == STDIN or not Path(source.path).is_dir():
            files.append(source)
            continue
        if Path(source.path, MANIFEST).is_file():
            actual = "a dataset folder, which is what `ingest` makes of files"
            raise InputError("files to ingest", actual, path=source.path)
        shards = expand_folder(Path(source.path))
        files += [replace(shard, split=source.split or shard.split) for shard in shards]
    return files


def identify_source(source: Source) -> dict[str, Any]:
    """Say which content a source has, for the manifest.

    The example is identified by the code that generates it, standard input once it has been read.

    Args:
        source: the file, or the example.

    Returns:
        ``path``, ``sha256`` and ``num_bytes`` of the file as it is, ``split`` or None.

    Raises:
        InputError: if the file cannot be read, its path is no UTF-8 text, or the split is unknown.
    """
    check_path(source.path)
    split = None if source.split is None else normalize_split(source.split)
    if source.is_example:
        code = b"".join(Path(str(module.__file__)).read_bytes() for module in (lg, synthetic))
        sha256, num_bytes = hashlib.sha256(code).hexdigest(), len(code)
    elif source.path == STDIN:
        sha256, num_bytes = "", 0
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
            the example is not alone, or standard input is named twice.
    """
    if not sources:
        raise InputError("at least one source", "none")
    if len(sources) > 1 and any(source.is_example for source in sources):
        raise InputError(f"{EXAMPLE!r} as the only source", f"{len(sources)} sources")
    if sum(source.path == STDIN for source in sources) > 1:
        raise InputError(f"standard input ({STDIN}) once", "it several times")
    for source in sources:
        if not source.is_example and source.path != STDIN:
            check_is_file(source.path)
            if Path(source.path).resolve().is_relative_to(Path(output).resolve()):
                expected = f"a source outside the output folder {output}"
                raise InputError(expected, "one inside it", path=source.path)


def _blocks(opened: OpenSource, path: str, reading: Reading) -> Iterator[Block]:
    """The rows of an open file, by the reader of its format."""
    options, bad = reading.options, reading.bad
    format_ = _find_format(opened, path, options=options)
    reading.formats.add(format_)
    if options.preset is not None and format_ != "fasta":
        raise InputError(f"a FASTA file, for `preset` {options.preset}", f"a {format_}", path=path)
    if format_ == "stockholm":
        return read_stockholm(opened.stream, path, bad=bad)
    if format_ == "fasta":
        return read_fasta(opened.stream, path, rule=reading.rule, bad=bad)
    columns = TableColumns(
        sequence=options.sequence_column,
        family=options.family_column,
        name=options.name_column,
        split=options.split_column,
        unknown=options.unknown,
    )
    if Path(path).suffix == ".parquet" or opened.head.startswith(_PARQUET_MAGIC):
        return read_parquet_table(opened.stream, path, columns=columns, bad=bad)
    return read_text_table(opened.stream, path, columns=columns, bad=bad)


_OPTIONS_OF_FORMAT = {
    "fasta": ("label_pattern", "labels"),
    "table": ("sequence_column", "family_column", "name_column", "split_column"),
}


def check_use(reading: Reading) -> None:
    """Refuse options that no source had a use for, once all are read.

    Args:
        reading: how they were read.

    Raises:
        InputError: if there is such an option.
    """
    for format_, names in _OPTIONS_OF_FORMAT.items():
        for name in names:
            if getattr(reading.options, name) is not None and format_ not in reading.formats:
                found = " and ".join(sorted(reading.formats)) or "the example"
                what = "FASTA file" if format_ == "fasta" else format_
                raise InputError(f"a {what} among the sources, for `{name}`", found)


def _require_plain(options: IngestOptions) -> None:
    """Refuse to read the example in a way in which only files are read."""
    for name in ("format", "preset"):
        if getattr(options, name) != getattr(IngestOptions, name):
            raise InputError(f"files, for `{name}` {getattr(options, name)}", "the example")


def _find_format(opened: OpenSource, path: str, *, options: IngestOptions) -> str:
    """The format: as asked, else from the first bytes, else from the name."""
    if options.format != "auto":
        return options.format
    head = opened.head
    if head.startswith(_STOCKHOLM_MAGIC):
        return "stockholm"
    if head.startswith(_PARQUET_MAGIC):
        return "table"
    name = Path(path)
    suffix = Path(name.stem).suffix if name.suffix in _COMPRESSED else name.suffix
    for format_, suffixes in _SUFFIXES.items():
        if suffix.lower() in suffixes:
            return format_
    if head.lstrip().startswith(b">"):
        return "fasta"
    if looks_like_table(head):
        return "table"
    expected = (
        "a table (.csv, .tsv, .parquet), a Stockholm or a FASTA file, or the `format` to be given"
    )
    raise InputError(expected, f"a file that begins with {head[:40]!r}", path=path)
