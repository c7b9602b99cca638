"""The numbers of one data set in one state of the network: the talk's metrics.

On training data with known clean labels these are the six of its training dynamics ("Empirical
analysis with 6 metrics"; Wang et al., ProSelfLC, CVPR 2021, Fig. 3); the sixth, generalisation, is
the accuracy on the test data. All are of the network's own predictions, in evaluation mode, on
examples that are not augmented: a crop, where cropping is the noise, is the same each time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protein_robust.evaluation.calibration import expected_calibration_error
from protein_robust.evaluation.classification import accuracy_score
from protein_robust.evaluation.predict import Predictions


def summarise(
    predictions: Predictions,
    label: NDArray[np.int64],
    clean_label: NDArray[np.int64],
) -> dict[str, float]:
    """Reduce predictions to the metrics of the table and of the training dynamics.

    Args:
        predictions: of the N examples.
        label: given classes, shape (N,), int64.
        clean_label: classes before corruption, shape (N,), int64; -1 where there is none, as for
            sequences of unknown or held-out families that noise added.

    Returns:
        ``accuracy`` (against given labels), ``entropy_confidence`` (mean 1 - H(p)/H(u)),
        ``max_probability`` (mean), ``expected_calibration_error``; and, only where labels were
        corrupted, ``correct_fitting`` (clean subset), ``wrong_fitting`` (noisy subset against
        given labels), ``correction`` (noisy subset against clean labels), ``clean_accuracy`` (all
        against clean labels), ``clean_entropy`` and ``noisy_entropy`` (mean H(p)/H(u) of either
        subset). Examples without a clean class are in neither subset; where there are any,
        ``outside_fitting`` (them against given labels) and ``outside_max_probability`` (mean).
        Where the loss describes its examples: the mean of each number, and
        ``emphasis_variance``, sigma = E[(w - E w)^2] of the weights w of derivative manipulation as
        they are, not normalised; divide by the square of ``emphasis`` to compare densities.
    """
    prediction = predictions.prediction
    metrics = {
        "accuracy": accuracy_score(prediction, label),
        "entropy_confidence": _mean(predictions.entropy_confidence),
        "max_probability": _mean(predictions.max_probability),
        "expected_calibration_error": expected_calibration_error(
            predictions.max_probability, prediction == label
        ),
    }
    metrics |= {name: _mean(values) for name, values in predictions.described.items()}
    if "emphasis" in predictions.described:
        metrics["emphasis_variance"] = float(predictions.described["emphasis"].var())
    noisy = _is_noisy(label, clean_label)
    if noisy.any():
        metrics |= _subset_metrics(predictions, label, clean_label, noisy)
    outside = clean_label < 0
    if outside.any():
        metrics["outside_fitting"] = accuracy_score(prediction[outside], label[outside])
        metrics["outside_max_probability"] = _mean(predictions.max_probability[outside])
    return metrics


NUM_BINS = 20
"""Of the histograms of p_y, over [0, 1]."""


def label_probability_histograms(
    predictions: Predictions,
    label: NDArray[np.int64],
    clean_label: NDArray[np.int64],
) -> dict[str, list[float]]:
    """How the probability of the given label, p_y, is distributed (the talk's histogram).

    Args:
        predictions: of the N examples.
        label: given classes, shape (N,), int64.
        clean_label: classes before corruption, shape (N,), int64.

    Returns:
        Numbers of examples in `NUM_BINS` bins of equal width over [0, 1]: ``clean_histogram``, and
        where labels were corrupted ``noisy_histogram``.
    """
    # Examples without a clean class are in neither.
    noisy = _is_noisy(label, clean_label)
    subsets = {"clean_histogram": label == clean_label, "noisy_histogram": noisy}
    return {
        name: [
            float(count)
            for count in np.histogram(predictions.label_probability[subset], NUM_BINS, (0, 1))[0]
        ]
        for name, subset in subsets.items()
        if subset.any()
    }


def _is_noisy(label: NDArray[np.int64], clean_label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the label is another class than the clean one."""
    is_noisy: NDArray[np.bool_] = (label != clean_label) & (clean_label >= 0)
    return is_noisy


def _subset_metrics(
    predictions: Predictions,
    label: NDArray[np.int64],
    clean_label: NDArray[np.int64],
    noisy: NDArray[np.bool_],
) -> Mapping[str, float]:
    prediction = predictions.prediction
    entropy = 1 - predictions.entropy_confidence
    clean, known = label == clean_label, clean_label >= 0
    return {
        "correct_fitting": accuracy_score(prediction[clean], label[clean]),
        "wrong_fitting": accuracy_score(prediction[noisy], label[noisy]),
        "correction": accuracy_score(prediction[noisy], clean_label[noisy]),
        "clean_accuracy": accuracy_score(prediction[known], clean_label[known]),
        "clean_entropy": _mean(entropy[clean]),
        "noisy_entropy": _mean(entropy[noisy]),
    }


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
