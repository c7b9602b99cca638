r"""Barron's general robust loss of residuals: one formula from the square to Welsch's.

Convention: all is written with s = (x / c)^2, b = 2 - alpha, u = log(1 + s / b) and v = b u, for
then neither alpha = 2 (v = 0) nor alpha = -inf (v = s) nor alpha = 0 divides 0 by 0. The influence
is x / c^2 times the weight exp(-v / 2), which is at most 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

SERIES_BELOW = 0.5
SERIES_TERMS = 13
"""At 0.5 the terms left out are below 1e-14 of the sum."""


def general_loss(
    residuals: Tensor, alpha: Tensor | float, *, scale: Tensor | float = 1.0
) -> Tensor:
    r"""Barron's general robust loss.

    .. math:: \rho(x, \alpha, c) = \frac{|\alpha - 2|}{\alpha}
              \left(\left(\frac{(x / c)^2}{|\alpha - 2|} + 1\right)^{\alpha / 2} - 1\right)

    Special cases: alpha = 2 is (x/c)^2 / 2, 1 is Charbonnier's (a smooth L1), 0 Cauchy's, -2 Geman
    and McClure's, minus infinity Welsch's; all four limits are exact. It grows with alpha and with
    \|x\|, and its gradient is at most \|x\| / c^2. It can be differentiated in all three arguments,
    once. Its slope in alpha grows without bound, like log(1 / (2 - alpha)), towards alpha = 2; at
    alpha = 2 the slope given is that at the next smaller number.

    Args:
        residuals: prediction minus truth x, any shape, floating; half precision is computed in
            float32.
        alpha: robustness, at most 2, also minus infinity; broadcasts with ``residuals``. Above 2
            the formula goes on, but robust it is not, and it is refused.
        scale: c, positive; residuals below it count as small. Broadcasts with ``residuals``.

    Returns:
        rho, of the shape they broadcast to, float32, or float64 for float64 residuals.

    Raises:
        ValueError: if residuals are no floating numbers, or (a number, or on the CPU) ``alpha`` is
            above 2 or ``scale`` is not positive.

    References:
        Barron, "A general and adaptive robust loss function", CVPR 2019, eqs. 1 and 8.
        https://arxiv.org/abs/1701.03077

    Example:
        >>> general_loss(torch.tensor([0.0, 1.0, 10.0]), 1.0)  # sqrt(x^2 + 1) - 1
        tensor([0.0000, 0.4142, 9.0499])
        >>> general_loss(torch.tensor([0.0, 1.0, 10.0]), float("-inf"))  # 1 - exp(-x^2 / 2)
        tensor([0.0000, 0.3935, 1.0000])
    """
    if not residuals.is_floating_point():
        raise ValueError(f"Expected `residuals` of a floating dtype, got {residuals.dtype}.")
    residuals = residuals.float() if residuals.dtype.itemsize < 4 else residuals
    alpha = torch.as_tensor(alpha, dtype=residuals.dtype, device=residuals.device)
    scale = torch.as_tensor(scale, dtype=residuals.dtype, device=residuals.device)
    refuse("alpha", alpha, alpha <= 2, allowed="at most 2")
    refuse("scale", scale, scale > 0, allowed="above 0")
    values: Tensor = _General.apply(*torch.broadcast_tensors(residuals, alpha, scale))
    return values


def refuse(name: str, value: Tensor, is_allowed: Tensor, *, allowed: str) -> None:
    """Refuse values that are not allowed; those on an accelerator are not waited for.

    Raises:
        ValueError: naming the argument, what is allowed and up to three values that are not.
    """
    if value.device.type == "cpu" and not torch.compiler.is_compiling() and not is_allowed.all():
        raise ValueError(f"Expected `{name}` {allowed}, got {value[~is_allowed].tolist()[:3]}.")


def rho(squared: Tensor, alpha: Tensor) -> Tensor:
    """Value of `general_loss` by its square.

    Args:
        squared: s = (x / c)^2, floating.
        alpha: at most 2, same shape and dtype.

    Returns:
        Same shape.
    """
    distance, _, exponent = _parts(squared, alpha)
    # ((s + b) exp(-v / 2) - b) / alpha, where s / b may be too large to keep what is added to it.
    near_two = squared * (-exponent / 2).exp() + distance * torch.expm1(-exponent / 2)
    power = _power(distance, exponent, alpha)
    return torch.where(alpha >= 1, near_two / alpha, exponent / 2 * _mean_exp(power))


def rho_slope(squared: Tensor, alpha: Tensor) -> Tensor:
    """Slope of `rho` in alpha, as in `general_loss`; arguments and result as there."""
    distance, log_ratio, exponent = _parts(squared, alpha)
    weight = (-exponent / 2).exp()
    near_two = (
        weight * (distance + squared) * log_ratio * alpha
        - weight * squared * (alpha + 2)
        - 4 * torch.expm1(-exponent / 2)
    ) / (2 * alpha.square())
    power = _power(distance, exponent, alpha)
    elsewhere = log_ratio.square() / 2 * (_slope_mean(power) - weight * _slope_mean(log_ratio))
    return torch.where(alpha >= 1, near_two, elsewhere)


class _General(torch.autograd.Function):
    """Value and slopes in closed form: autograd would meet 0 / 0 at every limit."""

    @staticmethod
    def forward(ctx: FunctionCtx, residuals: Tensor, alpha: Tensor, scale: Tensor) -> Tensor:
        """Rho; all of one shape."""
        ctx.save_for_backward(residuals, alpha, scale)
        return rho((residuals / scale).square(), alpha)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Slopes in residuals, alpha and scale."""
        residuals, alpha, scale = ctx.saved_tensors  # type: ignore[attr-defined]
        ratio = residuals / scale
        _, _, exponent = _parts(ratio.square(), alpha)
        pull = upstream * ratio * (-exponent / 2).exp() / scale  # d rho / dx = x / c^2 exp(-v / 2)
        of_alpha = None
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            of_alpha = upstream * rho_slope(ratio.square(), alpha)
        return pull, of_alpha, -pull * ratio


def _parts(squared: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """B, u and v of the module's docstring; b at least the distance of two numbers next to 2."""
    eps = torch.finfo(squared.dtype).eps
    distance = (2 - alpha).clamp(min=eps)
    log_ratio = torch.log1p(squared / distance)
    exponent = torch.where(squared < eps * distance, squared, distance * log_ratio)
    return distance, log_ratio, torch.where(alpha == 2, 0, exponent)


def _power(distance: Tensor, exponent: Tensor, alpha: Tensor) -> Tensor:
    """Alpha u / 2, from v; -v / 2 at minus infinity."""
    return torch.where(alpha.isinf(), -1, alpha / distance) * exponent / 2


def _mean_exp(t: Tensor) -> Tensor:
    """(exp(t) - 1) / t, the mean of exp over [0, t]."""
    return torch.where(t == 0, 1, torch.expm1(t) / t)


def _slope_mean(t: Tensor) -> Tensor:
    """Slope of the former, (exp(t) (t - 1) + 1) / t^2 = sum_n t^n / (n! (n + 2))."""
    series = torch.zeros_like(t)
    for n in reversed(range(SERIES_TERMS)):
        series = series * t + 1 / (math.factorial(n) * (n + 2))
    return torch.where(t.abs() < SERIES_BELOW, series, (t.exp() * (t - 1) + 1) / t.square())
