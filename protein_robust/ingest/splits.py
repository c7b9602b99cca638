"""Drop repeated sequences and divide the rest into train, valid and test.

Sequences with the same residues never stand in two splits. Nothing depends on the order of the
rows: the random rule orders a family by a keyed hash of the residues, the existing rule by the
residues and the name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.options import SPLITS

TRAIN, VALID, TEST = range(len(SPLITS))


@dataclass(frozen=True)
class LabelledSequences:
    """Columns of what was read, N rows.

    Attributes:
        names: name of each sequence.
        sequences: cleaned residues.
        labels: index of the family, shape (N,), int32.
        splits: code of the given split (its place in `SPLITS`), shape (N,), int8; None if the
            source has no splits.
    """

    names: Sequence[str]
    sequences: Sequence[str]
    labels: NDArray[np.int32]
    splits: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Allocation:
    """Which rows are kept, in which order and split; M kept rows.

    Attributes:
        rows: places in the input, shape (M,), int64: by split, then family, then the rule's order.
        splits: code of the split of each, shape (M,), int8.
        is_conflicting: whether the same residues are kept in another family too, shape (M,), bool.
        num_duplicates_within_family: rows dropped because their family has the residues already.
        num_duplicates_across_splits: rows dropped because another split has the residues.
    """

    rows: NDArray[np.int64]
    splits: NDArray[np.int8]
    is_conflicting: NDArray[np.bool_]
    num_duplicates_within_family: int
    num_duplicates_across_splits: int


def choose_families(accessions: Sequence[str], num_families: int, *, seed: int) -> list[str]:
    """Draw families at random.

    Args:
        accessions: all families, in any order.
        num_families: how many to draw.
        seed: same seed and families, same draw.

    Returns:
        The drawn accessions, sorted.

    Raises:
        InputError: if there are not so many families.
    """
    if num_families > len(accessions):
        expected = f"`num_families` of at most {len(accessions)}, the families there are"
        raise InputError(expected, str(num_families))
    ordered = sorted(accessions)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(ordered), size=num_families, replace=False)
    return sorted(ordered[i] for i in chosen)


def split_at_random(
    data: LabelledSequences, seed: int, *, valid_fraction: float, test_fraction: float
) -> Allocation:
    """Divide each family: floor(n * fraction) to test, then to valid, the rest to train.

    The n sequences are the family's distinct ones without conflicting labels. A sequence that
    stands in several families is label noise of the source: all its rows go to train.

    Args:
        data: the rows; ``data.splits`` is not looked at.
        seed: of the order within a family.
        valid_fraction: in [0, 1).
        test_fraction: in [0, 1); the sum of both is below 1.

    Returns:
        The kept rows and their splits. It may hold no test sequence.
    """
    kept = _first_of_each(data, np.arange(len(data.sequences)))
    conflicting = _conflicting(data, kept)
    labels = data.labels[kept]
    high, low = _hashes([data.sequences[row] for row in kept], seed)
    order = np.lexsort((low, high, conflicting, labels))  # conflicts last in their family
    splits = np.full(len(kept), TRAIN, dtype=np.int8)
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    for places in np.split(order, starts[1:]) if len(order) else []:
        num_free = int(len(places) - conflicting[places].sum())
        num_test = _floor(num_free, test_fraction)
        num_valid = _floor(num_free, valid_fraction)
        splits[places[:num_test]] = TEST
        splits[places[num_test : num_test + num_valid]] = VALID
    final = np.lexsort((low, high, labels, splits))
    return Allocation(
        kept[final], splits[final], conflicting[final], len(data.sequences) - len(kept), 0
    )


def keep_splits(data: LabelledSequences) -> Allocation:
    """Keep the given splits; residues in several stay in one, test before valid before train.

    Args:
        data: the rows, with ``data.splits``.

    Returns:
        The kept rows and their splits.

    Raises:
        ValueError: if ``data.splits`` is None.
    """
    if data.splits is None:
        raise ValueError("Expected `data.splits`, got None.")
    best: dict[str, int] = {}
    given = data.splits.tolist()
    for sequence, split in zip(data.sequences, given, strict=True):
        best[sequence] = max(split, best.get(sequence, TRAIN))
    winners = [best[s] == split for s, split in zip(data.sequences, given, strict=True)]
    in_one_split = np.flatnonzero(np.array(winners, dtype=np.bool_))
    kept = _first_of_each(data, in_one_split)
    by_text = sorted(kept.tolist(), key=lambda row: (data.sequences[row], data.names[row]))
    ordered = np.array(by_text, dtype=np.int64)
    # lexsort is stable: equal split and family keep the order of the text.
    final = ordered[np.lexsort((data.labels[ordered], data.splits[ordered]))]
    return Allocation(
        final,
        data.splits[final],
        _conflicting(data, final),
        len(in_one_split) - len(kept),
        len(data.sequences) - len(in_one_split),
    )


def _first_of_each(data: LabelledSequences, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of rows with the same family and residues, the one with the smallest name."""
    first: dict[tuple[int, str], int] = {}
    for row, label in zip(rows.tolist(), data.labels[rows].tolist(), strict=True):
        key = (label, data.sequences[row])
        other = first.setdefault(key, row)
        if other != row and data.names[row] < data.names[other]:
            first[key] = row
    return np.array(list(first.values()), dtype=np.int64)


def _conflicting(data: LabelledSequences, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows' residues stand in another family too; the rows are distinct in a family."""
    seen: set[str] = set()
    twice: set[str] = set()
    for row in rows.tolist():
        sequence = data.sequences[row]
        (twice if sequence in seen else seen).add(sequence)
    return np.array([data.sequences[row] in twice for row in rows.tolist()], dtype=np.bool_)


def _hashes(sequences: Sequence[str], seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Both halves of each sequence's keyed BLAKE2b of 128 bits."""
    key = str(seed).encode()[:64]
    digests = b"".join(
        hashlib.blake2b(sequence.encode(), digest_size=16, key=key).digest()
        for sequence in sequences
    )
    halves = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0], halves[:, 1]


def _floor(count: int, fraction: float) -> int:
    """Floor of the product with the fraction as written: 0.29 of 100 is 29, not 28.999..."""
    return math.floor(count * Fraction(str(fraction)))
