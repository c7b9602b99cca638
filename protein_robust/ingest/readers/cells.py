"""Read the cells of CSV, TSV and Parquet tables, whatever their columns mean.

A row of a text table is known by the line where it begins, a row of a Parquet file by its number,
both from 1. Nothing seeks, except in Parquet files, whose index stands at their end.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest.readers.lines import MAX_LINE_BYTES, Lines
from protein_robust.ingest.records import BadRecords

PARQUET_MAGIC = b"PAR1"

_BATCH_ROWS = 4096
_QUOTE = '"'

NumberedCells = Iterator[tuple[int, Sequence[str]]]
"""Line of each row, and those of its cells that were asked for."""


@dataclass(frozen=True)
class OpenTable:
    """A table whose header has been read.

    Attributes:
        names: names of its columns.
        rows: given places in ``names``, at least two of them, yields each row's line and these
            cells; broken rows have been refused. To be called once.
    """

    names: list[str]
    rows: Callable[[Sequence[int]], NumberedCells]


def split_header(line: bytes) -> tuple[list[str], str]:
    r"""Find the columns of a CSV or TSV table; a tab in its first line makes it TSV.

    Args:
        line: the first line.

    Returns:
        The names of the columns, none for an empty line, and the delimiter.

    Raises:
        UnicodeDecodeError: if the line is not UTF-8.
        csv.Error: if it has a quote that does not end.

    Example:
        >>> split_header(b'sequence,"family"\n')
        (['sequence', 'family'], ',')
    """
    text = line.decode()
    delimiter = "\t" if "\t" in text else ","
    names = next(csv.reader([text], delimiter=delimiter, strict=True), [])
    return [name.strip() for name in names], delimiter


def open_text_table(stream: IO[bytes], path: str, *, bad: BadRecords) -> OpenTable:
    """Begin to read a CSV or TSV table; a tab in its first line makes it TSV.

    Args:
        stream: the file's bytes, UTF-8, also with a mark; need not seek.
        path: the file, for messages.
        bad: what becomes of rows that have other cells than the header, that are not UTF-8, or
            that have a quote without its end.

    Returns:
        The table.

    Raises:
        InputError: if the first line is not UTF-8 or has a quote without its end.
    """
    lines = Lines(stream, path)
    try:
        names, delimiter = split_header(next(lines, b""))
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, line=1) from error
    except csv.Error as error:
        raise InputError("names of columns", str(error), path=path, line=1) from error

    def rows(chosen: Sequence[int]) -> NumberedCells:
        take = itemgetter(*chosen)
        for line, cells in _text_rows(lines, delimiter, bad=bad):
            if len(cells) == len(names):
                yield line, take(cells)
            else:
                expected = f"{len(names)} cells, as in the header"
                bad.refuse(InputError(expected, str(len(cells)), path=path, line=line))

    return OpenTable(names, rows)


@contextmanager
def open_parquet_table(stream: IO[bytes], path: str, *, bad: BadRecords) -> Iterator[OpenTable]:
    """Begin to read a Parquet file; its rows are read batch by batch.

    Args:
        stream: the file; if it cannot seek, it is copied to a temporary file first.
        path: the file, for messages.
        bad: what becomes of rows with text that is not UTF-8.

    Yields:
        The table; its cells are the texts and whole numbers of the file, a null is empty text.

    Raises:
        InputError: if it is no Parquet file, or (from ``rows``) a column is of another type.
    """
    with ExitStack() as opened:
        if not stream.seekable():
            copy = opened.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy)
            stream = copy
        try:
            file = pq.ParquetFile(stream)
            names = list(file.schema_arrow.names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _no_parquet(error, path) from error

        def rows(chosen: Sequence[int]) -> NumberedCells:
            try:
                yield from _parquet_rows(file, [names[i] for i in chosen], path=path, bad=bad)
            except (pa.ArrowException, OSError) as error:
                raise _no_parquet(error, path) from error

        yield OpenTable(names, rows)


def _text_rows(
    lines: Lines, delimiter: str, *, bad: BadRecords
) -> Iterator[tuple[int, Sequence[str]]]:
    """The cells of each row that is not blank, with the line where it begins."""
    for raw in lines:
        begin = lines.number
        try:
            text = raw.decode().removesuffix("\n").removesuffix("\r")
            if _QUOTE in text or "\r" in text:
                yield begin, _quoted_row(raw, lines, delimiter)
            elif text:  # without quotes a row is no more than this, and `csv` takes twice as long
                yield begin, text.split(delimiter)
        except UnicodeDecodeError as error:
            bad.refuse(_not_utf8(error, lines.path, line=begin))
        except csv.Error as error:
            expected = "cells of a CSV or TSV table"
            bad.refuse(InputError(expected, str(error), path=lines.path, line=begin))


def _quoted_row(first: bytes, lines: Lines, delimiter: str) -> list[str]:
    """The cells of a row that has quotes, and perhaps more lines; if it is broken, only its first.

    `csv` bounds the size of a cell for the whole process, so the bound is raised only for this row.
    """
    taken = [first]

    def texts() -> Iterator[str]:
        size = len(first)
        yield first.decode()
        for line in lines:
            taken.append(line)
            size += len(line)
            if size > MAX_LINE_BYTES:
                raise csv.Error(f"a row of more than {MAX_LINE_BYTES} bytes")
            yield line.decode()

    bound = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        return next(csv.reader(texts(), delimiter=delimiter, strict=True), [])
    except (csv.Error, UnicodeDecodeError):
        lines.give_back(taken[1:])
        raise
    finally:
        csv.field_size_limit(bound)


def _parquet_rows(
    file: pq.ParquetFile, names: list[str], *, path: str, bad: BadRecords
) -> NumberedCells:
    """Rows of a Parquet file with their numbers."""
    number = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
        cells = [_cell_bytes(batch.column(name), name, path=path) for name in names]
        for row in zip(*cells, strict=True):
            number += 1
            try:
                yield number, [cell.decode() for cell in row]
            except UnicodeDecodeError as error:
                bad.refuse(_not_utf8(error, path, line=number))


def _cell_bytes(column: pa.Array, name: str, *, path: str) -> list[bytes]:
    """A column as text in UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        column = column.cast(pa.large_string())
    text = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
    if column.type not in text:
        expected = f"text or whole numbers in column {name!r}"
        raise InputError(expected, str(column.type), path=path)
    cells = column.cast(pa.large_binary()).to_pylist()
    return [b"" if cell is None else cast(bytes, cell) for cell in cells]


def _not_utf8(error: UnicodeDecodeError, path: str, *, line: int) -> InputError:
    byte = f"byte 0x{error.object[error.start]:02x}, which is not"
    return InputError("a table in UTF-8 text", byte, path=path, line=line)


def _no_parquet(error: Exception, path: str) -> InputError:
    reason = str(error).splitlines() or [type(error).__name__]
    return InputError("a Parquet file", reason[0].rstrip("."), path=path)
