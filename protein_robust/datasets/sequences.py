"""Sequences as one flat array of tokens on the device; a batch is one gather from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.alphabet import INVALID, PAD, RESIDUES, TOKEN_OF_BYTE
from protein_robust.datasets.batching import Batch, plan_batches
from protein_robust.noise import CropRule, Crops, draw_crops

LENGTH_STEP = 8
"""Padded lengths are multiples of this, so that few tensor shapes occur."""


@dataclass(frozen=True)
class SequenceDataset:
    """N sequences with their classes.

    Attributes:
        tokens: every residue of every sequence, one after the other, shape (R,), uint8.
        offset: where each sequence begins in ``tokens``, shape (N,), int64.
        label: given classes, shape (N,), int64.
        lengths: residues of each sequence, on the host, shape (N,), int64.
    """

    tokens: Tensor
    offset: Tensor
    label: Tensor
    lengths: NDArray[np.int64]

    @classmethod
    def from_arrow(
        cls,
        sequences: pa.ChunkedArray | pa.Array,
        labels: NDArray[np.int64],
        *,
        device: torch.device | str = "cpu",
    ) -> SequenceDataset:
        """Turn a column of cleaned sequences into tokens, without a Python string for any.

        Args:
            sequences: residue letters, N strings, none of them empty or null.
            labels: given classes, shape (N,), int64.
            device: where the arrays go.

        Returns:
            The data set.

        Raises:
            ValueError: if a sequence is empty or null, holds a character that is no residue
                letter, or the numbers of sequences and labels differ.
        """
        if len(sequences) != len(labels):
            raise ValueError(f"Expected {len(sequences)} labels, got {len(labels)}.")
        letters, lengths = _flatten(sequences)
        if sequences.null_count or (lengths == 0).any():
            raise ValueError("Expected sequences of at least 1 residue, got an empty one.")
        # `translate` and `find` are several times faster than indexing and comparing arrays.
        tokens = bytearray(letters).translate(TOKEN_OF_BYTE.tobytes())
        if (place := tokens.find(INVALID)) >= 0:
            letter = chr(letters[place])
            raise ValueError(f"Expected residue letters of {RESIDUES}, got {letter!r}.")
        offset = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
        return cls(
            torch.from_numpy(np.frombuffer(tokens, dtype=np.uint8)).to(device),
            torch.from_numpy(offset.astype(np.int64)).to(device),
            torch.from_numpy(np.array(labels, dtype=np.int64)).to(device),
            lengths,
        )

    def __len__(self) -> int:
        """N."""
        return len(self.lengths)

    def cut(self, index: NDArray[np.int64], crops: Crops) -> Batch:
        """Gather, crop and pad some sequences on the device.

        Args:
            index: which sequences, shape (B,), int64.
            crops: the part of each of the N sequences that is seen. Residues on the two sides of
                a deletion are neighbours in the batch.

        Returns:
            The batch; its padded length is the next multiple of `LENGTH_STEP`.
        """
        length = crops.length[index]
        padded = int(_padded(length).max())
        rows = [index, crops.start[index], length]
        gap_length = crops.gap_length[index]
        if gap_length.any():
            rows += [crops.gap_start[index], gap_length]
        host = torch.from_numpy(np.stack(rows))
        chosen, start, kept, *gap = host.to(self.tokens.device, non_blocking=True)
        position = torch.arange(padded, device=self.tokens.device)  # (L,)
        mask = position < kept[:, None]  # (B, L)
        # Beyond the end the first residue is read, and then overwritten by the padding token.
        seen = position * mask
        place = (self.offset[chosen] + start)[:, None] + seen
        if gap:  # what comes after a deletion lies further on
            place += (seen >= gap[0][:, None]) * gap[1][:, None]
        inputs = self.tokens[place].masked_fill_(~mask, PAD)
        return Batch(inputs, mask, self.label[chosen], chosen)


@dataclass(frozen=True)
class SequenceBatches:
    """Batches of a data set: fresh crops and order each epoch, or fixed crops in sorted order.

    Attributes:
        dataset: the sequences.
        crop: a rule, from which every epoch draws anew, or crops that stay as they are.
        batch_size: the most examples a batch.
        max_residues: the most positions a batch, padding included.
        seed: of order and crops; None for length-sorted batches (evaluation), which need fixed
            crops.
        subset: positions of the sequences that take part, shape (M,), int64; None for all.

    Raises:
        ValueError: if ``crop`` is a rule and there is no seed.
    """

    dataset: SequenceDataset
    crop: CropRule | Crops
    batch_size: int
    max_residues: int
    seed: int | None = None
    subset: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check that what is drawn has a seed."""
        if self.seed is None and isinstance(self.crop, CropRule):
            raise ValueError("Expected fixed crops where `seed` is None, got a crop rule.")

    def epoch(self, number: int) -> SequenceEpoch:
        """Every sequence once, in the order of that epoch, counted from 0."""
        rng = None if self.seed is None else np.random.default_rng([self.seed, number])
        if isinstance(self.crop, CropRule):
            assert rng is not None  # checked in __post_init__
            crops = draw_crops(self.dataset.lengths, rule=self.crop, rng=rng)
        else:
            crops = self.crop
        subset = np.arange(len(self.dataset)) if self.subset is None else self.subset
        plan = plan_batches(
            _padded(crops.length[subset]),
            batch_size=self.batch_size,
            max_residues=self.max_residues,
            rng=rng,
        )
        plan = [subset[positions] for positions in plan]
        return SequenceEpoch(self.dataset, crops, plan)


@dataclass(frozen=True)
class SequenceEpoch:
    """One pass over a data set.

    Attributes:
        dataset: the sequences.
        crops: the part of each that is seen in this pass.
        plan: positions of the examples of each batch.
    """

    dataset: SequenceDataset
    crops: Crops
    plan: Sequence[NDArray[np.int64]]

    def __len__(self) -> int:
        """How many batches."""
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        """Cut them one by one."""
        for index in self.plan:
            yield self.dataset.cut(index, self.crops)


def _padded(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round up to multiples of `LENGTH_STEP`."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def _flatten(sequences: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All bytes of a string column, and the length of each string."""
    # Offsets of 64 bits before the chunks are joined: a column may hold more than 2 GB.
    column = sequences.cast(pa.large_binary())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    _, offsets_buffer, data = column.buffers()
    first = column.offset
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[first : first + len(column) + 1]
    if data is None or not len(column):
        return np.zeros(0, np.uint8), np.diff(offsets)
    return np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]], np.diff(offsets)
