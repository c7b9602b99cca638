"""Whether confidence can be read as the chance of being right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expected_calibration_error(
    confidence: NDArray[np.float64], is_correct: NDArray[np.bool_], *, num_bins: int = 15
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
    if not len(confidence):
        return float("nan")
    bins = np.ceil(confidence * num_bins).astype(np.int64).clip(1, num_bins)
    gap = np.bincount(bins, weights=is_correct.astype(np.float64) - confidence)
    return float(np.abs(gap).sum() / len(confidence))
