r"""A robust loss for regression that learns how robust to be.

Convention: the loss is a negative log likelihood, so it has the partition function

.. math:: Z(\alpha) = \int e^{-\rho(x, \alpha, 1)} dx

whose integrand is, in t = log x, analytic up to pi / 2 away from the real line for every alpha: the
trapezoidal rule is right to many digits with few points.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses.general_robust import general_loss, refuse, rho, rho_slope
from protein_robust.losses.parameters import check_number

NUM_KNOTS = 1025
LOG_REACH = 40.0
"""The integral is cut at x = exp(+-40): what is outside is below 1e-17 also at alpha = 0."""
LOG_STEP = 0.125


def log_partition(alpha: Tensor) -> Tensor:
    r"""Log of the integral of exp(-rho(x, alpha, 1)) over all x, for alpha in [0, 2].

    Between knots it is a cubic Hermite polynomial in (2 - alpha)^(1/4), in which it is smooth; in
    alpha it has the term (2 - alpha) log(2 - alpha). The error is below 1e-7, that of the slope
    below 1e-4. The slope at alpha = 2, which is infinite, is treated as in `general_loss`. Below 0
    the integral diverges.

    Args:
        alpha: any shape, floating, in [0, 2].

    Returns:
        log Z, shape and dtype of ``alpha``.

    Raises:
        ValueError: if (on the CPU) a value is outside [0, 2].

    References:
        Barron, "A general and adaptive robust loss function", CVPR 2019, section 2.
        https://arxiv.org/abs/1701.03077 The paper has a closed form for rational alpha only, and
        also interpolates between knots; its knots and its variable are others.

    Example:
        >>> log_partition(torch.tensor([0.0, 2.0])).exp()  # sqrt(2) pi, sqrt(2 pi)
        tensor([4.4429, 2.5066])
    """
    refuse("alpha", alpha, (alpha >= 0) & (alpha <= 2), allowed="in [0, 2]")
    constant = alpha.detach().double()
    value, _ = _interpolate(2 - constant)
    _, slope = _interpolate((2 - constant).clamp(min=torch.finfo(alpha.dtype).eps))
    # The difference is 0, its gradient is not.
    return (value + slope * (alpha.double() - constant)).to(alpha.dtype)


class GeneralAdaptive(nn.Module):
    r"""Barron's adaptive robust loss: robustness and scale are learnt with the model.

    .. math:: L = \rho(x, \alpha, c) + \log c + \log Z(\alpha)

    It is the negative log likelihood of a density that goes from the normal (alpha = 2) to Cauchy's
    (alpha = 0); because of log Z, ignoring outliers costs accuracy on inliers, and alpha settles
    where the residuals' own tails are. Use it for regression where targets have outliers of unknown
    weight, such as measured melting points or activities. It is not a loss for classification.

    Pass its parameters to the optimiser together with the model's, and without weight decay, which
    would pull alpha to the middle of its range. Values are densities' logarithms and may be
    negative. Residuals need an order of magnitude of 1, or ``initial_scale`` theirs.

    Attributes:
        latent_alpha: logit of where alpha lies between ``alpha_low`` and ``alpha_high``, shape
            (D,).
        latent_scale: what softplus turns into the scale less its floor, shape (D,).
        alpha_low: smallest alpha, at least 0. The default 0.001 is that of the author's code.
        alpha_high: largest alpha, at most 2. The default 1.999 is that of the author's code.
        scale_floor: smallest scale, positive: one residual that is 0 for all examples would
            otherwise be worth minus infinity.

    Args:
        num_outputs: D, each with its own alpha and scale; 1: shared by all residuals.
        alpha_low: see above.
        alpha_high: see above.
        initial_alpha: between the two, exclusive; ``None``: their mean.
        scale_floor: see above.
        initial_scale: c at first, above ``scale_floor``.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Barron, "A general and adaptive robust loss function", CVPR 2019, sections 2 and 3.
        https://arxiv.org/abs/1701.03077

    Example:
        >>> loss = GeneralAdaptive(initial_alpha=1.0)
        >>> loss(torch.tensor([0.0, 3.0])).detach()  # sqrt(x^2 + 1) - 1 + log(2 e K_1(1))
        tensor([1.1855, 3.3478])
    """

    def __init__(
        self,
        *,
        num_outputs: int = 1,
        alpha_low: float = 0.001,
        alpha_high: float = 1.999,
        initial_alpha: float | None = None,
        scale_floor: float = 1e-5,
        initial_scale: float = 1.0,
    ) -> None:
        """Check the parameters and set the latent ones."""
        super().__init__()
        if not (isinstance(num_outputs, int) and num_outputs >= 1):
            raise InputError("`num_outputs` a whole number of at least 1", repr(num_outputs))
        check_number("alpha_low", alpha_low, low=0, high=2)
        check_number("alpha_high", alpha_high, low=0, high=2)
        initial_alpha = (alpha_low + alpha_high) / 2 if initial_alpha is None else initial_alpha
        if not alpha_low < initial_alpha < alpha_high:
            raise InputError(f"`initial_alpha` in ({alpha_low}, {alpha_high})", str(initial_alpha))
        if not 0 < scale_floor < initial_scale < math.inf:
            raise InputError(
                "0 < `scale_floor` < `initial_scale`", f"{scale_floor} and {initial_scale}"
            )
        self.alpha_low, self.alpha_high, self.scale_floor = alpha_low, alpha_high, scale_floor
        logit = math.log((initial_alpha - alpha_low) / (alpha_high - initial_alpha))
        above = initial_scale - scale_floor
        self.latent_alpha = nn.Parameter(torch.full((num_outputs,), logit))
        # The inverse of softplus, log(exp(x) - 1), without overflow.
        self.latent_scale = nn.Parameter(
            torch.full((num_outputs,), above + math.log(-math.expm1(-above)))
        )

    @property
    def alpha(self) -> Tensor:
        """Robustness, shape (D,)."""
        share = torch.sigmoid(self.latent_alpha)
        return torch.lerp(
            share.new_tensor(self.alpha_low), share.new_tensor(self.alpha_high), share
        )

    @property
    def scale(self) -> Tensor:
        """c, shape (D,), in the unit of the residuals."""
        return functional.softplus(self.latent_scale) + self.scale_floor

    def forward(self, residuals: Tensor) -> Tensor:
        """Negative log likelihood of each residual, in nats.

        Args:
            residuals: prediction minus truth, shape (B, ..., D), floating; any shape where D = 1.

        Returns:
            The same shape, float32, or float64 for float64 residuals.

        Raises:
            ValueError: if the last dimension is not D.
        """
        num_outputs = len(self.latent_alpha)
        if num_outputs > 1 and residuals.shape[-1:] != (num_outputs,):
            raise ValueError(
                f"Expected `residuals` of shape (B, ..., {num_outputs}), "
                f"got {tuple(residuals.shape)}."
            )
        alpha, scale = self.alpha, self.scale
        values = general_loss(residuals, alpha, scale=scale)
        return values + (scale.log() + log_partition(alpha)).to(values.dtype)


REGRESSION_LOSSES: dict[str, type[nn.Module]] = {"general_adaptive": GeneralAdaptive}
"""Losses of residuals, by name: `loss(residuals)` has the shape of the residuals."""


@cache
def _knots(device: torch.device) -> tuple[Tensor, Tensor]:
    """Log Z and its slope in y = (2 - alpha)^(1/4), y evenly from 0 to 2^(1/4), float64."""
    y = torch.linspace(0, 2**0.25, NUM_KNOTS, dtype=torch.float64).unsqueeze(1)
    alpha = 2 - y**4
    alpha[-1] = 0  # not the rounding error
    log_x = torch.arange(-LOG_REACH, LOG_REACH, LOG_STEP, dtype=torch.float64)
    squared, alpha = torch.broadcast_tensors((2 * log_x).exp(), alpha)
    density = (log_x - rho(squared, alpha)).exp()  # of log x, for positive x
    total = density.sum(dim=1)
    slope = -(density * rho_slope(squared, alpha)).sum(dim=1) / total
    return (2 * LOG_STEP * total).log().to(device), (-4 * y.squeeze(1) ** 3 * slope).to(device)


def _interpolate(distance: Tensor) -> tuple[Tensor, Tensor]:
    """Log Z and its slope in alpha, at 2 - alpha, float64."""
    values, slopes = _knots(distance.device)
    y = distance.clamp(min=0) ** 0.25
    step = 2**0.25 / (NUM_KNOTS - 1)
    left = (y / step).long().clamp(max=NUM_KNOTS - 2)
    t = y / step - left
    rise = values[left + 1] - values[left]
    first, last = step * slopes[left], step * slopes[left + 1]
    bend, twist = 3 * rise - 2 * first - last, first + last - 2 * rise
    value = values[left] + t * (first + t * (bend + t * twist))
    slope = (first + t * (2 * bend + 3 * t * twist)) / step
    return value, slope / (-4 * y**3)
