"""Learning rates by hand, and what the optimisers are given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.training import FitOptions, learning_rate_factor, make_optimizer

COSINE = FitOptions(schedule="cosine", warmup=0.1)
STEP = FitOptions(schedule="step", warmup=0.0, milestones=(0.75, 0.5), gamma=0.1)
CONSTANT = FitOptions(schedule="constant", warmup=0.2)


@pytest.mark.parametrize(
    ("options", "progress", "factor"),
    [
        # The warm-up is linear: at half of it, half of the peak.
        pytest.param(COSINE, 0.05, 0.5, id="cosine, in the warm-up"),
        pytest.param(COSINE, 0.1, 1.0, id="cosine, at the peak"),
        # A third of the remaining 0.9: (1 + cos 60 deg) / 2 = 3/4.
        pytest.param(COSINE, 0.4, 0.75, id="cosine, a third of the way"),
        pytest.param(COSINE, 0.55, 0.5, id="cosine, half of the way"),
        pytest.param(COSINE, 1.0, 0.0, id="cosine, at the end"),
        pytest.param(STEP, 0.001, 1.0, id="step, at the beginning"),
        pytest.param(STEP, 0.499, 1.0, id="step, before the first"),
        pytest.param(STEP, 0.5, 0.1, id="step, at the first"),
        pytest.param(STEP, 0.75, 0.01, id="step, at the second"),
        pytest.param(STEP, 1.0, 0.01, id="step, at the end"),
        pytest.param(CONSTANT, 0.05, 0.25, id="constant, in the warm-up"),
        pytest.param(CONSTANT, 0.2, 1.0, id="constant, after it"),
        pytest.param(CONSTANT, 1.0, 1.0, id="constant, at the end"),
    ],
)
def test_the_factor_is_the_one_by_hand(options: FitOptions, progress: float, factor: float) -> None:
    assert learning_rate_factor(progress, options) == pytest.approx(factor, abs=1e-12)


def model() -> ProtCNN:
    return ProtCNN(ProtCNNConfig(width=4, dilations=(1,)), 3)


def test_adamw_is_built_as_asked() -> None:
    optimizer = make_optimizer(model(), FitOptions(optimizer="adamw", learning_rate=0.25))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_sgd_is_built_as_asked() -> None:
    options = FitOptions(optimizer="sgd", learning_rate=0.25, momentum=0.8)
    optimizer = make_optimizer(model(), options)
    assert isinstance(optimizer, torch.optim.SGD)
    asked = {(g["lr"], g["momentum"], g["nesterov"]) for g in optimizer.param_groups}
    assert asked == {(0.25, 0.8, True)}


def test_sgd_may_go_without_momentum() -> None:
    optimizer = make_optimizer(model(), FitOptions(optimizer="sgd", momentum=0.0))
    assert not optimizer.param_groups[0]["nesterov"]


def test_sgd_may_look_ahead_or_not() -> None:
    options = FitOptions(optimizer="sgd", momentum=0.8, nesterov=False)
    groups = make_optimizer(model(), options).param_groups
    assert {(group["momentum"], group["nesterov"]) for group in groups} == {(0.8, False)}


def test_two_steps_of_plain_momentum_are_those_by_hand() -> None:
    # v1 = g + wd w, w1 = w - lr v1; v2 = 0.5 v1 + g + wd w1, w2 = w1 - lr v2; here g = 1, lr = 0.1,
    # wd = 0.2, w = 1: v1 = 1.2, w1 = 0.88, v2 = 0.6 + 1 + 0.176 = 1.776, w2 = 0.7024.
    bias = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(bias.bias)
    options = FitOptions(
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.5,
        nesterov=False,
        weight_decay=0.2,
        weight_decay_of="all",
    )
    optimizer = make_optimizer(bias, options)
    for _ in range(2):
        bias.bias.grad = torch.ones(1)
        optimizer.step()
    assert bias.bias.item() == pytest.approx(0.7024)


def test_everything_decays_where_that_is_asked() -> None:
    options = FitOptions(weight_decay=0.3, weight_decay_of="all")
    groups = make_optimizer(model(), options).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.3]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_norms_and_biases_do_not_decay_and_everything_is_optimised_once(name: str) -> None:
    network = model()
    options = FitOptions(optimizer=name, weight_decay=0.3)  # type: ignore[arg-type]
    groups = make_optimizer(network, options).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    expected = {
        name: 0.0 if name.endswith("bias") or "norm" in name else 0.3
        for name, _ in network.named_parameters()
    }
    assert {name: decay[id(p)] for name, p in network.named_parameters()} == expected
    assert sum(len(group["params"]) for group in groups) == len(expected)


def test_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(2, 2)
    network.weight.requires_grad_(False)
    groups = make_optimizer(network, FitOptions()).param_groups
    assert [len(group["params"]) for group in groups] == [0, 1]
