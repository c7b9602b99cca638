"""Residual networks for small images."""

from __future__ import annotations

import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from protein_robust.models import ResNet, ResNetConfig, scores
from protein_robust.models.resnet import Architecture, PaddedShortcut


def network(architecture: Architecture, num_classes: int = 10, seed: int = 0) -> ResNet:
    generator = torch.Generator().manual_seed(seed)
    return ResNet(ResNetConfig(architecture), num_classes, generator=generator)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("architecture", "millions"),
    [
        ("resnet20", 0.27),
        ("resnet32", 0.46),
        ("resnet44", 0.66),
        ("resnet56", 0.85),
        ("resnet110", 1.7),
    ],
)
def test_parameters_are_those_of_table_6_of_he_et_al(
    architecture: Architecture, millions: float
) -> None:
    digits = 1 if architecture == "resnet110" else 2
    assert round(count(network(architecture)) / 1e6, digits) == millions


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_parameters_of_6n_plus_2_layers_by_hand(n: int) -> None:
    # Convolutions: stem 27 * 16; a stage of width w has 2n of 9 w^2, but its first is from w / 2.
    convolutions = 27 * 16 + sum(9 * w * w * 2 * n for w in (16, 32, 64))
    convolutions -= 9 * 32 * 16 + 9 * 64 * 32
    # Norms: weight and bias of every convolution's channels; head: 64 * 10 + 10.
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    assert count(network(f"resnet{6 * n + 2}")) == convolutions + norms + 650  # type: ignore[arg-type]


@pytest.mark.slow
def test_resnet18_has_11_million_parameters() -> None:
    # Table 1 of He et al. for ImageNet: 11,689,512 with a 7x7 stem (9,408 weights) and 1,000
    # classes (513,000); here 27 * 64 = 1,728 and 513 a class.
    expected = 11_689_512 - 9_408 - 513_000 + 1_728 + 513 * 100
    assert count(network("resnet18", 100)) == expected == 11_220_132


@pytest.mark.parametrize("architecture", ["resnet8", "resnet18"])
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32)])
def test_logits_have_one_score_a_class(
    architecture: Architecture, channels: int, side: int
) -> None:
    model = ResNet(ResNetConfig(architecture), 7, num_channels=channels).eval()
    assert scores(model, torch.zeros(2, channels, side, side), None).shape == (2, 7)
    assert model.embed(torch.zeros(2, channels, side, side)).shape[0] == 2


def test_the_shortcut_of_option_a_takes_every_second_pixel_and_adds_empty_channels() -> None:
    x = torch.arange(32.0).view(1, 2, 4, 4)
    out = PaddedShortcut(2, 2)(x)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert out[0, 1].tolist() == [[16.0, 18.0], [24.0, 26.0]]
    assert not out[0, 2:].any()


def test_the_trunk_is_that_of_plain_layers() -> None:
    """ResNet-8 written out once more with functional calls in float64."""
    model = network("resnet8").double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        w, b, m, v = (
            weights[f"{name}.{part}"].view(-1, 1, 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - m) / (v + 1e-5).sqrt() * w + b

    def convolve(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        return nn.functional.conv2d(x, weights[f"{name}.weight"], stride=stride, padding=1)

    x = norm(convolve(images, "stem", 1), "norm").clamp(min=0)
    for place, (stride, new) in enumerate([(1, 0), (2, 16), (2, 32)]):
        name = f"blocks.{place}"
        hidden = norm(convolve(x, f"{name}.conv1", stride), f"{name}.norm1").clamp(min=0)
        hidden = norm(convolve(hidden, f"{name}.conv2", 1), f"{name}.norm2")
        short = x[:, :, ::stride, ::stride]
        zeros = short.new_zeros(len(x), new, *short.shape[2:])
        x = (hidden + torch.cat([short, zeros], dim=1)).clamp(min=0)
    expected = x.mean(dim=(2, 3)) @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(model(images).detach(), expected, rtol=1e-9, atol=1e-9)


def test_initial_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second, other = (network("resnet8", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = [first.state_dict(), second.state_dict()]
    assert all(
        torch.equal(a, b) for (_, a), (_, b) in zip(*(p.items() for p in pairs), strict=True)
    )
    assert not torch.equal(first.stem.weight, other.stem.weight)


def test_convolutions_begin_with_the_variance_of_he_by_what_goes_out() -> None:
    model = network("resnet20")
    weight = model.blocks[8].conv2.weight.detach()  # 64 -> 64 channels
    assert abs(float(weight.var()) / (2 / (9 * 64)) - 1) < 0.03
    weight = model.blocks[6].conv1.weight.detach()  # 32 -> 64: by what comes in it were twice that
    assert abs(float(weight.var()) / (2 / (9 * 64)) - 1) < 0.06


def test_the_last_layer_begins_uniform_and_without_bias() -> None:
    head = network("resnet20", num_classes=100).head
    weight = head.weight.detach() * 64**0.5
    assert float(weight.abs().max()) <= 1
    assert abs(float(weight.var()) * 3 - 1) < 0.06  # of U(-1, 1)
    assert not head.bias.any()


def test_stages_halve_the_map_and_double_the_channels() -> None:
    shapes: list[tuple[int, ...]] = []
    model = network("resnet20").eval()
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert [shapes[i] for i in (2, 5, 8)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert all(a[0] <= b[0] for a, b in pairwise(shapes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ResNetConfig("resnet21"),  # type: ignore[arg-type]
            "Expected `architecture` one of resnet8, .*, got 'resnet21'.",
        ),
        (lambda: network("resnet8", 1), "Expected `num_classes` of at least 2, got 1."),
        (
            lambda: ResNet(ResNetConfig("resnet8"), 2, num_channels=0),
            "Expected `num_channels` of at least 1, got 0.",
        ),
    ],
)
def test_what_cannot_be_a_network_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_has_the_same_weights_and_scores() -> None:
    plain = network("resnet8").eval()
    compiled = ResNet(ResNetConfig("resnet8", compile="kernels"), 10).eval()
    compiled.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), plain(images), rtol=1e-4, atol=1e-5)


def test_an_unknown_way_to_compile_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected `compile` one of none, kernels, graphs, got"):
        ResNetConfig("resnet8", compile="fast")  # type: ignore[arg-type]
