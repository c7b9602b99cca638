"""Right and wrong predictions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NORMAL_QUANTILE = 1.959963984540054
"""Of 97.5 %: what lies beyond it on both sides together is 5 %."""


def accuracy_score(prediction: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Fraction of predictions that equal the label.

    Args:
        prediction: classes, shape (N,), int64.
        label: classes, shape (N,), int64.

    Returns:
        In [0, 1]; NaN for no examples.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> accuracy_score(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0]))
        0.75
    """
    _require_same_shape(prediction, label)
    return float((prediction == label).mean()) if len(label) else math.nan


def wilson_interval(
    num_right: NDArray[np.int64] | int, num_examples: NDArray[np.int64] | int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Interval that holds the true accuracy with about 95 % probability, for each of some groups.

    .. math:: \left(k + \frac{z^2}{2} \pm z \sqrt{\frac{k (n - k)}{n} + \frac{z^2}{4}}\right)
        / (n + z^2)

    Args:
        num_right: k, right predictions of each group, any shape, int64.
        num_examples: n, all predictions of each group, the same shape, int64.

    Returns:
        Lower and upper ends in [0, 1], float64; NaN where there is no example.

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
        1927.

    Example:
        >>> [round(float(end), 3) for end in wilson_interval(8, 10)]
        [0.49, 0.943]
    """
    right, n = np.asarray(num_right, np.float64), np.asarray(num_examples, np.float64)
    squared = NORMAL_QUANTILE**2
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (right + squared / 2) / (n + squared)
        half = NORMAL_QUANTILE * np.sqrt(right * (n - right) / n + squared / 4) / (n + squared)
    # Rounding puts the ends a little outside where none or all are right.
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def balanced_accuracy_score(prediction: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Mean over classes of the fraction of their examples that are predicted right.

    Args:
        prediction: classes, shape (N,), int64, each at least 0.
        label: classes, shape (N,), int64, each at least 0.

    Returns:
        In [0, 1], over the classes that have an example; NaN for no examples.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> balanced_accuracy_score(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        0.5
    """
    _require_same_shape(prediction, label)
    hits, examples = np.bincount(label[prediction == label]), np.bincount(label)
    there = examples > 0
    if not there.any():
        return math.nan
    hits = np.pad(hits, (0, len(examples) - len(hits)))
    return float((hits[there] / examples[there]).mean())


def macro_f1_score(prediction: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Mean over classes of F1, the harmonic mean of precision and recall.

    Args:
        prediction: classes, shape (N,), int64, each at least 0.
        label: classes, shape (N,), int64, each at least 0.

    Returns:
        In [0, 1], over the classes that have an example or are predicted, as scikit-learn does;
        NaN for no examples.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> macro_f1_score(np.array([0, 0, 1]), np.array([0, 1, 1]))
        0.6666666666666666
    """
    _require_same_shape(prediction, label)
    if not len(label):
        return math.nan
    size = int(max(prediction.max(), label.max())) + 1
    hits = np.bincount(label[prediction == label], minlength=size)
    # 2 TP + FP + FN: each class as it is predicted and as it is.
    seen = np.bincount(prediction, minlength=size) + np.bincount(label, minlength=size)
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def top_accuracy_score(label_rank: NDArray[np.int64], num_tries: int) -> float:
    """Fraction of labels among the classes of highest score.

    Args:
        label_rank: classes that score higher than the label, shape (N,), int64; classes of equal
            score count as lower.
        num_tries: how many classes, at least 1.

    Returns:
        In [0, 1]; NaN for no examples.

    Example:
        >>> top_accuracy_score(np.array([0, 4, 5]), 5)
        0.6666666666666666
    """
    return float((label_rank < num_tries).mean()) if len(label_rank) else math.nan


def _require_same_shape(prediction: NDArray[np.int64], label: NDArray[np.int64]) -> None:
    if prediction.shape != label.shape:
        raise ValueError(f"Expected labels of shape {prediction.shape}, got {label.shape}.")
