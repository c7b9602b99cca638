"""Normalised cross entropy, its sum with a passive loss, and epsilon-softmax."""

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
from protein_robust.losses.active_passive import (
    ActivePassive,
    EpsilonSoftmax,
    NormalizedCrossEntropy,
)
from protein_robust.losses.label_probability import (
    MeanAbsoluteError,
    ReverseCrossEntropy,
    SymmetricCrossEntropy,
)
from protein_robust.losses.targets import CrossEntropy

Evaluate = Callable[..., tuple[Tensor, Tensor]]
Array = NDArray[np.float64]

LABELS = [0, 6, 3, 3, 1]
ALL: list[Loss] = [
    NormalizedCrossEntropy(),
    ActivePassive(),
    ActivePassive(alpha=10.0, beta=0.1, log_zero=-4),
    ActivePassive(alpha=10.0, beta=1.0, passive="mean_absolute_error"),
    EpsilonSoftmax(),
    EpsilonSoftmax(alpha=1.0, beta=0.5, m=0.3),
    EpsilonSoftmax(alpha=2.0, beta=0.0, m=100.0),
]


@pytest.fixture
def logits() -> Tensor:
    """Scores, shape (5, 7), float64; the labels of the first two rows are their argmax."""
    scores = 2 * torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    scores[[0, 1], LABELS[:2]] += 6
    return scores


