"""Clusters of related sequences, and a split that keeps each cluster whole.

Identity of two aligned rows is Easel's: columns with the same residue in both, divided by the
number of residues of the shorter one. Clusters are single-linkage clusters, so no two rows of
different clusters share more than the bound, whichever rows are taken.

References:
    Easel, ``esl_dst_CPairId``, https://github.com/EddyRivasLab/easel (identity; its single-linkage
    clusters join pairs at the bound too, ours only above it). Bileschi et al., "Using deep learning
    to annotate the protein universe", Nat. Biotechnol. 40, 2022 (the clustered split of Pfam).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protein_robust.alphabet import GAPS, RESIDUES, STOP
from protein_robust.ingest.options import SPLITS

_TRAIN, _VALID, _TEST = range(len(SPLITS))
_UNKNOWN = 255
_NUM_PLANES = 5  # bits of a code: 26 residue letters and "none"
_WORD = 64  # columns in one uint64
_CELLS_AT_ONCE = 2**22  # letters of an alignment in one step of packing
_WORDS_AT_ONCE = 2**17  # of a block of pairs: 1 MiB, so that it stays in the cache


def _code_of_byte() -> NDArray[np.uint8]:
    """0 for what is no residue, 1 to 26 for the residues in either case."""
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for letter in GAPS + STOP:
        table[ord(letter)] = 0
    for code, letter in enumerate(RESIDUES, start=1):
        table[[ord(letter), ord(letter.lower())]] = code
    return table


_CODE_OF_BYTE = _code_of_byte()


def cluster_aligned(rows: Sequence[bytes], max_identity: float) -> NDArray[np.int64]:
    """Cluster the rows of one alignment by single linkage on their identities.

    A breadth-first search: the rows just reached are compared with those not reached yet, and with
    no others. A family that is one cluster costs little more than one comparison of each row; n
    rows of width W without any link cost all n^2 / 2 comparisons of W columns, 64 columns in one
    step. Nothing is approximated.

    Args:
        rows: n aligned rows of one width; ``.``, ``-`` and ``*`` carry no residue, lower case is
            the same residue as upper case. Rare letters are residues: ``X`` equals ``X``.
        max_identity: pairs above it are linked, in [0, 1]. A row without residues has identity 0
            with every other.

    Returns:
        The cluster of each row, shape (n,), int64, numbered from 0 in order of first appearance.
        Which rows are together does not depend on their order.

    Raises:
        ValueError: if ``max_identity`` is outside [0, 1], rows differ in width, or one has a
            character that is neither a residue letter nor a gap.

    Example:
        >>> cluster_aligned([b"MKV-", b"CCCC", b"mkVA"], 0.25).tolist()
        [0, 1, 0]
    """
    if not 0 <= max_identity <= 1:
        raise ValueError(f"Expected `max_identity` in [0, 1], got {max_identity}.")
    planes = _pack(rows)  # (planes, words, n)
    lengths = np.bitwise_count(np.bitwise_or.reduce(planes, axis=0)).sum(axis=0, dtype=np.int64)
    clusters = np.full(len(rows), -1, dtype=np.int64)
    # What is not reached yet is kept together in memory and shrinks.
    left, places = planes, np.arange(len(rows))
    number = 0
    while places.size:
        reached, left, places = places[:1], left[:, :, 1:], places[1:]
        clusters[reached] = number
        while reached.size and places.size:
            num_now = max(1, _WORDS_AT_ONCE // max(1, left.shape[1] * places.size))
            now, reached = reached[:num_now], reached[num_now:]
            same = _identical_columns(planes[:, :, now], left)  # (rows now, rows left)
            shorter = np.minimum(lengths[now, None], lengths[None, places])
            linked = (same / np.maximum(shorter, 1) > max_identity).any(axis=0)
            if linked.any():
                clusters[places[linked]] = number
                reached = np.concatenate([reached, places[linked]])
                left, places = left[:, :, ~linked], places[~linked]
        number += 1
    return clusters


def divide_clusters(
    clusters: NDArray[np.int64],
    order: NDArray[np.int64],
    *,
    valid_fraction: float,
    test_fraction: float,
    pinned: NDArray[np.bool_] | None = None,
) -> NDArray[np.int8]:
    """Divide one family by whole clusters.

    The largest cluster goes to train, as does each with a pinned row. The others, in the order of
    their smallest key, go to test while the whole cluster fits into what test still lacks of
    floor(n * ``test_fraction``), else to valid likewise, else to train. So test and valid are
    never larger than a random split's, and often empty: at 25 % most families of Pfam are one
    cluster, or one large and a few small ones (the clustered test of Bileschi et al. has 21,293
    sequences of 1,339,083, 1.6 % and not 10 %).

    Args:
        clusters: the cluster of each row of the family, shape (n,), int64.
        order: a key of each row without repeats, such as the rank of its keyed hash, shape (n,),
            an integer dtype; it must not depend on the order of the rows.
        valid_fraction: in [0, 1).
        test_fraction: in [0, 1).
        pinned: rows that must be in train, shape (n,), such as those whose residues another family
            has too; None for none. They do not count in n.

    Returns:
        The place of each row's split in `SPLITS`, shape (n,), int8.

    Raises:
        ValueError: if the shapes differ or a key of ``order`` is there twice.

    Example:
        >>> clusters, order = np.array([0, 0, 0, 1]), np.arange(4)
        >>> divide_clusters(clusters, order, valid_fraction=0.0, test_fraction=0.25).tolist()
        [0, 0, 0, 2]
    """
    if pinned is None:
        pinned = np.zeros(clusters.shape, dtype=np.bool_)
    if not clusters.shape == order.shape == pinned.shape:
        shapes = f"{clusters.shape}, {order.shape} and {pinned.shape}"
        raise ValueError(f"Expected `clusters`, `order` and `pinned` of one shape, got {shapes}.")
    splits = np.full(clusters.shape, _TRAIN, dtype=np.int8)
    if clusters.size == 0:
        return splits
    in_order = np.argsort(order)
    if (np.diff(order[in_order]) == 0).any():
        raise ValueError("Expected `order` without repeated keys, got some.")
    # The first appearance in this order is the smallest key of a cluster.
    _, firsts, members, sizes = np.unique(
        clusters[in_order], return_index=True, return_inverse=True, return_counts=True
    )
    split_of_cluster = np.full(len(sizes), _TRAIN, dtype=np.int8)
    num_free = clusters.size - int(pinned.sum())
    lacking = {_TEST: _floor(num_free, test_fraction), _VALID: _floor(num_free, valid_fraction)}
    by_key = np.argsort(firsts)
    largest = by_key[np.argmax(sizes[by_key])]  # the first of the largest
    stays = np.bincount(members, weights=pinned[in_order]) > 0
    stays[largest] = True
    for cluster in by_key[~stays[by_key]].tolist():
        size = int(sizes[cluster])
        split = next((split for split, room in lacking.items() if size <= room), None)
        if split is not None:
            split_of_cluster[cluster] = split
            lacking[split] -= size
    splits[in_order] = split_of_cluster[members]
    return splits


def _identical_columns(now: NDArray[np.uint64], left: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of columns with the same residue, for each row now and each row left."""
    differs = now[0, :, :, None] ^ left[0, :, None, :]  # (words, rows now, rows left)
    residues = now[0]
    for plane in range(1, _NUM_PLANES):
        differs |= now[plane, :, :, None] ^ left[plane, :, None, :]
        residues = residues | now[plane]
    # Where one row has a residue and nothing differs, the other has the same residue.
    same = np.bitwise_count(np.invert(differs, out=differs) & residues[:, :, None])
    numbers: NDArray[np.int64] = same.sum(axis=0, dtype=np.int64)
    return numbers


