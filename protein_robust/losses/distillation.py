"""Distillation: the target is partly what another network predicts for the same input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import check_number
from protein_robust.losses.rows import Rows, closed_form, softmax_shifted


@dataclass(frozen=True, kw_only=True)
class Distillation:
    r"""Cross entropy with the label and with a teacher's prediction (distillation, non-self LC).

    .. math:: L = (1-\epsilon) H(q, p) + \epsilon T^2 H(p^t_T, p_T), \qquad
              \partial L/\partial z = (1-\epsilon)(p - q) + \epsilon T (p_T - p^t_T)

    with p_T = softmax(z / T) of the network and p^t_T of the teacher, which is a constant. T^2
    keeps the two gradients comparable as T changes. T = 1 is the label correction of the ProSelfLC
    paper, with the target (1 - eps) q + eps p^t. Its gradient is that of its value, which is a
    cross entropy: at its smallest it is the entropy of the target, not 0. Use it when there is a
    network that was trained on better labels, or one whose early stop saved it from the noise.

    Attributes:
        epsilon: trust in the teacher, in [0, 1]. Default 0.5.
        temperature: T, in [0.1, 100]; above 1 the teacher's small probabilities count more. 2 to 20
            are usual.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Hinton et al., "Distilling the knowledge in a neural network", 2015, section 2.
        https://arxiv.org/abs/1503.02531
        Wang et al., "ProSelfLC", CVPR 2021, eq. 6 (T = 1). https://arxiv.org/abs/2005.03788

    Example:
        >>> context = LossContext(
        ...     progress=0.0,
        ...     index=torch.tensor([0]),
        ...     teacher_logits=torch.tensor([[0.2, 0.7, 0.1]]).log(),
        ... )
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> Distillation()(logits, torch.tensor([0]), context)
        tensor([2.5215])
    """

    epsilon: float = 0.5
    temperature: float = 2.0
    batch_weighted: ClassVar[bool] = False
    teacher: ClassVar[str] = "network"

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("epsilon", self.epsilon, low=0, high=1)
        check_number("temperature", self.temperature, low=0.1, high=100)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        teacher_logits = _teacher_logits(context, logits)

        def rule(rows: Rows) -> Tensor:
            told = torch.empty_like(rows.gradient)
            said = teacher_logits[rows.positions].to(told.dtype)
            said = (said - said.amax(dim=1, keepdim=True)).mul_(1 / self.temperature)
            softmax_shifted(said, told)
            return self._mix(rows, told)

        return closed_form(logits, labels, rule)

    def _mix(self, rows: Rows, told: Tensor) -> Tensor:
        """Values, (b, 1), where the teacher tells ``told``, (b, K), which is used up."""
        probs, log_normaliser = rows.gradient, rows.log_normaliser
        if self.temperature != 1:
            probs = torch.empty_like(told)
            log_normaliser = softmax_shifted(rows.scores * (1 / self.temperature), probs)
        mean_score = torch.linalg.vecdot(told, rows.scores).unsqueeze(1)
        to_teacher = log_normaliser - mean_score / self.temperature  # H(p^t_T, p_T)
        value = (1 - self.epsilon) * rows.cross_entropy
        value += self.epsilon * self.temperature**2 * to_teacher
        away = torch.sub(probs, told, out=told).mul_(self.epsilon * self.temperature)
        rows.gradient.mul_(1 - self.epsilon).add_(away)
        rows.subtract(1 - self.epsilon)
        return value


def _teacher_logits(context: LossContext, logits: Tensor) -> Tensor:
    told = context.teacher_logits
    shape = tuple(logits.shape)
    expected = f"Expected `context.teacher_logits` of shape {shape}, floating and detached, got"
    if told is None:
        raise ValueError(f"{expected} None.")
    if tuple(told.shape) != shape or not told.is_floating_point() or told.requires_grad:
        attached = ", attached" if told.requires_grad else ""
        raise ValueError(f"{expected} {tuple(told.shape)}, {told.dtype}{attached}.")
    return told
