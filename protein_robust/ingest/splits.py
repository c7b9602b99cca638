"""Drop repeated sequences and divide the rest into train, valid and test.

Sequences with the same residues never stand in two splits. Nothing depends on the order of the
rows: residues are known by a keyed hash, and what is equal in it is told apart by its texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein_robust.ingest.options import SPLITS

TRAIN, VALID, TEST = range(len(SPLITS))
Rows: TypeAlias = NDArray[np.int64]


class TextOf(Protocol):
    """Some texts of rows, to order rows by."""

    def __call__(self, rows: Rows, /) -> list[tuple[bytes, ...]]:
        """The texts of each of these rows."""


@dataclass(frozen=True)
class Sequences:
    """What the rules need to know of N rows.

    Attributes:
        labels: index of the family, shape (N,), int32, at least 0.
        high: first half of the keyed hash of the residues, shape (N,), uint64.
        low: second half, shape (N,), uint64.
        names: of rows, what they are called: the smallest of several copies stays.
        is_conflicting: whether the same residues stand in another family too, kept or not, shape
            (N,), bool; None: to be found among these rows.
        splits: code of the given split (its place in `SPLITS`), shape (N,), int8; None if the
            source has no splits.
    """

    labels: NDArray[np.int32]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    names: TextOf
    is_conflicting: NDArray[np.bool_] | None = None
    splits: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Distinct:
    """Rows that are left when copies are dropped; M of them.

    Attributes:
        rows: places in the input, shape (M,), int64.
        is_conflicting: whether the same residues stand in another family too, shape (M,), bool.
        num_duplicates_within_family: rows dropped because their family has the residues already.
        num_duplicates_across_splits: rows dropped because another split has the residues.
    """

    rows: Rows
    is_conflicting: NDArray[np.bool_]
    num_duplicates_within_family: int
    num_duplicates_across_splits: int


DivideFamily: TypeAlias = Callable[[Rows, NDArray[np.bool_]], NDArray[np.int8]]
"""From a family's rows in the order of their hashes, conflicting ones last, and whether each is
conflicting, to the code of each one's split."""


def drop_copies(data: Sequences) -> Distinct:
    """Keep one row of those with the same family and residues, in one split.

    Args:
        data: the rows. Where they name splits, residues in several stay in one: test before valid
            before train.

    Returns:
        The rows that are left, in the order of their families and hashes.
    """
    rows = np.arange(len(data.labels))
    if data.splits is not None:
        order = np.lexsort((data.low, data.high))
        starts = _starts(data.high[order], data.low[order])
        best = np.maximum.reduceat(data.splits[order], starts) if len(order) else data.splits
        sizes = np.diff(starts, append=len(order))
        is_best = np.empty(len(order), dtype=np.bool_)
        is_best[order] = data.splits[order] == np.repeat(best, sizes)
        rows = np.flatnonzero(is_best)
    num_across = len(data.labels) - len(rows)
    order = rows[np.lexsort((data.low[rows], data.high[rows], data.labels[rows]))]
    starts = _starts(data.labels[order], data.high[order], data.low[order])
    kept = order[starts].copy()
    sizes = np.diff(starts, append=len(order))
    for group in np.flatnonzero(sizes > 1).tolist():
        copies = order[starts[group] : starts[group] + sizes[group]]
        texts = data.names(copies)
        kept[group] = copies[min(range(len(copies)), key=texts.__getitem__)]
    flags = data.is_conflicting
    if flags is None:
        flags = find_conflicts(data.labels, data.high, data.low)
    return Distinct(kept, flags[kept], len(rows) - len(kept), num_across)


