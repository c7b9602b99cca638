"""The aligned residues of a synthetic family: columns, evolution, and what real files have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]

RARE_RATE = 1e-4
REPEATED_RATE = 0.002
CONFLICT_RATE = 0.0002
"""Of all sequences: copies of another one of the family, and of one of another family."""
MIXED_RATE = 0.25
"""Families with ``-`` in core columns and lower case in inserts; the others have ``.`` alone."""
CHUNK_CELLS = 1 << 18
LETTERS = b"ACDEFGHIKLMNPQRSTVWY"
FREQUENCIES = np.array(
    [83, 14, 55, 68, 39, 71, 23, 60, 58, 97, 24, 41, 47, 39, 55, 66, 53, 69, 11, 29]
)
"""Of each letter in proteins, in thousandths."""
LETTER_OF_BYTE = np.frombuffer(LETTERS, np.uint8)[
    np.searchsorted(np.cumsum(FREQUENCIES) / FREQUENCIES.sum(), (np.arange(256) + 0.5) / 256)
]
RARE_LETTERS = np.frombuffer(b"XXXXXXXXXXXXBBZZUUOJ", np.uint8)
LOWER = 0x20


@dataclass(frozen=True)
class Layout:
    """The columns of one family, in blocks of core and insert columns; w columns, b blocks.

    Attributes:
        block: which block a column is in, shape (w,), int64.
        rank: its place in the block, shape (w,), int64.
        sizes: columns of each block, shape (b,), int64.
        occupancy: mean filled part of each block, shape (b,).
        case: 0x20 where residues are lower case, else 0, shape (w,), uint8.
        gap: the gap letter of each column, shape (w,), uint8.
    """

    block: Counts
    rank: Counts
    sizes: Counts
    occupancy: NDArray[np.float64]
    case: Bytes
    gap: Bytes


def draw_bytes(rng: np.random.Generator, size: int) -> Bytes:
    """Uniform bytes, shape (size,): eight from each draw of the bit generator."""
    raw: NDArray[np.uint64] = rng.bit_generator.random_raw(-(-size // 8))
    return raw.view(np.uint8)[:size]


def make_layout(length: int, width: int, *, rng: np.random.Generator) -> Layout:
    """Cut the columns into blocks of core (about 10) and of insert (about 8 columns), shuffled."""
    num_inserts = width - length
    blocks = [max(1, length // 10), -(-num_inserts // 8)]
    sizes = []
    for columns, count in zip((length, num_inserts), blocks, strict=True):
        cuts = np.sort(rng.integers(0, columns + 1, max(0, count - 1)))
        edges = np.concatenate([[0], cuts, [columns]])
        sizes.append((edges[1:] - edges[:-1])[:count])  # none, where there is no insert
    order = rng.permutation(sum(blocks))
    is_insert = order >= blocks[0]
    shuffled = np.concatenate(sizes)[order]
    core = 1 - 0.4 * (1 - length / width)
    insert = (1 - core) * length / max(1, num_inserts)  # so that `length` residues are left
    block = np.repeat(np.arange(len(order)), shuffled)
    mixed = rng.random() < MIXED_RATE
    lower = is_insert[block] & mixed
    return Layout(
        block=block,
        rank=np.arange(width) - np.repeat(np.cumsum(shuffled) - shuffled, shuffled),
        sizes=shuffled,
        occupancy=np.where(is_insert, insert, core),
        case=np.where(lower, LOWER, 0).astype(np.uint8),
        gap=np.where(lower | (not mixed), ord("."), ord("-")).astype(np.uint8),
    )


def draw_cells(
    layout: Layout, num_rows: int, *, ancestor: Bytes, rng: np.random.Generator
) -> Bytes:
    """Evolve the rows, shape (num_rows, w): from the family to its branches, and on to the rows.

    A column keeps its letter with a chance of its own, in all branches; some branches are further
    from the ancestor than others, so that single linkage at 25 % identity parts some families.
    """
    width = len(ancestor)
    num_branches = 1 + int(rng.integers(0, 2 + num_rows // 12))
    kept = rng.random(width) ** rng.uniform(0.1, 0.9)
    distance = (rng.exponential(1.5, num_branches) ** 2)[:, None]
    branches = evolve(np.broadcast_to(ancestor, (num_branches, width)), kept**distance, rng)
    branch_of_row = rng.integers(0, num_branches, num_rows)
    cells = np.empty((num_rows, width), np.uint8)
    step = max(1, CHUNK_CELLS // width)  # a chunk stays in the cache
    for begin in range(0, num_rows, step):
        part = slice(begin, begin + step)
        letters = evolve(branches[branch_of_row[part]], kept, rng)
        filled = draw_filled(layout, len(letters), rng=rng)
        cells[part] = np.where(filled, letters | layout.case, layout.gap)
    return cells


def evolve(letters: Bytes, kept: NDArray[np.float64], rng: np.random.Generator) -> Bytes:
    """Keep a letter with the given chance, else draw one; it may be the same again."""
    dice = draw_bytes(rng, 2 * letters.size).reshape(2, *letters.shape)
    threshold = np.minimum(256 * kept, 255).astype(np.uint8)
    return np.where(dice[0] < threshold, letters, LETTER_OF_BYTE[dice[1]])


def draw_filled(layout: Layout, num_rows: int, *, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where rows have a residue, shape (num_rows, w): a block is filled from its left."""
    ramp = np.minimum(0.2, 2 * np.minimum(layout.occupancy, 1 - layout.occupancy)) + 1e-9
    dice = rng.random((num_rows, len(layout.sizes)), dtype=np.float32)
    part = np.clip((layout.occupancy - dice) / ramp + 0.5, 0, 1)
    filled = np.rint(part * layout.sizes).astype(np.int16)
    is_residue: NDArray[np.bool_] = filled[:, layout.block] > layout.rank.astype(np.int16)
    is_residue[~is_residue.any(axis=1), 0] = True
    return is_residue


def spoil(
    cells: Bytes, layout: Layout, *, donors: Sequence[Bytes], rng: np.random.Generator
) -> None:
    """Put in what real files have: rare letters, repeated sequences, sequences of other families.

    A sequence of another family stands at the left, with its gaps behind it.
    """
    num_rows, width = cells.shape
    places = rng.integers(0, cells.size, rng.poisson(RARE_RATE * cells.size))
    flat, rare = cells.reshape(-1), rng.choice(RARE_LETTERS, len(places))
    flat[places] = np.where(
        flat[places] >= ord("A"), rare | layout.case[places % width], flat[places]
    )
    if num_rows > 1:
        num_copies = rng.poisson(REPEATED_RATE * num_rows)
        source, copy = rng.integers(0, num_rows, (2, num_copies))
        cells[copy] = cells[source]
    fitting = [donor for donor in donors if len(donor) <= width]
    for row in rng.integers(0, num_rows, rng.poisson(CONFLICT_RATE * num_rows) * bool(fitting)):
        donor = fitting[int(rng.integers(len(fitting)))]
        cells[row] = layout.gap
        cells[row, : len(donor)] = donor


def consensus(ancestor: Bytes, layout: Layout) -> bytes:
    """The ancestor's letters, gaps in inserts."""
    is_core = layout.occupancy[layout.block] > 0.5
    return np.where(is_core, ancestor, ord(".")).astype(np.uint8).tobytes()
