"""Cropping noise: the learner sees a part of a sequence, with the label of the whole one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

CropKind = Literal[
    "none", "random", "first", "n_terminal", "c_terminal", "internal_deletion", "fragment"
]
LengthDistribution = Literal["lognormal", "geometric", "uniform"]


@dataclass(frozen=True)
class CropRule:
    """What part of a sequence is kept.

    Four kinds keep a *random fraction*: the kept length is uniform over the integers from
    ``ceil(min_fraction L)`` to ``floor(max_fraction L)``, for a sequence of L residues. No kind but
    ``first`` keeps fewer than ``min_residues``, and a sequence that has no more is kept whole. A
    field that does not count for the chosen kind is not used.

    Attributes:
        kind: ``none``: every sequence is whole;
            ``random``: a random fraction, at a random place;
            ``n_terminal``: a random fraction, from the first residue on;
            ``c_terminal``: a random fraction, up to the last residue;
            ``internal_deletion``: a random fraction, in two pieces, one at each end and of at
            least 1 residue; what lies between is deleted, and the cut is at a random place
            (sequences of 1 or 2 residues are kept whole);
            ``fragment``: a length drawn from ``length_distribution``, whatever L is, at a random
            place: what a short read or a broken gene model shows of a protein;
            ``first``: the first ``num_residues`` (the talk's protein experiment: 434).
        min_fraction: of a random fraction, the least, in (0, 1].
        max_fraction: of a random fraction, the largest, in [``min_fraction``, 1].
        num_residues: for ``first``, how many residues are kept, at least 1.
        min_residues: the least number of residues kept by all kinds but ``first``, at least 1.
            Shorter lengths that are drawn become this one.
        length_distribution: for ``fragment``, that of its length before it is brought into
            [``min_residues``, L]: ``lognormal``, with ``mean_length`` and ``sd_length``, rounded
            to whole residues (with an ``sd_length`` of 0, reads of one length); ``geometric`` over
            1, 2, ..., with ``mean_length`` (breaks that are equally likely after every residue);
            or ``uniform`` over the integers from ``min_residues`` to ``max_length``.
        mean_length: for ``lognormal`` and ``geometric``, the mean, in residues, at least 1. The
            default pair suits translated reads: 90 % of them have 33 to 97 residues.
        sd_length: for ``lognormal``, the standard deviation, in residues, at least 0.
        max_length: for ``uniform``, the largest length, in residues, at least ``min_residues``.

    Raises:
        ValueError: if a value is outside what is said above (``max_length`` below
            ``min_residues`` only where both count).
    """

    kind: CropKind = "none"
    min_fraction: float = 0.5
    max_fraction: float = 1.0
    num_residues: int = 434
    min_residues: int = 1
    length_distribution: LengthDistribution = "lognormal"
    mean_length: float = 60.0
    sd_length: float = 20.0
    max_length: int = 100

    def __post_init__(self) -> None:
        """Check every value."""
        _check_choice("kind", self.kind, get_args(CropKind))
        _check_choice("length_distribution", self.length_distribution, get_args(LengthDistribution))
        if not 0 < self.min_fraction <= 1:
            raise ValueError(f"Expected `min_fraction` in (0, 1], got {self.min_fraction}.")
        if not self.min_fraction <= self.max_fraction <= 1:
            raise ValueError(
                f"Expected `max_fraction` in [min_fraction, 1] = [{self.min_fraction}, 1], "
                f"got {self.max_fraction}."
            )
        for name in ("num_residues", "min_residues", "max_length"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"Expected `{name}` of at least 1, got {getattr(self, name)}.")
        for name, least in (("mean_length", 1), ("sd_length", 0)):
            if not least <= getattr(self, name) < math.inf:
                found = getattr(self, name)
                raise ValueError(f"Expected a finite `{name}` of at least {least}, got {found}.")
        is_uniform = self.kind == "fragment" and self.length_distribution == "uniform"
        if is_uniform and self.max_length < self.min_residues:
            raise ValueError(
                f"Expected `max_length` of at least `min_residues` = {self.min_residues}, "
                f"got {self.max_length}."
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Expected `{name}` one of {', '.join(choices)}, got {value!r}.")


def _no_gaps() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Crops:
    """The part of each of N sequences that is seen.

    The residue at place j of what is seen, from 0 to ``length - 1``, is that at place
    ``start + j`` of the sequence where j is below ``gap_start``, else that at
    ``start + j + gap_length``. So ``start + length + gap_length`` is at most the sequence's length.

    Attributes:
        start: first residue, counted from 0, shape (N,), int64.
        length: number of residues that are seen, at least 1, shape (N,), int64.
        gap_start: residues that are seen before the deleted ones, shape (N,), int64; 0 where none
            is deleted. Left out: nothing is deleted anywhere.
        gap_length: residues deleted inside, shape (N,), int64; 0 where none is. Left out: as above.

    Raises:
        ValueError: if the four arrays have not one shape.

    Example:
        >>> Crops(start=np.array([2, 0]), length=np.array([5, 9])).gap_length.tolist()
        [0, 0]
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    gap_start: NDArray[np.int64] = field(default_factory=_no_gaps)
    gap_length: NDArray[np.int64] = field(default_factory=_no_gaps)

    def __post_init__(self) -> None:
        """Write out the gaps that were left out, and check the shapes."""
        for name in ("gap_start", "gap_length"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self.start), np.int64))
        shapes = [getattr(self, name).shape for name in self.__dataclass_fields__]
        if len(set(shapes)) > 1:
            raise ValueError(f"Expected arrays of one shape, got {shapes}.")


