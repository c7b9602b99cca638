"""Barron's adaptive loss: the partition function, and what is learnt."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import integrate, special
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.general_adaptive import (
    REGRESSION_LOSSES,
    GeneralAdaptive,
    log_partition,
)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.0, math.sqrt(2) * math.pi),
        (1.0, 2 * math.e * special.k1(1.0)),
        (2.0, math.sqrt(2 * math.pi)),
    ],
)
def test_known_partition_functions(alpha: float, expected: float) -> None:
    actual = log_partition(torch.tensor(alpha, dtype=torch.float64)).exp().item()
    assert actual == pytest.approx(expected, rel=1e-9)


def rho(squared: float, alpha: float) -> float:
    """Eq. 8 of the paper, by the squared residual."""
    if alpha in (0, 2):
        return squared / 2 if alpha == 2 else math.log1p(squared / 2)
    return (2 - alpha) / alpha * math.expm1(alpha / 2 * math.log1p(squared / (2 - alpha)))


def quadrature(alpha: float) -> float:
    """Log Z by an adaptive rule, in t = log x."""
    pieces = [(-40, -5), (-5, 0), (0, 5), (5, 15), (15, 40)]

    def density(t: float) -> float:
        return math.exp(t - rho(math.exp(2 * t), alpha))

    parts = [integrate.quad(density, *piece, epsabs=1e-12, limit=200)[0] for piece in pieces]
    return math.log(2 * sum(parts))


@pytest.mark.parametrize(
    "alpha", [0, 0.003, 0.0137, 0.1, 0.3331, 0.77, 1.234, 1.77, 1.97, 1.9993, 1.9999999, 2]
)
def test_partition_function_is_the_integral(alpha: float) -> None:
    actual = log_partition(torch.tensor(alpha, dtype=torch.float64)).item()
    assert actual == pytest.approx(quadrature(alpha), abs=2e-7)


@pytest.mark.parametrize("alpha", [0.004, 0.05, 0.5, 1.5, 1.99])
def test_slope_of_the_partition_function(alpha: float) -> None:
    leaf = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_partition(leaf), leaf)
    expected = (quadrature(alpha + 1e-4) - quadrature(alpha - 1e-4)) / 2e-4
    assert slope.item() == pytest.approx(expected, abs=1e-4)


def test_the_slope_of_the_partition_function_at_the_ends_is_finite() -> None:
    alpha = torch.tensor([0.0, 2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(log_partition(alpha).sum(), alpha)
    assert slope.isfinite().all()
    assert (slope < 0).all()


@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.9])
def test_the_adaptive_loss_is_minus_the_log_of_a_density(alpha: float) -> None:
    loss = GeneralAdaptive(initial_alpha=alpha, initial_scale=0.4).double()
    log_x = torch.arange(-120, 120, 0.05, dtype=torch.float64)
    with torch.no_grad():
        mass = 2 * 0.05 * (log_x - loss(log_x.exp())).exp().sum()
    # Latent parameters were made in single precision.
    assert mass.item() == pytest.approx(1, abs=1e-6)


def test_each_output_has_its_own_alpha_and_scale() -> None:
    loss = GeneralAdaptive(num_outputs=3)
    with torch.no_grad():
        loss.latent_alpha[1] = 5.0
        loss.latent_scale[2] = 4.0
    values = loss(torch.full((4, 2, 3), 2.0))
    assert values.shape == (4, 2, 3)
    assert len(values[0, 0].unique()) == 3
    values.mean().backward()
    for parameter in loss.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_it_starts_where_it_is_told_to() -> None:
    loss = GeneralAdaptive(initial_alpha=0.3, initial_scale=20.0)
    assert loss.alpha.item() == pytest.approx(0.3)
    assert loss.scale.item() == pytest.approx(20.0)


def test_parameters_stay_in_their_ranges() -> None:
    loss = GeneralAdaptive(alpha_low=0.0, alpha_high=2.0, scale_floor=0.1)
    for latent in (-1e4, 1e4):
        with torch.no_grad():
            loss.latent_alpha.fill_(latent)
            loss.latent_scale.fill_(-1e4)
        assert loss.alpha.item() == (0 if latent < 0 else 2)
        assert loss.scale.item() == pytest.approx(0.1)
        assert loss(torch.tensor([-1e4, -1.0, 0.0, 1e-3, 1e4])).isfinite().all()


def learnt(residuals: Tensor) -> GeneralAdaptive:
    """The loss fitted to residuals."""
    loss = GeneralAdaptive()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(residuals).mean().backward()
        optimizer.step()
    return loss


@pytest.mark.slow
def test_alpha_follows_the_tails() -> None:
    generator = torch.Generator().manual_seed(0)
    gaussian = learnt(0.5 * torch.randn(4000, generator=generator))
    cauchy = learnt(torch.empty(4000).cauchy_(generator=generator))
    # The slope of alpha's sigmoid is small near its ends, so it gets there slowly.
    assert gaussian.alpha.item() > 1.6
    assert gaussian.scale.item() == pytest.approx(0.5, rel=0.2)
    assert cauchy.alpha.item() < 0.2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_outputs": 0}, "`num_outputs` a whole number of at least 1, got 0"),
        ({"num_outputs": 1.5}, "`num_outputs` a whole number of at least 1, got 1.5"),
        ({"alpha_low": -0.1}, r"`alpha_low` in \[0, 2\], got -0.1"),
        ({"alpha_high": 2.5}, r"`alpha_high` in \[0, 2\], got 2.5"),
        ({"initial_alpha": 1.9999}, r"`initial_alpha` in \(0.001, 1.999\), got 1.9999"),
        ({"alpha_low": 1.0, "alpha_high": 1.0}, r"`initial_alpha` in \(1.0, 1.0\), got 1.0"),
        ({"scale_floor": 0.0}, "0 < `scale_floor` < `initial_scale`, got 0.0 and 1.0"),
        ({"initial_scale": 1e-6}, "`scale_floor` < `initial_scale`, got 1e-05 and 1e-06"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GeneralAdaptive(**parameters)


def test_residuals_must_fit_the_outputs() -> None:
    with pytest.raises(ValueError, match=r"shape \(B, ..., 3\), got \(5, 2\)"):
        GeneralAdaptive(num_outputs=3)(torch.zeros(5, 2))


def test_the_partition_function_needs_alpha_in_its_range() -> None:
    with pytest.raises(ValueError, match=r"`alpha` in \[0, 2\], got \[-0.5\]"):
        log_partition(torch.tensor([-0.5, 1.0]))


def test_it_is_known_by_name() -> None:
    assert {name: type(make()) for name, make in REGRESSION_LOSSES.items()} == REGRESSION_LOSSES
