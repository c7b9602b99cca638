"""Read tables with a sequence and a family in each row: CSV, TSV (both also gzip) and Parquet.

Columns are those named in `TableColumns`, else the first recognised name that the table has. A row
of a text table is known by its line, a row of a Parquet file by its number, both from 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest.records import Record

_RECOGNISED = {
    "sequence": ("sequence",),
    "family": ("family_accession", "family", "label"),
    "name": ("sequence_name", "name", "id"),
    "family_id": ("family_id",),
    "clan": ("clan",),
    "split": ("split",),
}
_REQUIRED = ("sequence", "family")
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class TableColumns:
    """Which columns to read; None means a recognised name.

    Attributes:
        sequence: column of the residues; recognised: ``sequence``.
        family: column of the family; recognised: ``family_accession``, ``family``, ``label``.
        name: column of the sequence's name; recognised: ``sequence_name``, ``name``, ``id``.
        split: column of the split; recognised: ``split``.
    """

    sequence: str | None = None
    family: str | None = None
    name: str | None = None
    split: str | None = None


_DEFAULT_COLUMNS = TableColumns()


def read_text_table(
    stream: IO[bytes], path: str, *, columns: TableColumns = _DEFAULT_COLUMNS
) -> Iterator[Record]:
    """Yield the rows of a CSV or TSV table; a tab in its first line makes it TSV.

    Args:
        stream: the file's bytes, UTF-8.
        path: the file, for names and messages.
        columns: which columns to read.

    Yields:
        One record for each row that is not blank.

    Raises:
        InputError: if a column is missing, a row has other cells than the header, a family is
            empty, there is no row, or the bytes are not UTF-8 text of such a table.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    rows = None
    try:
        header = text.readline()
        delimiter = "\t" if "\t" in header else ","
        text.seek(0)
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(rows, [])]
        yield from _records(
            _numbered(rows, len(names), path=path), names, path=path, columns=columns
        )
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}, which is not"
        raise InputError("a table in UTF-8 text", byte, path=path) from error
    except csv.Error as error:
        line = rows.line_num if rows else 1
        raise InputError("cells of a CSV or TSV table", str(error), path=path, line=line) from error
    finally:
        if not stream.closed:
            text.detach()  # the stream belongs to the caller


def read_parquet_table(
    stream: IO[bytes], path: str, *, columns: TableColumns = _DEFAULT_COLUMNS
) -> Iterator[Record]:
    """Yield the rows of a Parquet file, batch by batch.

    Args:
        stream: the file, seekable.
        path: the file, for names and messages.
        columns: which columns to read; their values must be text or whole numbers.

    Yields:
        One record for each row.

    Raises:
        InputError: if a column is missing or of another type, a family is empty, there is no row,
            or the file is no Parquet file.
    """
    try:
        file = pq.ParquetFile(stream)
        names = file.schema_arrow.names
        chosen = sorted(set(_choose_columns(names, path, columns=columns).values()))
        kept = [names[i] for i in chosen]
        rows = _parquet_rows(file, kept, path=path)
        yield from _records(rows, kept, path=path, columns=columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError("a Parquet file", str(error).splitlines()[0], path=path) from error


def _numbered(
    rows: Iterable[list[str]], num_cells: int, *, path: str
) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows of a text table with their lines, each as long as the header."""
    for row in rows:
        line: int = rows.line_num  # type: ignore[attr-defined]  # csv's reader has no public type
        if len(row) == num_cells:
            yield line, row
        elif row:
            expected = f"{num_cells} cells, as in the header"
            raise InputError(expected, str(len(row)), path=path, line=line)


def _parquet_rows(
    file: pq.ParquetFile, names: list[str], *, path: str
) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows of a Parquet file with their numbers; a null is an empty cell."""
    number = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
        cells = [_text_cells(batch.column(name), name, path=path) for name in names]
        for row in zip(*cells, strict=True):
            number += 1
            yield number, row


def _text_cells(column: pa.Array, name: str, *, path: str) -> list[str]:
    """A column as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind)):
        expected = f"text or whole numbers in column {name!r}"
        raise InputError(expected, str(column.type), path=path)
    return ["" if cell is None else cell for cell in column.cast(pa.large_string()).to_pylist()]


def _records(
    rows: Iterable[tuple[int, Sequence[str]]], names: list[str], *, path: str, columns: TableColumns
) -> Iterator[Record]:
    """Rows as records."""
    where = _choose_columns(names, path, columns=columns)
    sequence, family = where["sequence"], where["family"]
    name, split = where.get("name"), where.get("split")
    family_id, clan = where.get("family_id"), where.get("clan")
    stem = Path(path).name.split(".", maxsplit=1)[0]
    number = 0
    for number, (line, row) in enumerate(rows, start=1):
        accession = row[family].strip()
        if not accession:
            expected = f"a family in column {names[family]!r}"
            raise InputError(expected, "an empty cell", path=path, line=line)
        yield Record(
            (row[name].strip() if name is not None else "") or f"{stem}:{number}",
            row[sequence],
            accession,
            (row[family_id] or None) if family_id is not None else None,
            (row[clan] or None) if clan is not None else None,
            row[split] if split is not None else None,
            path,
            line,
        )
    if number == 0:
        raise InputError("rows below the header", "none", path=path)


def _choose_columns(names: list[str], path: str, *, columns: TableColumns) -> dict[str, int]:
    """Where each wanted column stands; the optional ones only if they are there."""
    asked = {
        "sequence": columns.sequence,
        "family": columns.family,
        "name": columns.name,
        "split": columns.split,
    }
    where: dict[str, int] = {}
    for role, recognised in _RECOGNISED.items():
        explicit = asked.get(role)
        candidates = recognised if explicit is None else (explicit,)
        found = [name for name in candidates if name in names]
        if found:
            if names.count(found[0]) > 1:
                expected = f"one column {found[0]!r}"
                raise InputError(expected, f"columns {', '.join(names)}", path=path)
            where[role] = names.index(found[0])
        elif role in _REQUIRED or explicit is not None:
            expected = f"a {role} column ({' or '.join(map(repr, candidates))})"
            actual = f"columns {', '.join(names)[:300]}" if names else "no columns"
            raise InputError(expected, actual, path=path)
    return where
