"""Read tables with a sequence and a family in each row: CSV, TSV and Parquet, in any order.

Columns are those named in `TableColumns`, else the first recognised name that the table has; other
columns are not read. The layout of Pfam's random split (``family_id``, ``sequence_name``,
``family_accession``, ``aligned_sequence``, ``sequence``) is recognised as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from protein_robust.alphabet import GAPS
from protein_robust.errors import InputError
from protein_robust.ingest.options import normalize_split
from protein_robust.ingest.readers.cells import (
    OpenTable,
    open_parquet_table,
    open_text_table,
    split_header,
)
from protein_robust.ingest.readers.column_roles import ALIGNED, FACTS, RECOGNISED, choose_columns
from protein_robust.ingest.readers.lines import UTF8_MARK
from protein_robust.ingest.records import NO_FACTS, UNLABELLED, BadRecords, Block, FamilyFacts

_GAPS = GAPS.encode()
_BLOCK_ROWS = 4096
_BLOCK_BYTES = 1 << 23


@dataclass(frozen=True)
class TableColumns:
    """Which columns to read; None means a recognised name.

    ``aligned_sequence`` gives rows of an alignment; a ``sequence`` beside it must be the same
    residues without gaps. The family's ``family_id``, ``description``, ``family_type`` and
    ``clan``, and ``sequence_accession``, are read where they are.

    Attributes:
        sequence: column of the residues; recognised: ``aligned_sequence``, ``sequence``.
        family: column of the family; recognised: ``family_accession``, ``family``, ``label``.
        name: column of the sequence's name; recognised: ``sequence_name``, ``name``, ``id``.
        split: column of the split; recognised: ``split``.
        unknown: what stands in place of a family that is not known; ``""``: an empty cell.
    """

    sequence: str | None = None
    family: str | None = None
    name: str | None = None
    split: str | None = None
    unknown: str | None = None


_DEFAULT_COLUMNS = TableColumns()


def read_text_table(
    stream: IO[bytes], path: str, *, columns: TableColumns = _DEFAULT_COLUMNS, bad: BadRecords
) -> Iterator[Block]:
    """Yield the rows of a CSV or TSV table; a tab in its first line makes it TSV.

    Args:
        stream: the file's bytes, UTF-8; need not seek.
        path: the file, for names and messages.
        columns: which columns to read.
        bad: what becomes of rows that have other cells than the header, are not UTF-8, have no
            family, an unknown split, another aligned sequence than sequence, or contradict a row
            before on what they say of their family.

    Yields:
        Some thousand rows that are not blank.

    Raises:
        InputError: if a column is missing, there is no row, the header is not UTF-8, a line is
            longer than `lines.MAX_LINE_BYTES`; or a row is bad and the
            policy is ``error``.
    """
    yield from _blocks(open_text_table(stream, path, bad=bad), path, columns=columns, bad=bad)


def read_parquet_table(
    stream: IO[bytes], path: str, *, columns: TableColumns = _DEFAULT_COLUMNS, bad: BadRecords
) -> Iterator[Block]:
    """Yield the rows of a Parquet file, batch by batch.

    Args:
        stream: the file; if it cannot seek, it is copied to a temporary file first.
        path: the file, for names and messages.
        columns: which columns to read; their values must be text or whole numbers.
        bad: as for `read_text_table`.

    Yields:
        Some thousand rows.

    Raises:
        InputError: if a column is missing or of another type, there is no row, the file is no
            Parquet file; or a row is bad and the policy is ``error``.
    """
    with open_parquet_table(stream, path, bad=bad) as table:
        yield from _blocks(table, path, columns=columns, bad=bad)


def looks_like_table(head: bytes) -> bool:
    r"""Tell a text table by its header, for files whose name does not tell.

    Args:
        head: the first bytes of a file, with the whole first line.

    Returns:
        Whether the line has a recognised column for the sequence and one for the family.

    Example:
        >>> looks_like_table(b"family_accession,sequence\nPF1,MK\n"), looks_like_table(b">a\nMK")
        (True, False)
    """
    line = head.removeprefix(UTF8_MARK).splitlines()[:1]
    try:
        names, _ = split_header(b"".join(line))
    except (UnicodeDecodeError, csv.Error):
        return False
    has = {role for role, recognised in RECOGNISED.items() if set(recognised) & set(names)}
    return "family" in has and bool({"sequence", "aligned"} & has)


def _choose(names: Sequence[str], path: str, *, columns: TableColumns) -> dict[str, int]:
    """Where each role's column stands."""
    asked: dict[str, str | None] = dict.fromkeys(RECOGNISED)
    asked |= {role: getattr(columns, role) for role in ("sequence", "family", "name", "split")}
    required = ["family"]
    if columns.sequence == ALIGNED or (columns.sequence is None and ALIGNED in names):
        asked["sequence"] = None
        required.append("aligned")
    else:
        del asked["aligned"]  # of a sequence that was not asked for
        required.append("sequence")
    if columns.sequence == ALIGNED:
        del asked["sequence"]
    return choose_columns(names, path, asked=asked, required=required)


