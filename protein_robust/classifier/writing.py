"""Classified sequences to a file: a table with tabs, Parquet, or GFF3, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from protein_robust.atomic import replace_file
from protein_robust.classifier.gff3 import HEAD, gff3_lines
from protein_robust.classifier.rows import OUTPUT_SCHEMA
from protein_robust.errors import InputError

SUFFIXES = (".tsv", ".parquet", ".gff3")
MISSING = "-"
"""InterProScan's mark of a value that there is none of."""


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before any work is done.

    Args:
        path: the file to be; not there, or to be replaced.

    Raises:
        InputError: if its suffix is not known, or it is a folder, or there is no folder for it.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"an output that ends with one of {', '.join(SUFFIXES)}", f"{path.name!r}")
    if path.is_dir():
        raise InputError("a file to write", "a folder", path=path)
    if not path.parent.is_dir():
        raise InputError("an existing folder for the output", "none there", path=path.parent)


def write_file(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write rows to a file, which takes its name when it is whole.

    Args:
        path: one that `check_output` has passed.
        tables: of `OUTPUT_SCHEMA`, one after the other.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        replace_file(path, lambda partial: _write(partial, tables))
    except OSError as error:
        raise InputError("a file to write", error.strerror or str(error), path=path) from error


def write_tsv(stream: IO[bytes], tables: Iterable[pa.Table]) -> None:
    """Write rows with tabs between, the names of the columns in the first line.

    Args:
        stream: where to.
        tables: of `OUTPUT_SCHEMA`, one after the other.
    """
    stream.write("\t".join(OUTPUT_SCHEMA.names).encode() + b"\n")
    for table in tables:
        stream.write(tsv_lines(table))


def tsv_lines(table: pa.Table) -> bytes:
    """Rows as lines of UTF-8; numbers with the digits that single precision needs.

    Args:
        table: of `OUTPUT_SCHEMA`; no text holds a tab or a line end.

    Returns:
        The lines, each with its end.
    """
    texts = [_text(column) for column in table.columns]
    lines = pc.binary_join_element_wise(
        *texts, "\t", null_replacement=MISSING, null_handling="replace"
    )
    return b"".join(b"%s\n" % line for line in lines.cast(pa.binary()).to_pylist())


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_float64(column.type):
        column = column.cast(pa.float32(), safe=False)
    return column.cast(pa.string())


def _write(partial: Path, tables: Iterable[pa.Table]) -> None:
    if partial.suffix == ".parquet":
        with pq.ParquetWriter(partial, OUTPUT_SCHEMA, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
        return
    with partial.open("wb") as file:
        if partial.suffix == ".tsv":
            write_tsv(file, tables)
            return
        file.write(HEAD)
        for table in tables:
            file.write(gff3_lines(table))
