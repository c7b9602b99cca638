"""Predictions, and the numbers that are read off them."""

from protein_robust.evaluation.calibration import expected_calibration_error
from protein_robust.evaluation.classification import accuracy_score
from protein_robust.evaluation.confidence import entropy_confidence
from protein_robust.evaluation.dynamics import summarise
from protein_robust.evaluation.predict import Predictions, predict

__all__ = [
    "Predictions",
    "accuracy_score",
    "entropy_confidence",
    "expected_calibration_error",
    "predict",
    "summarise",
]