@dataclass
class _Rows:
    """The rows of the block to be; the places of columns are those among the chosen ones."""

    path: str
    where: Mapping[str, int]
    unknown: str | None
    bad: BadRecords
    number: int = 0
    num_bytes: int = 0
    lines: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    accessions: list[str | None] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    known: dict[str, tuple[tuple[str, ...], FamilyFacts]] = field(default_factory=dict)
    facts: dict[str, FamilyFacts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stem = Path(self.path).name.split(".", maxsplit=1)[0]
        self._stem = "stdin" if stem == "-" else stem
        self._facts = tuple((fact, self.where[fact]) for fact in FACTS if fact in self.where)
        self._split_words = {""}

    @property
    def is_full(self) -> bool:
        """Whether it is time for a block."""
        return len(self.lines) >= _BLOCK_ROWS or self.num_bytes >= _BLOCK_BYTES

    def add(self, line: int, cells: Sequence[str]) -> None:
        """Keep a row, or refuse it."""
        where = self.where
        self.number += 1
        name = cells[where["name"]].strip() if "name" in where else ""
        name = name or f"{self._stem}:{self.number}"
        split = cells[where["split"]].strip() if "split" in where else ""
        try:
            letters = self._letters(cells, line)
            family = self._family(cells, line)
            if split not in self._split_words:
                normalize_split(split, path=self.path, line=line)
                self._split_words.add(split)
            if self._facts and family != UNLABELLED:
                self._learn(family, cells, line)
        except InputError as error:
            self.bad.refuse(error, record=name)
            return
        self.lines.append(line)
        self.names.append(name)
        self.letters.append(letters)
        self.families.append(family)
        self.splits.append(split)
        if "accession" in where:
            self.accessions.append(cells[where["accession"]].strip() or None)
        self.num_bytes += len(letters)

    def _letters(self, cells: Sequence[str], line: int) -> bytes:
        """The aligned row if there is one, else the sequence."""
        where = self.where
        sequence = cells[where["sequence"]].strip().encode() if "sequence" in where else None
        if "aligned" not in where:
            assert sequence is not None  # one of both is required
            return sequence
        aligned = cells[where["aligned"]].strip().encode()
        if sequence is not None and aligned.translate(None, _GAPS).upper() != sequence.upper():
            expected = "the sequence to be the aligned sequence without gaps"
            raise InputError(expected, "other residues", path=self.path, line=line)
        return aligned

    def _family(self, cells: Sequence[str], line: int) -> str:
        family = cells[self.where["family"]].strip()
        if family == self.unknown:
            return UNLABELLED
        if not family:
            raise InputError("a family", "an empty cell", path=self.path, line=line)
        return family

    def _learn(self, family: str, cells: Sequence[str], line: int) -> None:
        """Keep what a row says of its family; an empty cell says nothing."""
        said = tuple([cells[place].strip() for _, place in self._facts])
        known, facts = self.known.get(family, (("",) * len(said), NO_FACTS))
        if said != known:
            for (fact, _), value, before in zip(self._facts, said, known, strict=True):
                if value and before and value != before:
                    expected = f"one {fact} for family {family} ({before!r} before)"
                    raise InputError(expected, repr(value), path=self.path, line=line)
            known = tuple([value or before for value, before in zip(said, known, strict=True)])
            fields = zip(self._facts, known, strict=True)
            facts = FamilyFacts(**{fact: text or None for (fact, _), text in fields})
            self.known[family] = known, facts
        self.facts[family] = facts

    def take(self) -> Block:
        """The rows so far as a block; none are left."""
        block = Block(
            path=self.path,
            lines=self.lines,
            names=self.names,
            letters=self.letters,
            families=self.families,
            sequence_accessions=self.accessions if "accession" in self.where else None,
            splits=self.splits if any(self.splits) else None,
            facts=self.facts,
            is_aligned="aligned" in self.where,
        )
        self.lines, self.names, self.letters, self.families = [], [], [], []
        self.accessions, self.splits, self.facts, self.num_bytes = [], [], {}, 0
        return block


def _blocks(
    table: OpenTable, path: str, *, columns: TableColumns, bad: BadRecords
) -> Iterator[Block]:
    """The rows of a table as blocks."""
    places = _choose(table.names, path, columns=columns)
    where = {role: place for place, role in enumerate(places)}
    rows = _Rows(path, where, columns.unknown, bad)
    num_skipped = len(bad.skipped)
    try:
        for line, cells in table.rows(list(places.values())):
            rows.add(line, cells)
            if rows.is_full:
                yield rows.take()
    except Exception:  # the stream is damaged here: what was read before it is not lost
        if rows.lines:
            yield rows.take()
        raise
    if rows.lines:
        yield rows.take()
    if rows.number == 0 and len(bad.skipped) == num_skipped:
        raise InputError("rows below the header", "none", path=path)
