r"""Losses with an active part, which fits the label, and a passive one, which resists it.

Active losses name only the label's probability, passive ones those of the other classes as well. A
robust loss of one kind alone underfits; the sum of two is meant to be robust and to fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.label_probability import (
    LOG_ZERO,
    LOG_ZERO_MAX,
    LOG_ZERO_MIN,
    label_miss,
    label_probability,
)
from protein_robust.losses.parameters import check_choice, check_number
from protein_robust.losses.rows import Rows, closed_form

PassiveLoss = Literal["reverse_cross_entropy", "mean_absolute_error"]

SHIFT_MAX = 1e12
"""Far above it float32 cannot hold m."""


@dataclass(frozen=True, kw_only=True)
class NormalizedCrossEntropy:
    r"""Cross entropy divided by its sum over all labels (NCE).

    .. math:: L = \frac{-\log p_y}{D}, \quad D = -\sum_k \log p_k, \qquad
              \partial L/\partial z = \frac{p - q}{D} - \frac{L}{D} (K p - 1)

    Its gradient is that of its value. The values over all labels sum to 1, so symmetric noise does
    not move its minimum; but the loss also falls as the *other* classes become less likely, and
    alone it underfits. As D is at least K ln K, its gradient is that much smaller than the one of
    cross entropy: 176 thousand times for 17929 classes, to be made up for by a weight
    (`ActivePassive.alpha`) or the learning rate. Use it inside `ActivePassive`; it has no
    parameter.

    References:
        Ma et al., "Normalized loss functions for deep learning with noisy labels", ICML 2020,
        section 3. https://arxiv.org/abs/2006.13554

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> NormalizedCrossEntropy()(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([0.2500])
    """

    batch_weighted: ClassVar[bool] = False

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss per example, shape (B,), in [0, 1]; see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        return _mix_normalized(rows, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class ActivePassive:
    r"""Normalised cross entropy plus a passive loss (APL).

    .. math:: L = \alpha\, \mathrm{NCE} + \beta\, \mathrm{passive}, \qquad
              \mathrm{passive} \in \{-A (1 - p_y),\; 1 - p_y\}

    Its gradient is that of its value. Use it for wrong labels at unknown rates: both terms are
    symmetric, so are robust at any weights, and these only set the speed. `NormalizedCrossEntropy`
    says why many classes ask for a larger alpha.

    The paper defines mean absolute error as the whole distance, 2 (1 - p_y); the authors' code, to
    which the weights belong, has 1 - p_y ("reduced"), and so has this. Their code raises each
    probability of reverse cross entropy to at least 1e-7; this does not. Their other active losses
    (normalised focal and generalised cross entropy) are not here.

    Attributes:
        alpha: weight of normalised cross entropy, at least 0; 1 for CIFAR-10, 10 for CIFAR-100.
        beta: weight of the passive loss, at least 0; 1 for CIFAR-10; for CIFAR-100 0.1 with reverse
            cross entropy, and 1 with mean absolute error in their configuration files. The defaults
            are those for CIFAR-10.
        passive: ``reverse_cross_entropy`` or ``mean_absolute_error``.
        log_zero: A of reverse cross entropy, in [-1000, -1]; not used by the other.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Ma et al., "Normalized loss functions for deep learning with noisy labels", ICML 2020,
        section 3. https://arxiv.org/abs/2006.13554

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> loss = ActivePassive(passive="mean_absolute_error")
        >>> loss(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([1.])
    """

    alpha: float = 1.0
    beta: float = 1.0
    passive: PassiveLoss = "reverse_cross_entropy"
    log_zero: float = LOG_ZERO
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("alpha", self.alpha, low=0)
        check_number("beta", self.beta, low=0)
        check_choice("passive", self.passive, get_args(PassiveLoss))
        check_number("log_zero", self.log_zero, low=LOG_ZERO_MIN, high=LOG_ZERO_MAX)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        scale = -self.log_zero if self.passive == "reverse_cross_entropy" else 1.0
        return _mix_normalized(rows, self.alpha, self.beta * scale)


@dataclass(frozen=True, kw_only=True)
class EpsilonSoftmax:
    r"""Cross entropy of a prediction pushed towards its own argmax, plus MAE (CE_eps + MAE).

    .. math:: p_\epsilon = \frac{p + m\, \mathrm{onehot}(\arg\max p)}{1 + m}, \qquad
              L = -\alpha \log p_{\epsilon,y} + 2 \beta (1 - p_y)

    The factor on p - q is alpha p_y / (p_y + m) + 2 beta p_y where the label is the argmax, and
    alpha + 2 beta p_y where it is not: a label that is predicted is left alone by the first term,
    any other pulls as in cross entropy. The gradient is that of the value; the argmax has none, and
    the value jumps by alpha log((p_y + m) / p_y) where it changes. Use it for wrong labels when
    mean absolute error alone is too slow.

    A label that ties for the largest score counts as the argmax (the authors' code takes one of the
    tied classes). Their code raises p_eps to at least 1e-8, so the first term gives **no** gradient
    where the label is not the argmax and p_y < 1e-8 (1 + m), 1e-4 at the default m; with 17929
    classes that is nearly every example at the start, and it is not followed.

    Attributes:
        alpha: weight of the cross entropy, at least 0. Their configuration has, for CIFAR-100 with
            symmetric noise of 0, 20, 40, 60, 80 %: 0.1, 0.05, 0.03, 0.00125, 0.0075, with beta 1
            and m 1e4; for CIFAR-10, symmetric: 0.01, beta 5, m 1e5. Default: CIFAR-100, 40 %.
        beta: weight of mean absolute error, which is sum_j |p_j - q_j| here as in their code.
        m: push towards the argmax, in [0, 1e12]; 0 is cross entropy plus mean absolute error. They
            have 1e3 (CIFAR-10) and 1e2 (CIFAR-100) for asymmetric noise.

    Raises:
        InputError: if a parameter is outside its interval.

    References:
        Wang et al., "epsilon-softmax: approximating one-hot vectors for mitigating label noise",
        NeurIPS 2024. https://arxiv.org/abs/2508.02387

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()  # p_eps = [3/4, 1/6, 1/12]
        >>> EpsilonSoftmax(alpha=1.0, beta=0.0, m=1.0)(logits, torch.tensor([0]), context)
        tensor([0.2877])
    """

    alpha: float = 0.03
    beta: float = 1.0
    m: float = 1e4
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("alpha", self.alpha, low=0)
        check_number("beta", self.beta, low=0)
        check_number("m", self.m, low=0, high=SHIFT_MAX)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        label_probs, miss = label_probability(rows), label_miss(rows)
        is_argmax = rows.label_scores == 0  # scores are z - max z
        pushed = label_probs + self.m
        # log((1 + m) / (p_y + m)) without the difference of two large logarithms
        predicted, other = (miss / pushed).log1p(), rows.cross_entropy + math.log1p(self.m)
        share = torch.where(is_argmax, label_probs / pushed, 1.0)
        rows.scale(self.alpha * share + 2 * self.beta * label_probs)
        return self.alpha * torch.where(is_argmax, predicted, other) + 2 * self.beta * miss


def _mix_normalized(rows: Rows, active: float, passive: float) -> Tensor:
    """Value and gradient of active * NCE + passive * (1 - p_y)."""
    num_classes = rows.scores.shape[1]
    total = num_classes * rows.log_normaliser - rows.scores.sum(dim=1, keepdim=True)  # D
    normalized = rows.cross_entropy / total
    factor = active / total + passive * label_probability(rows)
    slope = active * normalized / total
    rows.gradient.mul_(factor - num_classes * slope).add_(slope)
    rows.subtract(factor)
    return active * normalized + passive * label_miss(rows)
