"""The same numbers by group: of family sizes, of lengths, of kept fractions, of single families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from protein_robust.evaluation.calibration import NUM_BINS, equal_width_bins
from protein_robust.evaluation.classification import wilson_interval
from protein_robust.evaluation.predict import Predictions

FAMILY_SIZES = (10, 50, 200)
"""Upper ends of the groups, in training sequences, as published results are grouped."""
LENGTHS = (50, 100, 200, 400)
"""Upper ends of the groups, in residues that are seen."""
KEPT_FRACTIONS = (0.2, 0.4, 0.6, 0.8)
"""Upper ends of the groups, as a part of the whole sequence."""


@dataclass(frozen=True)
class Grouping:
    """Which group each example is in.

    Attributes:
        number: of the group, shape (N,), int64 in [0, G).
        names: of the G groups, in their order.
    """

    number: NDArray[np.int64]
    names: Sequence[str]


def group_by_ends(
    values: NDArray[np.int64] | NDArray[np.float64], ends: Sequence[float]
) -> Grouping:
    """Group examples by a number: up to the first end, above it up to the second, ..., above all.

    Args:
        values: of each example, shape (N,).
        ends: increasing; integers where the values are.

    Returns:
        The grouping, one group more than there are ends.

    Example:
        >>> group_by_ends(np.array([10, 11, 300]), (10, 50, 200)).names
        ['<= 10', '11-50', '51-200', '> 200']
    """
    number = np.searchsorted(np.asarray(ends), values, side="left").astype(np.int64)
    is_whole = np.issubdtype(values.dtype, np.integer)
    pairs = pairwise(ends)
    between = [f"{low + 1:g}-{high:g}" if is_whole else f"{low:g}-{high:g}" for low, high in pairs]
    return Grouping(number, [f"<= {ends[0]:g}", *between, f"> {ends[-1]:g}"])


def measure_groups(
    predictions: Predictions,
    calibrated: Predictions | None,
    label: NDArray[np.int64],
    grouping: Grouping,
) -> Mapping[str, NDArray[np.float64] | NDArray[np.int64] | list[str]]:
    """Measure each group that has an example.

    Args:
        predictions: of the N examples.
        calibrated: the same after temperature scaling; None for no such numbers.
        label: classes to compare with, shape (N,), int64.
        grouping: of the N examples.

    Returns:
        Columns of one length: ``group`` (name), ``place`` (number of the group), ``num_examples``,
        ``accuracy`` with its Wilson interval ``accuracy_low`` and ``accuracy_high``,
        ``entropy_confidence`` (mean), ``max_probability`` (mean), ``expected_calibration_error``
        and, NaN where nothing was scaled, ``calibrated_max_probability`` and
        ``calibrated_expected_calibration_error``. A small group has a large calibration error by
        chance alone.
    """
    number, size = grouping.number, len(grouping.names)
    is_correct = predictions.prediction == label
    counts = np.bincount(number, minlength=size)
    there = np.flatnonzero(counts)
    right = np.bincount(number[is_correct], minlength=size)[there]

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = np.bincount(number, values, size)[there] / counts[there]
        return means

    def error(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
        cell = number * NUM_BINS + equal_width_bins(confidence)[0]
        gaps = np.bincount(cell, is_correct - confidence, size * NUM_BINS)
        sums: NDArray[np.float64] = np.abs(gaps.reshape(size, NUM_BINS)).sum(axis=1)
        return sums[there] / counts[there]

    low, high = wilson_interval(right, counts[there])
    scaled = None if calibrated is None else calibrated.max_probability
    none = np.full(len(there), np.nan)
    return {
        "group": [grouping.names[place] for place in there.tolist()],
        "place": there,
        "num_examples": counts[there],
        "accuracy": right / counts[there],
        "accuracy_low": low,
        "accuracy_high": high,
        "entropy_confidence": mean(predictions.entropy_confidence),
        "max_probability": mean(predictions.max_probability),
        "calibrated_max_probability": none if scaled is None else mean(scaled),
        "expected_calibration_error": error(predictions.max_probability),
        "calibrated_expected_calibration_error": none if scaled is None else error(scaled),
    }
