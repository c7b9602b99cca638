"""Derivative manipulation: emphasis densities, the batch gradient, and what is reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protein_robust.losses import (
    CrossEntropy,
    DerivativeManipulation,
    log_emphasis,
    log_odds_against,
)

Evaluate = Callable[..., tuple[Tensor, Tensor]]

BATCH = torch.tensor(
    [[1 / 2, 1 / 3, 1 / 6], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]], dtype=torch.float64
).log()
LABEL_PROBS = torch.tensor([0.05, 0.25, 1 / 3, 0.5, 0.9, 0.99], dtype=torch.float64)


@pytest.mark.parametrize(
    ("lam", "beta", "expected"),
    [
        (0.5, 12, [12.795806, 90.017131, 101.372531, 69.591378, 3.121832, 1.126819]),
        (1, 16, [2.138276, 20.085537, 35.007263, 54.598150, 4.220696, 1.171635]),
        (1, 8, [1.462285, 4.481689, 5.916694, 7.389056, 2.054433, 1.082421]),
        (0, 2, [6.685894, 4.481689, 3.793668, 2.718282, 1.221403, 1.020201]),
        (2, 12, [1.028910, 1.755055, 2.432425, 4.481689, 2.643226, 1.124808]),
    ],
)
def test_emphasis_by_hand(lam: float, beta: float, expected: list[float]) -> None:
    # exp(beta p^lam (1 - p)); e.g. lam = 1, beta = 16, p = 1/2: e^4
    weights = log_emphasis(LABEL_PROBS, lam, beta).exp()
    assert weights.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("lam", "beta", "expected"),
    [
        (0, 2, 3.194528),
        (0.5, 8, 11.408163),
        (0.5, 12, 44.363448),
        (1, 8, 4.419720),
        (1, 16, 24.080006),
        (2, 12, 3.221241),
        (2, 20, 8.150350),
    ],
)
def test_area_under_the_emphasis(lam: float, beta: float, expected: float) -> None:
    p = torch.linspace(0, 1, 200001, dtype=torch.float64)
    area = torch.trapezoid(log_emphasis(p, lam, beta).exp(), p)
    assert area.item() == pytest.approx(expected, abs=1e-5)


def test_variance_of_the_emphasis_of_imae() -> None:
    # Var over p ~ U(0, 1) of exp(8 p (1 - p)), as the IMAE talk has it to two digits (4.55)
    p = torch.linspace(0, 1, 200001, dtype=torch.float64)
    assert log_emphasis(p, 1, 8).exp().var().item() == pytest.approx(4.5461, abs=2e-4)


@pytest.mark.parametrize(("lam", "mode"), [(0, 0.0), (0.5, 1 / 3), (1, 0.5), (2, 2 / 3)])
def test_mode_of_the_emphasis(lam: float, mode: float) -> None:
    p = torch.linspace(0, 1, 3001, dtype=torch.float64)
    assert p[log_emphasis(p, lam, 12.0).argmax()].item() == pytest.approx(mode, abs=1e-6)


def test_lambda_zero_takes_zero_to_the_zero_as_one() -> None:
    assert log_emphasis(torch.tensor([0.0]), 0.0, 2.0).item() == 2


def test_log_odds_are_exact_where_the_probability_rounds_to_one() -> None:
    # log(e^1 + e^0) - 40 = 1.313262 - 40
    log_odds = log_odds_against(torch.tensor([[40.0, 1.0, 0.0]]), torch.tensor([0]))
    assert log_odds.item() == pytest.approx(-38.686738, abs=1e-5)


def test_batch_gradient_by_hand(evaluate: Evaluate) -> None:
    # p_y = 0.5, 0.05, 0.9: w = 69.591378, 12.795806, 3.121832; shares 0.813848, 0.149643, 0.036509,
    # each times (p - q) / (2 (1 - p_y))
    loss = DerivativeManipulation(lam=0.5, beta=12)
    _, gradients = evaluate(loss, BATCH, [0, 0, 0])
    expected = [
        [-0.406924, 0.271283, 0.135641],
        [-0.074821, 0.070883, 0.003938],
        [-0.018254, 0.009127, 0.009127],
    ]
    torch.testing.assert_close(
        gradients, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("vanish_at_one", [False, True])
def test_weights_are_the_norms_of_the_gradients(evaluate: Evaluate, vanish_at_one: bool) -> None:
    loss = DerivativeManipulation(lam=0.5, beta=12, vanish_at_one=vanish_at_one)
    weights = loss.weights(log_odds_against(BATCH, torch.tensor([0, 1, 2])))
    _, gradients = evaluate(loss, BATCH, [0, 1, 2])
    torch.testing.assert_close(gradients.abs().sum(dim=1), weights)


def test_gradient_norms_of_a_batch_sum_to_one(evaluate: Evaluate) -> None:
    _, gradients = evaluate(DerivativeManipulation(), BATCH, [0, 2, 1])
    assert gradients.abs().sum().item() == pytest.approx(1)


def test_the_value_is_the_cross_entropy(evaluate: Evaluate) -> None:
    values, _ = evaluate(DerivativeManipulation(), BATCH, [0, 2, 1])
    torch.testing.assert_close(values, evaluate(CrossEntropy(), BATCH, [0, 2, 1])[0])


def test_beta_zero_weights_all_examples_alike(evaluate: Evaluate) -> None:
    _, gradients = evaluate(DerivativeManipulation(beta=0.0), BATCH, [0, 2, 1])
    norms = gradients.abs().sum(dim=1)
    assert norms.tolist() == pytest.approx([1 / 3] * 3)


def test_the_direction_is_that_of_cross_entropy(evaluate: Evaluate) -> None:
    _, gradients = evaluate(DerivativeManipulation(), BATCH, [0, 2, 1])
    _, plain = evaluate(CrossEntropy(), BATCH, [0, 2, 1])
    cosine = torch.nn.functional.cosine_similarity(gradients, plain, dim=1)
    assert cosine.tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize(
    ("vanish_at_one", "expected"),
    [(False, [-0.5, 0.365529, 0.134471]), (True, [0.0, 0.0, 0.0])],
    ids=["exact", "vanishing"],
)
def test_a_fitted_example_keeps_pulling_unless_told_to_vanish(
    evaluate: Evaluate, vanish_at_one: bool, expected: list[float]
) -> None:
    # float32 rounds p_y to 1; the others share e : 1
    loss = DerivativeManipulation(vanish_at_one=vanish_at_one)
    _, gradients = evaluate(loss, torch.tensor([[40.0, 1.0, 0.0]]), [0])
    assert gradients[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_vanishing_changes_nothing_far_from_one(evaluate: Evaluate) -> None:
    _, vanishing = evaluate(DerivativeManipulation(vanish_at_one=True), BATCH, [0, 2, 1])
    _, exact = evaluate(DerivativeManipulation(), BATCH, [0, 2, 1])
    torch.testing.assert_close(vanishing, exact, atol=0, rtol=1e-6)
