"""Emphasis densities: values, areas, modes and variances by hand, and where they end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.emphasis import (
    Beta,
    EmphasisDensity,
    Exponential,
    General,
    Normal,
    emphasis_variance,
)

LABEL_PROBS = [0.05, 0.25, 1 / 3, 0.5, 0.9, 0.99]
DENSITIES = [
    pytest.param(density, id=repr(density))
    for density in [
        General(lam=0, beta=2),
        General(lam=0.5, beta=12),
        General(lam=2, beta=20),
        General(lam=1, beta=-8),
        General(lam=1, beta=320),
        Exponential(beta=3),
        Exponential(beta=-80),
        Normal(psi=0.3, beta=12),
        Normal(psi=1, beta=80),
        Beta(alpha=1, eta=2),
        Beta(alpha=1.7, eta=2),
        Beta(alpha=9, eta=9),
    ]
]


def log_odds_at(label_probs: list[float]) -> Tensor:
    """log((1 - p) / p), float64."""
    return -torch.tensor(label_probs, dtype=torch.float64).logit()


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        # exp(beta p^lam (1 - p)); e.g. lam = 1, beta = 16, p = 1/2: e^4
        (
            General(lam=0.5, beta=12),
            [12.795806, 90.017131, 101.372531, 69.591378, 3.121832, 1.126819],
        ),
        (
            General(lam=1, beta=16),
            [2.138276, 20.085537, 35.007263, 54.598150, 4.220696, 1.171635],
        ),
        (General(lam=1, beta=8), [1.462285, 4.481689, 5.916694, 7.389056, 2.054433, 1.082421]),
        (General(lam=0, beta=2), [6.685894, 4.481689, 3.793668, 2.718282, 1.221403, 1.020201]),
        (Exponential(beta=2), [6.685894, 4.481689, 3.793668, 2.718282, 1.221403, 1.020201]),
        (General(lam=2, beta=12), [1.028910, 1.755055, 2.432425, 4.481689, 2.643226, 1.124808]),
        # exp(-12 p (p - 0.6)); e.g. p = 1/2: e^0.6
        (Normal(psi=0.3, beta=12), [1.390968, 2.857651, 2.905678, 1.822119, 0.039164, 0.009724]),
        # sqrt(p) (1 - p)^2; e.g. p = 1/4: 1/2 * 9/16
        (Beta(alpha=1.5, eta=3), [0.201805, 0.28125, 0.256600, 0.176777, 0.009487, 0.0000995]),
    ],
    ids=repr,
)
def test_density_by_hand(density: EmphasisDensity, expected: list[float]) -> None:
    weights = density.log_density(log_odds_at(LABEL_PROBS)).exp()
    assert weights.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (General(lam=0, beta=2), 3.194528),
        (General(lam=0.5, beta=8), 11.408163),
        (General(lam=0.5, beta=12), 44.363448),
        (General(lam=1, beta=8), 4.419720),
        (General(lam=1, beta=16), 24.080006),
        (General(lam=2, beta=12), 3.221241),
        (General(lam=2, beta=20), 8.150350),
    ],
    ids=repr,
)
def test_area_by_hand(density: EmphasisDensity, expected: float) -> None:
    assert density.integral() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        # In closed form: (e^beta - 1) / beta
        pytest.param(Exponential(beta=2), math.expm1(2) / 2, id="exponential"),
        pytest.param(General(lam=0, beta=-80), -math.expm1(-80) / 80, id="steep"),
        # e^(beta psi^2) sqrt(pi / beta) erf(sqrt(beta) / 2)
        pytest.param(
            Normal(psi=0.5, beta=12),
            math.exp(3) * math.sqrt(math.pi / 12) * math.erf(math.sqrt(3)),
            id="normal",
        ),
        # Gamma(alpha) Gamma(eta) / Gamma(alpha + eta); GCE: 1 / ((q + 1) (q + 2))
        pytest.param(Beta(alpha=1, eta=2), 1 / 2, id="cross entropy"),
        pytest.param(Beta(alpha=2, eta=2), 1 / 6, id="MAE"),
        pytest.param(Beta(alpha=2, eta=3), 1 / 12, id="MSE"),
        pytest.param(Beta(alpha=1.7, eta=2), 1 / (1.7 * 2.7), id="GCE"),
        pytest.param(
            Beta(alpha=9, eta=9), math.factorial(8) ** 2 / math.factorial(17), id="narrow"
        ),
    ],
)
def test_area_in_closed_form_to_nine_digits(density: EmphasisDensity, expected: float) -> None:
    assert density.integral() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("density", DENSITIES)
def test_area_and_variance_agree_with_a_sum_over_p(density: EmphasisDensity) -> None:
    p = (np.arange(400000) + 0.5) / 400000
    log_odds = torch.from_numpy(np.log1p(-p) - np.log(p))
    weights = density.log_density(log_odds).exp().numpy()
    assert density.integral() == pytest.approx(weights.mean(), rel=1e-7)
    assert density.variance() == pytest.approx(weights.var(), rel=1e-6)


@pytest.mark.parametrize(
    ("factor", "density", "expected"),
    [
        # Of the L1 norms of the losses' gradients: 2 (1 - p), 4 p (1 - p), half of it, 4 p (1-p)^2
        pytest.param(2, Beta(alpha=1, eta=2), 0.3333, id="cross entropy"),
        pytest.param(4, Beta(alpha=2, eta=2), 0.0889, id="MAE of IMAE"),
        pytest.param(2, Beta(alpha=2, eta=2), 0.0222, id="MAE"),
        pytest.param(4, Beta(alpha=2, eta=3), 0.0413, id="MSE"),
        pytest.param(1, General(lam=1, beta=8), 4.5461, id="IMAE"),
    ],
)
def test_variance_by_hand(factor: float, density: EmphasisDensity, expected: float) -> None:
    assert factor**2 * density.variance() == pytest.approx(expected, abs=5e-5)


def test_a_density_that_is_nearly_flat_keeps_its_variance() -> None:
    # w = 1 + 1e-6 (1 - p): 1e-12 / 12
    assert Exponential(beta=1e-6).variance() == pytest.approx(1e-12 / 12, rel=1e-5)


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (General(lam=0, beta=2), 0.0),
        (General(lam=0.5, beta=12), 1 / 3),
        (General(lam=1, beta=16), 0.5),
        (General(lam=2, beta=12), 2 / 3),
        (General(lam=2, beta=-12), 1.0),  # smallest at 2/3, largest at both ends
        (General(lam=2, beta=0), 2 / 3),  # by convention
        (Exponential(beta=1), 0.0),
        (Exponential(beta=-1), 1.0),
        (Normal(psi=0.3, beta=12), 0.3),
        (Beta(alpha=1, eta=2), 0.0),
        (Beta(alpha=2, eta=2), 0.5),
        (Beta(alpha=2, eta=3), 1 / 3),
        (Beta(alpha=1.7, eta=2), 0.7 / 1.7),
        (Beta(alpha=2, eta=1), 1.0),
        (Beta(alpha=1, eta=1), 0.5),  # by convention
    ],
    ids=repr,
)
def test_mode_by_hand(density: EmphasisDensity, expected: float) -> None:
    assert density.mode == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        # exp(beta lam^lam / (lam + 1)^(lam + 1))
        (General(lam=0, beta=2), 2.0),
        (General(lam=0.5, beta=12), 12 * 0.5**0.5 / 1.5**1.5),
        (General(lam=1, beta=16), 4.0),
        (General(lam=2, beta=12), 12 * 4 / 27),
        (General(lam=1, beta=-8), 0.0),
        (Normal(psi=0.3, beta=12), 1.08),
        (Beta(alpha=2, eta=3), math.log(4 / 27)),
        (Beta(alpha=1, eta=1), 0.0),
    ],
    ids=repr,
)
def test_log_of_the_peak_by_hand(density: EmphasisDensity, expected: float) -> None:
    assert density.log_peak == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("density", DENSITIES)
def test_the_peak_is_the_largest_value_and_at_the_mode(density: EmphasisDensity) -> None:
    p = torch.linspace(0, 1, 200001, dtype=torch.float64)
    assert density.log_density(-p.logit()).max().item() == pytest.approx(density.log_peak, abs=1e-6)
    at_mode = density.log_density(log_odds_at([density.mode])).item()
    assert at_mode == pytest.approx(density.log_peak, abs=1e-12)


@pytest.mark.parametrize(
    ("density", "at_zero", "at_one"),
    [
        (General(lam=0, beta=2), 2.0, 0.0),  # 0^0 = 1
        (General(lam=0.5, beta=12), 0.0, 0.0),
        (Exponential(beta=2), 2.0, 0.0),
        (Normal(psi=0.3, beta=12), 0.0, -4.8),
        (Beta(alpha=1, eta=2), 0.0, -math.inf),
        (Beta(alpha=2, eta=1), -math.inf, 0.0),
        (Beta(alpha=1, eta=1), 0.0, 0.0),
    ],
    ids=repr,
)
def test_log_density_at_both_ends(density: EmphasisDensity, at_zero: float, at_one: float) -> None:
    ends = density.log_density(torch.tensor([math.inf, -math.inf]))
    assert ends.tolist() == pytest.approx([at_zero, at_one])


def test_the_log_density_is_exact_where_the_probability_rounds_to_one() -> None:
    # 1 - p = e^-60 / (1 + e^-60), which float32 p cannot hold
    log_density = Beta(alpha=1, eta=2).log_density(torch.tensor([-60.0]))
    assert log_density.item() == -60


@pytest.mark.parametrize(
    ("general", "special"),
    [
        (General(lam=0, beta=-3), Exponential(beta=-3)),
        (General(lam=1, beta=16), Normal(psi=0.5, beta=16)),
    ],
    ids=["exponential", "normal"],
)
def test_special_cases_of_the_general_density(
    general: EmphasisDensity, special: EmphasisDensity
) -> None:
    log_odds = torch.linspace(-20, 20, 41, dtype=torch.float64)
    torch.testing.assert_close(general.log_density(log_odds), special.log_density(log_odds))


@pytest.mark.parametrize("density", DENSITIES)
def test_strong_densities_stay_within_float32(density: EmphasisDensity) -> None:
    relative = density.log_density(torch.linspace(-9.8, 9.8, 99)) - density.log_peak
    assert (relative.exp() >= torch.finfo(torch.float32).tiny).all()


def test_emphasis_variance_of_a_batch_divides_by_its_size() -> None:
    # mean 2, squared distances 1, 0, 1
    assert emphasis_variance(torch.tensor([1.0, 2.0, 3.0])).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("factory", "parameters", "message"),
    [
        (General, {"lam": -1}, r"`lam` in \[0, inf\), got -1\."),
        (General, {"beta": math.nan}, r"`beta` in \(-inf, inf\), got nan\."),
        (General, {"lam": 1, "beta": 321}, r"`beta` in \[-320, 320\] with `lam` 1 \(beyond, .*321"),
        (General, {"lam": 0, "beta": -81}, r"`beta` in \[-80, 80\] with `lam` 0 \(beyond, "),
        (General, {"lam": 50, "beta": 1001}, r"`beta` in \[-1000, 1000\] with `lam` 50 "),
        (Exponential, {"beta": -80.5}, r"`beta` in \[-80, 80\] with the exponential density "),
        (Exponential, {"beta": "1"}, r"`beta` in \(-inf, inf\), got '1'\."),
        (Normal, {"psi": 1.1}, r"`psi` in \[0, 1\], got 1\.1\."),
        (Normal, {"beta": -1}, r"`beta` in \[0, inf\), got -1\."),
        (Normal, {"psi": 0, "beta": 81}, r"`beta` in \[-80, 80\] with `psi` 0 .*got 81\."),
        (Beta, {"alpha": 0.5}, r"`alpha` in \[1, 9\], got 0\.5\."),
        (Beta, {"eta": 10}, r"`eta` in \[1, 9\], got 10\."),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused(
    factory: type, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        factory(**parameters)
