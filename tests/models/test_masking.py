"""Normalisation and pooling that do not see padding, against torch's own on the residues alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from protein_robust.models.masking import MaskedNormReLU, Padding, masked_max, masked_relu

B, C, L = 4, 3, 7
LENGTHS = [7, 1, 4, 5]
FULL = torch.ones(B, L, dtype=torch.bool)
PARTLY = torch.arange(L) < torch.tensor(LENGTHS)[:, None]
MASKS = [pytest.param(FULL, id="no padding"), pytest.param(PARTLY, id="padding")]
EMPTY = Padding.of(PARTLY)


def as_on_an_accelerator(mask: Tensor) -> Padding:
    """Padding whose places are not counted."""
    return replace(Padding.of(mask), rows=None)


FIND = [
    pytest.param(Padding.of, id="places of padding"),
    pytest.param(as_on_an_accelerator, id="as on an accelerator"),
]
Find = Callable[[Tensor], Padding]


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def norm_and_twin() -> tuple[MaskedNormReLU, nn.BatchNorm1d]:
    """The same parameters and running statistics in ours and in torch's, float64."""
    norm = MaskedNormReLU(C, eps=1e-3, momentum=0.2).double()
    twin = nn.BatchNorm1d(C, eps=1e-3, momentum=0.2).double()
    assert twin.running_mean is not None
    assert twin.running_var is not None
    with torch.no_grad():
        norm.weight.copy_(random(C, seed=1))
        norm.bias.copy_(random(C, seed=2))
        norm.running_mean.copy_(random(C, seed=3))
        norm.running_variance.copy_(random(C, seed=4).square() + 0.5)
        twin.weight.copy_(norm.weight)
        twin.bias.copy_(norm.bias)
        twin.running_mean.copy_(norm.running_mean)
        twin.running_var.copy_(norm.running_variance)
    return norm, twin


def on_residues(twin: nn.BatchNorm1d, x: Tensor, mask: Tensor) -> Tensor:
    """torch's batch normalisation and ReLU of all residues in one row, put back in their places."""
    packed = x[:, :, 0].transpose(1, 2)[mask]  # (number of residues, C)
    out = torch.zeros(B, L, C, dtype=x.dtype)
    out[mask] = functional.relu(twin(packed))
    return out.transpose(1, 2)[:, :, None]  # (B, C, 1, L)


@pytest.mark.parametrize("find", FIND)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("mask", MASKS)
def test_output_gradients_and_statistics_are_those_of_batch_norm_on_the_residues(
    mask: Tensor, training: bool, find: Find
) -> None:
    norm, twin = norm_and_twin()
    norm.train(training)
    twin.train(training)
    x = (3 * random(B, C, 1, L, seed=5) + 1).requires_grad_()
    # What comes back for padding is not zero, as after a convolution that reaches over the end.
    upstream = random(B, C, 1, L, seed=6)
    ours, theirs = norm(x, find(mask)), on_residues(twin, x, mask)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, [x, norm.weight, norm.bias], upstream),
        torch.autograd.grad(theirs, [x, twin.weight, twin.bias], upstream),
    )
    torch.testing.assert_close(norm.running_mean, twin.running_mean)
    torch.testing.assert_close(norm.running_variance, twin.running_var)


