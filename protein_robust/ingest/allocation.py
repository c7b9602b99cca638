"""Where each row goes: to a split of the classes, to those without a class, or out.

Held-out families and clans are no classes: their sequences stand apart, for open-set noise and for
asking whether a network knows what it does not know. So do sequences whose family is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.classes import (
    HELD_OUT_CLASS,
    NO_CLASS,
    NOT_DRAWN,
    class_families,
    held_out_families,
    labels_of,
)
from protein_robust.ingest.clustered import clustered_rule
from protein_robust.ingest.columns import Columns
from protein_robust.ingest.options import OTHER_SPLITS, SPLITS, IngestOptions
from protein_robust.ingest.pool import Pool
from protein_robust.ingest.splits import (
    TEST,
    TRAIN,
    VALID,
    Distinct,
    Rows,
    Sequences,
    divide_families,
    drop_copies,
    find_conflicts,
    random_rule,
    valid_from_train,
)

UNLABELLED_SPLIT, HELD_OUT_SPLIT = range(len(SPLITS), len(SPLITS) + len(OTHER_SPLITS))
_NUM_SHOWN = 5


@dataclass(frozen=True)
class Allocation:
    """Which rows are kept, in which order and split; M kept rows.

    Attributes:
        rule: ``random``, ``existing`` or ``clustered``.
        accessions: the classes, sorted.
        held_out: the held-out families, sorted.
        rows: places in the columns, shape (M,), int64: by split, then family.
        labels: class of each, -1 where there is none, shape (M,), int32.
        splits: place of each one's split in ``SPLITS + OTHER_SPLITS``, shape (M,), int8.
        is_conflicting: whether the same residues stand in another family too, shape (M,), bool.
        conflicts: places of all rows, kept or not, whose residues stand in several families.
        removed: how many rows are not kept, by reason.
    """

    rule: str
    accessions: list[str]
    held_out: list[str]
    rows: Rows
    labels: NDArray[np.int32]
    splits: NDArray[np.int8]
    is_conflicting: NDArray[np.bool_]
    conflicts: Rows
    removed: dict[str, int]


@dataclass(frozen=True)
class _Placed:
    """Rows of one kind in their final order, and how many of the kind are not kept, by reason."""

    rows: Rows
    splits: NDArray[np.int8]
    is_conflicting: NDArray[np.bool_]
    removed: dict[str, int]


def allocate(columns: Columns, options: IngestOptions, *, scratch: Path) -> Allocation:
    """Decide where each row goes.

    Args:
        columns: the rows.
        options: how to divide, and what to hold out.
        scratch: a folder for what clustering needs.

    Returns:
        The allocation.

    Raises:
        InputError: if fewer than two classes, no test sequence, or a class without training
            sequences would be left; or what is to be held out or kept is not there.
    """
    rule = _rule(columns, options)
    held_out = held_out_families(columns.families, options)
    accessions = class_families(columns.families, held_out, options)
    pool = _pool(columns, labels_of(columns, accessions, held_out), rule=rule)
    inside = _place_classes(pool, options, rule=rule, scratch=scratch)
    _check_test(pool.labels[inside.rows], inside.splits, options=options, rule=rule)
    _check_train(pool.labels[inside.rows], inside, accessions)
    outside = _place_held_out(pool, held_out, options)
    unknown = _place_unlabelled(pool)
    parts = (inside, unknown, outside)
    rows = np.concatenate([part.rows for part in parts])
    return Allocation(
        rule,
        accessions,
        held_out,
        rows,
        np.maximum(pool.labels[rows], -1),
        np.concatenate([part.splits for part in parts]),
        np.concatenate([part.is_conflicting for part in parts]),
        np.flatnonzero(pool.is_conflicting),
        {
            **inside.removed,
            **unknown.removed,
            **outside.removed,
            "conflicting": inside.removed["conflicting"] + outside.removed["conflicting"],
            "families_not_drawn": int((pool.labels == NOT_DRAWN).sum()),
        },
    )


def _rule(columns: Columns, options: IngestOptions) -> str:
    """The rule that divides the classes; options that it has no use for are refused."""
    if options.split == "existing" and not columns.splits:
        raise InputError("sources that name splits, for the rule `existing`", "none that does")
    rule = options.split
    if rule == "auto":
        rule = "existing" if columns.splits else "random"
    unused = {"max_identity": rule != "clustered", "test_fraction": rule == "existing"}
    if rule == "existing":
        unused["valid_fraction"] = VALID in columns.splits
    for name, is_unused in unused.items():
        value = getattr(options, name)
        if is_unused and value != getattr(IngestOptions, name):
            raise InputError(f"no `{name}` under the split rule {rule}", f"{value:g}")
    return rule


def _pool(columns: Columns, labels: NDArray[np.int32], *, rule: str) -> Pool:
    """All rows; their given splits where the rule asks for them."""
    high, low = columns.halves()
    codes = np.frombuffer(columns.codes, dtype=np.int32)
    known = codes >= 0
    is_conflicting = np.zeros(len(codes), dtype=np.bool_)
    is_conflicting[known] = find_conflicts(codes[known], high[known], low[known])
    has_splits = rule == "existing" and bool(columns.splits)
    splits = np.frombuffer(columns.splits, dtype=np.int8) if has_splits else None
    return Pool(columns, labels, high, low, is_conflicting, splits)


def _place_classes(pool: Pool, options: IngestOptions, *, rule: str, scratch: Path) -> _Placed:
    """Divide the rows that have a class."""
    inside = np.flatnonzero(pool.labels >= 0)
    data = pool.take(inside, labels=pool.labels[inside], with_splits=rule == "existing")
    distinct = drop_copies(data)
    removed = {
        "duplicates_within_family": distinct.num_duplicates_within_family,
        "duplicates_across_splits": distinct.num_duplicates_across_splits,
        "conflicting": 0,
    }
    if options.conflicts == "drop":
        removed["conflicting"] = int(distinct.is_conflicting.sum())
        distinct = _without_conflicts(distinct)
    if rule == "existing":
        splits = _keep(data, distinct, options)
    else:
        divide = (
            random_rule(valid_fraction=options.valid_fraction, test_fraction=options.test_fraction)
            if rule == "random"
            else clustered_rule(pool, inside, options, distinct=distinct, scratch=scratch)
        )
        splits = divide_families(data, distinct, divide)
    order = _order(pool, inside[distinct.rows], splits, by_text=rule == "existing")
    rows = inside[distinct.rows][order]
    return _Placed(rows, splits[order], distinct.is_conflicting[order], removed)


def _keep(data: Sequences, distinct: Distinct, options: IngestOptions) -> NDArray[np.int8]:
    """The given splits; a part of train is valid where the sources have no valid."""
    assert data.splits is not None
    if (data.splits == VALID).any():
        return data.splits[distinct.rows]
    return valid_from_train(data, distinct, valid_fraction=options.valid_fraction)


def _without_conflicts(distinct: Distinct) -> Distinct:
    """The rows whose residues stand in one family only."""
    rows = distinct.rows[~distinct.is_conflicting]
    return replace(distinct, rows=rows, is_conflicting=np.zeros(len(rows), dtype=np.bool_))


def _place_held_out(pool: Pool, held_out: Sequence[str], options: IngestOptions) -> _Placed:
    """Rows of held-out families, but those whose residues a class has."""
    rows = np.flatnonzero(pool.labels == HELD_OUT_CLASS)
    known = _in(pool, rows, np.flatnonzero(pool.labels >= 0))
    rows = rows[~known]
    is_dropped = pool.is_conflicting[rows] & (options.conflicts == "drop")
    rows = rows[~is_dropped]
    place_of = np.zeros(len(pool.columns.families), dtype=np.int32)
    for place, accession in enumerate(held_out):
        place_of[pool.columns.families[accession].code] = place
    codes = np.frombuffer(pool.columns.codes, dtype=np.int32)[rows]
    distinct = drop_copies(pool.take(rows, labels=place_of[codes], with_splits=False))
    removed = {
        "held_out_in_classes": int(known.sum()),
        "conflicting": int(is_dropped.sum()),
        "duplicates_held_out": distinct.num_duplicates_within_family,
    }
    return _alike(pool, rows[distinct.rows], HELD_OUT_SPLIT, removed)


def _place_unlabelled(pool: Pool) -> _Placed:
    """Rows of unknown family that may be trained on, but those whose residues a family has."""
    rows = np.flatnonzero(pool.labels == NO_CLASS)
    in_train = np.ones(len(rows), dtype=np.bool_)
    if pool.splits is not None:
        in_train = pool.splits[rows] == TRAIN
    rows, num_tests = rows[in_train], int((~in_train).sum())
    known = _in(pool, rows, np.flatnonzero(pool.labels != NO_CLASS))
    rows = rows[~known]
    data = pool.take(rows, labels=np.zeros(len(rows), np.int32), with_splits=False)
    distinct = drop_copies(data)
    removed = {
        "unlabelled_outside_train": num_tests,
        "unlabelled_in_families": int(known.sum()),
        "duplicates_unlabelled": distinct.num_duplicates_within_family,
    }
    return _alike(pool, rows[distinct.rows], UNLABELLED_SPLIT, removed)


def _alike(pool: Pool, rows: Rows, split: int, removed: dict[str, int]) -> _Placed:
    """Rows that are all of one split."""
    splits = np.full(len(rows), split, np.int8)
    return _Placed(rows, splits, pool.is_conflicting[rows], removed)


def _in(pool: Pool, rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Whether other rows have the residues of these."""
    # 64 of the 128 bits: a chance of 1e-7 that two of a million sequences are mistaken for one.
    return np.isin(pool.high[rows], pool.high[others])


