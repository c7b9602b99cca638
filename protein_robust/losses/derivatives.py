r"""Losses that are defined by their gradient; their value is for monitoring only.

Convention: the direction is that of cross entropy, p - q, and only its L1 length w is chosen. The
direction at length 1 is (softmax over the other classes - onehot) / 2, so nothing is divided by
1 - p_y. The weight is a function of the value alone, -log p_y, which therefore carries all that the
normalisation by the batch needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.emphasis import (
    LOG_RANGE_MAX,
    Beta,
    EmphasisDensity,
    Exponential,
    General,
    Normal,
)
from protein_robust.losses.parameters import check_choice, check_number
from protein_robust.losses.rows import Rows, closed_form

AUTHORS_DELTA = 1e-8
"""What the authors' code adds to 2 (1 - p_y) before it divides by it."""

DensityName = Literal["general", "exponential", "normal", "beta"]
Normalisation = Literal["batch", "integral"]

_DENSITIES: dict[str, Any] = {
    "general": General,
    "exponential": Exponential,
    "normal": Normal,
    "beta": Beta,
}
_PARAMETERS = {name: [field.name for field in fields(_DENSITIES[name])] for name in _DENSITIES}


@dataclass(frozen=True, kw_only=True)
class DerivativeManipulation:
    r"""Derivative manipulation (DM): each example pulls as strongly as an emphasis density says.

    .. math:: \nabla_{z_i} = \frac{w_i}{\sum_b w_b} \frac{p_i - q_i}{2 (1 - p_{i,y})}, \qquad
              w = \exp(\beta\, p_y^\lambda (1 - p_y))

    The gradient is that of the objective of a batch (`protein_robust.losses.reduction`): its L1
    norms over a batch sum to 1, so the step does not shrink as the training converges. The sum of
    weights is that of the whole batch, however it is accumulated or spread over processes. The
    values are the cross entropy, for monitoring; the loss that has this gradient is infinite, and
    theirs is not the gradient of the value. Use it when wrong labels should be ignored rather than
    corrected; with the default, the examples of medium p_y teach most.

    Each density has its own parameters; another's is refused, and those not given get the defaults
    below. The higher the noise, the higher the mode: 0 for clean labels, 1/3 at 20 % symmetric
    noise, 1/2 at 40 %, 2/3 at 60 % (CIFAR-10).

    Attributes:
        density: ``general`` (above), ``exponential``, ``normal`` or ``beta``; see
            `protein_robust.losses.emphasis` for their equations and the bounds of the parameters.
        lam: lambda of the general density, at least 0. Default 1, with beta 16: the authors' choice
            for 40 % symmetric noise; 0.5 and 12 for 20 %, 2 and 12 for 60 % and 80 %.
        beta: strength, of all but the beta density. Default 16 for general and normal (one and the
            same curve), 1 for exponential, where negative emphasises what is already fitted.
        psi: mode of the normal density, in [0, 1]. Default 0.5.
        alpha: of the beta density, in [1, 9]. Default 2: with eta 2, weights as of 1 - p_y.
        eta: of the beta density, in [1, 9]. Default 2.
        normalisation: ``batch``: divide by the sum of the weights over the batch, as the authors'
            code does; ``integral``: by the integral of the density over p (eq. 8 of the paper),
            which keeps the examples independent and lets the step shrink. Cross entropy is then
            ``beta`` with alpha 1, eta 2.
        vanish_at_one: whether the pull fades once 1 - p_y is about 1e-8, by the factor 2 (1 - p_y)
            / (2 (1 - p_y) + 1e-8), as it does in the authors' code (where float32 makes it a step
            at about 3e-8; here 1 - p_y is exact). The norms of a batch then sum to less than 1.
            False is the published equation: fully fitted examples keep pulling with w(1), so their
            logits grow until weight decay stops them; our training on 100 Pfam families collapsed.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Wang et al., "Derivative manipulation for general example weighting", 2019, eqs. 7-12.
        https://arxiv.org/abs/1905.11233

    Example:
        >>> from protein_robust.losses.reduction import batch_objective
        >>> loss = DerivativeManipulation()
        >>> context = LossContext(progress=0.0, index=torch.tensor([0, 1]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0]]).log().requires_grad_()
        >>> values = loss(logits, torch.tensor([0, 1]), context)
        >>> values.detach()
        tensor([0.6931, 1.0986])
        >>> batch_objective(loss, values).backward()
        >>> logits.grad.abs().sum()
        tensor(1.)
    """

    density: DensityName = "general"
    lam: float | None = None
    beta: float | None = None
    psi: float | None = None
    alpha: float | None = None
    eta: float | None = None
    normalisation: Normalisation = "batch"
    vanish_at_one: bool = True

    def __post_init__(self) -> None:
        """Fill in the parameters that the density has, and check all."""
        check_choice("density", self.density, get_args(DensityName))
        known = {field.name: field.default for field in fields(_DENSITIES[self.density])}
        for name in ("lam", "beta", "psi", "alpha", "eta"):
            is_given = getattr(self, name) is not None
            if is_given and name not in known:
                expected = f"a parameter of the {self.density} density out of {', '.join(known)}"
                raise InputError(expected, repr(name))
            if not is_given and name in known:
                # What a run records of its loss are these fields.
                object.__setattr__(self, name, known[name])
        check_choice("normalisation", self.normalisation, get_args(Normalisation))
        check_choice("vanish_at_one", self.vanish_at_one, (True, False))
        _ = self.emphasis  # checks its parameters

    @property
    def batch_weighted(self) -> bool:
        """Whether the gradient of one example depends on the others of its batch."""
        return self.normalisation == "batch"

    @property
    def emphasis(self) -> EmphasisDensity:
        """The density, not normalised."""
        parameters = {name: getattr(self, name) for name in _PARAMETERS[self.density]}
        density: EmphasisDensity = _DENSITIES[self.density](**parameters)
        return density

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Cross entropy in nats, shape (B,), carrying the gradient before division by the batch."""
        check_inputs(logits, labels, context)
        return _manipulated(self, logits, labels)

    def example_weights(self, values: Tensor) -> Tensor | None:
        """What each example adds to the sum that a batch is divided by.

        Args:
            values: cross entropy, shape (B,).

        Returns:
            w / max w in float64, shape (B,); None with ``normalisation`` integral.
        """
        return _relative_weights(self.emphasis, values) if self.batch_weighted else None

    def describe(self, logits: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor]:
        """How strongly each example pulls, for monitoring.

        Args:
            logits: unnormalised scores z, shape (B, K), floating.
            labels: given classes, shape (B,), int64.
            progress: not used.

        Returns:
            ``emphasis``: w, not normalised and without the fading at one, shape (B,), float32.
        """
        return _described(self.emphasis, logits, labels)


@dataclass(frozen=True, kw_only=True)
class IMAE:
    r"""Improved mean absolute error (IMAE): derivative manipulation of medium p_y.

    .. math:: \nabla_{z_i} = \frac{w_i}{\sum_b w_b} \frac{p_i - q_i}{2 (1 - p_{i,y})}, \qquad
              w = \exp(T p_y (1 - p_y))

    This is `DerivativeManipulation` with lambda = 1 and beta = T, and all said there holds. The
    weights of 1 - p_y (MAE) differ too little between examples for it to be trained well; T raises
    their variance. Use it where `DerivativeManipulation` is used, with one parameter to choose.

    Attributes:
        temperature: T, in [0, 320]. The authors used 8 (default) and 16.
        normalisation: ``batch`` or ``integral``.
        vanish_at_one: whether the pull fades once 1 - p_y is about 1e-8.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Wang et al., "IMAE for noise-robust learning: mean absolute error does not treat examples
        equally and gradient magnitude's variance matters", 2019. https://arxiv.org/abs/1903.12141
        By the authors' talk and tables; the text of the paper was not at hand.

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> IMAE()(torch.zeros(1, 4), torch.tensor([1]), context)
        tensor([1.3863])
    """

    temperature: float = 8.0
    normalisation: Normalisation = "batch"
    vanish_at_one: bool = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("temperature", self.temperature, low=0, high=4 * LOG_RANGE_MAX)
        check_choice("normalisation", self.normalisation, get_args(Normalisation))
        check_choice("vanish_at_one", self.vanish_at_one, (True, False))

    @property
    def batch_weighted(self) -> bool:
        """Whether the gradient of one example depends on the others of its batch."""
        return self.normalisation == "batch"

    @property
    def emphasis(self) -> EmphasisDensity:
        """The density, not normalised."""
        return General(lam=1.0, beta=self.temperature)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Cross entropy in nats, shape (B,), carrying the gradient before division by the batch."""
        check_inputs(logits, labels, context)
        return _manipulated(self, logits, labels)

    def example_weights(self, values: Tensor) -> Tensor | None:
        """What each example adds to the sum that a batch is divided by; see DM."""
        return _relative_weights(self.emphasis, values) if self.batch_weighted else None

    def describe(self, logits: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor]:
        """How strongly each example pulls: ``emphasis``, shape (B,); see DM."""
        return _described(self.emphasis, logits, labels)


