r"""Emphasis densities: how strongly an example pulls, as a function of p_y.

Convention: a density w is not normalised, and it is asked at the log odds against the label, m =
log((1 - p) / p). There log p = -softplus(m) and log(1 - p) = -softplus(-m) are exact however near p
is to 0 or 1, also at m = -inf and m = inf.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses.parameters import check_number

LOG_RANGE_MAX = 80.0
"""Largest log of a ratio of two weights: exp(-80) is a normal float32, exp(-88) is not."""

SHAPE_MAX = 9.0
"""Largest alpha and eta: a uniform prediction over Pfam's 17929 families weighs about exp(-78)."""


class EmphasisDensity(Hashable, Protocol):
    """What derivative manipulation needs of a density."""

    @property
    def mode(self) -> float:
        """The p at which the density is largest, in [0, 1]."""

    @property
    def log_peak(self) -> float:
        """Log of the largest value of the density."""

    def log_density(self, log_odds_against: Tensor) -> Tensor:
        """Log w at m, any shape, floating, in [-inf, inf]; of the same shape and dtype."""

    def integral(self) -> float:
        """Area under the density over p in [0, 1], to a relative 1e-9."""

    def variance(self) -> float:
        """Variance of the density where p is uniform on [0, 1], to a relative 1e-9."""


def _times_log(factor: float, argument: float) -> float:
    """Factor * log(argument), 0 for a factor of 0."""
    return factor * math.log(argument) if factor else 0.0


def _check_strength(beta: float, log_range: float, of_what: str) -> None:
    limit = min(1000.0, LOG_RANGE_MAX / log_range)
    if abs(beta) > limit:
        raise InputError(
            f"`beta` in [{-limit:g}, {limit:g}] with {of_what} (beyond, weights underflow)",
            repr(beta),
        )


@functools.cache
def _integral(density: EmphasisDensity) -> float:
    """Area under the density over p in [0, 1], to a relative 1e-9."""
    weights, shares = _quadrature(density)
    return float((weights * shares).sum())


@functools.cache
def _variance(density: EmphasisDensity) -> float:
    """Variance of the density where p is uniform on [0, 1], to a relative 1e-9."""
    weights, shares = _quadrature(density)
    return float(((weights - _integral(density)).square() * shares).sum())


def _quadrature(density: EmphasisDensity) -> tuple[Tensor, Tensor]:
    """Density at some p, and the share of [0, 1] that each stands for; shape (12001,) both.

    Evenly spaced in m. There the integrand, with dp = p (1 - p) dm, is smooth and falls off like
    exp(-|m|), so this converges exponentially, also for densities that are not smooth in p.
    """
    log_odds = torch.arange(-6000, 6001, dtype=torch.float64) / 100
    shares = log_odds.sigmoid() * (-log_odds).sigmoid() / 100
    return density.log_density(log_odds).exp(), shares


@dataclass(frozen=True, kw_only=True)
class General:
    r"""The density of derivative manipulation.

    .. math:: w = \exp(\beta\, p^\lambda (1 - p))

    For beta > 0 the mode is lambda / (lambda + 1), from the hardest (lambda = 0, with 0^0 = 1)
    towards what is fitted. For beta < 0 that is where w is smallest, and the largest value 1 is
    taken at p = 1, which counts as the mode, and for lambda > 0 at p = 0 as well.

    Attributes:
        lam: lambda, at least 0.
        beta: strength; 0 weights all examples alike. At most 80 (lambda + 1)^(lambda + 1) /
            lambda^lambda in size, and at most 1000: beyond, weights may underflow for all examples.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Wang et al., "Derivative manipulation for general example weighting", 2019, eqs. 9-12.
        https://arxiv.org/abs/1905.11233

    Example:
        >>> density = General(lam=1, beta=16)
        >>> density.mode, density.log_peak, round(density.integral(), 6)
        (0.5, 4.0, 24.080006)
    """

    lam: float = 1.0
    beta: float = 16.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("lam", self.lam, low=0)
        check_number("beta", self.beta)
        _check_strength(self.beta, self._height, f"`lam` {self.lam:g}")

    @property
    def _height(self) -> float:
        """Largest value of p^lam (1 - p): lam^lam / (lam + 1)^(lam + 1)."""
        return float((self.lam / (self.lam + 1)) ** self.lam / (self.lam + 1))

    @property
    def mode(self) -> float:
        """Lambda / (lambda + 1), or 1 for a negative beta."""
        return self.lam / (self.lam + 1) if self.beta >= 0 else 1.0

    @property
    def log_peak(self) -> float:
        """Log of the value at the mode."""
        return max(self.beta * self._height, 0.0)

    def log_density(self, log_odds_against: Tensor) -> Tensor:
        """Log w, shape of ``log_odds_against``; see `EmphasisDensity`."""
        log_shape = functional.logsigmoid(log_odds_against)
        if self.lam != 0:  # 0^0 = 1
            log_shape = log_shape + self.lam * functional.logsigmoid(-log_odds_against)
        return self.beta * log_shape.exp()

    integral, variance = _integral, _variance