def _pack(rows: Sequence[bytes]) -> NDArray[np.uint64]:
    """Bit k of each letter's code in plane k, 64 columns in a word: shape (planes, words, n)."""
    width = len(rows[0]) if rows else 0
    odd = next((len(row) for row in rows if len(row) != width), width)
    if odd != width:
        raise ValueError(f"Expected `rows` of one width, got {width} and {odd}.")
    num_words = -(-width // _WORD)
    planes = np.zeros((_NUM_PLANES, num_words, len(rows)), dtype=np.uint64)
    for start, codes in _codes(rows, width):
        for plane in range(_NUM_PLANES):
            bits = np.zeros((len(codes), num_words * _WORD // 8), dtype=np.uint8)
            packed = np.packbits((codes >> plane) & 1, axis=1)
            bits[:, : packed.shape[1]] = packed
            planes[plane, :, start : start + len(codes)] = bits.view(np.uint64).T
    return planes


def _codes(rows: Sequence[bytes], width: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The codes of some rows at a time, (rows, width), and the place of the first of them."""
    num_rows = max(1, _CELLS_AT_ONCE // max(1, width))
    for start in range(0, len(rows), num_rows):
        letters = np.frombuffer(b"".join(rows[start : start + num_rows]), dtype=np.uint8)
        codes = _CODE_OF_BYTE[letters]
        if (codes == _UNKNOWN).any():
            letter = chr(int(letters[int(np.argmax(codes == _UNKNOWN))]))
            raise ValueError(f"Expected `rows` of residue letters and gaps, got {letter!r}.")
        yield start, codes.reshape(len(rows[start : start + num_rows]), width)


def _floor(count: int, fraction: float) -> int:
    """Floor of the product with the fraction as written: 0.29 of 100 is 29, not 28.999..."""
    return math.floor(count * Fraction(str(fraction)))
