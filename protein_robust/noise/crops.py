"""Cropping noise: the learner sees a contiguous part of a sequence, with the whole one's label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CropRule:
    """What part of a sequence is kept.

    Attributes:
        kind: ``none``; ``random``, a part of random length at a random place; or ``first``, the
            first ``num_residues`` (the talk's protein experiment: its N-terminal 434).
        min_fraction: for ``random``, the least kept fraction of the length, in (0, 1].
        max_fraction: for ``random``, the largest, in [``min_fraction``, 1].
        num_residues: for ``first``, how many residues are kept, at least 1.

    Raises:
        ValueError: if a value is outside what is said above.
    """

    kind: Literal["none", "random", "first"] = "none"
    min_fraction: float = 0.5
    max_fraction: float = 1.0
    num_residues: int = 434

    def __post_init__(self) -> None:
        """Check every value."""
        if not 0 < self.min_fraction <= 1:
            raise ValueError(f"Expected `min_fraction` in (0, 1], got {self.min_fraction}.")
        if not self.min_fraction <= self.max_fraction <= 1:
            raise ValueError(
                f"Expected `max_fraction` in [min_fraction, 1] = [{self.min_fraction}, 1], "
                f"got {self.max_fraction}."
            )
        if self.num_residues < 1:
            raise ValueError(f"Expected `num_residues` of at least 1, got {self.num_residues}.")


@dataclass(frozen=True)
class Crops:
    """The part of each sequence that is seen.

    Attributes:
        start: first residue, counted from 0, shape (N,), int64.
        length: number of residues, at least 1, shape (N,), int64.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]


def draw_crops(lengths: NDArray[np.int64], *, rule: CropRule, rng: np.random.Generator) -> Crops:
    """Draw a crop for each sequence.

    Under ``random`` the kept length is uniform over the integers from ``ceil(min_fraction L)`` to
    ``floor(max_fraction L)`` (one value, the lower, where there is none between), and the start
    uniform over the places where it fits.

    Args:
        lengths: L of each sequence, shape (N,), int64, at least 1.
        rule: what to keep.
        rng: where the draws come from; untouched unless ``kind`` is ``random``.

    Returns:
        One crop a sequence.

    Example:
        >>> rule = CropRule("first", num_residues=10)
        >>> draw_crops(np.array([4, 30]), rule=rule, rng=np.random.default_rng(0)).length.tolist()
        [4, 10]
    """
    if rule.kind == "random":
        # The tiny term keeps a product such as 0.28 * 25 = 7.000000000000001 at the 7 it means.
        shortest = np.ceil(rule.min_fraction * lengths - 1e-9).astype(np.int64).clip(1)
        longest = np.floor(rule.max_fraction * lengths + 1e-9).astype(np.int64).clip(shortest)
        kept = rng.integers(shortest, longest, endpoint=True)
        return Crops(rng.integers(0, lengths - kept, endpoint=True), kept)
    kept = np.minimum(lengths, rule.num_residues) if rule.kind == "first" else lengths.copy()
    return Crops(np.zeros_like(lengths), kept)
