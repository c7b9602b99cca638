"""Read Pfam-A.seed: many families in Stockholm format, one line for each sequence.

Bytes are read and decoded as latin-1, because some releases are not valid UTF-8. Only the family's
accession, name and clan and the rows are kept; per-column and per-residue markup is not needed.

References:
    Pfam, "Stockholm format", https://en.wikipedia.org/wiki/Stockholm_format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from protein_robust.errors import InputError
from protein_robust.ingest.records import Record

HEADER = b"# STOCKHOLM 1.0"
_END = b"//"
_KEPT_FEATURES = (b"AC", b"ID", b"CL")
_IGNORED_MARKUP = (b"#=GS", b"#=GC", b"#=GR")


@dataclass
class _Alignment:
    """The part of one Stockholm record read so far."""

    line: int
    features: dict[bytes, str] = field(default_factory=dict)
    rows: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    width: int = 0


def read_stockholm(stream: Iterable[bytes], path: str) -> Iterator[Record]:
    """Yield the rows of a Pfam-A.seed file, family by family, in their order.

    Args:
        stream: lines, with their ends.
        path: the file, for messages.

    Yields:
        One record for each row; ``split`` is None.

    Raises:
        InputError: if a record lacks its first line, its accession, its rows or its ``//``; rows
            differ in width or share a name; or a line is none of the format's.
    """
    alignment: _Alignment | None = None
    number = 0
    for number, raw_line in enumerate(stream, start=1):
        line = raw_line.rstrip()
        if not line:
            continue
        if alignment is None:
            if line != HEADER:
                raise _unexpected(repr(HEADER.decode()), line, path=path, number=number)
            alignment = _Alignment(number)
        elif line == _END:
            yield from _records(alignment, path)
            alignment = None
        elif line.startswith(b"#"):
            _add_markup(alignment, line, path=path, number=number)
        else:
            _add_row(alignment, line, path=path, number=number)
    if alignment is not None:
        name = alignment.features.get(b"AC", "a family")
        actual = f"the end of the file inside {name}, begun in line {alignment.line}"
        raise InputError("'//' after each family", actual, path=path, line=number)


def _add_markup(alignment: _Alignment, line: bytes, *, path: str, number: int) -> None:
    """Keep the features that are wanted; refuse what is no markup of the format."""
    kind = line[:4]
    if kind == b"#=GF":
        parts = line.split(None, 2)
        if len(parts) < 2:
            raise _unexpected("'#=GF <tag> <text>'", line, path=path, number=number)
        if parts[1] in _KEPT_FEATURES:
            tag = parts[1].decode()
            if len(parts) < 3:
                raise _unexpected(f"a value after '#=GF {tag}'", line, path=path, number=number)
            if parts[1] in alignment.features:
                raise _unexpected(
                    f"one '#=GF {tag}' in each family", line, path=path, number=number
                )
            alignment.features[parts[1]] = parts[2].decode("latin-1")
    elif kind.startswith(b"#=") and kind not in _IGNORED_MARKUP:
        raise _unexpected("'#=GF', '#=GS', '#=GC' or '#=GR'", line, path=path, number=number)
    elif line == HEADER:
        expected = f"'//' before the next family (this one began in line {alignment.line})"
        raise _unexpected(expected, line, path=path, number=number)


def _add_row(alignment: _Alignment, line: bytes, *, path: str, number: int) -> None:
    """Keep one aligned sequence."""
    parts = line.split()
    if len(parts) != 2:
        raise _unexpected("a row '<name> <aligned residues>'", line, path=path, number=number)
    name, residues = parts
    if name in alignment.rows:
        first = alignment.rows[name][1]
        expected = f"one row for each name (the first is line {first}; rows must not be wrapped)"
        raise _unexpected(expected, line, path=path, number=number)
    if not alignment.rows:
        alignment.width = len(residues)
    elif len(residues) != alignment.width:
        expected = f"rows of {alignment.width} columns, as the family's first"
        actual = f"{len(residues)} in row {name.decode('latin-1')!r}"
        raise InputError(expected, actual, path=path, line=number)
    alignment.rows[name] = (residues, number)


def _records(alignment: _Alignment, path: str) -> Iterator[Record]:
    """The rows of a whole family as records."""
    accession = alignment.features.get(b"AC")
    if accession is None:
        raise InputError("'#=GF AC' in each family", "none", path=path, line=alignment.line)
    if not alignment.rows:
        actual = f"none in {accession}"
        raise InputError("rows in each family", actual, path=path, line=alignment.line)
    family_id = alignment.features.get(b"ID")
    clan = alignment.features.get(b"CL")
    for name, (residues, line) in alignment.rows.items():
        yield Record(
            name.decode("latin-1"),
            residues.decode("latin-1"),
            accession,
            family_id,
            clan,
            None,
            path,
            line,
        )


def _unexpected(expected: str, line: bytes, *, path: str, number: int) -> InputError:
    """The error for a line that should have been something else."""
    shown = line[:60].decode("latin-1")
    return InputError(expected, repr(shown), path=path, line=number)
