"""How sure is sure enough: confidence thresholds for an error that somebody tolerates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.evaluation.coverage import risk_coverage

TOLERATED_ERRORS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""The errors that thresholds are kept for."""


@dataclass(frozen=True)
class Threshold:
    """From which confidence on the error of what is accepted is at most the tolerated one.

    Read off validation data, as `protein_robust.evaluation.coverage.RiskCoverage.threshold_for`
    says. Infinity: none keeps it, or there are too few data to tell, so nothing is accepted.

    Attributes:
        tolerated_error: fraction of wrong ones among the accepted, in [0, 1].
        family: least confidence of a family.
        clan: least confidence of a clan.
    """

    tolerated_error: float
    family: float
    clan: float


def find_thresholds(
    family: tuple[NDArray[np.float64], NDArray[np.bool_]],
    clan: tuple[NDArray[np.float64], NDArray[np.bool_]],
    errors: Sequence[float] = TOLERATED_ERRORS,
) -> tuple[Threshold, ...]:
    """Read thresholds off validation data.

    Args:
        family: calibrated confidence of the best family, and whether it is right, shapes (N,).
        clan: the same of the best clan.
        errors: the tolerated ones.

    Returns:
        One threshold for each error; none at all where N is 0.
    """
    if not len(family[0]):
        return ()
    curves = risk_coverage(*family), risk_coverage(*clan)
    return tuple(
        Threshold(error, *(_or_infinity(curve.threshold_for(error)) for curve in curves))
        for error in errors
    )


def _or_infinity(threshold: float) -> float:
    """NaN stands for no threshold at all; no confidence reaches infinity."""
    return math.inf if math.isnan(threshold) else threshold


def choose_threshold(thresholds: Sequence[Threshold], tolerated_error: float | None) -> Threshold:
    """The threshold that was kept for an error.

    Args:
        thresholds: all of a model.
        tolerated_error: one of theirs; None: every confidence is enough.

    Raises:
        InputError: if there is none for this error.
    """
    if tolerated_error is None:
        return Threshold(1.0, 0.0, 0.0)
    for threshold in thresholds:
        if math.isclose(threshold.tolerated_error, tolerated_error):
            return threshold
    if not thresholds:
        raise InputError(
            "a model with thresholds, or no tolerated error (`none`: the verdict then rests on the "
            "p value alone)",
            "one that was trained without validation data, from which thresholds are read",
        )
    known = ", ".join(f"{threshold.tolerated_error:g}" for threshold in thresholds)
    raise InputError(f"a tolerated error among {known}", f"{tolerated_error:g}")
