"""Label noise: which training labels become wrong, and what they become.

The rate is the fraction of labels that *change*: the true class is never drawn. (DivideMix, ELR and
Joint Optimisation draw it too, so that their rate r leaves r/K of the chosen labels right.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelRule:
    """What is done to the training labels.

    Attributes:
        kind: ``none``, or ``symmetric``: uniform over the K - 1 other classes.
        rate: fraction of the labels that change, in [0, 1].

    Raises:
        ValueError: if ``rate`` is outside [0, 1], or is not 0 where ``kind`` is ``none``.
    """

    kind: Literal["none", "symmetric"] = "none"
    rate: float = 0.0

    def __post_init__(self) -> None:
        """Check the rate."""
        if not 0 <= self.rate <= 1:
            raise ValueError(f"Expected `rate` in [0, 1], got {self.rate}.")
        if self.kind == "none" and self.rate != 0:
            raise ValueError(f"Expected `rate` 0 where `kind` is none, got {self.rate}.")


@dataclass(frozen=True)
class LabelNoise:
    """Labels before and after.

    Attributes:
        rule: what was asked for.
        clean_label: classes before, shape (N,), int64.
        label: classes that the learner sees, shape (N,), int64.
    """

    rule: LabelRule
    clean_label: NDArray[np.int64]
    label: NDArray[np.int64]

    @property
    def is_corrupted(self) -> NDArray[np.bool_]:
        """True where the label changed, shape (N,)."""
        return np.not_equal(self.label, self.clean_label)

    @property
    def actual_rate(self) -> float:
        """Fraction of the labels that did change."""
        return float(self.is_corrupted.mean()) if len(self.label) else 0.0


def corrupt_labels(
    clean_label: NDArray[np.int64],
    num_classes: int,
    *,
    rule: LabelRule,
    rng: np.random.Generator,
) -> LabelNoise:
    """Change exactly ``floor(rate N)`` labels, chosen without replacement.

    Args:
        clean_label: true classes, shape (N,), int64 in [0, K).
        num_classes: K.
        rule: what to do.
        rng: where the choices come from.

    Returns:
        The labels before and after.

    Raises:
        ValueError: if K is below 2, or a label is outside [0, K).

    References:
        The rule of Wang et al., "ProSelfLC", CVPR 2021, section 5 (own class excluded, exact
        count).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rule = LabelRule("symmetric", 0.4)
        >>> noise = corrupt_labels(np.zeros(5, np.int64), 3, rule=rule, rng=rng)
        >>> int(noise.is_corrupted.sum())
        2
    """
    if num_classes < 2:
        raise ValueError(f"Expected `num_classes` of at least 2, got {num_classes}.")
    if len(clean_label) and not 0 <= clean_label.min() <= clean_label.max() < num_classes:
        found = f"{clean_label.min()} to {clean_label.max()}"
        raise ValueError(f"Expected labels in [0, {num_classes}), got {found}.")
    label = clean_label.astype(np.int64, copy=True)
    # A product such as 0.29 * 100 falls just short of the integer that was meant.
    count = math.floor(rule.rate * len(label) + 1e-9)
    chosen = rng.choice(len(label), size=count, replace=False)
    # A shift of 1 to K - 1 classes reaches each other class equally often, and never the own one.
    label[chosen] = (label[chosen] + rng.integers(1, num_classes, size=count)) % num_classes
    return LabelNoise(rule, clean_label.astype(np.int64, copy=False), label)