def _manipulated(loss: DerivativeManipulation | IMAE, logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, shape (B,), with gradients of L1 norm w / max w, or w / integral."""
    density = loss.emphasis
    scale = 1.0 if loss.batch_weighted else _peak_over_integral(loss)

    def rule(rows: Rows) -> Tensor:
        value = _cross_entropy(rows)
        # From the value as it is returned: the loop computes the sum of the weights from that.
        weights = scale * _relative_weights(density, value)
        if loss.vanish_at_one:
            length = -2 * torch.expm1(-value.double())  # 2 (1 - p_y)
            weights = weights * length / (length + AUTHORS_DELTA)
        rows.scale(0.5 * weights.to(value.dtype))
        return value

    return closed_form(logits, labels, rule, over_others=True)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _peak_over_integral(loss: DerivativeManipulation | IMAE) -> float:
    """A number also to a compiler, which would trace the quadrature.

    It takes the loss: of a density made while tracing, a compiler sees only default parameters.
    """
    density = loss.emphasis
    return math.exp(density.log_peak) / density.integral()


def _described(density: EmphasisDensity, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    values = closed_form(logits.detach(), labels, _cross_entropy, over_others=True)
    return {"emphasis": density.log_density(_log_odds_of(values)).exp().float()}


def _cross_entropy(rows: Rows) -> Tensor:
    """-log p_y, shape (b, 1), exact also where p_y rounds to 1."""
    return -functional.logsigmoid(-rows.log_odds_against)


def _relative_weights(density: EmphasisDensity, values: Tensor) -> Tensor:
    """W / max w for a cross entropy, same shape, float64, in [0, 1]."""
    return (density.log_density(_log_odds_of(values)) - density.log_peak).exp()


def _log_odds_of(cross_entropy: Tensor) -> Tensor:
    """Log of (1 - p_y) / p_y, float64: the inverse of softplus, -inf at 0."""
    cross_entropy = cross_entropy.detach().double()
    return cross_entropy + (-torch.expm1(-cross_entropy)).log()
