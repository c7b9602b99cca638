"""Decoys: sequences that no family has, made of those that are there.

A shuffled sequence keeps its length and its composition and loses everything else. A reversed one
also keeps which residues are neighbours, so it is the harder decoy. Both take sequences as one flat
array, each right after the one before, letters or tokens alike, and give such an array of the same
lengths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**17
"""Residues that are shuffled at a time: memory does not grow with the data set."""
SEQUENCES_IN_BLOCK = 2**11
"""At most; 11 bits for the number of the sequence leave 53 of 64 for the random number."""


def shuffle_residues(
    residues: NDArray[np.uint8], lengths: NDArray[np.int64], *, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Put the residues of each sequence into a random order, every order being equally likely.

    Each residue gets a random number of 53 bits, by which the residues of a sequence are sorted.

    Args:
        residues: of N sequences, one after the other, shape (R,), uint8.
        lengths: residues of each sequence, shape (N,), int64.
        rng: where the orders come from; one draw for each residue.

    Returns:
        The shuffled sequences, in the same places, shape (R,), uint8.

    Raises:
        ValueError: if the lengths do not add up to R.

    Example:
        >>> letters = np.frombuffer(b"AACCCMKV", dtype=np.uint8)
        >>> rng = np.random.default_rng(0)
        >>> shuffle_residues(letters, np.array([5, 3]), rng=rng).tobytes()
        b'CCAACKVM'
    """
    end = _ends(residues, lengths)
    shuffled = np.empty_like(residues)
    first = 0
    while first < len(lengths):
        begin = int(end[first] - lengths[first])
        # As many sequences as fit the block, and at least one.
        last = max(first + 1, int(np.searchsorted(end, begin + BLOCK, side="right")))
        last = min(last, first + SEQUENCES_IN_BLOCK)
        place = slice(begin, int(end[last - 1]))
        owner = np.repeat(np.arange(last - first, dtype=np.uint64), lengths[first:last])
        key = rng.integers(2**53, size=len(owner), dtype=np.uint64) | owner << np.uint64(53)
        order = np.argsort(key)  # ten times as fast as sorting by two keys
        shuffled[place] = residues[place][order]
        first = last
    return shuffled


def reverse_residues(residues: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Turn each sequence around.

    Args:
        residues: of N sequences, one after the other, shape (R,), uint8.
        lengths: residues of each sequence, shape (N,), int64.

    Returns:
        The reversed sequences, in the same places, shape (R,), uint8.

    Raises:
        ValueError: if the lengths do not add up to R.

    Example:
        >>> letters = np.frombuffer(b"AACCCMKV", dtype=np.uint8)
        >>> reverse_residues(letters, np.array([5, 3])).tobytes()
        b'CCCAAVKM'
    """
    end = _ends(residues, lengths)
    # All residues backwards are all sequences backwards, the last sequence first; what stands at
    # place i of the sequence from b to e comes from place b + e - 1 - i.
    source = np.repeat(2 * end - lengths - 1, lengths)
    source -= np.arange(len(residues))
    return residues[source]


def _ends(residues: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each sequence ends, shape (N,)."""
    end: NDArray[np.int64] = np.cumsum(lengths, dtype=np.int64)
    total = int(end[-1]) if len(end) else 0
    if total != len(residues):
        raise ValueError(f"Expected `lengths` that add up to {len(residues)}, got {total}.")
    return end
