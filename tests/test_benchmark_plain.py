"""What the benchmark of training compares with: the plain network, and the bare convolutions."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from protein_robust.alphabet import encode
from protein_robust.models import ProtCNN, ProtCNNConfig

FOLDER = Path(__file__).parent.parent / "benchmarks"
NAMES = ("convolutions", "plain_protcnn")
CONFIG = ProtCNNConfig(width=8, kernel_size=3, dilations=(1, 2))
STRINGS = ["ACDEFGHIKLMN", "YWVTSRQPNMLK", "ACACACYYGGHH"]
LABELS = [0, 3, 1]


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The scripts, forgotten afterwards."""
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(NAMES) - known:
            sys.modules.pop(name, None)


def plain_model(scripts: SimpleNamespace) -> Any:
    """Of the same shape as ours."""
    return scripts.plain_protcnn.PlainProtCNN(
        CONFIG.width, 4, kernel_size=3, dilations=(1, 2), num_classes=4, momentum=0.1
    )


def plain_batch(scripts: SimpleNamespace) -> Any:
    """Three sequences of one length."""
    dataset = scripts.plain_protcnn.SequenceStrings(STRINGS, LABELS)
    return scripts.plain_protcnn.collate([dataset[i] for i in range(3)])


def test_without_padding_the_plain_step_computes_what_ours_does(scripts: SimpleNamespace) -> None:
    ours, plain = ProtCNN(CONFIG, 4), plain_model(scripts)
    with torch.no_grad():
        for theirs, parameter in zip(plain.parameters(), ours.parameters(), strict=True):
            parameter.add_(0.1 * torch.randn_like(parameter))  # norms too are not what they were
            theirs.copy_(parameter.reshape(theirs.shape))
    tokens = torch.stack([torch.from_numpy(encode(string)) for string in STRINGS])
    inputs, lengths, label = plain_batch(scripts)
    for mode in (True, False):  # batch statistics, and the running ones that they changed
        values = ours.train(mode)(tokens, torch.ones_like(tokens, dtype=torch.bool))
        theirs = plain.train(mode)(inputs, lengths)
        torch.testing.assert_close(values, theirs, rtol=1e-4, atol=1e-5)
        gradients = [
            torch.autograd.grad(functional.cross_entropy(logits, label), list(model.parameters()))
            for model, logits in ((ours, values), (plain, theirs))
        ]
        for mine, other in zip(*gradients, strict=True):
            torch.testing.assert_close(mine.reshape(other.shape), other, rtol=1e-3, atol=1e-5)


def test_the_plain_data_set_gives_one_hot_floats_padded_to_the_longest(
    scripts: SimpleNamespace,
) -> None:
    dataset = scripts.plain_protcnn.SequenceStrings(["AC", "YXA"], [1, 0])
    batch = scripts.plain_protcnn.collate([dataset[0], dataset[1]])
    assert batch.inputs.shape == (2, 20, 3)
    assert batch.inputs.argmax(dim=1).tolist() == [[0, 1, 0], [19, 0, 0]]
    # Padding and letters other than the 20 standard ones are all zero.
    assert batch.inputs.sum(dim=1).tolist() == [[1, 1, 0], [1, 0, 1]]
    assert batch.lengths.tolist() == [2, 3]
    assert batch.label.tolist() == [1, 0]


def test_padding_does_not_change_what_the_plain_network_says(scripts: SimpleNamespace) -> None:
    inputs, lengths, _ = plain_batch(scripts)
    model = plain_model(scripts).eval()  # in training, batch statistics see padding
    padded = functional.pad(inputs, (0, 5))
    # Its maximum over a padded row is at least 0, as in the published code.
    expected = model.head(model_features(model, inputs, lengths).clamp_min(0))
    torch.testing.assert_close(model(padded, lengths), expected)


def model_features(model: Any, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """What the head sees."""
    seen: list[torch.Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs, lengths)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("is_first", [True, False], ids=["first layer", "later layer"])
@pytest.mark.parametrize("kernel_size", [1, 5])
@pytest.mark.parametrize("name", ["conv1d", "conv2d, channels-last", "unfold + matmul"])
def test_each_formulation_computes_the_convolution_and_its_gradients(
    scripts: SimpleNamespace, name: str, kernel_size: int, is_first: bool
) -> None:
    layer = scripts.convolutions.Layer(3, 4, kernel_size, 2, is_first=is_first)
    weight = torch.randn(4, 3, kernel_size, requires_grad=True)
    x, grad = torch.randn(2, 3, 7, requires_grad=True), torch.randn(2, 4, 7)
    expected = functional.conv1d(x, weight, padding=layer.padding, dilation=2)
    expected.backward(grad)
    flat = [
        (array.detach() if name == "conv1d" else array.detach().transpose(1, 2)).reshape(-1)
        for array in (x, grad)
    ]
    way = scripts.convolutions.FORMULATIONS[name](layer, weight.detach())
    out = way.forward(flat[0], (2, 7))
    grad_x, grad_weight = way.backward(*flat, (2, 7))
    assert weight.grad is not None
    if name == "unfold + matmul":
        out, grad_x = (None if y is None else y.view(2, 7, -1).mT for y in (out, grad_x))
        grad_weight = grad_weight.view(kernel_size, 3, 4).permute(2, 1, 0)
    torch.testing.assert_close(out.reshape(2, 4, 7), expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grad_weight.view_as(weight), weight.grad, rtol=1e-4, atol=1e-5)
    assert (grad_x is None) == is_first
    if grad_x is not None:
        torch.testing.assert_close(grad_x.reshape(2, 3, 7), x.grad, rtol=1e-4, atol=1e-5)


def test_flops_are_those_that_torch_counts(scripts: SimpleNamespace) -> None:
    inputs, lengths, label = plain_batch(scripts)
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(plain_model(scripts)(inputs, lengths), label).backward()
    head = 3 * 2 * CONFIG.width * 4 * 3  # forward and two gradients: 4 classes, 3 sequences
    num_positions = 3 * 12
    expected = scripts.convolutions.training_flops(CONFIG, num_positions) + head
    assert counter.get_total_flops() == expected


@pytest.mark.parametrize("kind", ["by_mm", "by_convolution"])
def test_a_matrix_product_is_of_the_size_that_it_says(scripts: SimpleNamespace, kind: str) -> None:
    product = scripts.convolutions.MatrixProduct(32, repeats=2)
    with FlopCounterMode(display=False) as counter:
        getattr(product, kind)(torch.empty(0))()
    assert counter.get_total_flops() == product.flops == 2 * 2 * 32**3


def test_bare_convolutions_do_every_shape(scripts: SimpleNamespace) -> None:
    bare = scripts.convolutions.BareConvolutions(CONFIG, "conv1d", like=torch.empty(0))
    shapes = [(2, 5), (1, 9)]
    with FlopCounterMode(display=False) as counter:
        assert list(bare.run(shapes)) == shapes
    assert counter.get_total_flops() == scripts.convolutions.training_flops(CONFIG, 10 + 9)
