r"""Losses that are functions of the label's probability p_y, and the Brier score.

All but the Brier score pull in the direction of cross entropy, p - q, and differ in the factor on
it alone: an example pulls with the L1 norm w = 2 (1 - p_y) * factor. The factor falls with p_y
where the label is doubted, so wrong labels teach less, and so do right ones that are not learnt
yet: with K classes p_y begins near 1 / K, and mean absolute error then hardly moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import check_choice, check_number
from protein_robust.losses.rows import Rows, closed_form

ErrorForm = Literal["label", "full"]

LOG_ZERO = math.log(1e-4)
"""What stands for log 0 in reverse cross entropy: A of the published codes, about -9.21."""

LOG_ZERO_MIN, LOG_ZERO_MAX = -1000, -1
"""Interval for it; at -1 reverse cross entropy is 1 - p_y."""

Q_MIN = 1e-6
"""At 1e-6 generalised cross entropy is practically cross entropy; far below, float32 gives 0/0."""


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError:
    r"""Mean absolute error between the prediction and the label (MAE).

    .. math:: L = 1 - p_y, \qquad \partial L/\partial z = p_y (p - q)

    ``form="full"`` is the whole L1 distance, sum_j |p_j - q_j| = 2 (1 - p_y), twice all of that.
    Its gradient is that of its value, with L1 norm w = 2 p_y (1 - p_y), largest at p_y = 1/2. Its
    values over all labels sum to a constant, K - 1, so symmetric noise does not move its minimum.
    Use it as the robust extreme, with few classes: with many it fits too slowly.

    Attributes:
        form: ``label`` (1 - p_y, as in derivative manipulation), or ``full`` (2 (1 - p_y), as in
            IMAE).

    Raises:
        InputError: if ``form`` is another word.

    References:
        Ghosh et al., "Robust loss functions under label noise for deep neural networks", AAAI 2017.
        https://arxiv.org/abs/1712.09482
        Wang et al., "IMAE for noise-robust learning", 2019. https://arxiv.org/abs/1903.12141

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> MeanAbsoluteError()(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([0.7500])
    """

    form: ErrorForm = "label"
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_choice("form", self.form, get_args(ErrorForm))

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        scale = 1.0 if self.form == "label" else 2.0
        rows.scale(scale * label_probability(rows))
        return scale * label_miss(rows)


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError:
    r"""Squared error of the label's probability, or of all probabilities (MSE).

    .. math:: L = (1 - p_y)^2, \qquad \partial L/\partial z = 2 p_y (1 - p_y) (p - q)

    ``form="full"`` is the Brier score, with another direction:

    .. math:: L = \sum_j (p_j - q_j)^2, \qquad
              \partial L/\partial z = 2 p \odot (p - q - \langle p, p - q\rangle)

    Both gradients are those of the values. The L1 norm of the first is w = 4 p_y (1 - p_y)^2,
    largest at p_y = 1/3. Use ``label`` between cross entropy and mean absolute error, ``full`` for
    a bounded loss whose minimum is still the true distribution.

    Attributes:
        form: ``label`` ((1 - p_y)^2, which derivative manipulation calls MSE) or ``full``.

    Raises:
        InputError: if ``form`` is another word.

    References:
        Wang et al., "Derivative manipulation for general example weighting", 2019, footnote 2.
        https://arxiv.org/abs/1905.11233
        Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> MeanSquaredError()(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([0.5625])
        >>> MeanSquaredError(form="full")(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([0.7500])
    """

    form: ErrorForm = "label"
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_choice("form", self.form, get_args(ErrorForm))

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._label if self.form == "label" else self._full)

    def _label(self, rows: Rows) -> Tensor:
        miss = label_miss(rows)
        rows.scale(2 * label_probability(rows) * miss)
        return miss.square()

    def _full(self, rows: Rows) -> Tensor:
        # The other classes apart, since 1 - p_y of a fitted example has no digits left.
        label_probs, probs = label_probability(rows), rows.gradient
        probs.scatter_(1, rows.labels, 0.0)
        miss = probs.sum(dim=1, keepdim=True)
        squares: Tensor = torch.linalg.vecdot(probs, probs).unsqueeze(1)
        value = miss.square() + squares
        inner = squares - label_probs * miss  # <p, p - q>; miss + inner is the value
        probs.mul_((probs - inner).mul_(2))
        probs.scatter_(1, rows.labels, -2 * label_probs * value)
        return value


@dataclass(frozen=True, kw_only=True)
class GeneralizedCrossEntropy:
    r"""Generalised cross entropy, between cross entropy and mean absolute error (GCE, L_q).

    .. math:: L = \frac{1 - p_y^q}{q}, \qquad
              \partial L/\partial z = p_y^q (p - \mathrm{onehot}(y))

    Its gradient is that of its value, with L1 norm w = 2 p_y^q (1 - p_y), largest at p_y = q / (q +
    1). Use it where mean absolute error is too slow. This is the plain form: the truncated one,
    which also drops examples of low p_y, is not here.

    Attributes:
        q: robustness, in [1e-6, 1]: 1 is 1 - p_y, the limit 0 is cross entropy. The default 0.7 is
            the authors'.

    Raises:
        InputError: if ``q`` is outside its interval.

    References:
        Zhang and Sabuncu, "Generalized cross entropy loss for training deep neural networks with
        noisy labels", NeurIPS 2018, section 3. https://arxiv.org/abs/1805.07836

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> GeneralizedCrossEntropy(q=0.5)(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([1.])
    """

    q: float = 0.7
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_number("q", self.q, low=Q_MIN, high=1)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        log_power = -self.q * rows.cross_entropy  # log p_y^q
        rows.scale(log_power.exp())
        return -torch.expm1(log_power) / self.q


@dataclass(frozen=True, kw_only=True)
class ReverseCrossEntropy:
    r"""Cross entropy of the label under the prediction, with a number A for log 0 (RCE).

    .. math:: L = -\sum_j p_j \log q_j = -A (1 - p_y), \qquad \partial L/\partial z = -A p_y (p - q)

    It is mean absolute error at -A times the step, and its gradient is that of its value. Use it as
    the robust part of another loss. The authors' codes raise each p_j to at least 1e-7, which adds
    up to -A K 1e-7 to the value and stops the pull of smaller probabilities; this does not.

    Attributes:
        log_zero: A, in [-1000, -1]. The default log 1e-4 is that of the published codes.

    Raises:
        InputError: if ``log_zero`` is outside its interval.

    References:
        Wang et al., "Symmetric cross entropy for robust learning with noisy labels", ICCV 2019.
        https://arxiv.org/abs/1908.06112

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> ReverseCrossEntropy(log_zero=-4)(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([3.])
    """

    log_zero: float = LOG_ZERO
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_number("log_zero", self.log_zero, low=LOG_ZERO_MIN, high=LOG_ZERO_MAX)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        rows.scale(-self.log_zero * label_probability(rows))
        return -self.log_zero * label_miss(rows)


@dataclass(frozen=True, kw_only=True)
class SymmetricCrossEntropy:
    r"""Cross entropy plus reverse cross entropy (SCE, SL).

    .. math:: L = -\alpha \log p_y - \beta A (1 - p_y), \qquad
              \partial L/\partial z = (\alpha - \beta A p_y) (p - q)

    Its gradient is that of its value. Use it where reverse cross entropy alone does not converge:
    the first term fits, the second resists. In the low-temperature authors' comparison the second
    term has the factor of a squared error, -A p_y (1 - p_y); that is not SCE and not followed.

    Attributes:
        alpha: weight of cross entropy, at least 0; 0.1 for CIFAR-10, 6 for CIFAR-100.
        beta: weight of reverse cross entropy, at least 0; 1 for CIFAR-10, 0.1 for CIFAR-100. The
            defaults are those for CIFAR-10; with many classes start from the others.
        log_zero: A, in [-1000, -1]; see `ReverseCrossEntropy`.

    Raises:
        InputError: if a parameter is outside its interval.

    References:
        Wang et al., "Symmetric cross entropy for robust learning with noisy labels", ICCV 2019,
        https://arxiv.org/abs/1908.06112

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> loss = SymmetricCrossEntropy(alpha=1.0, beta=1.0, log_zero=-4)
        >>> loss(torch.zeros(1, 4), torch.tensor([2]), context)
        tensor([4.3863])
    """

    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = LOG_ZERO
    batch_weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("alpha", self.alpha, low=0)
        check_number("beta", self.beta, low=0)
        check_number("log_zero", self.log_zero, low=LOG_ZERO_MIN, high=LOG_ZERO_MAX)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        return closed_form(logits, labels, self._rule)

    def _rule(self, rows: Rows) -> Tensor:
        reverse = -self.beta * self.log_zero
        rows.scale(self.alpha + reverse * label_probability(rows))
        return self.alpha * rows.cross_entropy + reverse * label_miss(rows)


def label_probability(rows: Rows) -> Tensor:
    """p_y, shape (b, 1)."""
    return (-rows.cross_entropy).exp()


def label_miss(rows: Rows) -> Tensor:
    """1 - p_y, shape (b, 1)."""
    return -torch.expm1(-rows.cross_entropy)