def test_without_padding_float32_training_is_batch_norm_and_relu() -> None:
    norm, twin = (module.float() for module in norm_and_twin())
    x = random(B, C, 1, L).float().requires_grad_()
    ours, theirs = norm(x, Padding.of(FULL)), functional.relu(twin(x[:, :, 0]))[:, :, None]
    torch.testing.assert_close(ours, theirs)
    (ours_x,) = torch.autograd.grad(ours.square().sum(), x)
    (theirs_x,) = torch.autograd.grad(theirs.square().sum(), x)
    torch.testing.assert_close(ours_x, theirs_x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("find", FIND)
@pytest.mark.parametrize("mask", MASKS)
def test_the_written_out_derivative_is_the_numerical_one(mask: Tensor, find: Find) -> None:
    norm, _ = norm_and_twin()

    def output(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out: Tensor = functional_call(norm, {"weight": weight, "bias": bias}, (x, find(mask)))
        return out

    leaves = [t.detach().requires_grad_() for t in (random(B, C, 1, L), norm.weight, norm.bias)]
    assert torch.autograd.gradcheck(output, leaves)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_padding_comes_out_as_zero(training: bool) -> None:
    norm, _ = norm_and_twin()
    out = norm.train(training)(random(B, C, 1, L), EMPTY)
    assert not out[:, :, 0].transpose(1, 2)[~PARTLY].any()


@pytest.mark.parametrize("find", FIND)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("filler", [3.0, -1e3])
def test_what_padding_holds_does_not_matter(filler: float, training: bool, find: Find) -> None:
    x = random(B, C, 1, L)
    results = []
    for value in (0.0, filler):
        norm, _ = norm_and_twin()
        norm.train(training)
        leaf = x.masked_fill(~PARTLY[:, None, None], value).requires_grad_()
        out = norm(leaf, find(PARTLY))
        gradients = torch.autograd.grad(
            out, [leaf, norm.weight, norm.bias], random(B, C, 1, L, seed=6)
        )
        results.append([out, *gradients, norm.running_mean, norm.running_variance])
    # Sums are taken with padding, and padding is taken off: its digits are lost, and no more.
    torch.testing.assert_close(results[0], results[1], rtol=1e-15 * abs(filler), atol=1e-13)


def test_no_gradient_goes_to_padding() -> None:
    norm, _ = norm_and_twin()
    x = random(B, C, 1, L).requires_grad_()
    (gradient,) = torch.autograd.grad(norm(x, EMPTY), x, torch.ones(B, C, 1, L).double())
    assert not gradient[:, :, 0].transpose(1, 2)[~PARTLY].any()


def test_the_layout_in_memory_does_not_matter() -> None:
    norm, _ = norm_and_twin()
    x = random(B, C, 1, L)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(norm(x, EMPTY), norm(last, EMPTY), rtol=0, atol=0)


def test_a_single_residue_is_its_own_mean_and_leaves_finite_statistics() -> None:
    norm = MaskedNormReLU(C)
    out = norm(torch.full((1, C, 1, 2), 5.0), Padding.of(torch.tensor([[True, False]])))
    assert not out.any()
    # A tenth of 5, and nine tenths of the 1 that it started from.
    torch.testing.assert_close(norm.running_mean, torch.full((C,), 0.5))
    torch.testing.assert_close(norm.running_variance, torch.full((C,), 0.9))


def test_evaluation_leaves_the_running_statistics_alone() -> None:
    norm, _ = norm_and_twin()
    before = norm.running_mean.clone(), norm.running_variance.clone()
    norm.eval()(random(B, C, 1, L), EMPTY)
    torch.testing.assert_close((norm.running_mean, norm.running_variance), before, rtol=0, atol=0)


def test_statistics_of_bfloat16_are_summed_in_float32() -> None:
    # The mean of 1024 ones and 1024 threes; a bfloat16 sum would stop growing at 256.
    x = torch.tensor([1.0, 3.0]).repeat(1024).view(1, 1, 1, 2048).bfloat16()
    norm = MaskedNormReLU(1, momentum=1.0)
    out = norm(x, Padding.of(torch.ones(1, 2048, dtype=torch.bool)))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(norm.running_mean, torch.tensor([2.0]))
    torch.testing.assert_close(norm.running_variance, torch.tensor([2048 / 2047]))


def test_the_largest_value_of_each_channel_is_taken_over_residues() -> None:
    x = random(B, C, 1, L)
    expected = torch.stack([x[i, :, 0, :n].amax(dim=1) for i, n in enumerate(LENGTHS)])
    torch.testing.assert_close(masked_max(x, EMPTY), expected, rtol=0, atol=0)


def test_padding_never_wins_and_gets_no_gradient() -> None:
    x = torch.tensor([[[[-3.0, -1.0, 9.0]]]], requires_grad=True)
    largest = masked_max(x, Padding.of(torch.tensor([[True, True, False]])))
    (gradient,) = torch.autograd.grad(largest.sum(), x)
    assert largest.item() == -1.0
    assert gradient.flatten().tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("find", FIND)
@pytest.mark.parametrize("mask", MASKS)
def test_without_ties_the_maximum_has_the_gradient_that_autograd_finds(
    mask: Tensor, find: Find
) -> None:
    x = random(B, C, 1, L).requires_grad_()
    upstream = random(B, C, seed=1)
    ours = masked_max(x, find(mask))
    theirs = x[:, :, 0].masked_fill(~mask[:, None], -torch.inf).amax(dim=2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    (ours_x,) = torch.autograd.grad(ours, x, upstream)
    (theirs_x,) = torch.autograd.grad(theirs, x, upstream)
    torch.testing.assert_close(ours_x, theirs_x, rtol=0, atol=0)


def test_of_several_places_with_the_maximum_the_first_gets_the_gradient() -> None:
    x = torch.tensor([[[[1.0, 2.0, 2.0]]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(masked_max(x, Padding.of(x[:, 0, 0] > 0)).sum(), x)
    assert gradient.flatten().tolist() == [0.0, 1.0, 0.0]


def test_the_maximum_leaves_its_input_as_it_is() -> None:
    x = random(B, C, 1, L).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    masked_max(x, EMPTY)
    assert torch.equal(x, before)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_padding_is_removed_alike_with_and_without_its_places(training: bool) -> None:
    results = []
    for padding in (EMPTY, as_on_an_accelerator(PARTLY)):
        norm, _ = (module.float() for module in norm_and_twin())
        norm.train(training)
        x = random(B, C, 1, L).float().requires_grad_()
        out = norm(x, padding)
        gradients = torch.autograd.grad(out.square().sum(), [x, norm.weight, norm.bias])
        results.append([out, *gradients, norm.running_mean, norm.running_variance])
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("find", FIND)
def test_relu_is_in_place_and_zero_at_padding(find: Find) -> None:
    x = random(B, C, 1, L).contiguous(memory_format=torch.channels_last)
    expected = functional.relu(x) * PARTLY[:, None, None]
    assert masked_relu(x, find(PARTLY)) is x
    assert torch.equal(x, expected)


def test_a_batch_without_examples_goes_through_forwards_and_backwards() -> None:
    norm = MaskedNormReLU(C)
    x = torch.zeros(0, C, 1, L, requires_grad=True)
    padding = Padding.of(torch.zeros(0, L, dtype=torch.bool))
    pooled = masked_max(x, padding)
    out = norm.eval()(x, padding)
    assert (pooled.shape, out.shape) == ((0, C), (0, C, 1, L))
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    assert gradient.shape == x.shape


def test_in_evaluation_a_channel_is_scaled_and_shifted() -> None:
    norm, _ = norm_and_twin()
    x, residues = random(B, C, 1, L), Padding.of(FULL)
    scale, shift = norm.eval().affine()
    expected = functional.relu(x * scale[:, None, None] + shift[:, None, None])
    torch.testing.assert_close(norm(x, residues), expected)
