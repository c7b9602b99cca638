"""Cross entropy, and cross entropy with a target that is smoothed or has the prediction taken off.

All compute in float32 (float64 for float64) from shifted scores; the authors' codes add 1e-6 or
1e-8 inside the logarithm of a softmax, which quietly down-weights the hardest examples, and are not
followed. Where the target contains the prediction it matters whether the gradient flows through it
(see `protein_robust.losses.self_prediction`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import check_choice, check_number, check_self_target
from protein_robust.losses.rows import Rows, closed_form
from protein_robust.losses.self_prediction import (
    is_detached,
    mix_attached,
    mix_detached,
    self_prediction,
)

PenaltyForm = Literal["target", "clipped", "regulariser"]


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    r"""Cross entropy with the given label (CCE).

    .. math:: L = -\log p_y, \qquad \partial L/\partial z = p - q

    Use it as the reference that every other method is compared with. Its gradient is that of its
    value; there is nothing to set.

    References:
        Wang et al., "ProSelfLC", CVPR 2021, eq. 2. https://arxiv.org/abs/2005.03788

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> CrossEntropy()(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([1.3863])
    """

    batch_weighted: ClassVar[bool] = False

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        return functional.cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing:
    r"""Cross entropy with a target that gives a share to all classes alike (LS).

    .. math:: \tilde q = (1-\epsilon) q + \epsilon u, \qquad
              L = (1-\epsilon) H(q, p) + \epsilon H(u, p)

    The share of the label is 1 - eps + eps / K, as in `torch.nn.functional.cross_entropy`. The
    class with the largest target never changes. Its gradient is that of its value. Use it when
    confidence is too high but the labels need no correction.

    Attributes:
        epsilon: share of the uniform distribution, in [0, 1]. The default 0.125 is the value of the
            published protein runs and the smallest of the ProSelfLC grid (0.125, 0.25, 0.5); 0.1 is
            usually quoted from Szegedy et al.

    Raises:
        InputError: if ``epsilon`` is outside [0, 1].

    References:
        Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.
        Wang et al., "ProSelfLC", CVPR 2021, eq. 3. https://arxiv.org/abs/2005.03788

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> LabelSmoothing(epsilon=0.25)(logits, torch.tensor([0]), context)
        tensor([0.8185])
    """

    epsilon: float = 0.125
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_number("epsilon", self.epsilon, low=0, high=1)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        to_uniform = rows.log_normaliser - rows.scores.mean(dim=1, keepdim=True)  # H(u, p)
        value = (1 - self.epsilon) * rows.cross_entropy + self.epsilon * to_uniform
        rows.gradient.sub_(self.epsilon / rows.gradient.shape[1])
        rows.subtract(1 - self.epsilon)
        return value


@dataclass(frozen=True, kw_only=True)
class ConfidencePenalty:
    r"""Cross entropy minus the entropy of the prediction (CP).

    .. math:: \tilde q = (1-\epsilon) q - \epsilon p_T, \qquad
              L = (1-\epsilon) H(q, p) - \epsilon H(p_T, p)

    At T = 1 with the target attached (the default there, G1) this is the regulariser
    (1-eps) H(q, p) - eps H(p), which is 1-eps times H(q, p) - beta H(p) with beta = eps / (1-eps).
    With T < 1 the target is detached by default (G2) and the gradient is
    (1-eps)(p - q) + eps (p_T - p). Use it when predictions are over-confident; it corrects no
    label.

    The target sums to 1 - 2 eps and has negative entries, so the value can be negative; it is never
    below -eps ln K. The authors report a KL divergence, which is NaN for such a target; this is the
    cross entropy. ``form="clipped"`` sets negative entries to 0, L = max(0, 1 - eps - eps p_T,y)
    H(q, p): with a detached target, or at T = 1, that is only a weight on cross entropy.
    ``form="regulariser"`` is that of Pereyra et al., L = H(q, p) - eps H(p), whose beta is eps
    here; at T = 1 and attached only.

    Attributes:
        epsilon: weight of the penalty, in [0, 1]. The default 0.25 (beta = 1/3) is the value of the
            published protein runs, which had T = 0.4.
        temperature: T of the prediction in the target, in [0.01, 1].
        detach_target: whether the target is a constant; ``None``: exactly when T < 1.
        form: ``target``, ``clipped`` or ``regulariser``.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Pereyra et al., "Regularizing neural networks by penalizing confident output distributions",
        2017. https://arxiv.org/abs/1701.06548
        Wang et al., "ProSelfLC", CVPR 2021, eq. 4 and proposition 4.
        https://arxiv.org/abs/2005.03788

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> ConfidencePenalty(epsilon=0.25)(logits, torch.tensor([0]), context)
        tensor([0.2670])
    """

    epsilon: float = 0.25
    temperature: float = 1.0
    detach_target: bool | None = None
    form: PenaltyForm = "target"
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("epsilon", self.epsilon, low=0, high=1)
        check_choice("form", self.form, get_args(PenaltyForm))
        check_self_target(self.temperature, self.detach_target)
        if self.form == "regulariser" and (self.temperature != 1 or self.detach_target):
            raise InputError(
                "`temperature` 1 and an attached target with `form` regulariser",
                f"`temperature` {self.temperature:g}, `detach_target` {self.detach_target}",
            )

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._clipped if self.form == "clipped" else self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        own = self_prediction(rows, self.temperature)
        given = 1.0 if self.form == "regulariser" else 1 - self.epsilon
        value = given * rows.cross_entropy
        value -= self.epsilon * (rows.log_normaliser - own.mean_score)
        mix = mix_detached if is_detached(self.temperature, self.detach_target) else mix_attached
        mix(rows, own, given=given, own_share=torch.full_like(value, -self.epsilon))
        return value

    def _clipped(self, rows: Rows) -> Tensor:
        own = self_prediction(rows, self.temperature)
        given = rows.cross_entropy
        own_label = own.probs.gather(1, rows.labels)  # p_T,y
        share = 1 - self.epsilon - self.epsilon * own_label
        slope = torch.zeros_like(share)
        if not is_detached(self.temperature, self.detach_target):
            # Of the share: d p_T,y / dz = p_T,y (q - p_T) / T.
            slope = self.epsilon * given * own_label / self.temperature * (share > 0)
        share = share.clamp(min=0)
        value = share * given
        if own.probs is rows.gradient:
            rows.gradient.mul_(share + slope)
        else:
            rows.gradient.mul_(share).add_(own.probs.mul_(slope))
        rows.subtract(share + slope)
        return value
