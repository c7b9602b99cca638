"""ProSelfLC: the target moves from the label to the prediction as the latter earns trust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import (
    TEMPERATURE_MIN,
    check_choice,
    check_number,
    check_self_target,
)
from protein_robust.losses.rows import Rows, closed_form, softmax_rows
from protein_robust.losses.self_prediction import (
    SelfPrediction,
    is_detached,
    mix_attached,
    mix_detached,
    mix_gradient,
    self_prediction,
)
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
    schedule; `final_temperature` is **ours**. Use it when labels are wrong: early in the training
    it is cross entropy, later a confident prediction replaces its label.

    Difference from the authors' code: the value is the cross entropy, not the KL divergence (equal
    gradients when detached). Time is ``progress``, which counts the present step, as theirs does.

    Attributes:
        exp_base: B of g, at least 0; the paper's grid is 8, 10, 12, 14, 16, smaller for more noise.
            Default 12, which the protein runs had.
        transit_time_ratio: tau of g, the progress at which g = 1/2, in [0, 1]. Default of the
            papers.
        temperature: T, in [0.01, 1]; used: 0.5, 0.4 (images), 0.2 (proteins).
        final_temperature: **ours**: T moves geometrically from ``temperature`` at the start to this
            at the end of the training, T(t) = T0^(1 - t) T1^t; ``None``: it stays. Not checked
            against anything published.
        trust: l, one of ``entropy`` (paper), ``max_probability``, ``global`` (l = 1), or ``local``:
            the entropy kind with g = 1, for the ablation; training with it alone did not converge,
            by the authors' account.
        detach_target: whether the prediction in the target is a constant; ``None``: exactly when
            T < 1 (at the start or at the end).
        detach_trust: whether eps is a constant, as in all but the oldest published code (G0). False
            asks for an attached target.

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
    final_temperature: float | None = None
    trust: TrustKind = "entropy"
    detach_target: bool | None = None
    detach_trust: bool = True
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("exp_base", self.exp_base, low=0)
        check_number("transit_time_ratio", self.transit_time_ratio, low=0, high=1)
        check_choice("trust", self.trust, TRUST_KINDS)
        if self.final_temperature is not None:
            check_number("final_temperature", self.final_temperature, low=TEMPERATURE_MIN, high=1)
        check_number("temperature", self.temperature, low=TEMPERATURE_MIN, high=1)
        check_self_target(self._lowest_temperature, self.detach_target)
        check_choice("detach_trust", self.detach_trust, (True, False))
        if self.is_detached and not self.detach_trust:
            raise InputError(
                "`detach_trust=False` together with an attached target (`detach_target=False`)",
                "a detached one",
            )

    @property
    def is_detached(self) -> bool:
        """Whether the prediction in the target is a constant."""
        return is_detached(self._lowest_temperature, self.detach_target)

    @property
    def _lowest_temperature(self) -> float:
        last = self.temperature if self.final_temperature is None else self.final_temperature
        return min(self.temperature, last)

    def temperature_at(self, progress: float) -> float:
        """T at some point of the training.

        Example:
            >>> ProSelfLC(temperature=0.5).temperature_at(0.3)
            0.5
            >>> ProSelfLC(temperature=1.0, final_temperature=0.25).temperature_at(0.5)
            0.5
        """
        if self.final_temperature is None:
            return self.temperature
        return math.exp(
            (1 - progress) * math.log(self.temperature)
            + progress * math.log(self.final_temperature)
        )

    def global_trust(self, progress: float) -> float:
        """Trust in the model, g, at some point of the training; 1 for the ``local`` kind."""
        if self.trust == "local":
            return 1.0
        return global_trust(progress, self.exp_base, self.transit_time_ratio)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        temperature = self.temperature_at(context.progress)
        in_model = self.global_trust(context.progress)

        def rule(rows: Rows) -> Tensor:
            own = self_prediction(rows, temperature)
            trust = in_model * self._local_trust(own)
            given, predicted = rows.cross_entropy, rows.log_normaliser - own.mean_score
            if self.is_detached:
                mix_detached(rows, own, given=1 - trust, own_share=trust)
            elif self.detach_trust:
                mix_attached(rows, own, given=1 - trust, own_share=trust)
            else:
                self._mix_through_trust(rows, own, trust, in_model * (predicted - given))
            return (1 - trust) * given + trust * predicted

        return closed_form(logits, labels, rule)

    def describe(self, logits: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor]:
        """The trust in each example, for monitoring.

        Args:
            logits: unnormalised scores z, shape (B, K), floating.
            labels: not used.
            progress: t / Gamma, in [0, 1].

        Returns:
            ``trust`` (eps), ``global_trust`` (g) and ``local_trust`` (l), each of shape (B,).
        """
        logits = logits.detach().float() / self.temperature_at(progress)
        probs = torch.empty_like(logits)
        scores, log_normaliser = softmax_rows(logits, probs)
        entropy = log_normaliser.squeeze(1) - torch.linalg.vecdot(probs, scores)
        local = local_trust(
            self.trust,
            entropy=entropy,
            max_probability=probs.amax(dim=1),
            num_classes=logits.shape[1],
        )
        in_model = torch.full_like(local, self.global_trust(progress))
        return {"trust": in_model * local, "global_trust": in_model, "local_trust": local}

    def _local_trust(self, own: SelfPrediction) -> Tensor:
        return local_trust(
            self.trust,
            entropy=own.entropy,
            max_probability=own.max_probability,
            num_classes=own.probs.shape[1],
        )

    def _mix_through_trust(
        self, rows: Rows, own: SelfPrediction, trust: Tensor, per_local: Tensor
    ) -> None:
        """Gradient also through eps (G0): that of G1, and dL/dl = `per_local` times dl/dz."""
        of_own, of_scores = -trust, -trust / own.temperature
        if self.trust in ("entropy", "local"):
            # dl/dz = p_T (s - d) / (T^2 ln K)
            scale = own.temperature**2 * math.log(own.probs.shape[1])
            of_scores = of_scores + per_local / scale
        elif self.trust == "max_probability":
            # dl/dz = max p_T (onehot(argmax) - p_T) / T
            of_highest = per_local * own.max_probability / own.temperature
            of_own = of_own - of_highest
        predicted = rows.predicted() if self.trust == "max_probability" else None
        mix_gradient(rows, own, of_probs=1.0, of_own=of_own, of_scores=of_scores)
        rows.subtract(1 - trust)
        if predicted is not None:
            rows.subtract(-of_highest, predicted)
