"""A trained network as something to classify with: calibrated, with thresholds and decoys."""

from protein_robust.classifier.families import Families
from protein_robust.classifier.judging import TOLERATED_ERROR, UNKNOWN_LEVEL, VERDICTS
from protein_robust.classifier.package import Classifier
from protein_robust.classifier.thresholds import TOLERATED_ERRORS, Threshold

__all__ = [
    "TOLERATED_ERROR",
    "TOLERATED_ERRORS",
    "UNKNOWN_LEVEL",
    "VERDICTS",
    "Classifier",
    "Families",
    "Threshold",
]
