"""Early-learning regularisation: hold on to what the network predicted before it fitted noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.memory import (
    check_num_entries,
    label_memory,
    new_label_memory,
    update_label_memory,
)
from protein_robust.losses.parameters import check_number
from protein_robust.losses.rows import Rows, closed_form

GAP_MIN = 1e-4
"""1 - <t, p> is not taken smaller, so the value is at least lam * log(1e-4)."""


@dataclass(frozen=True, kw_only=True)
class EarlyLearningRegularization:
    r"""Early-learning regularisation (ELR).

    .. math:: L = H(q, p) + \lambda \log(1 - \langle t, p \rangle), \qquad
              t \leftarrow m\, t + (1 - m)\, p

    The running mean t of each example's predictions is updated with the present one, which counts
    as a constant, and then used, as in the authors' code. The gradient is that of the value with t
    held fixed, p - q - lam / (1 - <t, p>) p (t - <t, p>): it pulls towards the classes that were
    predicted before. Use it when networks fit clean examples first and wrong labels later, and an
    early prediction is worth more than a late one; the labels themselves stay. The value may be
    negative.

    Deviations from the authors' code. Of t the ``num_entries`` largest classes are kept and the
    rest is 0, which weakens the pull where a prediction is spread over more. Their code clamps each
    p_k to [1e-4, 1 - 1e-4]; with thousands of classes the lower bound would add more than all of p,
    so only 1 - <t, p> is bounded, at 1e-4, with no gradient of the second term below it.

    Attributes:
        lam: lambda, at least 0. 3 is the paper's value for CIFAR-10, 7 for CIFAR-100.
        momentum: m, in [0, 1]; 0.7 for CIFAR-10, 0.9 for CIFAR-100. At 1 nothing is learnt.
        num_entries: classes of t kept for each example, at least 1.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Liu et al., "Early-learning regularization prevents memorization of noisy labels", NeurIPS
        2020, section 4. https://arxiv.org/abs/2007.00151

    Example:
        >>> loss = EarlyLearningRegularization()
        >>> memory = loss.new_memory(1, 4, torch.device("cpu"))
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]), memory=memory)
        >>> loss(torch.zeros(1, 4), torch.tensor([2]), context)  # t = 0.3 p, 1 - <t, p> = 0.925
        tensor([1.1524])
        >>> memory["shares"]
        tensor([[0.0750, 0.0750, 0.0750, 0.0750]])
    """

    lam: float = 3.0
    momentum: float = 0.7
    num_entries: int = 8
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("lam", self.lam, low=0)
        check_number("momentum", self.momentum, low=0, high=1)
        check_num_entries(self.num_entries)

    def new_memory(
        self, num_examples: int, num_classes: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Running means of 0; see `protein_robust.losses.memory`."""
        return new_label_memory(
            num_examples, num_classes, num_entries=self.num_entries, device=device
        )

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        memory = label_memory(context, logits.shape[1])

        def rule(rows: Rows) -> Tensor:
            index = context.index[rows.positions]
            classes, shares = update_label_memory(memory, index, rows.gradient, self.momentum)
            value = rows.cross_entropy + self._regularise(rows, classes, shares)
            rows.subtract(1.0)
            return value

        return closed_form(logits, labels, rule)

    def _regularise(self, rows: Rows, classes: Tensor, shares: Tensor) -> Tensor:
        """Value of the second term, (b, 1); turns p into p + its gradient."""
        probs = rows.gradient.gather(1, classes)  # (b, k)
        # 1 - <t, p> = (1 - sum t) + sum t (1 - p) adds up without cancellation.
        gap = (1 - shares.sum(dim=1, keepdim=True)).clamp(min=0)
        gap += torch.linalg.vecdot(shares, _complement(rows, classes, probs)).unsqueeze(1)
        pull = self.lam * (gap > GAP_MIN) / gap.clamp(min=GAP_MIN)
        rows.gradient.mul_(1 + pull * (1 - gap))
        # t - <t, p> = gap - (1 - t) where t is kept, and -<t, p> elsewhere.
        rows.gradient.scatter_(1, classes, probs * (1 + pull * ((1 - shares) - gap)))
        return self.lam * gap.clamp(min=GAP_MIN).log()


def _complement(rows: Rows, classes: Tensor, probs: Tensor) -> Tensor:
    """1 - p of some classes, (b, k), exact also for one that is nearly 1: the sum of the others."""
    highest, place = probs.max(dim=1, keepdim=True)
    highest_class = classes.gather(1, place)
    if torch.compiler.is_compiling():
        # One pass, where writing to some columns would copy all of p.
        columns = torch.arange(rows.gradient.shape[1], device=probs.device)
        others = torch.where(columns == highest_class, 0.0, rows.gradient)
        return (1 - probs).scatter_(1, place, others.sum(dim=1, keepdim=True))
    rows.gradient.scatter_(1, highest_class, 0.0)
    others = rows.gradient.sum(dim=1, keepdim=True)
    rows.gradient.scatter_(1, highest_class, highest)
    return (1 - probs).scatter_(1, place, others)
