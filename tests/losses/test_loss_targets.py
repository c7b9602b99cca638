"""Cross entropy, label smoothing, confidence penalty and soft bootstrapping by hand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses import (
    BootstrapHard,
    BootstrapSoft,
    ConfidencePenalty,
    CrossEntropy,
    LabelSmoothing,
    Loss,
    LossContext,
)

Evaluate = Callable[..., tuple[Tensor, Tensor]]


def detached(factory: type, **parameters: object) -> Loss:
    """A loss with a constant target at temperature 1, of which the tests know what it means."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss: Loss = factory(detach_target=True, **parameters)
    return loss


@pytest.mark.parametrize(
    ("loss", "value", "gradient"),
    [
        # With p = [1/2, 1/3, 1/6], label 0, H(p) = 1.011404: a constant target a has the gradient
        # sum(a) p - a.
        pytest.param(CrossEntropy(), 0.693147, [-0.5, 0.333333, 0.166667], id="cross entropy"),
        # The target is 5/6, 1/12, 1/12.
        pytest.param(
            LabelSmoothing(epsilon=0.25), 0.818487, [-0.333333, 0.25, 0.083333], id="smoothing"
        ),
        # The value is 0.75 * 0.693147 - 0.25 * 1.011404; target 0.625, -1/12, -1/24 of sum 1/2.
        pytest.param(
            ConfidencePenalty(epsilon=0.25), 0.267009, [-0.335218, 0.242733, 0.092485], id="CP"
        ),
        pytest.param(
            detached(ConfidencePenalty, epsilon=0.25),
            0.267009,
            [-0.375, 0.25, 0.125],
            id="CP detached",
        ),
        # The target is 0.625, 0, 0.
        pytest.param(
            detached(ConfidencePenalty, epsilon=0.25, form="clipped"),
            0.433217,
            [-0.3125, 0.208333, 0.104167],
            id="CP clipped",
        ),
        # The value is 0.75 * 0.693147 + 0.25 * 1.011404; the target 0.875, 1/12, 1/24.
        pytest.param(
            BootstrapSoft(epsilon=0.25), 0.772711, [-0.414782, 0.257267, 0.157515], id="Boot-soft"
        ),
        pytest.param(
            detached(BootstrapSoft, epsilon=0.25),
            0.772711,
            [-0.375, 0.25, 0.125],
            id="Boot-soft detached",
        ),
    ],
)
def test_value_and_gradient_by_hand(
    evaluate: Evaluate, worked_logits: Tensor, loss: Loss, value: float, gradient: list[float]
) -> None:
    values, gradients = evaluate(loss, worked_logits, [0])
    assert values.item() == pytest.approx(value, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(gradient, abs=1e-6)


def test_pereyras_form_is_the_confidence_penalty_up_to_scale(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    # H(q, p) - beta H(p) with beta = 0.1: epsilon = beta / (1 + beta), scale 1 + beta
    values, gradients = evaluate(ConfidencePenalty(epsilon=0.1 / 1.1), worked_logits, [0])
    assert 1.1 * values.item() == pytest.approx(0.592007, abs=1e-6)
    expected = [-0.484087, 0.330426, 0.153661]
    assert (1.1 * gradients[0]).tolist() == pytest.approx(expected, abs=1e-6)
    own = ConfidencePenalty(epsilon=0.1, form="regulariser")
    values, gradients = evaluate(own, worked_logits, [0])
    assert values.item() == pytest.approx(0.592007, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("parameters", [{"temperature": 0.5}, {"detach_target": True}])
def test_the_regulariser_has_no_low_temperature_and_no_constant_target(
    parameters: dict[str, Any],
) -> None:
    message = r"Expected `temperature` 1 and an attached target with `form` regulariser, got"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=message):
            ConfidencePenalty(form="regulariser", **parameters)


def test_hard_bootstrapping_by_hand(evaluate: Evaluate, worked_logits: Tensor) -> None:
    # Label 1, predicted class 0: the target is 0.25, 0.75, 0.
    values, gradients = evaluate(BootstrapHard(epsilon=0.25), worked_logits, [1])
    assert values.item() == pytest.approx(0.997246, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx([0.25, -0.416667, 0.166667], abs=1e-6)


def test_hard_bootstrapping_of_a_right_prediction_is_cross_entropy(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    torch.testing.assert_close(
        evaluate(BootstrapHard(epsilon=0.7), worked_logits, [0]),
        evaluate(CrossEntropy(), worked_logits, [0]),
    )


def test_soft_bootstrapping_gets_hard_as_the_temperature_falls(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    torch.testing.assert_close(
        evaluate(BootstrapSoft(epsilon=0.3, temperature=0.01), worked_logits, [2]),
        evaluate(BootstrapHard(epsilon=0.3), worked_logits, [2]),
    )


@pytest.mark.parametrize(
    "loss",
    [
        LabelSmoothing(epsilon=0.0),
        ConfidencePenalty(epsilon=0.0),
        ConfidencePenalty(epsilon=0.0, form="clipped"),
        ConfidencePenalty(epsilon=0.0, temperature=0.5),
        BootstrapSoft(epsilon=0.0),
        BootstrapSoft(epsilon=0.0, temperature=0.5),
        BootstrapHard(epsilon=0.0),
    ],
    ids=repr,
)
def test_epsilon_zero_is_cross_entropy(
    evaluate: Evaluate, worked_logits: Tensor, loss: Loss
) -> None:
    torch.testing.assert_close(
        evaluate(loss, worked_logits, [2]), evaluate(CrossEntropy(), worked_logits, [2])
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_label_smoothing_agrees_with_torch(epsilon: float) -> None:
    logits = 3 * torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 8, 3, 3, 1, 5])
    context = LossContext(progress=0.0, index=torch.arange(6))
    torch.testing.assert_close(
        LabelSmoothing(epsilon=epsilon)(logits, labels, context),
        functional.cross_entropy(logits, labels, reduction="none", label_smoothing=epsilon),
    )


def test_label_smoothing_one_is_the_same_for_all_labels(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    loss = LabelSmoothing(epsilon=1.0)
    torch.testing.assert_close(
        evaluate(loss, worked_logits, [0]), evaluate(loss, worked_logits, [2])
    )


@pytest.mark.parametrize("factory", [ConfidencePenalty, BootstrapSoft])
def test_a_detached_target_at_temperature_one_only_scales_the_gradient(
    evaluate: Evaluate, worked_logits: Tensor, factory: type
) -> None:
    _, gradients = evaluate(detached(factory, epsilon=0.4), worked_logits, [1])
    _, plain = evaluate(CrossEntropy(), worked_logits, [1])
    torch.testing.assert_close(gradients, 0.6 * plain)


def test_a_low_temperature_approaches_a_hard_target(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    # At T = 0.01 p_T is one-hot on class 0 (1.5^-100 is left), so the target is 0.75, 0.25, 0.
    values, gradients = evaluate(BootstrapSoft(epsilon=0.75, temperature=0.01), worked_logits, [1])
    assert values.item() == pytest.approx(0.75 * math.log(2) + 0.25 * math.log(3), abs=1e-6)
    assert gradients[0].tolist() == pytest.approx([-0.25, 1 / 12, 1 / 6], abs=1e-6)


def test_the_confidence_penalty_is_bounded_below(evaluate: Evaluate) -> None:
    # At a uniform prediction and epsilon 1 the value is -ln K, its least.
    values, _ = evaluate(ConfidencePenalty(epsilon=1.0), torch.zeros(1, 5), [0])
    assert values.item() == pytest.approx(-math.log(5))


def test_a_clipped_penalty_is_never_negative(evaluate: Evaluate) -> None:
    # p_y = 1: 1 - 0.9 - 0.9 < 0, clipped to 0
    loss = ConfidencePenalty(epsilon=0.9, form="clipped")
    values, gradients = evaluate(loss, torch.tensor([[9.0, 0.0]]), [0])
    assert values.item() == 0
    assert gradients.abs().max() == 0


def kl_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second), both shape (K,), all entries positive where those of the first are."""
    terms: Tensor = torch.special.xlogy(first, first) - torch.special.xlogy(first, second)
    return terms.sum()


@pytest.mark.parametrize("label", [0, 1, 2])
def test_identities_with_divergences(evaluate: Evaluate, worked_logits: Tensor, label: int) -> None:
    p = worked_logits[0].exp()
    q = torch.eye(3, dtype=torch.float64)[label]
    u = torch.full((3,), 1 / 3, dtype=torch.float64)
    given, constant = 0.7 * kl_divergence(q, p), 0.3 * math.log(3)
    expected = {
        LabelSmoothing(epsilon=0.3): given + 0.3 * kl_divergence(u, p) + constant,
        ConfidencePenalty(epsilon=0.3): given + 0.3 * kl_divergence(p, u) - constant,
        BootstrapSoft(epsilon=0.3): given - 0.3 * kl_divergence(p, u) + constant,
    }
    actual = {loss: evaluate(loss, worked_logits, [label])[0][0] for loss in expected}
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ("temperature", "epsilon", "fixed_point"),
    [
        (0.5, 0.9, [0.885078, 0, 0.114922]),
        (0.5, 0.8, [0, 0, 1]),
        (0.2, 0.8, [0.799199, 0, 0.200801]),
        (1.0, 0.9, [0, 0, 1]),
    ],
)
def test_the_detached_gradient_corrects_a_label_only_at_low_temperature(
    evaluate: Evaluate, temperature: float, epsilon: float, fixed_point: list[float]
) -> None:
    loss = detached(BootstrapSoft, epsilon=epsilon, temperature=temperature)
    probs = torch.tensor([[0.95, 0.01, 0.04]], dtype=torch.float64)
    for _ in range(400):  # p <- p + ((1 - eps) q + eps p_T - p) / 2, the bracket is minus dL/dz
        probs = probs - 0.5 * evaluate(loss, probs.log(), [2])[1]
    assert probs[0].tolist() == pytest.approx(fixed_point, abs=1e-6)


@pytest.mark.parametrize(
    ("temperature", "threshold"),
    [
        (1.0, 0.782188),  # attached: 1 / (1 + W(1/e))
        (0.8, 0.9399),
        (0.6, 0.8691),
        (0.5, 0.828427),  # 2 sqrt(2) - 2
        (0.4, 0.7832),
        (0.2, 0.6736),
        (0.1, 0.6029),
    ],
)
def test_a_label_is_held_against_from_a_threshold_on(
    evaluate: Evaluate, temperature: float, threshold: float
) -> None:
    # Two classes, label 1, all predictions of class 0: if somewhere the gradient on z_0 is not
    # positive, descent stops on the side of the prediction.
    logits = torch.linspace(0, 30, 3001, dtype=torch.float64).unsqueeze(1) * torch.tensor(
        [1.0, 0.0]
    )
    least = [
        evaluate(
            BootstrapSoft(epsilon=threshold + offset, temperature=temperature), logits, [1] * 3001
        )[1][:, 0].min()
        for offset in (-0.001, 0.001)
    ]
    assert least[0] > 0
    assert least[1] < 0
