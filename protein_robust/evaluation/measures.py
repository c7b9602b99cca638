"""Everything that is said of a network on one data set, in one mapping of numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protein_robust.evaluation.calibration import (
    bootstrap_intervals,
    equal_mass_bins,
    equal_width_bins,
    reliability,
)
from protein_robust.evaluation.classification import (
    accuracy_score,
    balanced_accuracy_score,
    macro_f1_score,
    top_accuracy_score,
    wilson_interval,
)
from protein_robust.evaluation.coverage import risk_coverage
from protein_robust.evaluation.predict import Predictions

TOP = 5
CALIBRATED = "calibrated_"
"""Begins the names of what is read after temperature scaling."""


def measure(
    predictions: Predictions,
    calibrated: Predictions | None,
    label: NDArray[np.int64],
    *,
    clan_of: NDArray[np.int64],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Measure predictions against the labels they should agree with.

    Args:
        predictions: of the N examples.
        calibrated: the same after temperature scaling; None where nothing could be scaled.
        label: given classes, shape (N,), int64, those that the predictions were made with.
        clan_of: number of each class's clan, shape (K,), int64; a class without a clan has a
            number of its own, so that there only the family itself is right.
        rng: of the bootstrap.

    Returns:
        ``accuracy_low`` and ``accuracy_high`` (Wilson, 95 %), ``balanced_accuracy``, ``macro_f1``,
        ``top5_accuracy``, ``clan_accuracy``, ``negative_log_likelihood`` (mean, nats),
        ``brier_error`` (mean, in [0, 2]), ``expected_calibration_error`` and
        ``equal_mass_calibration_error`` each with the ends ``_low`` and ``_high`` of its bootstrap
        interval, ``confidence_gap`` (mean max p minus accuracy: above 0 is over-confident) and
        ``area_under_risk_coverage``. Those of them that depend on probabilities, and the mean
        ``entropy_confidence`` and ``max_probability``, also after scaling, as ``calibrated_...``.
    """
    prediction = predictions.prediction
    is_correct = prediction == label
    low, high = wilson_interval(int(is_correct.sum()), len(label))
    metrics = {
        "accuracy_low": float(low),
        "accuracy_high": float(high),
        "balanced_accuracy": balanced_accuracy_score(prediction, label),
        "macro_f1": macro_f1_score(prediction, label),
        f"top{TOP}_accuracy": top_accuracy_score(predictions.label_rank, TOP),
        "clan_accuracy": accuracy_score(clan_of[prediction], clan_of[label]),
    }
    readings = {"": predictions} | ({} if calibrated is None else {CALIBRATED: calibrated})
    for prefix, reading in readings.items():
        metrics |= {f"{prefix}{k}": v for k, v in _probability_metrics(reading, is_correct).items()}
    if calibrated is not None:
        for name in ("entropy_confidence", "max_probability"):
            metrics[CALIBRATED + name] = _mean(getattr(calibrated, name))
    return metrics | _calibration_errors(readings, is_correct, rng)


def _probability_metrics(
    predictions: Predictions, is_correct: NDArray[np.bool_]
) -> dict[str, float]:
    confidence = predictions.max_probability
    return {
        "negative_log_likelihood": -_mean(predictions.log_label_probability),
        "brier_error": _mean(predictions.brier_error),
        "confidence_gap": _mean(confidence - is_correct),
        "area_under_risk_coverage": risk_coverage(confidence, is_correct).area,
    }


def _calibration_errors(
    readings: dict[str, Predictions], is_correct: NDArray[np.bool_], rng: np.random.Generator
) -> dict[str, float]:
    """Both calibration errors of each reading, with intervals from the same draws."""
    names, all_bins, gaps, metrics = [], [], [], {}
    for prefix, reading in readings.items():
        confidence = reading.max_probability
        kinds = {
            "expected": equal_width_bins(confidence),
            "equal_mass": equal_mass_bins(confidence),
        }
        for kind, bins in kinds.items():
            name = f"{prefix}{kind}_calibration_error"
            metrics[name] = reliability(confidence, is_correct, bins).error
            names.append(name)
            all_bins.append(bins[0])
            gaps.append(is_correct - confidence)
    intervals = bootstrap_intervals(np.stack(gaps), all_bins, rng=rng)
    for name, (low, high) in zip(names, intervals, strict=True):
        metrics |= {f"{name}_low": low, f"{name}_high": high}
    return metrics


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
