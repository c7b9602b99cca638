"""Residual networks for small images: those of CIFAR, and ResNet-18 with a 3x3 stem.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. The networks of 6n + 2 layers
are those of its section 4.2, with shortcuts of option A (the input itself, every second pixel where
the map is halved, zeros for the channels that it lacks), so only convolutions, norms and the last
layer have weights. ResNet-18 is that of Table 1 with shortcuts of option B (a 1x1 convolution),
but for its stem, which is a 3x3 convolution without stride and without pooling, as usual on images
of 32 pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Architecture = Literal[
    "resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet18"
]
"""``resnet18`` is the wide one; the others have 6n + 2 layers. Those of 8 and 14 are not He's."""

Compile = Literal["none", "kernels", "graphs"]
"""What `torch.compile` makes of a network: fused kernels; on a GPU also CUDA graphs of them."""

CIFAR_WIDTHS = (16, 32, 64)
RESNET18_WIDTHS = (64, 128, 256, 512)
RESNET18_BLOCKS = 2


@dataclass(frozen=True)
class ResNetConfig:
    """Shape of the network.

    Attributes:
        architecture: which network.
        compile: what `torch.compile` makes of it, at the beginning of a training.

    Raises:
        ValueError: if there is no such network, or no such way to compile it.
    """

    architecture: Architecture = "resnet20"
    compile: Compile = "none"

    def __post_init__(self) -> None:
        """Check the name."""
        if self.architecture not in get_args(Architecture):
            known = ", ".join(get_args(Architecture))
            raise ValueError(f"Expected `architecture` one of {known}, got {self.architecture!r}.")
        if self.compile not in get_args(Compile):
            known = ", ".join(get_args(Compile))
            raise ValueError(f"Expected `compile` one of {known}, got {self.compile!r}.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage; every stage but the first halves the map."""
        return RESNET18_WIDTHS if self.architecture == "resnet18" else CIFAR_WIDTHS

    @property
    def blocks_per_stage(self) -> int:
        """n, two convolutions each."""
        if self.architecture == "resnet18":
            return RESNET18_BLOCKS
        return (int(self.architecture.removeprefix("resnet")) - 2) // 6


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


class PaddedShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, and zeros for channels that the input lacks."""

    def __init__(self, new_channels: int, stride: int) -> None:
        """Keep how many channels are new."""
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C + new, H / stride, W / stride)."""
        seen = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(seen, (0, 0, 0, 0, 0, self.new_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with its norm, plus the shortcut; ReLU between and after."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, projects: bool) -> None:
        """Build one block; ``projects`` for a shortcut of option B where shapes differ."""
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            if projects:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                    nn.BatchNorm2d(out_channels),
                )
            else:
                self.shortcut = PaddedShortcut(out_channels - in_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        hidden = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        hidden = self.norm2(self.conv2(hidden))
        return functional.relu(hidden + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """Normalised images to a score for each class.

    Weights of convolutions are normal with variance 2 / fan-out (He et al. 2015, the other of its
    two), those of the last layer uniform in +-1/sqrt(fan-in), its biases 0.

    Args:
        config: which network.
        num_classes: K.
        num_channels: C of the images.
        generator: what the initial weights are drawn from; torch's default one if none is given.

    Raises:
        ValueError: if ``num_classes`` is below 2 or ``num_channels`` below 1.
    """

    def __init__(
        self,
        config: ResNetConfig,
        num_classes: int,
        *,
        num_channels: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the network and draw its weights."""
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"Expected `num_classes` of at least 2, got {num_classes}.")
        if num_channels < 1:
            raise ValueError(f"Expected `num_channels` of at least 1, got {num_channels}.")
        self.config = config
        self.num_classes = num_classes
        with torch.random.fork_rng(devices=[]):  # torch's layers draw weights that are not kept
            self.stem = _convolution(num_channels, config.widths[0])
            self.norm = nn.BatchNorm2d(config.widths[0])
            self.blocks = nn.Sequential(*_blocks(config))
            self.head = nn.Linear(config.widths[-1], num_classes)
        self._draw_weights(generator)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)
        if config.compile != "none":  # in place: parameters keep their names
            self.compile(mode="reduce-overhead" if config.compile == "graphs" else "default")

    def _draw_weights(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu", generator=generator
                )
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.zeros_(module.bias)

    def embed(self, inputs: Tensor) -> Tensor:
        """Represent each image by one vector.

        Args:
            inputs: normalised images, shape (B, C, H, W), floating.

        Returns:
            The means over the last map, shape (B, width), floating.
        """
        x = functional.relu(self.norm(self.stem(inputs)), inplace=True)
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        return features

    def forward(self, inputs: Tensor, mask: None = None) -> Tensor:
        """Score each class.

        Args:
            inputs: normalised images, shape (B, C, H, W), floating.
            mask: none: images are of one size.

        Returns:
            Logits, shape (B, K), floating.
        """
        logits: Tensor = self.head(self.embed(inputs))
        return logits


def _blocks(config: ResNetConfig) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    channels = config.widths[0]
    for stage, width in enumerate(config.widths):
        for number in range(config.blocks_per_stage):
            stride = 2 if stage > 0 and number == 0 else 1
            is_wide = config.architecture == "resnet18"
            blocks.append(BasicBlock(channels, width, stride, projects=is_wide))
            channels = width
    return blocks
