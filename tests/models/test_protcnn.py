"""The network: its size, what its output may depend on, and a slow twin in plain functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.alphabet import PAD, RESIDUE_PROFILES, STANDARD_RESIDUES, encode
from protein_robust.models import ProtCNN, ProtCNNConfig

CONFIG = ProtCNNConfig(width=10, bottleneck=0.6, kernel_size=3, dilations=(1, 2))
K = 4


def network(seed: int = 0, config: ProtCNNConfig = CONFIG) -> ProtCNN:
    """Fresh weights, but norms as after some training: nothing is 0 or 1 by default."""
    generator = torch.Generator().manual_seed(seed)
    model = ProtCNN(config, K, generator=generator)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "norm" in name:
                low = 0.5 if name.endswith(("weight", "variance")) else -0.5
                tensor.uniform_(low, low + 1, generator=generator)
    return model


def batch_of(lengths: list[int], width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random sequences of these lengths, padded to a width; a sequence depends on its place."""
    inputs = torch.full((len(lengths), width), PAD, dtype=torch.uint8)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(1000 * seed + row)
        inputs[row, :length] = torch.randint(26, (length,), generator=generator).byte()
    return inputs, inputs != PAD


def alone(sequence: str) -> tuple[Tensor, Tensor]:
    inputs = torch.from_numpy(encode(sequence))[None]
    return inputs, inputs != PAD


def output_of(layer: nn.Module, model: ProtCNN, sequence: str) -> Tensor:
    """What a layer of a model gives for a sequence."""
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output.detach()))
    model(*alone(sequence))
    handle.remove()
    return kept[0]


def test_the_paper_s_network_has_50_213_679_parameters() -> None:
    with torch.device("meta"):
        model = ProtCNN(ProtCNNConfig.paper(), 17_929)
    assert sum(p.numel() for p in model.parameters()) == 50_213_679


