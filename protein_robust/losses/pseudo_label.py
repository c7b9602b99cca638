"""Pseudo-label: the predicted class as a second label, with a weight that grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import check_choice, check_number
from protein_robust.losses.rows import Rows, closed_form

NO_LABEL = -1
"""The label of an example that has none."""


@dataclass(frozen=True, kw_only=True)
class PseudoLabel:
    r"""Cross entropy with the label, plus that with the predicted class (pseudo-label).

    .. math:: L = H(q, p) + a(t)\, H(\mathrm{onehot}(\arg\max p), p)

    An example of label -1 has none, and only the second term. The predicted class is that of this
    very step and has no gradient, so the gradient is that of the value, (p - q) + a (p -
    onehot(argmax p)). Use it when part of the examples has no label, or for noisy labels: there
    every example has both terms, and the gradient is 1 + a times that of Boot-hard with epsilon =
    a / (1 + a).

    Deviations. The paper averages labelled and unlabelled examples each by themselves; here is one
    mean over the batch, so a batch with a fraction f of labels weights the two sums by f and 1 - f.
    The paper's schedule is in epochs (100 and 600, weight 3); of a training of 1000 these are the
    defaults. The second term for labelled examples is **ours**.

    Attributes:
        weight: a at the end (alpha_f), at least 0.
        ramp_start: progress T1 up to which a = 0, in [0, 1].
        ramp_end: progress T2 from which a is ``weight``, in [``ramp_start``, 1]; a straight line
            between the two.
        on_labelled: whether labelled examples have the second term too. False is the paper's sum.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural
        networks", workshop on challenges in representation learning, ICML 2013.

    Example:
        >>> import torch
        >>> context = LossContext(progress=1.0, index=torch.tensor([0, 1]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]).log()
        >>> PseudoLabel()(logits, torch.tensor([1, -1]), context)  # log 3 + 3 log 2, 3 log 2
        tensor([3.1781, 2.0794])
    """

    weight: float = 3.0
    ramp_start: float = 0.1
    ramp_end: float = 0.6
    on_labelled: bool = True
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("weight", self.weight, low=0)
        check_number("ramp_start", self.ramp_start, low=0, high=1)
        check_number("ramp_end", self.ramp_end, low=0, high=1)
        if self.ramp_end < self.ramp_start:
            raise InputError(
                f"`ramp_end` at or after `ramp_start` {self.ramp_start:g}", f"{self.ramp_end:g}"
            )
        check_choice("on_labelled", self.on_labelled, (True, False))

    def ramp(self, progress: float) -> float:
        """Weight a of the second term at some point of the training.

        Example:
            >>> PseudoLabel(weight=3.0, ramp_start=0.25, ramp_end=0.75).ramp(0.5)
            1.5
        """
        if progress >= self.ramp_end:
            return self.weight
        if progress <= self.ramp_start:
            return 0.0
        return self.weight * (progress - self.ramp_start) / (self.ramp_end - self.ramp_start)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`.

        A label may be -1 here, which no other loss allows.
        """
        check_inputs(logits, labels, context, lowest_label=NO_LABEL)
        weight = self.ramp(context.progress)
        has_label = (labels != NO_LABEL).unsqueeze(1)  # (B, 1)

        def rule(rows: Rows) -> Tensor:
            given = has_label[rows.positions].to(rows.scores.dtype)
            own = given.new_full(given.shape, weight) if self.on_labelled else weight * (1 - given)
            value = given * rows.cross_entropy + own * rows.log_normaliser
            rows.gradient.mul_(given + own)
            rows.subtract(given)
            if weight > 0:
                rows.subtract(own, rows.predicted())
            return value

        # Any class does where there is no label: its share is 0.
        return closed_form(logits, labels.clamp(min=0), rule)