@pytest.mark.parametrize(
    ("loss", "label", "value", "gradient"),
    [
        # -ln p = [0.693147, 1.098612, 1.791759] of sum D = 3.583519; (p - q) / D - 0.193426 (3 p -
        # 1) / D
        pytest.param(
            NormalizedCrossEntropy(), 0, 0.193426, [-0.166516, 0.093018, 0.073498], id="NCE"
        ),
        # With 4.605170 and [-2.302585, 1.535057, 0.767528] of reverse cross entropy
        pytest.param(
            ActivePassive(), 0, 4.798597, [-2.469101, 1.628075, 0.841026], id="NCE and RCE"
        ),
        # 1.934264 + 0.1 * 0.5; 10 times NCE's and 0.1 times [-1/4, 1/6, 1/12]
        pytest.param(
            ActivePassive(alpha=10, beta=0.1, passive="mean_absolute_error"),
            0,
            1.984264,
            [-1.690160, 0.946851, 0.743309],
            id="NCE and MAE",
        ),
        # p_eps is [3/4, 1/6, 1/12], the factor (1/2) / (3/2)
        pytest.param(
            EpsilonSoftmax(alpha=1, beta=0, m=1),
            0,
            0.287682,
            [-0.166667, 0.111111, 0.055556],
            id="epsilon, predicted",
        ),
        # -ln(1/6); factor 1
        pytest.param(
            EpsilonSoftmax(alpha=1, beta=0, m=1),
            1,
            1.791759,
            [0.5, -0.666667, 0.166667],
            id="epsilon, not predicted",
        ),
        # 2 * 2/3 more; factor 1 + 2/3
        pytest.param(
            EpsilonSoftmax(alpha=1, beta=1, m=1),
            1,
            3.125093,
            [0.833333, -1.111111, 0.277778],
            id="epsilon with MAE",
        ),
        # 0.03 ln(10001 / 10000.5) + 1 = 1.0000015; factor 0.03 * 0.5 / 10000.5 + 1
        pytest.param(
            EpsilonSoftmax(), 0, 1.0000015, [-0.500001, 0.333334, 0.166667], id="epsilon, default"
        ),
    ],
)
def test_value_and_gradient_by_hand(
    evaluate: Evaluate,
    worked_logits: Tensor,
    loss: Loss,
    label: int,
    value: float,
    gradient: list[float],
) -> None:
    values, gradients = evaluate(loss, worked_logits, [label])
    assert values.item() == pytest.approx(value, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(gradient, abs=1e-6)


def normalized_by_definition(p: Array, q: Array) -> tuple[Array, Array]:
    """NCE, shape (B, 1), and its derivative with regard to p, shape (B, K)."""
    over_labels = -np.log(p).sum(axis=1, keepdims=True)
    given = -(q * np.log(p)).sum(axis=1, keepdims=True)
    return given / over_labels, -q / p / over_labels + given / over_labels**2 / p


def by_definition(loss: Loss, p: Array, q: Array) -> tuple[Array, Array]:
    """Values, shape (B, 1), and derivative with regard to p, shape (B, K), from the definitions."""
    match loss:
        case NormalizedCrossEntropy():
            return normalized_by_definition(p, q)
        case ActivePassive(alpha=alpha, beta=beta, passive=passive, log_zero=log_zero):
            normalized, slope = normalized_by_definition(p, q)
            cost = 1 - q if passive == "mean_absolute_error" else -log_zero * (1 - q)
            value = alpha * normalized + beta * (p * cost).sum(axis=1, keepdims=True)
            return value, alpha * slope + beta * cost
        case EpsilonSoftmax(alpha=alpha, beta=beta, m=m):
            pushed = (p + m * np.eye(p.shape[1])[p.argmax(axis=1)]) / (1 + m)
            value = -alpha * (q * np.log(pushed)) + beta * np.abs(p - q)
            slope = -alpha * q / pushed / (1 + m) + beta * np.sign(p - q)
            return value.sum(axis=1, keepdims=True), slope
    raise AssertionError(loss)


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
    np.testing.assert_allclose(values.numpy(), value[:, 0], rtol=1e-10)
    np.testing.assert_allclose(5 * gradients.numpy(), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_gradients_are_those_of_the_value(logits: Tensor, loss: Loss) -> None:
    context = LossContext(progress=0.0, index=torch.arange(5))
    labels = torch.tensor(LABELS)
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, labels, context), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("loss", "total"),
    [
        (NormalizedCrossEntropy(), 1.0),
        # K - 1 = 6 for the passive loss, times 9.210340
        (ActivePassive(), 1 + 6 * 9.210340),
        (ActivePassive(alpha=10, beta=0.5, passive="mean_absolute_error"), 13.0),
    ],
    ids=repr,
)
def test_values_of_a_symmetric_loss_sum_to_a_constant_over_the_labels(
    evaluate: Evaluate, logits: Tensor, loss: Loss, total: float
) -> None:
    values, _ = evaluate(loss, logits.repeat_interleave(7, dim=0), list(range(7)) * 5)
    assert values.view(5, 7).sum(dim=1).tolist() == pytest.approx([total] * 5, abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "same"),
    [
        (ActivePassive(beta=0), NormalizedCrossEntropy()),
        (ActivePassive(alpha=0), ReverseCrossEntropy()),
        (ActivePassive(alpha=0, passive="mean_absolute_error"), MeanAbsoluteError()),
        (ActivePassive(log_zero=-1), ActivePassive(passive="mean_absolute_error")),
        (EpsilonSoftmax(alpha=1, beta=0, m=0), CrossEntropy()),
        (EpsilonSoftmax(alpha=0.5, beta=1, m=0), SymmetricCrossEntropy(alpha=0.5, log_zero=-2)),
        (EpsilonSoftmax(alpha=0), MeanAbsoluteError(form="full")),
    ],
    ids=repr,
)
def test_at_the_ends_one_loss_is_another(
    evaluate: Evaluate, logits: Tensor, loss: Loss, same: Loss
) -> None:
    torch.testing.assert_close(evaluate(loss, logits, LABELS), evaluate(same, logits, LABELS))


@pytest.mark.parametrize("num_classes", [2, 17929])
def test_an_unlearnt_example_pulls_less_by_the_sum_over_the_labels(
    evaluate: Evaluate, num_classes: int
) -> None:
    # p = 1/K: the value is 1/K, the gradient that of cross entropy over K ln K
    logits = torch.zeros(1, num_classes)
    values, gradients = evaluate(NormalizedCrossEntropy(), logits, [1])
    _, plain = evaluate(CrossEntropy(), logits, [1])
    assert values.item() == pytest.approx(1 / num_classes, rel=1e-5)
    torch.testing.assert_close(
        gradients, plain / (num_classes * math.log(num_classes)), rtol=1e-4, atol=0
    )