def draw_crops(lengths: NDArray[np.int64], *, rule: CropRule, rng: np.random.Generator) -> Crops:
    """Draw a crop for each sequence.

    Where no whole number lies between the bounds of a random fraction, the lower bound counts.
    Starts, and the place of a deletion, are uniform over where they fit.

    Args:
        lengths: L of each sequence, shape (N,), int64, at least 1.
        rule: what to keep.
        rng: where the draws come from; untouched if ``kind`` is ``none`` or ``first``.

    Returns:
        One crop a sequence.

    Raises:
        ValueError: if a length is below 1.

    Example:
        >>> rule = CropRule("first", num_residues=10)
        >>> draw_crops(np.array([4, 30]), rule=rule, rng=np.random.default_rng(0)).length.tolist()
        [4, 10]
    """
    if len(lengths) and lengths.min() < 1:
        raise ValueError(f"Expected lengths of at least 1, got {lengths.min()}.")
    start = np.zeros_like(lengths)
    if rule.kind == "none":
        return Crops(start, lengths.copy())
    if rule.kind == "first":
        return Crops(start, np.minimum(lengths, rule.num_residues))
    if rule.kind == "fragment":
        kept = _draw_fragment_lengths(lengths, rule, rng)
    else:
        kept = _draw_fractions(lengths, rule, rng)
    missing = lengths - kept
    if rule.kind == "n_terminal":
        return Crops(start, kept)
    if rule.kind == "c_terminal":
        return Crops(missing, kept)
    if rule.kind == "internal_deletion":
        # From 1 to kept - 1: a residue on both sides. What is whole has no gap, and 0 stands there.
        gap_start = rng.integers(1, np.maximum(kept, 2))
        return Crops(start, kept, np.where(missing > 0, gap_start, 0), missing)
    return Crops(rng.integers(0, missing, endpoint=True), kept)


def _draw_fractions(
    lengths: NDArray[np.int64], rule: CropRule, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Kept lengths of the kinds that keep a random fraction, shape (N,)."""
    # A deletion that is inside leaves two residues; a sequence of two has nothing inside.
    least = max(rule.min_residues, 2) if rule.kind == "internal_deletion" else rule.min_residues
    floor = np.minimum(lengths, least)
    # The tiny term keeps a product such as 0.28 * 25 = 7.000000000000001 at the 7 it means.
    shortest = np.ceil(rule.min_fraction * lengths - 1e-9).astype(np.int64).clip(floor)
    longest = np.floor(rule.max_fraction * lengths + 1e-9).astype(np.int64).clip(shortest)
    kept: NDArray[np.int64] = rng.integers(shortest, longest, endpoint=True)
    return kept


def _draw_fragment_lengths(
    lengths: NDArray[np.int64], rule: CropRule, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Kept lengths of ``fragment``, shape (N,)."""
    size = len(lengths)
    drawn: NDArray[np.int64] | NDArray[np.float64]
    if rule.length_distribution == "uniform":
        drawn = rng.integers(rule.min_residues, rule.max_length, size=size, endpoint=True)
    elif rule.length_distribution == "geometric":
        drawn = rng.geometric(1 / rule.mean_length, size=size)
    else:
        # With sigma^2 = log(1 + (sd / mean)^2) and mu = log(mean) - sigma^2 / 2 the lengths
        # themselves, not their logarithms, have the mean and the standard deviation asked for.
        variance = 2 * math.log(math.hypot(1, rule.sd_length / rule.mean_length))
        location = math.log(rule.mean_length) - variance / 2
        drawn = np.rint(rng.lognormal(location, math.sqrt(variance), size=size))
    return np.clip(drawn, np.minimum(lengths, rule.min_residues), lengths).astype(np.int64)