def test_logits_have_one_column_for_each_family() -> None:
    model = network()
    inputs, mask = batch_of([5, 9], 12)
    assert model(inputs, mask).shape == (2, K)
    assert model.embed(inputs, mask).shape == (2, 10)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    extra=st.integers(0, 20),
    seed=st.integers(0, 99),
)
def test_evaluation_logits_depend_neither_on_batch_mates_nor_on_padding(
    lengths: list[int], extra: int, seed: int
) -> None:
    model = network().eval()
    inputs, mask = batch_of(lengths, max(lengths) + extra, seed)
    with torch.no_grad():
        together = model(inputs, mask)
        single = [
            model(inputs[i : i + 1, :length], mask[i : i + 1, :length])[0]
            for i, length in enumerate(lengths)
        ]
    torch.testing.assert_close(together, torch.stack(single), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("extra", [1, 8, 100])
def test_training_logits_and_gradients_do_not_change_with_more_padding(extra: int) -> None:
    results = []
    for more in (0, extra):
        model = network().double()
        logits = model(*batch_of([3, 11, 8], 11 + more))
        gradients = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
        results.append([logits, *gradients, *model.buffers()])
    torch.testing.assert_close(results[0], results[1])


def slow_logits(model: ProtCNN, inputs: Tensor, mask: Tensor) -> Tensor:
    """The network from its equations: plain convolutions on (B, C, L), padding zeroed by hand."""
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    keep = mask[:, None].double()  # (B, 1, L)

    def convolve(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        kernel = weights[name + ".weight"][:, :, 0]
        reach = dilation * (kernel.shape[2] - 1) // 2
        bias = weights[name + ".bias"]
        return functional.conv1d(x, kernel, bias, padding=reach, dilation=dilation) * keep

    def normalise(x: Tensor, name: str) -> Tensor:
        rows = x.transpose(1, 2)[mask]  # (number of residues, C)
        mean, variance = rows.mean(0), rows.var(0, unbiased=False)
        if not model.training:
            mean, variance = weights[name + ".running_mean"], weights[name + ".running_variance"]
        scaled = (rows - mean) / (variance + 1e-3).sqrt()
        rows = functional.relu(scaled * weights[name + ".weight"] + weights[name + ".bias"])
        out = torch.zeros_like(x.transpose(1, 2))
        out[mask] = rows
        return out.transpose(1, 2)

    one_hot = torch.tensor(RESIDUE_PROFILES, dtype=torch.float64)[inputs.long()]  # (B, L, 20)
    x = convolve(one_hot.transpose(1, 2), "stem")
    for number, dilation in enumerate(model.config.dilations):
        block = f"blocks.{number}."
        hidden = convolve(normalise(x, block + "norm_in"), block + "dilated", dilation)
        x = x + convolve(normalise(hidden, block + "norm_out"), block + "widen")
    pooled = [x[row][:, valid].amax(dim=1) for row, valid in enumerate(mask)]
    return functional.linear(torch.stack(pooled), weights["head.weight"], weights["head.bias"])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_outputs_and_every_gradient_are_those_of_a_slow_twin(training: bool) -> None:
    config = ProtCNNConfig(width=8, bottleneck=0.5, kernel_size=5, dilations=(1, 3, 2))
    model = network(config=config).double().train(training)
    inputs, mask = batch_of([16, 1, 9, 12], 16)
    ours, theirs = model(inputs, mask), slow_logits(model, inputs, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    upstream = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).view_as(ours)
    parameters = dict(model.named_parameters())
    first = torch.autograd.grad(ours, list(parameters.values()), upstream)
    second = torch.autograd.grad(theirs, list(parameters.values()), upstream)
    torch.testing.assert_close(
        dict(zip(parameters, first, strict=True)),
        dict(zip(parameters, second, strict=True)),
        rtol=1e-8,
        atol=1e-9,
    )


def test_the_norm_that_is_folded_into_a_convolution_is_the_norm_after_it() -> None:
    config = ProtCNNConfig(width=48, kernel_size=9, dilations=(1, 3, 9, 27))
    model = network(config=config).eval()
    inputs, mask = batch_of([120, 1, 64, 97], 128)
    with torch.no_grad():
        exact = slow_logits(network(config=config).double().eval(), inputs, mask)
        torch.testing.assert_close(model(inputs, mask).double(), exact, rtol=1e-5, atol=1e-5)


def test_a_batch_without_examples_has_no_logits_and_gives_gradients_of_zero() -> None:
    model = network().eval()
    logits = model(*batch_of([], 4))
    assert logits.shape == (0, K)
    logits.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_the_same_generator_gives_the_same_weights() -> None:
    first, second = network(3).state_dict(), network(3).state_dict()
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(network(3).stem.weight, network(4).stem.weight)


def test_with_a_generator_torch_s_own_is_not_touched() -> None:
    before = torch.get_rng_state()
    ProtCNN(CONFIG, K, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_torch_s_own_decides() -> None:
    models = []
    with torch.random.fork_rng():
        for _ in range(2):
            torch.manual_seed(7)
            models.append(ProtCNN(CONFIG, K))
    assert torch.equal(models[0].head.weight, models[1].head.weight)
    assert not torch.equal(models[0].head.weight, ProtCNN(CONFIG, K).head.weight)


def test_weights_start_uniform_within_one_over_the_root_of_the_fan_in() -> None:
    model = ProtCNN(ProtCNNConfig(width=64), 50, generator=torch.Generator().manual_seed(0))
    bound = (20 * 5) ** -0.5
    assert model.stem.weight.abs().max() <= bound
    # A uniform distribution over +-b has deviation b / sqrt(3); 6400 draws give it to 1 %.
    assert model.stem.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert model.stem.bias is not None
    assert 0.8 * bound < model.stem.bias.abs().max() <= bound


@pytest.mark.parametrize(("distance", "is_seen"), [(4, True), (5, False)])
def test_dilations_set_how_far_a_feature_sees(distance: int, is_seen: bool) -> None:
    # Kernel 3 reaches 1 times its dilation: 1 by the stem, then 1 and 2 by the blocks: 4.
    model = network().eval()
    sequence = "MKVLACDEFGHIKLMNPQRST"
    changed = sequence[: 10 + distance] + "W" + sequence[11 + distance :]
    features = [
        output_of(model.blocks[-1], model, text)[0, :, 0, 10] for text in (sequence, changed)
    ]
    assert torch.equal(features[0], features[1]) is not is_seen


def test_an_unknown_residue_is_seen_as_the_average_of_all() -> None:
    model = network().eval()
    seen = {letter: output_of(model.stem, model, letter) for letter in STANDARD_RESIDUES + "X"}
    average = torch.stack([seen[letter] for letter in STANDARD_RESIDUES]).mean(dim=0)
    torch.testing.assert_close(seen["X"], average)


def test_selenocysteine_is_seen_as_cysteine() -> None:
    model = network().eval()
    assert torch.equal(model(*alone("MUK")), model(*alone("MCK")))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_bfloat16_is_close_and_trains(training: bool) -> None:
    model = network().train(training)
    inputs, mask = batch_of([30, 12, 25], 32)
    expected = model(inputs, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(inputs, mask)
    assert logits.dtype == torch.bfloat16
    # 8 bits of mantissa: 0.4 % an operation, through ten layers.
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.05)
    logits.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_alphabet_is_neither_in_the_checkpoint_nor_shared_with_the_model() -> None:
    model = network()
    assert "profiles" not in model.state_dict()
    model.profiles.zero_()
    assert RESIDUE_PROFILES.any()


def test_a_bottleneck_has_at_least_one_channel() -> None:
    model = ProtCNN(ProtCNNConfig(width=2, bottleneck=0.1), K)
    assert model(*alone("MK")).shape == (1, K)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, r"Expected `width` of at least 1, got 0\."),
        ({"bottleneck": 0.0}, r"Expected `bottleneck` in \(0, 1\], got 0\.0\."),
        ({"bottleneck": 1.5}, r"Expected `bottleneck` in \(0, 1\], got 1\.5\."),
        ({"kernel_size": 4}, r"Expected `kernel_size` odd and positive, got 4\."),
        ({"kernel_size": -1}, r"Expected `kernel_size` odd and positive, got -1\."),
        ({"dilations": ()}, r"Expected `dilations` of at least 1 each, got \(\)\."),
        ({"dilations": (1, 0)}, r"Expected `dilations` of at least 1 each, got \(1, 0\)\."),
        ({"norm_momentum": 0.0}, r"Expected `norm_momentum` in \(0, 1\], got 0\.0\."),
    ],
)
def test_a_shape_that_makes_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProtCNNConfig(**settings)


def test_a_single_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `num_classes` of at least 2, got 1\."):
        ProtCNN(CONFIG, 1)
