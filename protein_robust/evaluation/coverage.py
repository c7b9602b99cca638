"""What is gained by answering only where the network is sure: risk against coverage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RiskCoverage:
    """Error among the answers that are given, for each threshold on confidence.

    Attributes:
        threshold: the different confidences, falling, shape (M,), float64; an answer is given where
            the confidence is at least this.
        coverage: share of the examples that are answered, rising to 1, shape (M,), float64.
        risk: share of wrong answers among these, shape (M,), float64.
        num_examples: N, of which coverage is a share.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    num_examples: int

    @property
    def area(self) -> float:
        """The area under risk as a function of coverage (AURC); NaN for no examples.

        The mean, over all examples, of the risk at which each of them is answered; examples of
        equal confidence are answered together.

        References:
            Geifman et al., "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
            ICLR 2019, eq. 2.
        """
        if not len(self.risk):
            return math.nan
        return float(np.average(self.risk, weights=np.diff(self.coverage, prepend=0.0)))

    def threshold_for(self, tolerated_error: float) -> float:
        """Find the threshold that answers the most, with at most so many errors to be expected.

        The best threshold that some examples show is too good for others: with n answers and k
        errors among them, (k + 1) / (n + 1) must be tolerated, as if the next answer were wrong.
        So an error of 1 % needs 99 answers without any.

        Args:
            tolerated_error: share of wrong answers, in [0, 1].

        Returns:
            The threshold; NaN where there is none.

        References:
            Angelopoulos et al., "Conformal Risk Control", ICLR 2024, eq. 4; there the loss falls
            with the threshold, which the error among the answers need not do, so that their
            guarantee is not one here.
        """
        answered = np.rint(self.coverage * self.num_examples)
        expected = (self.risk * answered + 1) / (answered + 1)
        fitting = np.flatnonzero(expected <= tolerated_error)
        return float(self.threshold[fitting[-1]]) if len(fitting) else math.nan

    def thinned(self, max_points: int = 200) -> RiskCoverage:
        """Keep points at about equal distances of coverage, the last one among them."""
        if len(self.risk) <= max_points:
            return self
        wanted = np.linspace(self.coverage[0], 1, max_points)
        kept = np.unique(np.searchsorted(self.coverage, wanted).clip(0, len(self.risk) - 1))
        return RiskCoverage(
            self.threshold[kept], self.coverage[kept], self.risk[kept], self.num_examples
        )


def risk_coverage(confidence: NDArray[np.float64], is_correct: NDArray[np.bool_]) -> RiskCoverage:
    """Order examples by confidence, and count the errors among the surest ones.

    Args:
        confidence: any score that is higher where a prediction is surer, shape (N,), float64.
        is_correct: whether the prediction is right, shape (N,), bool.

    Returns:
        The curve, a point for each different confidence.

    References:
        El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification",
        JMLR 11, 2010.

    Example:
        >>> curve = risk_coverage(np.array([0.9, 0.5, 0.7]), np.array([True, False, True]))
        >>> curve.coverage.round(2).tolist(), curve.risk.round(2).tolist()
        ([0.33, 0.67, 1.0], [0.0, 0.0, 0.33])
    """
    threshold, group = np.unique(-confidence, return_inverse=True)
    answered = np.cumsum(np.bincount(group, minlength=len(threshold)))
    wrong = np.cumsum(np.bincount(group[~is_correct], minlength=len(threshold)))
    size = max(len(confidence), 1)
    risk = wrong / np.maximum(answered, 1)
    return RiskCoverage(-threshold, answered / size, risk, len(confidence))
