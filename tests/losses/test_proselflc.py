"""ProSelfLC by hand, in both conventions and at both temperatures."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protein_robust.losses import BootstrapSoft, CrossEntropy, Loss, ProSelfLC

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
        # With p = [1/2, 1/3, 1/6], label 2 and B = 16 at 3/4: g = 0.982014, l = 0.079380,
        # eps = 0.077952; the target is 0.038976, 0.025984, 0.935040.
        pytest.param(
            ProSelfLC(exp_base=16), 1.730929, [0.448619, 0.309615, -0.758235], id="attached"
        ),
        pytest.param(
            detached(ProSelfLC, exp_base=16),
            1.730929,
            [0.461024, 0.307349, -0.768373],
            id="detached",
        ),
        # With p_T = [9, 4, 1] / 14: l = 0.244072, eps = 0.239682; the target is 0.154081, 0.068481,
        # 0.777438.
        pytest.param(
            ProSelfLC(exp_base=16, temperature=0.5),
            1.575016,
            [0.345919, 0.264853, -0.610771],
            id="low temperature",
        ),
        # Trust is 0.982014 * 0.642857; the target 0.405832, 0.180370, 0.413798.
        pytest.param(
            ProSelfLC(exp_base=16, temperature=0.5, trust="max_probability"),
            1.220884,
            [0.094168, 0.152963, -0.247131],
            id="low temperature, maximal probability",
        ),
    ],
)
def test_value_and_gradient_by_hand(
    evaluate: Evaluate, worked_logits: Tensor, loss: Loss, value: float, gradient: list[float]
) -> None:
    values, gradients = evaluate(loss, worked_logits, [2], progress=0.75)
    assert values.item() == pytest.approx(value, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(gradient, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "gradient"),
    [
        (BootstrapSoft(epsilon=0.8), [0.059096, 0.037053, -0.096149]),
        (detached(BootstrapSoft, epsilon=0.8), [0.19, 0.002, -0.192]),
    ],
    ids=["attached", "detached"],
)
def test_the_papers_example_at_a_trust_of_four_fifths(
    evaluate: Evaluate, loss: Loss, gradient: list[float]
) -> None:
    # p = [0.95, 0.01, 0.04], label 2: target [0.76, 0.008, 0.232]
    logits = torch.tensor([[0.95, 0.01, 0.04]], dtype=torch.float64).log()
    values, gradients = evaluate(loss, logits, [2])
    assert values.item() == pytest.approx(0.822603, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(gradient, abs=1e-6)


def test_the_value_is_the_divergence_plus_the_entropy_of_the_target(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    # The authors report KL(target || p) = 0.907511 where this is the cross entropy.
    target = torch.tensor([[0.154081, 0.068481, 0.777438]], dtype=torch.float64)
    values, _ = evaluate(ProSelfLC(exp_base=16, temperature=0.5), worked_logits, [2], progress=0.75)
    entropy = -(target * target.log()).sum()
    assert (values - entropy).item() == pytest.approx(0.907511, abs=2e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_trust_zero_is_cross_entropy(
    evaluate: Evaluate, worked_logits: Tensor, temperature: float
) -> None:
    loss = ProSelfLC(exp_base=1e6, temperature=temperature)  # g(0) = 0
    torch.testing.assert_close(
        evaluate(loss, worked_logits, [1]), evaluate(CrossEntropy(), worked_logits, [1])
    )


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_global_trust_alone_is_bootstrapping_with_that_epsilon(
    evaluate: Evaluate, worked_logits: Tensor, temperature: float
) -> None:
    loss = ProSelfLC(trust="global", temperature=temperature)
    constant = BootstrapSoft(epsilon=0.5, temperature=temperature)
    torch.testing.assert_close(
        evaluate(loss, worked_logits, [1], progress=0.5), evaluate(constant, worked_logits, [1])
    )


def test_a_uniform_prediction_leaves_the_label_as_it_is(evaluate: Evaluate) -> None:
    logits = torch.zeros(1, 4, dtype=torch.float64)
    torch.testing.assert_close(
        evaluate(ProSelfLC(), logits, [3], progress=1.0), evaluate(CrossEntropy(), logits, [3])
    )


def test_a_certain_prediction_replaces_its_label_in_the_end(evaluate: Evaluate) -> None:
    # p_T is exactly one-hot on class 0, so the target is [g, 0, 1 - g] with g(1) = 0.997527.
    logits = torch.tensor([[100.0, 0.0, 0.0]], dtype=torch.float64)
    _, gradients = evaluate(ProSelfLC(temperature=0.5), logits, [2], progress=1.0)
    assert gradients[0].tolist() == pytest.approx([1 - 0.997527, 0, 0.997527 - 1], abs=1e-6)