@dataclass(frozen=True, kw_only=True)
class Exponential:
    r"""Exponential density: emphasises the hardest examples (beta > 0) or the easiest (beta < 0).

    .. math:: w = \exp(\beta (1 - p))

    The mode is 0, or 1 for beta < 0. It is `General` with lambda = 0.

    Attributes:
        beta: strength, in [-80, 80]; 0 weights all examples alike.

    Raises:
        InputError: if ``beta`` is not as described.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_number("beta", self.beta)
        _check_strength(self.beta, 1.0, "the exponential density")

    @property
    def mode(self) -> float:
        """0, or 1 for a negative beta."""
        return 0.0 if self.beta >= 0 else 1.0

    @property
    def log_peak(self) -> float:
        """Log of the value at the mode."""
        return max(self.beta, 0.0)

    def log_density(self, log_odds_against: Tensor) -> Tensor:
        """Log w, shape of ``log_odds_against``; see `EmphasisDensity`."""
        return self.beta * log_odds_against.sigmoid()

    integral, variance = _integral, _variance


@dataclass(frozen=True, kw_only=True)
class Normal:
    r"""Normal density, cut off at 0 and 1: emphasises the examples around p = psi.

    .. math:: w = \exp(-\beta p (p - 2\psi)) \propto \exp(-\beta (p - \psi)^2)

    With psi = 1/2 it is `General` with lambda = 1.

    Attributes:
        psi: the mode, in [0, 1].
        beta: narrowness, 1 / (2 variance), at least 0; 0 weights all examples alike. At most 80 /
            max(psi, 1 - psi)^2.

    Raises:
        InputError: if a parameter is not as described.
    """

    psi: float = 0.5
    beta: float = 16.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("psi", self.psi, low=0, high=1)
        check_number("beta", self.beta, low=0)
        _check_strength(self.beta, max(self.psi, 1 - self.psi) ** 2, f"`psi` {self.psi:g}")

    @property
    def mode(self) -> float:
        """Psi."""
        return float(self.psi)

    @property
    def log_peak(self) -> float:
        """Log of the value at the mode."""
        return self.beta * self.psi**2

    def log_density(self, log_odds_against: Tensor) -> Tensor:
        """Log w, shape of ``log_odds_against``; see `EmphasisDensity`."""
        label_probs = (-log_odds_against).sigmoid()
        return -self.beta * label_probs * (label_probs - 2 * self.psi)

    integral, variance = _integral, _variance


@dataclass(frozen=True, kw_only=True)
class Beta:
    r"""Beta density: the weights of the common losses, up to a constant.

    .. math:: w = p^{\alpha-1} (1 - p)^{\eta-1}

    Cross entropy has alpha 1, eta 2; 1 - p_y (MAE) 2, 2; (1 - p_y)^2 2, 3; generalised cross
    entropy q + 1, 2. The mode is (alpha - 1) / (alpha + eta - 2); with alpha = eta = 1 all examples
    weigh alike and 1/2 stands for it. For alpha > 1 the weight fades with p: it is 0 where
    p^(alpha-1) is below the range of float32, which may be so for a whole batch.

    Attributes:
        alpha: at least 1; larger ignores hard examples more. At most 9, where float32 ends.
        eta: at least 1; larger ignores fitted examples more. At most 9.

    Raises:
        InputError: if a parameter is not as described.
    """

    alpha: float = 2.0
    eta: float = 2.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("alpha", self.alpha, low=1, high=SHAPE_MAX)
        check_number("eta", self.eta, low=1, high=SHAPE_MAX)

    @property
    def mode(self) -> float:
        """(alpha - 1) / (alpha + eta - 2)."""
        total = self.alpha + self.eta - 2
        return (self.alpha - 1) / total if total else 0.5

    @property
    def log_peak(self) -> float:
        """Log of the value at the mode."""
        return _times_log(self.alpha - 1, self.mode) + _times_log(self.eta - 1, 1 - self.mode)

    def log_density(self, log_odds_against: Tensor) -> Tensor:
        """Log w, shape of ``log_odds_against``; see `EmphasisDensity`."""
        log_weight = torch.zeros_like(log_odds_against)
        if self.alpha != 1:  # 0^0 = 1
            log_weight += (self.alpha - 1) * functional.logsigmoid(-log_odds_against)
        if self.eta != 1:
            log_weight += (self.eta - 1) * functional.logsigmoid(log_odds_against)
        return log_weight

    integral, variance = _integral, _variance


def emphasis_variance(weights: Tensor) -> Tensor:
    r"""Emphasis variance of a batch.

    .. math:: \sigma = E[(w - E w)^2]

    Args:
        weights: w of the examples, shape (B,), floating.

    Returns:
        Shape (), float64; divided by B, not by B - 1.

    Example:
        >>> emphasis_variance(torch.tensor([1.0, 3.0]))
        tensor(1., dtype=torch.float64)
    """
    return weights.double().var(correction=0)
