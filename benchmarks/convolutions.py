"""The convolutions of ProtCNN and nothing else: how fast this machine can be.

Of each convolution the result, the gradient of the weights and (but for the first one, which sees
data) that of the input are computed, from arrays that lie ready: no norms, no masks, no autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.alphabet import NUM_STANDARD
from protein_robust.models import ProtCNNConfig

Shape = tuple[int, int]
"""Sequences and padded length."""


@dataclass(frozen=True)
class Layer:
    """One convolution.

    Attributes:
        in_channels: C.
        out_channels: C'.
        kernel_size: residues it sees.
        dilation: spacing of those.
        is_first: whether its input is data, of which no gradient is needed.
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    dilation: int
    is_first: bool = False

    @property
    def num_macs(self) -> int:
        """Multiplications for one position, forward."""
        return self.in_channels * self.out_channels * self.kernel_size

    @property
    def num_products(self) -> int:
        """Results of that cost: output, gradient of the weights, gradient of the input."""
        return 2 if self.is_first else 3

    @property
    def padding(self) -> int:
        """Zeros on each side."""
        return self.dilation * (self.kernel_size - 1) // 2


def layers_of(config: ProtCNNConfig) -> list[Layer]:
    """The convolutions of a network, in order."""
    inner = max(1, int(config.width * config.bottleneck))
    layers = [Layer(NUM_STANDARD, config.width, config.kernel_size, 1, is_first=True)]
    for dilation in config.dilations:
        layers.append(Layer(config.width, inner, config.kernel_size, dilation))
        layers.append(Layer(inner, config.width, 1, 1))
    return layers


def training_flops(config: ProtCNNConfig, num_positions: float) -> float:
    """Of the convolutions, forward and backward: 2 for each multiplication and its addition.

    Example:
        >>> config = ProtCNNConfig(width=2, bottleneck=0.5, kernel_size=1, dilations=(1,))
        >>> training_flops(config, 1)  # 2 (2 20 2 + 3 2 1 + 3 1 2)
        184
    """
    macs = sum(layer.num_macs * layer.num_products for layer in layers_of(config))
    return 2 * macs * num_positions


_backward = torch.ops.aten.convolution_backward


class Formulation(Protocol):
    """One way to compute a layer; arrays are flat, and a shape is B and L."""

    def __init__(self, layer: Layer, weight: Tensor) -> None:
        """Bring the weight, shape (C', C, k), into the memory order that this way likes."""

    def forward(self, x: Tensor, shape: Shape) -> Tensor:
        """The output."""

    def backward(self, x: Tensor, grad: Tensor, shape: Shape) -> tuple[Tensor | None, Tensor]:
        """Gradients of the input, but for the first layer, and of the weight."""


class Conv1d:
    """By `conv1d` on (B, C, L)."""

    def __init__(self, layer: Layer, weight: Tensor) -> None:
        """Keep the weight as it is."""
        self.weight = weight
        self.how = (1,), (layer.padding,), (layer.dilation,)
        self.wanted = (not layer.is_first, True, False)

    def forward(self, x: Tensor, shape: Shape) -> Tensor:
        """The output."""
        return functional.conv1d(self._map(x, shape), self.weight, None, *self.how)

    def backward(self, x: Tensor, grad: Tensor, shape: Shape) -> tuple[Tensor | None, Tensor]:
        """The gradients."""
        x, grad = self._map(x, shape), self._map(grad, shape)
        rest = (False, (0,), 1, self.wanted)
        grad_x, grad_weight, _ = _backward(grad, x, self.weight, None, *self.how, *rest)
        return grad_x, grad_weight

    def _map(self, flat: Tensor, shape: Shape) -> Tensor:
        return flat.view(shape[0], -1, shape[1])


class Conv2d:
    """By `conv2d` on (B, C, 1, L), channels-last as is the weight."""

    def __init__(self, layer: Layer, weight: Tensor) -> None:
        """Make the weight channels-last."""
        self.weight = weight[:, :, None].contiguous(memory_format=torch.channels_last)
        self.how = (1, 1), (0, layer.padding), (1, layer.dilation)
        self.wanted = (not layer.is_first, True, False)

    def forward(self, x: Tensor, shape: Shape) -> Tensor:
        """The output."""
        return functional.conv2d(self._map(x, shape), self.weight, None, *self.how)

    def backward(self, x: Tensor, grad: Tensor, shape: Shape) -> tuple[Tensor | None, Tensor]:
        """The gradients."""
        x, grad = self._map(x, shape), self._map(grad, shape)
        rest = (False, (0, 0), 1, self.wanted)
        grad_x, grad_weight, _ = _backward(grad, x, self.weight, None, *self.how, *rest)
        return grad_x, grad_weight

    def _map(self, flat: Tensor, shape: Shape) -> Tensor:
        return flat.view(*shape, -1).transpose(1, 2)[:, :, None]


