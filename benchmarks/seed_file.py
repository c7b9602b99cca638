"""Write a synthetic Pfam-A.seed with the shape of Pfam 35: sizes, lengths, gaps, markup.

Everything follows from the seed. Families are drawn one after the other, so a whole release needs
little memory. No sequence is a real one.

References:
    Statistics of Pfam 35.0 (seed): 19,632 families, 1,236,587 sequences, 192,466,640 residues,
    346,448,427 aligned cells; a family has 1 to 3,938 sequences, median 23; 738 have one, 1,784 at
    most two, 5,837 fewer than 10, 9,227 at most 20; 821 have a member above 512 residues; the
    median of the identities is 36 %; 7,769 belong to a clan.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

# From this folder, where a script finds its neighbours.
from seed_alignment import (
    LETTER_OF_BYTE,
    LOWER,
    Bytes,
    Counts,
    consensus,
    draw_bytes,
    draw_cells,
    make_layout,
    spoil,
)
from seed_markup import family_features, name_rows, structure_lines

PFAM_FAMILIES = 19_632
PFAM_MEAN_SIZE = 1_236_587 / PFAM_FAMILIES
PFAM_LARGEST = 3_938
MEAN_RESIDUES = 192_466_640 / 1_236_587
CELLS_PER_RESIDUE = 346_448_427 / 192_466_640
SMALL_SIZES = ((0, 0.5), (738, 1.5), (1784, 2.5), (5837, 9.5), (9227, 20.5), (9816, 23.0))
"""Families up to a size; the sizes of the larger half follow from the mean and the largest."""
TAIL_POWER = 0.863
"""Bends the tail of the sizes away from a log-normal one, so that their mean is right."""
LENGTH_SIGMA = 0.69
MEMBER_BYTES = 1 << 22
"""Of the text of one gzip member."""
GZIP_LEVEL = 3


@dataclass(frozen=True)
class Plan:
    """The sizes of all families.

    Attributes:
        rows: sequences of each, shape (F,), int64.
        lengths: residues of a sequence, about, shape (F,), int64.
        widths: columns of each alignment, shape (F,), int64.
    """

    rows: Counts
    lengths: Counts
    widths: Counts


@dataclass
class Totals:
    """What has been written so far."""

    rows: int = 0
    residues: int = 0
    cells: int = 0
    num_bytes: int = 0


def main() -> int:
    """Write the file and print its statistics."""
    options = parse()
    started = time.perf_counter()
    plan = make_plan(options.families, mean=options.sequences_mean, seed=options.seed)
    totals = write(options.file, plan, seed=options.seed, zipped=options.gzip)
    seconds = time.perf_counter() - started
    for name, value in statistics_of(plan, totals).items():
        print(f"{name}: {value}")
    print(f"{options.file}: {options.file.stat().st_size:,} bytes, {seconds:.1f} s")
    return 0


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="to write")
    parser.add_argument("--families", type=int, default=19600, help="how many (19600)")
    parser.add_argument("--sequences-mean", type=float, default=63, help="of a family (63)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--gzip", action="store_true", help="compress, in many members")
    options = parser.parse_args(arguments)
    if options.families < 2 or options.sequences_mean < 1 or options.seed < 0:
        parser.error("expected --families of at least 2, --sequences-mean of at least 1, a --seed")
    return options


def make_plan(num_families: int, *, mean: float = PFAM_MEAN_SIZE, seed: int = 0) -> Plan:
    """Spread sizes and lengths as in Pfam; their quantiles are the same for any number."""
    rng = np.random.default_rng([seed, num_families])
    place = (np.arange(num_families) + 0.5) / num_families
    normal = np.array([NormalDist().inv_cdf(u) for u in place])
    knots, sizes = np.array(SMALL_SIZES).T
    small = np.interp(place, knots / PFAM_FAMILIES, sizes)
    furthest = NormalDist().inv_cdf(1 - 0.5 / PFAM_FAMILIES)
    bent = np.clip(normal / furthest, 0, 1) ** TAIL_POWER
    large = sizes[-1] * (PFAM_LARGEST / sizes[-1]) ** bent
    scale = mean / PFAM_MEAN_SIZE
    rows = np.maximum(1, np.rint(np.where(place < 0.5, small, large) * scale)).astype(np.int64)
    rows = rng.permutation(rows)
    lengths = rng.permutation(np.exp(LENGTH_SIGMA * normal))
    lengths *= MEAN_RESIDUES * rows.sum() / (rows * lengths).sum()
    lengths = np.clip(np.rint(lengths), 20, 2000).astype(np.int64)
    # A family on its own has no gap, and the more sequences, the more columns.
    growth = rows * lengths * np.log(rows)
    growth_rate = (CELLS_PER_RESIDUE - 1) * (rows * lengths).sum() / max(1, growth.sum())
    widths = np.rint(lengths * (1 + growth_rate * np.log(rows))).astype(np.int64)
    return Plan(rows, lengths, widths)


def write(path: Path, plan: Plan, *, seed: int, zipped: bool) -> Totals:
    """Write all families."""
    totals = Totals()
    pending: list[bytes] = []
    held = 0
    with path.open("wb") as file:

        def flush() -> None:
            text = b"".join(pending)
            pending.clear()
            totals.num_bytes += len(text)
            file.write(gzip.compress(text, compresslevel=GZIP_LEVEL, mtime=0) if zipped else text)

        for text in family_texts(plan, totals, seed=seed):
            pending.append(text)
            held += len(text)
            if held > MEMBER_BYTES:
                flush()
                held = 0
        flush()
    return totals


def family_texts(plan: Plan, totals: Totals, *, seed: int) -> Iterator[bytes]:
    """Each family as text, in turn."""
    donors: list[Bytes] = []
    sizes = zip(plan.rows.tolist(), plan.lengths.tolist(), plan.widths.tolist(), strict=True)
    for number, (num_rows, length, width) in enumerate(sizes):
        rng = np.random.default_rng([seed, 1, number])
        layout = make_layout(length, width, rng=rng)
        ancestor = LETTER_OF_BYTE[draw_bytes(rng, width)]
        cells = draw_cells(layout, num_rows, ancestor=ancestor, rng=rng)
        spoil(cells, layout, donors=donors, rng=rng)
        is_residue = cells >= ord("A")  # both gaps come before the letters
        row_residues = is_residue.sum(axis=1)
        names = name_rows(row_residues, first=totals.rows, rng=rng)
        yield b"".join(
            [
                family_features(number, num_rows, rng=rng),
                structure_lines(cells, names, consensus=consensus(ancestor, layout), rng=rng),
                b"//\n",
            ]
        )
        totals.rows += num_rows
        totals.residues += int(row_residues.sum())
        totals.cells += cells.size
        # Some sequences are kept for families to come, which get them as their own.
        donors.append(cells[0][is_residue[0]] & ~np.uint8(LOWER))
        del donors[:-64]


def statistics_of(plan: Plan, totals: Totals) -> dict[str, str]:
    """What was written, beside Pfam 35."""
    families = len(plan.rows)
    quantiles = np.quantile(plan.rows, [0, 0.25, 0.5, 0.75, 0.9, 0.99, 1], method="nearest")
    upto = [f"{(plan.rows <= size).sum():,} of at most {size}" for size in (1, 2, 9, 20)]
    return {
        "families": f"{families:,} ({', '.join(upto)})",
        "sequences": f"{totals.rows:,} ({totals.rows / families:.1f} a family)",
        "sequences a family, quantiles 0, .25, .5, .75, .9, .99, 1": str(quantiles.tolist()),
        "residues": f"{totals.residues:,} ({totals.residues / totals.rows:.1f} a sequence)",
        "aligned cells": f"{totals.cells:,} ({totals.cells / totals.residues:.3f} a residue)",
        "bytes of text": f"{totals.num_bytes:,}",
    }


if __name__ == "__main__":
    sys.exit(main())
