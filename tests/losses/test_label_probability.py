"""Losses of the label's probability, by hand, by their definitions, and their emphasis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses import Loss, LossContext
from protein_robust.losses.label_probability import (
    GeneralizedCrossEntropy,
    MeanAbsoluteError,
    MeanSquaredError,
    ReverseCrossEntropy,
    SymmetricCrossEntropy,
)
from protein_robust.losses.targets import CrossEntropy

Evaluate = Callable[..., tuple[Tensor, Tensor]]
Array = NDArray[np.float64]

LABELS = [0, 6, 3, 3, 1]
GRID = torch.linspace(0, 1, 30001, dtype=torch.float64)[1:-1]
"""p_y."""
SYMMETRIC = SymmetricCrossEntropy(alpha=1, log_zero=-4)


@pytest.fixture
def logits() -> Tensor:
    """Scores, shape (5, 7), float64."""
    return 2 * torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def norms_by_probability(loss: Loss) -> Tensor:
    """L1 norm of the gradient at each p_y of the grid, with two classes."""
    logits = torch.stack([GRID.log(), (-GRID).log1p()], dim=1).requires_grad_()  # (30000, 2)
    labels = torch.zeros(len(GRID), dtype=torch.int64)
    values = loss(logits, labels, LossContext(progress=0.0, index=labels))
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    return gradient.abs().sum(dim=1)


@pytest.mark.parametrize(
    ("loss", "value", "gradient"),
    [
        # p = [1/2, 1/3, 1/6], label 0: the factor times [-1/2, 1/3, 1/6].
        pytest.param(MeanAbsoluteError(), 0.5, [-0.25, 0.166667, 0.083333], id="MAE"),
        pytest.param(
            MeanAbsoluteError(form="full"), 1.0, [-0.5, 0.333333, 0.166667], id="MAE, full"
        ),
        # factor 2 * 1/2 * 1/2
        pytest.param(MeanSquaredError(), 0.25, [-0.25, 0.166667, 0.083333], id="MSE"),
        # sum p^2 = 14/36; the value 1/4 + 1/9 + 1/36; 2 p (p + 1/9) - q
        pytest.param(
            MeanSquaredError(form="full"), 0.388889, [-0.388889, 0.296296, 0.092593], id="Brier"
        ),
        # 0.5^0.7 = 0.615572; (1 - 0.615572) / 0.7
        pytest.param(
            GeneralizedCrossEntropy(q=0.7), 0.549183, [-0.307786, 0.205191, 0.102595], id="GCE"
        ),
        # -ln 1e-4 / 2 = 4.605170; the factor of a squared error would give -1.151293 for the label
        pytest.param(ReverseCrossEntropy(), 4.605170, [-2.302585, 1.535057, 0.767528], id="RCE"),
        # 0.1 * 0.693147 + 4.605170; factor 0.1 + 4.605170
        pytest.param(SymmetricCrossEntropy(), 4.674485, [-2.352585, 1.568390, 0.784195], id="SCE"),
        # 6 * 0.693147 + 0.460517; factor 6.460517
        pytest.param(
            SymmetricCrossEntropy(alpha=6, beta=0.1),
            4.6194,
            [-3.230259, 2.153506, 1.076753],
            id="SCE, 6",
        ),
    ],
)
def test_value_and_gradient_by_hand(
    evaluate: Evaluate, worked_logits: Tensor, loss: Loss, value: float, gradient: list[float]
) -> None:
    values, gradients = evaluate(loss, worked_logits, [0])
    assert values.item() == pytest.approx(value, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(gradient, abs=1e-6)


def by_definition(loss: Loss, p: Array, q: Array) -> tuple[Array, Array]:
    """Values, shape (B,), and derivative with regard to p, shape (B, K), from the definitions."""
    p_y = (p * q).sum(axis=1, keepdims=True)
    match loss:
        case MeanAbsoluteError(form="label"):
            return np.abs(p - q).sum(axis=1) / 2, -q
        case MeanAbsoluteError():
            return np.abs(p - q).sum(axis=1), np.sign(p - q)
        case MeanSquaredError(form="label"):
            return (1 - p_y[:, 0]) ** 2, -2 * (1 - p_y) * q
        case MeanSquaredError():
            return ((p - q) ** 2).sum(axis=1), 2 * (p - q)
        case GeneralizedCrossEntropy(q=power):
            return (1 - p_y[:, 0] ** power) / power, -(p_y ** (power - 1)) * q
        case ReverseCrossEntropy(log_zero=log_zero):
            log_q = log_zero * (1 - q)
            return -(p * log_q).sum(axis=1), -log_q
        case SymmetricCrossEntropy(alpha=alpha, beta=beta, log_zero=log_zero):
            log_q = log_zero * (1 - q)
            value = -alpha * (q * np.log(p)).sum(axis=1) - beta * (p * log_q).sum(axis=1)
            return value, -alpha * q / p - beta * log_q
    raise AssertionError(loss)


ALL: list[Loss] = [
    MeanAbsoluteError(),
    MeanAbsoluteError(form="full"),
    MeanSquaredError(),
    MeanSquaredError(form="full"),
    GeneralizedCrossEntropy(),
    GeneralizedCrossEntropy(q=0.2),
    ReverseCrossEntropy(),
    ReverseCrossEntropy(log_zero=-4),
    SymmetricCrossEntropy(),
    SymmetricCrossEntropy(alpha=6.0, beta=0.1, log_zero=-4),
]


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_values_and_gradients_agree_with_the_definitions(
    evaluate: Evaluate, logits: Tensor, loss: Loss
) -> None:
    z = logits.numpy()
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    value, by_probs = by_definition(loss, p, np.eye(7)[LABELS])
    # dL/dz is the derivative by p through the Jacobian diag(p) - p p^T of softmax
    expected = p * (by_probs - (p * by_probs).sum(axis=1, keepdims=True))
    values, gradients = evaluate(loss, logits, LABELS)
    np.testing.assert_allclose(values.numpy(), value, rtol=1e-12)
    np.testing.assert_allclose(5 * gradients.numpy(), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_gradients_are_those_of_the_value(logits: Tensor, loss: Loss) -> None:
    context = LossContext(progress=0.0, index=torch.arange(5))
    labels = torch.tensor(LABELS)
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, labels, context), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("loss", "emphasis", "mode", "area", "variance"),
    [
        (CrossEntropy(), lambda p: 2 * (1 - p), 0, 1, 0.3333),
        (MeanAbsoluteError(), lambda p: 2 * p * (1 - p), 1 / 2, 1 / 3, 0.0222),
        (MeanAbsoluteError(form="full"), lambda p: 4 * p * (1 - p), 1 / 2, 2 / 3, 0.0889),
        (MeanSquaredError(), lambda p: 4 * p * (1 - p) ** 2, 1 / 3, 1 / 3, 0.0413),
        # mode q / (q + 1), area 2 / ((q + 1) (q + 2)), squared 8 / (2.4 * 3.4 * 4.4)
        (GeneralizedCrossEntropy(), lambda p: 2 * p**0.7 * (1 - p), 7 / 17, 2 / 4.59, 0.0330),
        # alpha - beta A p = 1 + 4 p: mode 1/2 - 1/8, area 1 + 4/3, squared 92/15
        (SYMMETRIC, lambda p: 2 * (1 - p) * (1 + 4 * p), 3 / 8, 7 / 3, 0.6889),
    ],
    ids=["CE", "MAE", "MAE, full", "MSE", "GCE", "SCE"],
)
def test_norm_of_the_gradient_by_the_probability_of_the_label(
    loss: Loss, emphasis: Callable[[Tensor], Tensor], mode: float, area: float, variance: float
) -> None:
    norms = norms_by_probability(loss)
    torch.testing.assert_close(norms, emphasis(GRID))
    assert GRID[norms.argmax()].item() == pytest.approx(mode, abs=5e-5)
    assert torch.trapezoid(norms, GRID).item() == pytest.approx(area, abs=1e-4)
    assert norms.var().item() == pytest.approx(variance, abs=1e-4)


@pytest.mark.parametrize(
    ("loss", "total"),
    [
        (MeanAbsoluteError(), 6.0),
        (MeanAbsoluteError(form="full"), 12.0),
        (ReverseCrossEntropy(), 6 * 9.210340),
    ],
    ids=repr,
)
def test_values_of_a_symmetric_loss_sum_to_a_constant_over_the_labels(
    evaluate: Evaluate, logits: Tensor, loss: Loss, total: float
) -> None:
    # (K - 1) times the scale, whatever the prediction; K = 7
    values, _ = evaluate(loss, logits.repeat_interleave(7, dim=0), list(range(7)) * 5)
    assert values.view(5, 7).sum(dim=1).tolist() == pytest.approx([total] * 5, abs=1e-5)


def test_cross_entropy_is_the_limit_of_the_generalised_one(
    evaluate: Evaluate, logits: Tensor
) -> None:
    # (1 - p^q) / q differs from -ln p by q (ln p)^2 / 2 at most
    limit, plain = GeneralizedCrossEntropy(q=1e-6), CrossEntropy()
    near = evaluate(limit, logits, LABELS)
    torch.testing.assert_close(near, evaluate(plain, logits, LABELS), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("loss", "same"),
    [
        (GeneralizedCrossEntropy(q=1), MeanAbsoluteError()),
        (ReverseCrossEntropy(log_zero=-1), MeanAbsoluteError()),
        (ReverseCrossEntropy(log_zero=-2), MeanAbsoluteError(form="full")),
        (SymmetricCrossEntropy(alpha=1, beta=0), CrossEntropy()),
        (SymmetricCrossEntropy(alpha=0, beta=1), ReverseCrossEntropy()),
    ],
    ids=repr,
)
def test_at_the_ends_one_loss_is_another(
    evaluate: Evaluate, logits: Tensor, loss: Loss, same: Loss
) -> None:
    torch.testing.assert_close(evaluate(loss, logits, LABELS), evaluate(same, logits, LABELS))


@pytest.mark.parametrize(
    ("loss", "at_one", "at_zero"),
    [
        (MeanAbsoluteError(), 0.0, 1.0),
        (MeanAbsoluteError(form="full"), 0.0, 2.0),
        (MeanSquaredError(), 0.0, 1.0),
        (MeanSquaredError(form="full"), 0.0, 2.0),
        (GeneralizedCrossEntropy(), 0.0, 1 / 0.7),
        (ReverseCrossEntropy(), 0.0, 9.210340),
        # 0.1 * 20000 + 9.210340
        (SymmetricCrossEntropy(), 0.0, 2009.210340),
    ],
    ids=repr,
)
def test_value_of_a_label_that_is_certain_and_of_one_that_is_excluded(
    evaluate: Evaluate, loss: Loss, at_one: float, at_zero: float
) -> None:
    logits = torch.tensor([[1e4, -1e4]]).expand(2, 2)
    values, _ = evaluate(loss, logits, [0, 1])
    assert values.tolist() == pytest.approx([at_one, at_zero], rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (MeanAbsoluteError(), [0.0, 0.0]),
        (MeanSquaredError(form="full"), [0.0, 0.0]),
        (GeneralizedCrossEntropy(), [0.0, 0.0]),
        # the share of cross entropy stays
        (SymmetricCrossEntropy(alpha=0.5), [0.5, -0.5]),
    ],
    ids=repr,
)
def test_an_excluded_label_pulls_only_by_its_share_of_cross_entropy(
    evaluate: Evaluate, loss: Loss, expected: list[float]
) -> None:
    _, gradients = evaluate(loss, torch.tensor([[1e4, -1e4]]), [1])
    assert gradients[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "value", "pull"),
    [
        # p = 1/K with K = 17929: factor times (1/K - 1)
        (MeanAbsoluteError(), 17928 / 17929, -17928 / 17929**2),
        # p_y (2 p_y - sum p^2 - 1) * 2 with sum p^2 = 1/K
        (MeanSquaredError(form="full"), 17928 / 17929, -2 * 17928 / 17929**2),
        (GeneralizedCrossEntropy(), (1 - 17929**-0.7) / 0.7, -(17929**-0.7) * 17928 / 17929),
    ],
    ids=repr,
)
def test_an_unlearnt_example_among_all_pfam_families_barely_pulls(
    evaluate: Evaluate, loss: Loss, value: float, pull: float
) -> None:
    values, gradients = evaluate(loss, torch.zeros(1, 17929), [5])
    assert values.item() == pytest.approx(value, rel=1e-6)
    assert gradients[0, 5].item() == pytest.approx(pull, rel=1e-5)


@pytest.mark.parametrize(
    ("factory", "parameters", "message"),
    [
        (MeanAbsoluteError, {"form": "mean"}, r"`form` out of label, full, got 'mean'\."),
        (MeanSquaredError, {"form": 2}, r"`form` out of label, full, got 2\."),
        (GeneralizedCrossEntropy, {"q": 0}, r"`q` in \[1e-06, 1\], got 0\."),
        (GeneralizedCrossEntropy, {"q": 1.5}, r"`q` in \[1e-06, 1\], got 1\.5\."),
        (ReverseCrossEntropy, {"log_zero": 4}, r"`log_zero` in \[-1000, -1\], got 4\."),
        (SymmetricCrossEntropy, {"alpha": -1}, r"`alpha` in \[0, inf\), got -1\."),
        (SymmetricCrossEntropy, {"beta": math.inf}, r"`beta` in \[0, inf\), got inf\."),
        (SymmetricCrossEntropy, {"log_zero": -math.inf}, r"`log_zero` in \[-1000, -1\], got -inf"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(
    factory: type, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        factory(**parameters)


@pytest.mark.parametrize("miss", [1e-1, 1e-3, 1e-4, 1e-6])
def test_the_brier_score_of_a_fitted_example_keeps_its_digits(
    evaluate: Evaluate, miss: float
) -> None:
    # 1 - p_y = miss, the rest spread over 19 classes: (1 - p_y)^2 + sum of the others' squares.
    others = torch.linspace(1, 2, 19, dtype=torch.float64)
    probs = torch.cat([torch.tensor([1 - miss], dtype=torch.float64), miss * others / others.sum()])
    logits = probs.log()[None]
    exact, exact_gradient = evaluate(MeanSquaredError(form="full"), logits, [0])
    value, gradient = evaluate(MeanSquaredError(form="full"), logits.float(), [0])
    assert exact.item() == pytest.approx(miss**2 + float((probs[1:] ** 2).sum()), rel=1e-9)
    torch.testing.assert_close(value.double(), exact, rtol=2e-5, atol=0)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=2e-5, atol=0)