def _order(pool: Pool, rows: Rows, splits: NDArray[np.int8], *, by_text: bool) -> NDArray[np.int64]:
    """The final order: split, family, then hash; or residues and name, where splits are given."""
    order = np.lexsort((pool.low[rows], pool.high[rows], pool.labels[rows], splits))
    if not by_text:
        return order
    groups = splits[order].astype(np.int64) * (pool.labels.max() + 1) + pool.labels[rows[order]]
    texts = pool.columns.sequences, pool.columns.names
    pieces = []
    for places in np.split(order, np.flatnonzero(np.diff(groups)) + 1):
        keys = list(zip(*(text.take(rows[places]) for text in texts), strict=True))
        pieces.append(places[sorted(range(len(places)), key=keys.__getitem__)])
    return np.concatenate(pieces)


def _check_test(
    labels: NDArray[np.int32], splits: NDArray[np.int8], *, options: IngestOptions, rule: str
) -> None:
    """Refuse a dataset on which nothing can be tested."""
    if not (splits == TEST).any():
        largest = int(np.bincount(labels).max()) if len(labels) else 0
        if rule == "existing":
            actual = "none"
        elif options.test_fraction == 0:
            actual = "none, because `test_fraction` is 0"
        elif rule == "clustered":
            actual = (
                f"none: no family has a cluster at `max_identity` {options.max_identity:g} that "
                f"fits into `test_fraction` {options.test_fraction:g} of it"
            )
        else:
            actual = (
                f"none: every family is too small for `test_fraction` {options.test_fraction:g}, "
                f"the largest has {largest} distinct sequences"
            )
        raise InputError("at least one test sequence", actual)


def _check_train(labels: NDArray[np.int32], placed: _Placed, accessions: Sequence[str]) -> None:
    """Refuse classes without training data."""
    in_train = np.bincount(labels[placed.splits == TRAIN], minlength=len(accessions))
    missing = [accessions[label] for label in np.flatnonzero(in_train == 0).tolist()]
    if missing:
        shown = ", ".join(missing[:_NUM_SHOWN]) + (", ..." if len(missing) > _NUM_SHOWN else "")
        actual = f"none in train for {len(missing)} of {len(accessions)}: {shown}"
        if number := placed.removed["duplicates_across_splits"]:
            actual += f" ({number:,} rows were copies of rows in another split)"
        raise InputError("training sequences for each family", actual)
