"""Write the tables of a dataset folder piece by piece: the columns, each row where it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protein_robust.ingest import store
from protein_robust.ingest.allocation import UNLABELLED_SPLIT, Allocation
from protein_robust.ingest.columns import Columns
from protein_robust.ingest.digest import ContentDigest
from protein_robust.ingest.options import OTHER_SPLITS, SPLITS
from protein_robust.ingest.texts import Texts

_PIECE_ROWS = 32_768
"""The most rows written at a time, and so in a row group."""
_PIECE_BYTES = 1 << 24
"""The most bytes of text in them, but for one row."""

_SPLIT_NAMES = pa.array((*SPLITS, *OTHER_SPLITS), pa.string())
_COORDINATES = r"/(?P<start>\d{1,9})-(?P<end>\d{1,9})$"


@dataclass(frozen=True)
class Written:
    """What `write_tables` wrote.

    Attributes:
        digest: of the content: of ``sequences.parquet`` and ``families.parquet``.
        alignments_digest: of ``alignments.parquet``; None if there is none.
        coordinates: how many ``rows`` have coordinates in their name, and of how many these are
            ``not_as_long`` as the residues.
    """

    digest: str
    alignments_digest: str | None
    coordinates: dict[str, int]


def write_tables(folder: Path, columns: Columns, allocation: Allocation) -> Written:
    """Write all tables of a dataset.

    Args:
        folder: the folder, in the making.
        columns: what was read.
        allocation: where each row goes.

    Returns:
        What there is to know of it.

    Raises:
        OSError: if one cannot be written.
    """
    families = _families(columns, allocation)
    store.write_table(folder, store.FAMILIES, families)
    if allocation.held_out:
        store.write_table(folder, store.HELD_OUT, _held_out(columns, allocation))
    if columns.bad.skipped:
        store.write_table(folder, store.SKIPPED, _skipped(columns))
    digest = ContentDigest()
    coordinates = {"rows": 0, "not_as_long": 0}
    accession_of = _accession_of(columns)
    with store.table_writer(folder, store.SEQUENCES, store.SEQUENCES_SCHEMA) as writer:
        for part in _pieces(columns.sequences, allocation):
            table = _sequences(columns, allocation, part, accession_of=accession_of)
            digest.add(table)
            _count_coordinates(table, coordinates)
            writer.write_table(table)
    if len(allocation.conflicts):
        table = _conflicts(columns, allocation, accession_of=accession_of)
        store.write_table(folder, store.CONFLICTS, table)
    aligned = None
    if columns.aligned.lengths.any():
        aligned = _write_alignments(folder, columns, allocation)
    of_families = ContentDigest()
    of_families.add(families)
    both = digest.hexdigest() + of_families.hexdigest()
    return Written(hashlib.sha256(both.encode()).hexdigest(), aligned, coordinates)


def _pieces(texts: Texts, allocation: Allocation) -> Iterator[slice]:
    """Parts of the rows whose texts are written together."""
    ends = np.cumsum(texts.lengths[allocation.rows])
    begin, written = 0, 0
    while begin < len(ends):
        last = int(np.searchsorted(ends, written + _PIECE_BYTES, side="right"))
        end = max(begin + 1, min(last, begin + _PIECE_ROWS))
        yield slice(begin, end)
        begin, written = end, int(ends[end - 1])


def _sequences(
    columns: Columns, allocation: Allocation, part: slice, *, accession_of: pa.Array
) -> pa.Table:
    """Some rows of ``sequences.parquet``."""
    rows = allocation.rows[part]
    names = _strings(columns.names.take(rows))
    accessions = _strings(columns.accessions.take(rows))
    start, end = _coordinates(names)
    codes = np.frombuffer(columns.codes, dtype=np.int32)[rows]
    return pa.table(
        [
            names,
            pc.if_else(pc.equal(accessions, ""), None, accessions),
            start,
            end,
            _strings(columns.sequences.take(rows)),
            accession_of.take(pa.array(codes, mask=codes < 0)),
            pa.array(allocation.labels[part], pa.int32()),
            _SPLIT_NAMES.take(pa.array(allocation.splits[part])),
        ],
        schema=store.SEQUENCES_SCHEMA,
    )


def _coordinates(names: pa.Array) -> tuple[pa.Array, pa.Array]:
    """First and last residue in the whole protein, from names such as ``A1AL94_PELPD/160-195``."""
    found = pc.extract_regex(names, pattern=_COORDINATES)
    start, end = (pc.struct_field(found, name).cast(pa.int32()) for name in ("start", "end"))
    return start, end


def _count_coordinates(table: pa.Table, counts: dict[str, int]) -> None:
    """Add the rows that have coordinates, and those that they do not fit."""
    spans = pc.add(pc.subtract(table["end"], table["start"]), 1)
    counts["rows"] += len(table) - spans.null_count
    is_other = pc.not_equal(spans, pc.binary_length(table["sequence"]))
    counts["not_as_long"] += pc.sum(is_other).as_py() or 0


def _conflicts(columns: Columns, allocation: Allocation, *, accession_of: pa.Array) -> pa.Table:
    """``conflicts.parquet``: all rows whose residues stand in several families, kept or not."""
    rows = allocation.conflicts
    split_of = np.full(len(columns), -1, dtype=np.int8)
    split_of[allocation.rows] = allocation.splits
    splits = split_of[rows]
    codes = np.frombuffer(columns.codes, dtype=np.int32)[rows]
    table = pa.table(
        [
            _strings(columns.names.take(rows)),
            _strings(columns.sequences.take(rows)),
            accession_of.take(pa.array(codes)),
            _SPLIT_NAMES.take(pa.array(splits, mask=splits < 0)),
        ],
        schema=store.CONFLICTS_SCHEMA,
    )
    keys = ("sequence", "family_accession", "sequence_name", "split")
    return table.sort_by([(key, "ascending") for key in keys])


def _write_alignments(folder: Path, columns: Columns, allocation: Allocation) -> str:
    """Row i of ``alignments.parquet`` belongs to row i of ``sequences.parquet``; its digest."""
    digest = ContentDigest()
    numbers = np.frombuffer(columns.alignments, dtype=np.int32)
    with store.table_writer(folder, store.ALIGNMENTS, store.ALIGNMENTS_SCHEMA) as writer:
        for part in _pieces(columns.aligned, allocation):
            texts = _strings(columns.aligned.take(allocation.rows[part]))
            is_none = pc.equal(texts, "")
            number = pa.array(numbers[allocation.rows[part]])
            columns_ = [pc.if_else(is_none, None, column) for column in (texts, number)]
            table = pa.table(columns_, schema=store.ALIGNMENTS_SCHEMA)
            digest.add(table.select(["aligned_row"]))
            writer.write_table(table)
    return digest.hexdigest()


def _families(columns: Columns, allocation: Allocation) -> pa.Table:
    """``families.parquet``: row i is class i."""
    accessions = allocation.accessions
    inside = allocation.splits < UNLABELLED_SPLIT
    labels, splits = allocation.labels[inside], allocation.splits[inside]
    numbers = [
        np.bincount(labels[splits == split], minlength=len(accessions))
        for split in range(len(SPLITS))
    ]
    return pa.table(
        [
            pa.array(accessions, pa.string()),
            *_facts(columns, accessions),
            *(pa.array(number, pa.int32()) for number in numbers),
        ],
        schema=store.FAMILIES_SCHEMA,
    )


def _held_out(columns: Columns, allocation: Allocation) -> pa.Table:
    """``heldout_families.parquet``: families that are no classes."""
    codes = np.frombuffer(columns.codes, dtype=np.int32)[allocation.rows]
    numbers = np.bincount(
        codes[allocation.splits > UNLABELLED_SPLIT], minlength=len(columns.families)
    )
    accessions = allocation.held_out
    places = [columns.families[accession].code for accession in accessions]
    return pa.table(
        [
            pa.array(accessions, pa.string()),
            *_facts(columns, accessions),
            pa.array(numbers[places], pa.int32()),
        ],
        schema=store.HELD_OUT_SCHEMA,
    )


def _skipped(columns: Columns) -> pa.Table:
    """``skipped.parquet``: one row for each broken record."""
    records = columns.bad.skipped
    cells = {
        name: [getattr(record, name) for record in records] for name in store.SKIPPED_SCHEMA.names
    }
    return pa.table(cells, schema=store.SKIPPED_SCHEMA)


def _facts(columns: Columns, accessions: list[str]) -> list[pa.Array]:
    """What is said of some families, a column for each kind of fact."""
    facts = [columns.families[accession].facts for accession in accessions]
    names = store.FAMILIES_SCHEMA.names[1:6]
    return [pa.array([getattr(fact, name) for fact in facts], pa.string()) for name in names]


def _accession_of(columns: Columns) -> pa.Array:
    """The accession of each family code."""
    return pa.array(list(columns.families), pa.string())


def _strings(texts: list[bytes]) -> pa.Array:
    """A column of texts."""
    return pa.array(texts, pa.binary()).cast(pa.string())
