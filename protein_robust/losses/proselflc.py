"""ProSelfLC: the target moves from the label to the prediction as the latter earns trust.

Convention: the trust is never a path of the gradient; whether the prediction in the target is one
is `detach_target`. The oldest published code lets the gradient flow through the trust too; later
ones do not, and that first convention is not offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from protein_robust.losses.context import LossContext, checked_logits
from protein_robust.losses.parameters import check_choice, check_number, check_self_target
from protein_robust.losses.terms import given_label_term, self_log_target, soft_target_term
from protein_robust.losses.trust import TRUST_KINDS, TrustKind, global_trust, local_trust


@dataclass(frozen=True, kw_only=True)
class ProSelfLC:
    r"""Progressive self label correction, at full or at low temperature (ProSelfLC, ProSelfLC-AT).

    .. math:: \tilde q = (1-\epsilon) q + \epsilon p_T, \quad L = H(\tilde q, p), \quad
              \epsilon = g(t)\, l(p_T)

    with g and l of `protein_robust.losses.trust`, both on the tempered prediction. T = 1 is the
    2021 paper, with the target attached by default (G1, inferred from its figures; the text does
    not say): the gradient is (1-eps)(p - q) + eps dH/dz. T < 1 is the low-temperature method,
    detached by default (G2): the gradient is p - q~ = (1-eps)(p - q) + eps (p - p_T). The
    temperature is constant, as it is in the authors' code, where "annealed" does not mean a
    schedule. Use it when labels are wrong: early in the training it is cross entropy, later a
    confident prediction replaces its label.

    Difference from the authors' code: the value is the cross entropy, not the KL divergence (equal
    gradients when detached). Time is ``progress``, which counts the present step, as theirs does.

    Attributes:
        exp_base: B of g, at least 0; the paper's grid is 8, 10, 12, 14, 16, smaller for more noise.
            Default 12, which the protein runs had.
        transit_time_ratio: tau of g, the progress at which g = 1/2, in [0, 1]. Default of the
            papers.
        temperature: T, in [0.01, 1]; used: 0.5, 0.4 (images), 0.2 (proteins).
        trust: l, one of ``entropy`` (paper), ``max_probability``, ``global`` (l = 1).
        detach_target: whether the prediction in the target is a constant; ``None``: exactly when
            T < 1.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Wang et al., "ProSelfLC: progressive self label correction for training robust deep neural
        networks", CVPR 2021, eq. 7. https://arxiv.org/abs/2005.03788
        Wang et al., "ProSelfLC: progressive self label correction towards a low-temperature entropy
        state", 2022. https://arxiv.org/abs/2207.00118

    Example:
        >>> import torch
        >>> context = LossContext(progress=0.75, index=torch.tensor([0]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> ProSelfLC(exp_base=16)(logits, torch.tensor([2]), context)
        tensor([1.7309])
    """

    exp_base: float = 12.0
    transit_time_ratio: float = 0.5
    temperature: float = 1.0
    trust: TrustKind = "entropy"
    detach_target: bool | None = None
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("exp_base", self.exp_base, low=0)
        check_number("transit_time_ratio", self.transit_time_ratio, low=0, high=1)
        check_choice("trust", self.trust, TRUST_KINDS)
        check_self_target(self.temperature, self.detach_target)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        log_probs = checked_logits(logits, labels, context).log_softmax(dim=1)
        log_target = self_log_target(log_probs, self.temperature, self.detach_target)
        in_model = global_trust(context.progress, self.exp_base, self.transit_time_ratio)
        trust = in_model * local_trust(log_target, self.trust)
        given = given_label_term(log_probs, labels)
        predicted = soft_target_term(log_target.exp(), log_probs)
        return (1 - trust) * given + trust * predicted