def test_normalised_cross_entropy_at_its_ends(evaluate: Evaluate) -> None:
    # -log p = [0, 20000]
    logits = torch.tensor([[1e4, -1e4]]).expand(2, 2)
    values, gradients = evaluate(NormalizedCrossEntropy(), logits, [0, 1])
    assert values.tolist() == [0.0, 1.0]
    assert gradients.abs().max().item() == pytest.approx(0, abs=1e-4)


def test_normalised_cross_entropy_falls_while_another_class_is_excluded(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    # p_y falls from 1/2 to 1/3 and -log p_y rises, but that of the last class rises more
    before, _ = evaluate(NormalizedCrossEntropy(), worked_logits, [0])
    after, _ = evaluate(
        NormalizedCrossEntropy(), torch.tensor([[1 / 3, 2 / 3, 1e-9]]).double().log(), [0]
    )
    assert after.item() < before.item()


def test_epsilon_softmax_leaves_a_predicted_label_to_the_mean_absolute_error(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    _, gradients = evaluate(EpsilonSoftmax(alpha=1, beta=0, m=1e6), worked_logits, [0])
    # p_y / (p_y + m) = 5e-7
    torch.testing.assert_close(
        gradients, 5e-7 * evaluate(CrossEntropy(), worked_logits, [0])[1], rtol=1e-5, atol=0
    )


def test_epsilon_softmax_pulls_an_unlikely_label_as_cross_entropy_does(evaluate: Evaluate) -> None:
    # p_y = e^-20; the authors' floor of 1e-8 would leave no gradient
    logits = torch.tensor([[20.0, 0.0]])
    _, gradients = evaluate(EpsilonSoftmax(alpha=1, beta=0), logits, [1])
    torch.testing.assert_close(gradients, evaluate(CrossEntropy(), logits, [1])[1])


@pytest.mark.parametrize("label", [0, 1])
def test_a_label_that_ties_for_the_largest_score_is_the_argmax(
    evaluate: Evaluate, label: int
) -> None:
    # p = [0.4, 0.4, 0.2]: p_eps,y = 1.4 / 2
    logits = torch.tensor([[2.0, 2.0, 1.0]]).log()
    values, _ = evaluate(EpsilonSoftmax(alpha=1, beta=0, m=1), logits, [label])
    assert values.item() == pytest.approx(-math.log(0.7), abs=1e-6)


@pytest.mark.parametrize("m", [1e2, 1e4, 1e6, 1e12])
def test_a_large_push_is_exact_in_float32(
    evaluate: Evaluate, worked_logits: Tensor, m: float
) -> None:
    loss = EpsilonSoftmax(alpha=1, beta=0, m=m)
    for label, expected in [(0, math.log1p(0.5 / (0.5 + m))), (2, math.log(6) + math.log1p(m))]:
        values, _ = evaluate(loss, worked_logits.float(), [label])
        assert values.item() == pytest.approx(expected, rel=1e-6)


def test_epsilon_softmax_of_a_label_that_is_certain_and_of_one_that_is_excluded(
    evaluate: Evaluate,
) -> None:
    # 0; 0.03 (20000 + ln 10001) + 2
    logits = torch.tensor([[1e4, -1e4]]).expand(2, 2)
    values, _ = evaluate(EpsilonSoftmax(), logits, [0, 1])
    assert values.tolist() == pytest.approx([0.0, 602.276313], rel=1e-6)


@pytest.mark.parametrize(
    ("factory", "parameters", "message"),
    [
        (ActivePassive, {"alpha": -1}, r"`alpha` in \[0, inf\), got -1\."),
        (ActivePassive, {"beta": math.nan}, r"`beta` in \[0, inf\), got nan\."),
        (
            ActivePassive,
            {"passive": "focal"},
            r"`passive` out of reverse_cross_entropy, mean_absolute_error, got 'focal'\.",
        ),
        (ActivePassive, {"log_zero": 0}, r"`log_zero` in \[-1000, -1\], got 0\."),
        (EpsilonSoftmax, {"alpha": -0.1}, r"`alpha` in \[0, inf\), got -0\.1\."),
        (EpsilonSoftmax, {"beta": "1"}, r"`beta` in \[0, inf\), got '1'\."),
        (EpsilonSoftmax, {"m": -1}, r"`m` in \[0, 1e\+12\], got -1\."),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(
    factory: type, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        factory(**parameters)
