"""Sequences as one flat array of tokens on the device; a batch is one gather from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.alphabet import INVALID, PAD, RESIDUES, TOKEN_OF_BYTE
from protein_robust.datasets.batching import Batch, Share, plan_batches, within_budget
from protein_robust.noise import CropRule, Crops, draw_crops

LENGTH_STEP = 4
STEPS_PER_OCTAVE = 16
"""Padded lengths are multiples of 4, above 128 of a 16th of the power of two below: few shapes."""

BLOCK = 2**24
"""Letters that are translated at a time."""


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
        chunks = sequences.chunks if isinstance(sequences, pa.ChunkedArray) else [sequences]
        parts = [_letters_and_lengths(chunk) for chunk in chunks]
        lengths = np.concatenate([np.zeros(0, np.int64), *(lengths for _, lengths in parts)])
        if sequences.null_count or (lengths == 0).any():
            raise ValueError("Expected sequences of at least 1 residue, got an empty one.")
        tokens = np.empty(int(lengths.sum()), np.uint8)
        end = 0
        for letters, _ in parts:
            end += len(letters)
            _translate(letters, tokens[end - len(letters) : end])
        offset = np.zeros_like(lengths)
        np.cumsum(lengths[:-1], out=offset[1:])
        return cls(
            torch.from_numpy(tokens).to(device),
            torch.from_numpy(offset).to(device),
            torch.from_numpy(np.array(labels, dtype=np.int64)).to(device),
            lengths,
        )

    def __len__(self) -> int:
        """N."""
        return len(self.lengths)

    def cut(self, index: NDArray[np.int64], crops: Crops) -> Batch:
        """Gather, crop and pad some sequences on the device.

        Args:
            index: which sequences, shape (B,), int64; may be empty.
            crops: the part of each of the N sequences that is seen. Residues on the two sides of
                a deletion are neighbours in the batch.

        Returns:
            The batch, of one of few lengths (`padded_length`).
        """
        length = crops.length[index]
        padded = int(padded_length(length).max(initial=LENGTH_STEP))
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
        batch_size: examples a batch.
        max_residues: the most positions of a batch, padding included, that a process works on at a
            time; what is more is done in parts.
        window: batches sorted together: more means less padding, and batches of fewer lengths.
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
    window: int = 32
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
        lengths = padded_length(crops.length[subset])
        plan = plan_batches(lengths, batch_size=self.batch_size, window=self.window, rng=rng)
        plan = [subset[positions] for positions in plan]
        return SequenceEpoch(self.dataset, crops, plan, self.max_residues)


@dataclass(frozen=True)
class SequenceEpoch:
    """One pass over a data set.

    Attributes:
        dataset: the sequences.
        crops: the part of each that is seen in this pass.
        plan: positions of the examples of each batch.
        max_residues: the most positions that a process works on at a time.
    """

    dataset: SequenceDataset
    crops: Crops
    plan: Sequence[NDArray[np.int64]]
    max_residues: int

    def __len__(self) -> int:
        """How many batches."""
        return len(self.plan)

    def examples(self, number: int) -> NDArray[np.int64]:
        """Positions in the data set of the examples of batch `number`, in all processes."""
        return self.plan[number]

    @property
    def unit(self) -> str:
        """What the data are counted in."""
        return "residues"

    def num_units(self, number: int) -> int:
        """How many residues batch `number` has, in all processes."""
        return int(self.crops.length[self.plan[number]].sum())

    def parts(self, number: int, share: Share) -> list[Callable[[], Batch]]:
        """What cuts the parts of batch `number`; see `protein_robust.datasets.Epoch`.

        Each process takes every ``num_ranks``-th sequence, so that all have similar lengths.
        """
        index = self.plan[number]
        budget = self.max_residues >> share.halvings
        lengths = padded_length(self.crops.length[index])
        return [
            partial(self.dataset.cut, index[part][share.rank :: share.num_ranks], self.crops)
            for part in within_budget(lengths, budget, share.num_ranks)
        ]


def padded_length(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round lengths up to one of few.

    Args:
        length: residues, each at least 1, int64.

    Returns:
        Multiples of 4 up to 128, of 8 up to 256, of 16 up to 512, ...

    Example:
        >>> padded_length(np.array([3, 128, 129, 300])).tolist()
        [4, 128, 136, 304]
    """
    _, exponent = np.frexp(length - 0.5)  # 2 ** exponent is the next power of two
    step: NDArray[np.int64] = np.maximum(
        2 ** exponent.astype(np.int64) // (2 * STEPS_PER_OCTAVE), LENGTH_STEP
    )
    rounded: NDArray[np.int64] = -(-length // step) * step
    return rounded


def _letters_and_lengths(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All bytes of a string column, without a copy, and the length of each string."""
    # Offsets of 64 bits: a column may hold more than 2 GB.
    column = column.cast(pa.large_binary())
    _, offsets_buffer, data = column.buffers()
    first = column.offset
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[first : first + len(column) + 1]
    if data is None or not len(column):
        return np.zeros(0, np.uint8), np.diff(offsets)
    return np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]], np.diff(offsets)


def _translate(letters: NDArray[np.uint8], tokens: NDArray[np.uint8]) -> None:
    """Write the tokens of residue letters; what is none is an error."""
    table = TOKEN_OF_BYTE.tobytes()
    for begin in range(0, len(letters), BLOCK):
        # `translate` and `find` are several times faster than indexing and comparing arrays.
        block = letters[begin : begin + BLOCK].tobytes().translate(table)
        if (place := block.find(INVALID)) >= 0:
            letter = chr(letters[begin + place])
            raise ValueError(f"Expected residue letters of {RESIDUES}, got {letter!r}.")
        tokens[begin : begin + BLOCK] = np.frombuffer(block, dtype=np.uint8)
