"""Bootstrapping: the target is the label and, by a fixed share, the prediction.

Soft bootstrapping mixes in the predicted distribution, hard bootstrapping the predicted class; for
the former it matters whether the gradient flows through the target (see
`protein_robust.losses.self_prediction`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import check_number, check_self_target
from protein_robust.losses.rows import Rows, closed_form
from protein_robust.losses.self_prediction import (
    is_detached,
    mix_attached,
    mix_detached,
    self_prediction,
)


@dataclass(frozen=True, kw_only=True)
class BootstrapSoft:
    r"""Cross entropy with a target that mixes the label with the prediction (Boot-soft).

    .. math:: \tilde q = (1-\epsilon) q + \epsilon p_T, \qquad
              L = (1-\epsilon) H(q, p) + \epsilon H(p_T, p)

    At T = 1 with the target attached (the default there, G1) the second term is the entropy of the
    prediction, which is minimised. With T < 1 the target is detached by default (G2) and the
    gradient is (1-eps)(p - q) + eps (p - p_T). Use it when labels are wrong and a fixed trust in
    the model is enough. A label is held against a confident prediction only above a threshold of
    eps: 0.782 for G1, 0.828 for G2 at T = 0.5, 0.674 at T = 0.2. The authors' low-temperature code
    reports a KL divergence; this is the cross entropy, with the same gradient.

    Attributes:
        epsilon: trust in the prediction, in [0, 1] (1 - beta of Reed et al.). The default 0.5 is
            the best of (0.125, 0.25, 0.5) in the ProSelfLC paper; the protein runs had 0.25 with T
            = 0.2.
        temperature: T of the prediction in the target, in [0.01, 1].
        detach_target: whether the target is a constant; ``None``: exactly when T < 1.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Reed et al., "Training deep neural networks on noisy labels with bootstrapping", 2015.
        https://arxiv.org/abs/1412.6596
        Wang et al., "ProSelfLC", CVPR 2021, eq. 5. https://arxiv.org/abs/2005.03788

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> BootstrapSoft(epsilon=0.25)(logits, torch.tensor([0]), context)
        tensor([0.7727])
    """

    epsilon: float = 0.5
    temperature: float = 1.0
    detach_target: bool | None = None
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("epsilon", self.epsilon, low=0, high=1)
        check_self_target(self.temperature, self.detach_target)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        own = self_prediction(rows, self.temperature)
        value = (1 - self.epsilon) * rows.cross_entropy
        value += self.epsilon * (rows.log_normaliser - own.mean_score)
        mix = mix_detached if is_detached(self.temperature, self.detach_target) else mix_attached
        mix(rows, own, given=1 - self.epsilon, own_share=torch.full_like(value, self.epsilon))
        return value


@dataclass(frozen=True, kw_only=True)
class BootstrapHard:
    r"""Cross entropy with a target that mixes the label with the predicted class (Boot-hard).

    .. math:: \tilde q = (1-\epsilon) q + \epsilon\, \mathrm{onehot}(\arg\max p), \qquad
              L = H(\tilde q, p), \qquad \partial L/\partial z = p - \tilde q

    The predicted class has no gradient, so attached and detached are one. Use it like Boot-soft,
    where a decision pulls more strongly than a distribution: it also sharpens what is uncertain.

    Attributes:
        epsilon: trust in the prediction, in [0, 1] (1 - beta of Reed et al.; others took beta =
            0.8). The default 0.5 is the best of (0.125, 0.25, 0.5) for Boot-soft in the
            ProSelfLC paper.

    Raises:
        InputError: if ``epsilon`` is outside [0, 1].

    References:
        Reed et al., "Training deep neural networks on noisy labels with bootstrapping", 2015.
        https://arxiv.org/abs/1412.6596

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> BootstrapHard(epsilon=0.25)(logits, torch.tensor([1]), context)
        tensor([0.9972])
    """

    epsilon: float = 0.5
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_number("epsilon", self.epsilon, low=0, high=1)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        value = (1 - self.epsilon) * rows.cross_entropy + self.epsilon * rows.log_normaliser
        rows.subtract(1 - self.epsilon)
        rows.subtract(self.epsilon, rows.predicted())
        return value
