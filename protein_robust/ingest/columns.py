"""Read sources into columns: clean each record, number its family, count what was unusual."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protein_robust.errors import InputError
from protein_robust.ingest.options import SPLITS, IngestOptions, Source, normalize_split
from protein_robust.ingest.records import LetterCounts, Record, clean_sequence
from protein_robust.ingest.sources import read_source
from protein_robust.ingest.splits import LabelledSequences

OnProgress = Callable[[int, int, int], None]
"""Called now and then with records read, bytes read, and bytes in all."""


@dataclass
class Family:
    """What the records say of one family.

    Attributes:
        code: its place in the order of appearance.
        family_id: its short name, if a record gives one.
        clan: its superfamily, if a record gives one.
    """

    code: int
    family_id: str | None = None
    clan: str | None = None


@dataclass
class Columns:
    """What is kept of the records while they are read; N records so far.

    Attributes:
        names: name of each sequence.
        sequences: cleaned residues.
        codes: ``code`` of each one's family, int32.
        splits: place of each one's split in `SPLITS`, int8; empty if the records have none.
        families: the families by accession.
        letters: how many lower-case letters, gaps, stops and rare letters there were.
    """

    names: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    codes: array[int] = field(default_factory=lambda: array("i"))
    splits: array[int] = field(default_factory=lambda: array("b"))
    families: dict[str, Family] = field(default_factory=dict)
    letters: Counter[str] = field(default_factory=Counter)


def collect(
    sources: Sequence[Source],
    options: IngestOptions,
    *,
    identities: Sequence[dict[str, Any]],
    on_progress: OnProgress | None,
) -> Columns:
    """Read and clean all records.

    Args:
        sources: the sources.
        options: the format and the columns.
        identities: what `identify_source` says of each.
        on_progress: told how far reading is, after some thousand records and at the end.

    Returns:
        The columns.

    Raises:
        InputError: if a source is broken or has no record; only some records have a split, or
            records differ on the name or the clan of a family.
    """
    columns = Columns()
    total = sum(identity["num_bytes"] for identity in identities)
    before = 0
    for source, identity in zip(sources, identities, strict=True):
        split = identity["split"]
        if split is not None and options.split_column is not None:
            expected = "the split of a file or `split_column`, not both"
            raise InputError(expected, f"split {split!r} too", path=source.path)
        already = len(columns.names)
        for records, num_bytes in read_source(source, options):
            for record in records:
                _add(columns, record, source_split=split)
            if on_progress is not None:
                on_progress(len(columns.names), before + num_bytes, total)
        if len(columns.names) == already:
            raise InputError("at least one record", "none", path=source.path)
        before += identity["num_bytes"]
    if on_progress is not None:
        on_progress(len(columns.names), total, total)
    return columns


def _add(columns: Columns, record: Record, *, source_split: str | None) -> None:
    """Clean one record and append it."""
    sequence, counts = clean_sequence(record.residues, path=record.path, line=record.line)
    split = source_split
    if split is None and record.split:
        split = normalize_split(record.split, path=record.path, line=record.line)
    if (split is not None) != bool(columns.splits) and columns.names:
        expected = "a split for all records or for none"
        actual = "none, though records before have one" if split is None else repr(split)
        raise InputError(expected, actual, path=record.path, line=record.line)
    family = columns.families.setdefault(record.family_accession, Family(len(columns.families)))
    for name in ("family_id", "clan"):
        value, known = getattr(record, name), getattr(family, name)
        if value is not None and known is not None and value != known:
            expected = f"one {name} for family {record.family_accession} ({known!r} before)"
            raise InputError(expected, repr(value), path=record.path, line=record.line)
        setattr(family, name, known or value)
    columns.names.append(record.sequence_name)
    columns.sequences.append(sequence)
    columns.codes.append(family.code)
    if split is not None:
        columns.splits.append(SPLITS.index(split))
    _count(columns.letters, counts)


def _count(letters: Counter[str], counts: LetterCounts) -> None:
    """Add the unusual characters of one sequence."""
    letters["lower_case"] += counts.lower_case
    letters["gaps"] += counts.gaps
    letters["stops"] += counts.stops
    if counts.rare:
        letters.update(counts.rare)


def select(columns: Columns, accessions: Sequence[str]) -> LabelledSequences:
    """Take the rows of some families.

    Args:
        columns: all rows.
        accessions: the wanted families; a family's label is its place here.

    Returns:
        Their rows.
    """
    label_of_code = np.full(len(columns.families), -1, dtype=np.int32)
    for label, accession in enumerate(accessions):
        label_of_code[columns.families[accession].code] = label
    labels = label_of_code[np.frombuffer(columns.codes, dtype=np.int32)]
    rows = np.flatnonzero(labels >= 0)
    splits = np.frombuffer(columns.splits, dtype=np.int8) if columns.splits else None
    return LabelledSequences(
        [columns.names[row] for row in rows],
        [columns.sequences[row] for row in rows],
        labels[rows],
        None if splits is None else splits[rows],
    )