class UnfoldMatmul:
    """By one matrix product over copies of the input, shifted by a kernel's positions."""

    def __init__(self, layer: Layer, weight: Tensor) -> None:
        """Make the weight a matrix, and another one for the way back."""
        self.layer = layer
        self.weight = weight.permute(2, 1, 0).flatten(0, 1)  # (k C, C')
        self.back = weight.flip(2).permute(2, 0, 1).flatten(0, 1)  # (k C', C)

    def forward(self, x: Tensor, shape: Shape) -> Tensor:
        """The output."""
        return self._unfold(x, shape) @ self.weight

    def backward(self, x: Tensor, grad: Tensor, shape: Shape) -> tuple[Tensor | None, Tensor]:
        """The gradients."""
        # The copies are made again, as by a step that does not keep k times its activations.
        grad_weight = self._unfold(x, shape).t() @ grad.view(shape[0] * shape[1], -1)
        return None if self.layer.is_first else self._unfold(grad, shape) @ self.back, grad_weight

    def _unfold(self, flat: Tensor, shape: Shape) -> Tensor:
        x, size = flat.view(*shape, -1), self.layer.kernel_size
        num_channels = x.shape[2]
        if size > 1:
            padded = functional.pad(x, (0, 0, self.layer.padding, self.layer.padding))
            stride = (padded.stride(0), num_channels, self.layer.dilation * num_channels, 1)
            x = padded.as_strided((*shape, size, num_channels), stride)
        return x.reshape(shape[0] * shape[1], size * num_channels)


FORMULATIONS: dict[str, type[Formulation]] = {
    "conv1d": Conv1d,
    "conv2d, channels-last": Conv2d,
    "unfold + matmul": UnfoldMatmul,
}


class BareConvolutions:
    """All convolutions of a network, computed one way.

    Args:
        config: of the network.
        formulation: of `FORMULATIONS`.
        like: has the dtype and the device.
    """

    def __init__(self, config: ProtCNNConfig, formulation: str, *, like: Tensor) -> None:
        """Draw weights."""
        self.like = like
        self.layers = layers_of(config)
        self.ways = []
        for layer in self.layers:
            weight = torch.randn(layer.out_channels, layer.in_channels, layer.kernel_size)
            self.ways.append(FORMULATIONS[formulation](layer, weight.to(like)))

    def run(self, shapes: Sequence[Shape]) -> Iterator[Shape]:
        """Draw data now, of each layer its own; the iterator does one shape after the other."""
        largest = max(size * length for size, length in shapes)
        inputs, grads = (
            [torch.randn(largest * c, device=self.like.device).to(self.like) for c in channels]
            for channels in (
                [layer.in_channels for layer in self.layers],
                [layer.out_channels for layer in self.layers],
            )
        )
        return (self._step(inputs, grads, shape) for shape in shapes)

    def _step(self, inputs: list[Tensor], grads: list[Tensor], shape: Shape) -> Shape:
        """Every layer forward, then every layer backward."""
        num_positions = shape[0] * shape[1]
        for layer, way, x in zip(self.layers, self.ways, inputs, strict=True):
            way.forward(x[: num_positions * layer.in_channels], shape)
        every = zip(self.layers, self.ways, inputs, grads, strict=True)
        for layer, way, x, grad in reversed(list(every)):
            num_in, num_out = (num_positions * c for c in (layer.in_channels, layer.out_channels))
            way.backward(x[:num_in], grad[:num_out], shape)
        return shape


@dataclass(frozen=True)
class MatrixProduct:
    """The product of two square matrices, several times.

    Attributes:
        size: of their sides; a multiple of 16.
        repeats: how often.
    """

    size: int
    repeats: int = 1

    @property
    def flops(self) -> int:
        """Of all of them."""
        return 2 * self.size**3 * self.repeats

    def by_mm(self, like: Tensor) -> Callable[[], object]:
        """By `torch.mm`."""
        matrix = torch.randn(self.size, self.size).to(like)
        return lambda: [matrix @ matrix for _ in range(self.repeats)]

    def by_convolution(self, like: Tensor) -> Callable[[], object]:
        """As a 1x1 convolution: on a CPU by oneDNN, on some twice as fast as `torch.mm`."""
        x = torch.randn(16, 1, self.size // 16, self.size).to(like)
        x = x.permute(0, 3, 1, 2)  # (B, C, 1, L), channels-last
        weight = torch.randn(self.size, self.size, 1, 1).to(like)
        weight = weight.contiguous(memory_format=torch.channels_last)
        return lambda: [functional.conv2d(x, weight) for _ in range(self.repeats)]
