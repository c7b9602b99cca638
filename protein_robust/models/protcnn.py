"""ProtCNN: a dilated residual convolutional network over residues.

Bileschi et al., "Using deep learning to annotate the protein universe", Nature Biotechnology 2022,
https://doi.org/10.1038/s41587-021-01179-w. Differences from the released code, each on purpose:

* batch normalisation sees residues only, and padding pools as minus infinity (`masking`), so the
  logits of a sequence do not depend on what it is batched or padded with;
* rare letters mean in training what they mean in inference (`alphabet.RESIDUE_PROFILES`); the
  released training graph turned all of them into zeros.

The published dilations are uncertain (1, 3, 9, 27, 81 is printed elsewhere), so they are settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.alphabet import NUM_STANDARD, RESIDUE_PROFILES
from protein_robust.models.masking import MaskedNormReLU, Padding, masked_max, masked_relu


@dataclass(frozen=True)
class ProtCNNConfig:
    """Shape of the network.

    Attributes:
        width: channels of the residual stream.
        bottleneck: channels inside a block, as a fraction of ``width``, in (0, 1].
        kernel_size: residues that a convolution sees, odd.
        dilations: one residual block each; the spacing of the residues that its kernel sees.
        norm_momentum: weight of the newest batch in batch normalisation's running statistics.

    Raises:
        ValueError: if a value is outside what is said above.
    """

    width: int = 48
    bottleneck: float = 0.5
    kernel_size: int = 5
    dilations: tuple[int, ...] = (1, 2, 4)
    norm_momentum: float = 0.1

    def __post_init__(self) -> None:
        """Check every value."""
        if self.width < 1:
            raise ValueError(f"Expected `width` of at least 1, got {self.width}.")
        if not 0 < self.bottleneck <= 1:
            raise ValueError(f"Expected `bottleneck` in (0, 1], got {self.bottleneck}.")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"Expected `kernel_size` odd and positive, got {self.kernel_size}.")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"Expected `dilations` of at least 1 each, got {self.dilations}.")
        if not 0 < self.norm_momentum <= 1:
            raise ValueError(f"Expected `norm_momentum` in (0, 1], got {self.norm_momentum}.")

    @classmethod
    def paper(cls) -> ProtCNNConfig:
        """The size tuned for Pfam: 50,213,679 parameters at 17,929 families."""
        return cls(1100, 0.5, 9, (1, 1, 3, 9, 27), norm_momentum=0.01)


def _convolution(in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> nn.Conv2d:
    """A convolution along the length of (B, C, 1, L); padded with zeros to the same length."""
    return nn.Conv2d(
        in_channels, out_channels, (1, kernel_size), dilation=(1, dilation), padding="same"
    )


class ResidualBlock(nn.Module):
    """Pre-activation: norm, ReLU, dilated convolution, norm, ReLU, 1x1 convolution, plus input."""

    def __init__(self, config: ProtCNNConfig, dilation: int) -> None:
        """Build one block of the given dilation."""
        super().__init__()
        inner = max(1, int(config.width * config.bottleneck))
        momentum = config.norm_momentum
        self.norm_in = MaskedNormReLU(config.width, momentum=momentum)
        self.dilated = _convolution(config.width, inner, config.kernel_size, dilation)
        self.norm_out = MaskedNormReLU(inner, momentum=momentum)
        self.widen = _convolution(inner, config.width, 1, 1)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        """(B, C, 1, L) -> (B, C, 1, L)."""
        hidden = self.norm_in(x, padding)
        if self.training:
            hidden = self.norm_out(self.dilated(hidden), padding)
        else:
            hidden = masked_relu(self._dilated_and_normalised(hidden), padding)
        change: Tensor = self.widen(hidden)
        return x + change

    def _dilated_and_normalised(self, x: Tensor) -> Tensor:
        """In evaluation the norm after a convolution is part of its weights: a pass less."""
        scale, shift = self.norm_out.affine()
        layer = self.dilated
        assert layer.bias is not None  # built with one
        return functional.conv2d(
            x,
            layer.weight * scale[:, None, None, None],
            layer.bias * scale + shift,
            padding="same",
            dilation=layer.dilation,
        )


class ProtCNN(nn.Module):
    """Tokens of a sequence to a score for each family.

    Args:
        config: shape of the trunk.
        num_classes: K, the number of families.
        generator: what the initial weights are drawn from; torch's default one if none is given.

    Raises:
        ValueError: if ``num_classes`` is below 2.
    """

    profiles: Tensor

    def __init__(
        self,
        config: ProtCNNConfig,
        num_classes: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the network and draw its weights."""
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"Expected `num_classes` of at least 2, got {num_classes}.")
        self.config = config
        self.num_classes = num_classes
        # A constant of the alphabet, not of the model: left out of checkpoints.
        self.register_buffer("profiles", torch.tensor(RESIDUE_PROFILES), persistent=False)
        with torch.random.fork_rng(devices=[]):  # torch's layers draw weights that are not kept
            self.stem = _convolution(NUM_STANDARD, config.width, config.kernel_size, 1)
            self.blocks = nn.ModuleList(ResidualBlock(config, d) for d in config.dilations)
            self.head = nn.Linear(config.width, num_classes)
        self._draw_weights(generator)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

    def _draw_weights(self, generator: torch.Generator | None) -> None:
        """Uniform in +-1/sqrt(fan-in), torch's default, weights and biases from one generator."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def embed(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Represent each sequence by one vector.

        Args:
            inputs: tokens of `protein_robust.alphabet`, shape (B, L), uint8.
            mask: true at residues, shape (B, L), bool; at least one a row.

        Returns:
            The pooled features, shape (B, width), floating.
        """
        x = functional.embedding(inputs.int(), self.profiles)  # (B, L, 20); padding is zero
        x = self.stem(rearrange(x, "b l c -> b c 1 l"))  # (B, C, 1, L), channels-last
        padding = Padding.of(mask)
        for block in self.blocks:
            x = block(x, padding)
        return masked_max(x, padding)

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Score each family.

        Args:
            inputs: tokens of `protein_robust.alphabet`, shape (B, L), uint8.
            mask: true at residues, shape (B, L), bool; at least one a row.

        Returns:
            Logits, shape (B, K), floating.
        """
        logits: Tensor = self.head(self.embed(inputs, mask))
        return logits
