"""ProSelfLC by hand, in both conventions and at both temperatures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from protein_robust.errors import InputError
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
        pytest.param(
            ProSelfLC(exp_base=16, detach_trust=False),
            1.730929,
            [0.337622, 0.329892, -0.667514],
            id="through the trust",
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


def test_the_local_kind_is_that_of_entropy_at_the_end_of_a_steep_curve(
    evaluate: Evaluate, worked_logits: Tensor
) -> None:
    steep = ProSelfLC(exp_base=1e6)
    torch.testing.assert_close(
        evaluate(ProSelfLC(trust="local"), worked_logits, [2], progress=0.1),
        evaluate(steep, worked_logits, [2], progress=1.0),
    )


@pytest.mark.parametrize(("progress", "temperature"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.25)])
def test_a_moving_temperature_is_at_each_time_that_constant_one(
    evaluate: Evaluate, worked_logits: Tensor, progress: float, temperature: float
) -> None:
    moving = ProSelfLC(temperature=1.0, final_temperature=0.25)
    constant = detached(ProSelfLC, temperature=temperature)
    torch.testing.assert_close(
        evaluate(moving, worked_logits, [1], progress),
        evaluate(constant, worked_logits, [1], progress),
    )


@pytest.mark.parametrize("parameters", [{"temperature": 0.5}, {"final_temperature": 0.5}])
def test_the_gradient_cannot_pass_the_trust_and_not_the_target(parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected `detach_trust=False` together with an attached"):
        ProSelfLC(detach_trust=False, **parameters)


def test_the_divergence_of_an_attached_target_could_only_weight(evaluate: Evaluate) -> None:
    # The authors' "relative entropy" mode, KL(q~ || p), with the target attached: 0.236449 and
    # c (p - q), c = (1 - eps) - eps p_y ln(1 + (1 - eps) / (eps p_y)) = 0.136608. It is not
    # offered; it is our attached loss minus the entropy of the target.
    p = torch.tensor([0.95, 0.01, 0.04], dtype=torch.float64)
    values, gradients = evaluate(BootstrapSoft(epsilon=0.8), p.log()[None], [2])
    target = 0.2 * torch.tensor([0.0, 0.0, 1.0]) + 0.8 * p
    entropy = -(target * target.log()).sum()
    assert (values.item() - entropy).item() == pytest.approx(0.236449, abs=1e-6)
    # dH(q~)/dz = -eps sum_k (log q~_k + 1) dp_k/dz
    slope = -0.8 * p * (target.log() - (p * target.log()).sum())
    divergence = gradients[0] - slope
    assert divergence.tolist() == pytest.approx([0.129778, 0.001366, -0.131144], abs=1e-6)
    weight = 0.2 - 0.8 * 0.04 * math.log(1 + 0.2 / (0.8 * 0.04))
    assert weight == pytest.approx(0.136608, abs=1e-6)
    torch.testing.assert_close(divergence, weight * (p - torch.tensor([0.0, 0.0, 1.0])))


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (detached(ProSelfLC, exp_base=16), [0.038976, 0.025984, 0.935040]),
        (ProSelfLC(exp_base=16, temperature=0.5), [0.154081, 0.068481, 0.777438]),
        (
            ProSelfLC(exp_base=16, temperature=0.5, trust="max_probability"),
            [0.405832, 0.180370, 0.413798],
        ),
    ],
    ids=["temperature 1", "low temperature", "maximal probability"],
)
def test_the_detached_gradient_shows_the_target(
    evaluate: Evaluate, worked_logits: Tensor, loss: Loss, target: list[float]
) -> None:
    _, gradients = evaluate(loss, worked_logits, [2], progress=0.75)
    assert (worked_logits.exp() - gradients)[0].tolist() == pytest.approx(target, abs=1e-6)
