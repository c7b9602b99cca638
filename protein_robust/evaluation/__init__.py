"""Predictions, and the numbers that are read off them."""

from protein_robust.evaluation.calibration import expected_calibration_error
from protein_robust.evaluation.classification import accuracy_score
from protein_robust.evaluation.confidence import entropy_confidence
from protein_robust.evaluation.dynamics import label_probability_histograms, summarise
from protein_robust.evaluation.predict import Describe, Predictions, predict

__all__ = [
    "Describe",
    "Predictions",
    "accuracy_score",
    "entropy_confidence",
    "expected_calibration_error",
    "label_probability_histograms",
    "predict",
    "summarise",
]