def find_conflicts(
    labels: NDArray[np.int32], high: NDArray[np.uint64], low: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Find residues that stand in several families.

    Args:
        labels: index of the family, shape (N,), int32.
        high: first half of the hash of the residues, shape (N,), uint64.
        low: second half, shape (N,), uint64.

    Returns:
        Whether another family has the residues of a row, shape (N,), bool.
    """
    order = np.lexsort((labels, low, high))
    starts = _starts(high[order], low[order])
    sizes = np.diff(starts, append=len(order))
    # The labels of a group rise, so it has several if its first and last differ.
    ends = starts + sizes - 1
    has_several = labels[order[starts]] != labels[order[ends]]
    is_conflicting = np.empty(len(order), dtype=np.bool_)
    is_conflicting[order] = np.repeat(has_several, sizes)
    return is_conflicting


def divide_families(data: Sequences, distinct: Distinct, divide: DivideFamily) -> NDArray[np.int8]:
    """Divide each family by a rule.

    Args:
        data: the rows.
        distinct: which of them take part.
        divide: the rule.

    Returns:
        Code of the split of each row of ``distinct``, shape (M,), int8.
    """
    splits = np.full(len(distinct.rows), TRAIN, dtype=np.int8)
    for places in _families(data, distinct):
        splits[places] = divide(distinct.rows[places], distinct.is_conflicting[places])
    return splits


def random_rule(*, valid_fraction: float, test_fraction: float) -> DivideFamily:
    """The rule ``random``: floor(n * fraction) to test, then to valid, the rest to train.

    The n sequences are the family's distinct ones without conflicting labels. A sequence that
    stands in several families is label noise of the source: all its rows go to train.

    Args:
        valid_fraction: in [0, 1).
        test_fraction: in [0, 1); the sum of both is below 1.

    Returns:
        The rule for one family.
    """

    def divide(rows: Rows, is_conflicting: NDArray[np.bool_]) -> NDArray[np.int8]:
        num_free = int(len(rows) - is_conflicting.sum())
        num_test = floor_of(num_free, test_fraction)
        num_valid = floor_of(num_free, valid_fraction)
        splits = np.full(len(rows), TRAIN, dtype=np.int8)
        splits[:num_test] = TEST
        splits[num_test : num_test + num_valid] = VALID
        return splits

    return divide


def valid_from_train(
    data: Sequences, distinct: Distinct, *, valid_fraction: float
) -> NDArray[np.int8]:
    """The rule ``existing`` where no row is in valid: a part of each family's training rows is.

    Args:
        data: the rows, with ``data.splits``.
        distinct: which of them take part.
        valid_fraction: of a family's training rows, in [0, 1).

    Returns:
        Code of the split of each row of ``distinct``, shape (M,), int8.
    """
    assert data.splits is not None
    splits = data.splits[distinct.rows].copy()
    for places in _families(data, distinct):
        free = places[(splits[places] == TRAIN) & ~distinct.is_conflicting[places]]
        splits[free[: floor_of(len(free), valid_fraction)]] = VALID
    return splits


def floor_of(count: int, fraction: float) -> int:
    """Floor of the product with the fraction as written: 0.29 of 100 is 29, not 28.999...

    Args:
        count: at least 0.
        fraction: at least 0.

    Returns:
        The floor.

    Example:
        >>> floor_of(100, 0.29)
        29
    """
    return math.floor(count * Fraction(str(fraction)))


def _families(data: Sequences, distinct: Distinct) -> Iterator[Rows]:
    """Places of each family's rows, in the order of their hashes, conflicting ones last."""
    rows = distinct.rows
    labels = data.labels[rows]
    order = np.lexsort((data.low[rows], data.high[rows], distinct.is_conflicting, labels))
    starts = _starts(labels[order])
    yield from np.split(order, starts[1:]) if len(order) else []


def _starts(*sorted_keys: NDArray[np.generic]) -> Rows:
    """Where each group of equal keys begins."""
    num_rows = len(sorted_keys[0])
    is_new = np.zeros(num_rows, dtype=np.bool_)
    is_new[:1] = True
    for keys in sorted_keys:
        is_new[1:] |= keys[1:] != keys[:-1]
    return np.flatnonzero(is_new)
