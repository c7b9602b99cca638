"""Right and wrong predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    if prediction.shape != label.shape:
        raise ValueError(f"Expected labels of shape {prediction.shape}, got {label.shape}.")
    return float((prediction == label).mean()) if len(label) else float("nan")
