"""Whether confidence can be read as the chance of being right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, by bins of confidence: the numbers of a reliability diagram.

    Attributes:
        low: lower border of each bin, shape (M,), float64; the bin is (low, high].
        high: upper border, shape (M,), float64.
        num_examples: in each bin, shape (M,), int64.
        confidence: mean in each bin, shape (M,), float64; NaN where it is empty.
        accuracy: in each bin, shape (M,), float64; NaN where it is empty.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    num_examples: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error over these bins; NaN for no examples."""
        there = self.num_examples > 0
        if not there.any():
            return math.nan
        gap = np.abs(self.accuracy[there] - self.confidence[there])
        return float(np.average(gap, weights=self.num_examples[there]))


def equal_width_bins(
    confidence: NDArray[np.float64], num_bins: int = NUM_BINS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number the bins (0, 1/M], (1/M, 2/M], ..., so that exactly 1 is in the last one.

    Args:
        confidence: shape (N,), in [0, 1]; 0 is in the first bin.
        num_bins: M.

    Returns:
        The bin of each example, shape (N,), int64 in [0, M), and the borders, shape (M + 1,).
    """
    bins = np.ceil(confidence * num_bins).astype(np.int64).clip(1, num_bins) - 1
    return bins, np.arange(num_bins + 1) / num_bins


def equal_mass_bins(
    confidence: NDArray[np.float64], num_bins: int = NUM_BINS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number bins of (nearly) as many examples each; equal confidences are in one bin.

    The border after bin i is the confidence of the example of rank ceil(i N / M), so with different
    confidences the numbers of examples differ by one at most.

    Args:
        confidence: shape (N,), in [0, 1].
        num_bins: M.

    Returns:
        The bin of each example, shape (N,), int64, and the borders, shape (bins + 1,), from 0 to 1;
        fewer than M bins where confidences are equal.
    """
    ranks = -(-np.arange(1, num_bins) * len(confidence) // num_bins)
    inner = np.unique(np.sort(confidence)[ranks[ranks > 0] - 1])
    inner = inner[inner < 1] if len(inner) else inner
    bins = np.searchsorted(inner, confidence, side="left").astype(np.int64)
    return bins, np.concatenate([[0.0], inner, [1.0]])


def reliability(
    confidence: NDArray[np.float64],
    is_correct: NDArray[np.bool_],
    bins: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> Reliability:
    """Compare confidence and accuracy in each bin.

    Args:
        confidence: probability of the predicted class, shape (N,), in [0, 1].
        is_correct: whether the prediction is right, shape (N,), bool.
        bins: of these examples, by `equal_width_bins` or `equal_mass_bins`.

    Returns:
        The numbers of each bin.
    """
    number, borders = bins
    size = len(borders) - 1
    counts = np.bincount(number, minlength=size)
    right = np.bincount(number[is_correct], minlength=size)
    total = np.bincount(number, weights=confidence, minlength=size)
    with np.errstate(invalid="ignore"):
        return Reliability(borders[:-1], borders[1:], counts, total / counts, right / counts)


def expected_calibration_error(
    confidence: NDArray[np.float64], is_correct: NDArray[np.bool_], *, num_bins: int = NUM_BINS
) -> float:
    r"""Mean distance between confidence and accuracy, over bins of equal width.

    .. math:: \sum_b \frac{n_b}{N} |\mathrm{acc}_b - \mathrm{conf}_b|

    Bins are (0, 1/M], (1/M, 2/M], ..., so that a confidence of exactly 1 is in the last one.

    Args:
        confidence: probability of the predicted class, shape (N,), in [0, 1].
        is_correct: whether the prediction is right, shape (N,), bool.
        num_bins: M.

    Returns:
        In [0, 1], 0 is best; NaN for no examples.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.

    Example:
        >>> expected_calibration_error(np.array([0.75, 0.75]), np.array([True, False]))
        0.25
    """
    return _error(confidence, is_correct, equal_width_bins(confidence, num_bins)[0])


def equal_mass_calibration_error(
    confidence: NDArray[np.float64], is_correct: NDArray[np.bool_], *, num_bins: int = NUM_BINS
) -> float:
    """Mean distance between confidence and accuracy, over bins of as many examples each.

    Where most confidences are near 1, as those of a fitted network are, bins of equal width leave
    nearly everything in one of them.

    Args:
        confidence: probability of the predicted class, shape (N,), in [0, 1].
        is_correct: whether the prediction is right, shape (N,), bool.
        num_bins: M.

    Returns:
        In [0, 1], 0 is best; NaN for no examples.

    References:
        Nixon et al., "Measuring Calibration in Deep Learning", CVPR workshops 2019: adaptive bins,
        here of the top class only, and one distance for all classes together.

    Example:
        >>> equal_mass_calibration_error(np.array([0.6, 1.0]), np.array([True, True]), num_bins=2)
        0.2
    """
    return _error(confidence, is_correct, equal_mass_bins(confidence, num_bins)[0])


def _error(
    confidence: NDArray[np.float64], is_correct: NDArray[np.bool_], bins: NDArray[np.int64]
) -> float:
    if not len(confidence):
        return math.nan
    gap = np.bincount(bins, weights=is_correct.astype(np.float64) - confidence)
    return float(np.abs(gap).sum() / len(confidence))


MAX_RESAMPLES = 1000
MIN_RESAMPLES = 200
DRAWS = 25_000_000
"""Examples drawn in all: many examples have fewer resamples, and a narrower interval anyway."""
BLOCK = 2**19
"""Examples drawn at a time."""


def bootstrap_intervals(
    gaps: NDArray[np.float64], bins: list[NDArray[np.int64]], *, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Draw the examples anew many times, and say where calibration errors lie then.

    The bins stay those of all examples. The calibration error is biased upwards, of a resample more
    so: an interval may begin above the error of a well calibrated network.

    Args:
        gaps: right (1 or 0) minus confidence, for several readings of the same N examples, such as
            before and after scaling, shape (readings, N), float64.
        bins: of each reading, shape (N,), int64.
        rng: where the draws come from; the same ones for all readings.

    Returns:
        For each reading the 2.5 % and the 97.5 % quantile of its error; NaN for no examples.

    Raises:
        ValueError: if there are not as many rows of gaps as bins.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentiles).
    """
    if len(gaps) != len(bins):
        raise ValueError(f"Expected {len(gaps)} arrays of bins, got {len(bins)}.")
    size = gaps.shape[1]
    if not size:
        return [(math.nan, math.nan)] * len(bins)
    num = int(np.clip(DRAWS // size, MIN_RESAMPLES, MAX_RESAMPLES))
    errors = np.empty((len(bins), num))
    at_a_time = max(1, BLOCK // size)
    num_bins = 1 + max(int(number.max()) for number in bins)
    for begin in range(0, num, at_a_time):
        resamples = min(at_a_time, num - begin)
        # How often each example is drawn in each resample, (resamples, N).
        drawn = rng.integers(0, size, (resamples, size))
        drawn += np.arange(resamples)[:, None] * size
        times = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
        place = np.arange(resamples)[:, None] * num_bins
        for row, (gap, number) in enumerate(zip(gaps, bins, strict=True)):
            cell, weight = (number + place).ravel(), (times * gap).ravel()
            sums = np.bincount(cell, weight, resamples * num_bins)
            sums = np.abs(sums).reshape(resamples, num_bins).sum(axis=1)
            errors[row, begin : begin + resamples] = sums / size
    ends = np.quantile(errors, [0.025, 0.975], axis=1)
    return [(float(low), float(high)) for low, high in ends.T]
