"""Telling what is of no known family: how well a score does it.

Every score here is the bigger, the more a sequence looks like those of the known families. Of an
energy or a distance the negative is such a score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Separation:
    """How well a score tells known from unknown.

    Attributes:
        num_known: scored examples of known families.
        num_unknown: scored examples of none.
        auroc: `auroc_score`.
        aupr: `average_precision_score` with the known as the positive ones.
        fpr_at_95_tpr: `fpr_at_tpr` where 95 % of the known are accepted.
    """

    num_known: int
    num_unknown: int
    auroc: float
    aupr: float
    fpr_at_95_tpr: float

    @classmethod
    def of(cls, known: Scores, unknown: Scores) -> Separation:
        """Measure how well a score separates; NaN where there is none of one kind.

        Args:
            known: scores of examples of known families, bigger is more known, shape (N,).
            unknown: scores of examples of none, shape (M,).

        Raises:
            ValueError: if a score is NaN.
        """
        return cls(
            len(known),
            len(unknown),
            auroc_score(known, unknown),
            average_precision_score(known, unknown),
            fpr_at_tpr(known, unknown),
        )


def auroc_score(known: Scores, unknown: Scores) -> float:
    """Chance that a known example scores higher than an unknown one, a tie counting half.

    The area under the ROC curve is the Mann-Whitney statistic over the number of pairs; it is
    counted in whole numbers.

    Args:
        known: scores, bigger is more known, shape (N,), floating.
        unknown: scores, shape (M,), floating.

    Returns:
        In [0, 1], 0.5 is chance; NaN where either has no example.

    Raises:
        ValueError: if a score is NaN.

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", Radiology 1982.

    Example:
        >>> auroc_score(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
        0.875
    """
    check_scores(known, unknown)
    if not len(known) or not len(unknown):
        return float("nan")
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known, side="left").sum()
    not_above = np.searchsorted(ordered, known, side="right").sum()
    return float((below + not_above) / (2 * len(known) * len(unknown)))


def average_precision_score(positive: Scores, negative: Scores) -> float:
    r"""Area under the precision-recall curve as steps, without interpolation.

    .. math:: \sum_t (R_t - R_{t-1}) P_t

    over the distinct scores t from high to low, where everything of score at least t is taken for
    positive. With the known as the positive ones and a score that is bigger for them this is what
    papers call AUPR-in; AUPR-out is ``average_precision_score(-unknown, -known)``.

    Args:
        positive: scores of what shall be found, bigger is more so, shape (N,), floating.
        negative: scores of the others, shape (M,), floating.

    Returns:
        In [0, 1]; chance gives N / (N + M). NaN where either has no example.

    Raises:
        ValueError: if a score is NaN.

    Example:
        >>> average_precision_score(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
        0.8333333333333333
    """
    check_scores(positive, negative)
    if not len(positive) or not len(negative):
        return float("nan")
    thresholds, taken = np.unique(-positive, return_counts=True)  # from high to low
    num_true = np.cumsum(taken)
    num_false = np.searchsorted(np.sort(-negative), thresholds, side="right")
    return float((taken / len(positive) * (num_true / (num_true + num_false))).sum())


def fpr_at_tpr(known: Scores, unknown: Scores, tpr: float = 0.95) -> float:
    """Share of the unknown that is accepted where so much of the known is accepted.

    The known are the positive ones: accepted is what scores at least the highest threshold that
    accepts a share of at least ``tpr`` of them.

    Args:
        known: scores, bigger is more known, shape (N,), floating.
        unknown: scores, shape (M,), floating.
        tpr: the share, in (0, 1].

    Returns:
        In [0, 1], 0 is best, ``tpr`` about chance; NaN where either has no example.

    Raises:
        ValueError: if a score is NaN, or the share is outside (0, 1].

    Example:
        >>> fpr_at_tpr(np.array([4.0, 3.0, 2.0, 1.0]), np.array([2.5, 0.0]), tpr=0.75)
        0.5
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"Expected `tpr` in (0, 1], got {tpr}.")
    check_scores(known, unknown)
    if not len(known) or not len(unknown):
        return float("nan")
    shares = np.arange(1, len(known) + 1) / len(known)
    threshold = np.sort(known)[::-1][np.searchsorted(shares, tpr)]
    return float((unknown >= threshold).mean())


def check_scores(*scores: Scores) -> None:
    """Refuse NaN, which no order knows.

    Raises:
        ValueError: if there is one.
    """
    for values in scores:
        if np.isnan(values).any():
            raise ValueError("Expected scores that are numbers, got NaN.")
