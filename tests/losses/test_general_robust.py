"""Barron's general loss: special cases, limits, slopes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.losses.general_robust import general_loss

INFINITY = float("inf")
ALPHAS = [-INFINITY, -1e30, -1e4, -2, -1e-6, 0, 1e-6, 0.5, 1 - 1e-6, 1, 1.5, 2 - 1e-6, 2]
RESIDUALS = torch.tensor([-1e4, -30, -1, -0.1, -1e-4, 0, 1e-3, 0.5, 3, 100, 1e4])


def transcribed(x: NDArray[np.float64], alpha: float, c: float) -> NDArray[np.float64]:
    """Eq. 8 of the paper, with no care taken."""
    squared = (x / c) ** 2
    if alpha == 2:
        return squared / 2
    if alpha == 0:
        return np.log(squared / 2 + 1)
    if alpha == -INFINITY:
        return 1 - np.exp(-squared / 2)
    width = abs(alpha - 2)
    return width / alpha * ((squared / width + 1) ** (alpha / 2) - 1)


def slopes(residuals: Tensor, alpha: float, scale: float = 1.0) -> tuple[Tensor, ...]:
    inputs = [residuals, torch.full_like(residuals, alpha), torch.full_like(residuals, scale)]
    leaves = [leaf.clone().requires_grad_() for leaf in inputs]
    return torch.autograd.grad(general_loss(*leaves[:2], scale=leaves[2]).sum(), leaves)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (2, 4.5),  # 9 / 2
        (1, 2.162278),  # sqrt(10) - 1, Charbonnier
        (0, 1.704748),  # log(5.5), Cauchy
        (-2, 1.384615),  # 2 * 9 / (9 + 4), Geman and McClure
        (-INFINITY, 0.988891),  # 1 - exp(-4.5), Welsch
    ],
)
def test_special_cases_by_hand(alpha: float, expected: float) -> None:
    # x / c = 3
    value = general_loss(torch.tensor(1.5, dtype=torch.float64), alpha, scale=0.5)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alpha", [-INFINITY, -50, -2, -0.3, 0, 0.4, 1, 1.7, 2])
def test_it_is_the_equation(alpha: float) -> None:
    residuals = torch.linspace(-20, 20, 41, dtype=torch.float64)
    expected = transcribed(residuals.numpy(), alpha, 0.7)
    actual = general_loss(residuals, alpha, scale=0.7).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("limit", "near", "tolerance"),
    [
        (2, 2 - 1e-12, 1e-9),
        (0, 1e-12, 1e-9),
        (0, -1e-12, 1e-9),
        (1, 1 - 1e-12, 1e-9),  # where two ways to compute it meet
        (-INFINITY, -1e12, 1e-9),
    ],
)
def test_limits_are_continuous(limit: float, near: float, tolerance: float) -> None:
    residuals = torch.linspace(-20, 20, 41, dtype=torch.float64)
    torch.testing.assert_close(
        general_loss(residuals, near), general_loss(residuals, limit), rtol=tolerance, atol=1e-12
    )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_single_precision_follows_double(alpha: float) -> None:
    alpha = torch.tensor(alpha, dtype=torch.float32).item()
    low = [general_loss(RESIDUALS, alpha), *slopes(RESIDUALS, alpha)]
    high = [general_loss(RESIDUALS.double(), alpha), *slopes(RESIDUALS.double(), alpha)]
    for name, single, double in zip(["rho", "x", "alpha", "c"], low, high, strict=True):
        assert single.isfinite().all()
        if name != "alpha":
            torch.testing.assert_close(single.double(), double, rtol=5e-6, atol=1e-12)
        elif alpha < 2:  # at 2 it is the slope at the number below, which differs
            torch.testing.assert_close(single.double(), double, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_influence_is_at_most_that_of_the_square(alpha: float) -> None:
    of_residuals, _, _ = slopes(RESIDUALS, alpha, scale=0.5)
    assert (of_residuals * RESIDUALS >= 0).all()
    assert (of_residuals.abs() <= RESIDUALS.abs() / 0.25).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_it_grows_with_the_size_of_the_residual(alpha: float) -> None:
    values = general_loss(torch.linspace(0, 100, 1001), alpha)
    assert values[0] == 0
    assert (values.diff() >= -1e-6).all()
    torch.testing.assert_close(general_loss(-RESIDUALS, alpha), general_loss(RESIDUALS, alpha))


def test_it_grows_with_alpha() -> None:
    alpha = torch.tensor(ALPHAS, dtype=torch.float64).unsqueeze(1)
    values = general_loss(RESIDUALS.double(), alpha)
    assert values.shape == (len(ALPHAS), len(RESIDUALS))
    assert (values.diff(dim=0) >= -1e-12 * values[1:]).all()


@pytest.mark.parametrize("alpha", [-300.0, -2.0, -0.01, 0.0, 0.01, 0.9, 1.0, 1.5, 1.99])
def test_the_slopes_are_those_of_the_value(alpha: float) -> None:
    residuals = torch.tensor([-40, -2, -0.3, 0, 0.02, 1, 7], dtype=torch.float64)
    leaves = [
        residuals.requires_grad_(),
        torch.full((7,), alpha, dtype=torch.float64, requires_grad=True),
        torch.full((7,), 0.8, dtype=torch.float64, requires_grad=True),
    ]
    assert torch.autograd.gradcheck(lambda x, a, c: general_loss(x, a, scale=c), leaves)


@pytest.mark.parametrize("alpha", [-INFINITY, 2.0])
def test_the_slopes_at_the_ends_are_those_of_the_value(alpha: float) -> None:
    leaves = (
        torch.tensor([-5, -0.3, 0, 1, 7], dtype=torch.float64, requires_grad=True),
        torch.tensor([0.8], dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(lambda x, c: general_loss(x, alpha, scale=c), leaves)


def test_the_slope_in_alpha_vanishes_at_minus_infinity() -> None:
    _, of_alpha, _ = slopes(RESIDUALS, -INFINITY)
    assert of_alpha.tolist() == [0.0] * len(RESIDUALS)


def test_the_slope_at_two_is_that_of_the_number_below() -> None:
    below = torch.nextafter(torch.tensor(2.0), torch.tensor(0.0)).item()
    actual, expected = slopes(RESIDUALS, 2)[1], slopes(RESIDUALS, below)[1]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def test_half_precision_is_computed_in_single() -> None:
    values = general_loss(torch.tensor([300.0], dtype=torch.bfloat16), 2.0)
    assert values.dtype == torch.float32
    assert values.item() == 300**2 / 2


def test_residuals_must_be_floating() -> None:
    with pytest.raises(ValueError, match=r"floating dtype, got torch\.int64"):
        general_loss(torch.tensor([1]), 1.0)


@pytest.mark.parametrize(
    ("alpha", "scale", "message"),
    [
        (2.5, 1.0, r"`alpha` at most 2, got \[2.5\]"),
        (float("nan"), 1.0, r"`alpha` at most 2, got \[nan\]"),
        (1.0, 0.0, r"`scale` above 0, got \[0.0\]"),
    ],
)
def test_alpha_and_scale_are_checked(alpha: float, scale: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        general_loss(torch.zeros(1), alpha, scale=scale)
