"""A plain ProtCNN training step in PyTorch: what ours is compared with.

Written from the description of the published code (Bileschi et al., "Using deep learning to
annotate the protein universe", Nature Biotechnology 2022,
https://doi.org/10.1038/s41587-021-01179-w; `protein_model.py` and `protein_dataset.py` there) as
one would write it first: each sequence a string that a `Dataset` turns into one-hot floats and the
collate function of a `DataLoader` pads; random batches; padding set to zero by `torch.where` before
and after each convolution and before the maximum; batch normalisation over all positions, padding
included; float32. Nothing is slow on purpose: a sequence is encoded by one look-up in NumPy, and no
step waits for the device.

It shares no code with the package. Where there is no padding, its logits and gradients are those of
`protein_robust.models.ProtCNN` with the same weights; a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
ONE_HOT = np.zeros((256, len(AMINO_ACIDS)), dtype=np.float32)
"""The channels of each byte; every other letter is all zero, as in the published training graph."""
ONE_HOT[np.frombuffer(AMINO_ACIDS.encode(), dtype=np.uint8)] = np.eye(len(AMINO_ACIDS))


class PlainBatch(NamedTuple):
    """Some sequences, padded to the longest.

    Attributes:
        inputs: one-hot, shape (B, 20, L), float32.
        lengths: residues of each, shape (B,), int64.
        label: classes, shape (B,), int64.
    """

    inputs: Tensor
    lengths: Tensor
    label: Tensor


Loader = DataLoader[tuple[Tensor, int]]
"""Its batches are `PlainBatch`es."""


class SequenceStrings(Dataset[tuple[Tensor, int]]):
    """Python strings with their classes."""

    def __init__(self, sequences: Sequence[str], labels: Sequence[int]) -> None:
        """Keep both."""
        self.sequences = sequences
        self.labels = labels

    def __len__(self) -> int:
        """How many."""
        return len(self.sequences)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """One-hot residues, shape (L, 20), and the class."""
        letters = np.frombuffer(self.sequences[place].encode(), dtype=np.uint8)
        return torch.from_numpy(ONE_HOT[letters]), self.labels[place]


def collate(examples: list[tuple[Tensor, int]]) -> PlainBatch:
    """Pad to the longest of the batch."""
    inputs = [residues for residues, _ in examples]
    padded = nn.utils.rnn.pad_sequence(inputs, batch_first=True)  # (B, L, 20)
    lengths = torch.tensor([len(residues) for residues in inputs])
    label = torch.tensor([label for _, label in examples])
    return PlainBatch(padded.transpose(1, 2).contiguous(), lengths, label)


def make_loader(
    sequences: Sequence[str], labels: Sequence[int], *, batch_size: int, seed: int
) -> Loader:
    """Random batches, in another order each time they are asked for."""
    dataset = SequenceStrings(sequences, labels)
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size, shuffle=True, collate_fn=collate, generator=generator)


class MaskedConv(nn.Module):
    """A convolution with padding set to zero before and after it."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int, dilation: int = 1
    ) -> None:
        """Build it; the length stays."""
        super().__init__()
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, dilation=dilation, padding="same"
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, L) -> (B, C', L)."""
        x = torch.where(mask, x, 0.0)
        return torch.where(mask, self.conv(x), 0.0)


class PlainBlock(nn.Module):
    """Norm, ReLU, dilated convolution, norm, ReLU, 1x1 convolution, plus the input."""

    def __init__(
        self, width: int, inner: int, *, kernel_size: int, dilation: int, momentum: float
    ) -> None:
        """Build one block."""
        super().__init__()
        self.norm_in = nn.BatchNorm1d(width, eps=1e-3, momentum=momentum)
        self.dilated = MaskedConv(width, inner, kernel_size=kernel_size, dilation=dilation)
        self.norm_out = nn.BatchNorm1d(inner, eps=1e-3, momentum=momentum)
        self.widen = MaskedConv(inner, width, kernel_size=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, L) -> (B, C, L)."""
        hidden = self.dilated(functional.relu(self.norm_in(x)), mask)
        change: Tensor = self.widen(functional.relu(self.norm_out(hidden)), mask)
        return x + change


class PlainProtCNN(nn.Module):
    """One-hot sequences to a score for each family.

    Args:
        width: channels of the trunk.
        inner: channels inside a block.
        kernel_size: of the first and of the dilated convolutions.
        dilations: one block each.
        num_classes: K.
        momentum: of batch normalisation.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        *,
        kernel_size: int,
        dilations: Sequence[int],
        num_classes: int,
        momentum: float,
    ) -> None:
        """Build the network with PyTorch's own initial weights."""
        super().__init__()
        self.stem = MaskedConv(len(AMINO_ACIDS), width, kernel_size=kernel_size)
        self.blocks = nn.ModuleList(
            PlainBlock(width, inner, kernel_size=kernel_size, dilation=dilation, momentum=momentum)
            for dilation in dilations
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Score each family.

        Args:
            inputs: one-hot, shape (B, 20, L), float32.
            lengths: residues of each sequence, shape (B,), int64.

        Returns:
            Logits, shape (B, K), float32.
        """
        position = torch.arange(inputs.shape[2], device=inputs.device)
        mask = (position < lengths[:, None])[:, None]  # (B, 1, L)
        x = self.stem(inputs, mask)  # (B, C, L)
        for block in self.blocks:
            x = block(x, mask)
        x = torch.where(mask, x, 0.0).amax(dim=2)  # (B, C)
        logits: Tensor = self.head(x)
        return logits


def train(
    model: PlainProtCNN,
    optimizer: torch.optim.Optimizer,
    loader: Loader,
    *,
    clip_norm: float,
) -> Iterator[Tensor]:
    """One pass over the data; the mean cross entropy after each update, shape ()."""
    device = next(model.parameters()).device
    model.train()
    for batch in loader:
        inputs, lengths, label = (array.to(device) for array in batch)
        loss = functional.cross_entropy(model(inputs, lengths), label)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        yield loss.detach()


@torch.no_grad()
def infer(model: PlainProtCNN, loader: Loader) -> Iterator[Tensor]:
    """Predicted classes of each batch, shape (B,), on the host."""
    device = next(model.parameters()).device
    model.eval()
    for batch in loader:
        inputs, lengths, _ = (array.to(device) for array in batch)
        yield model(inputs, lengths).argmax(dim=1).cpu()
