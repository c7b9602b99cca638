"""What a batch is, what gives batches, and how sequences of many lengths are put into them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples, on the device.

    Attributes:
        inputs: proteins: tokens, shape (B, L), uint8.
        mask: true at residues, shape (B, L), bool; None where every input is of one size.
        label: given classes, shape (B,), int64.
        index: positions in the data set, shape (B,), int64.
    """

    inputs: Tensor
    mask: Tensor | None
    label: Tensor
    index: Tensor


class Epoch(Protocol):
    """The batches of one pass over the data, in order."""

    def __len__(self) -> int:
        """How many batches."""

    def __iter__(self) -> Iterator[Batch]:
        """Cut them one by one."""


class Batches(Protocol):
    """A source of batches, the same ones each time the same epoch is asked for."""

    def epoch(self, number: int) -> Epoch:
        """Every example once, in the order of that epoch, counted from 0."""


def plan_batches(
    lengths: NDArray[np.int64],
    *,
    batch_size: int,
    max_residues: int,
    rng: np.random.Generator | None,
    window: int = 16,
) -> list[NDArray[np.int64]]:
    """Put sequences of similar length together, so that little padding is needed.

    The shuffled examples are cut into windows of ``window`` batches, each window is sorted by
    length and cut into batches, and the batches are shuffled: what stands together still changes
    from epoch to epoch, and a batch is not one narrow band of all lengths. Without a generator
    everything is sorted by length, for evaluation.

    Args:
        lengths: residues of each example as it will be seen, shape (N,), int64.
        batch_size: the most examples a batch.
        max_residues: the most positions a batch, padding included; a longer sequence stands alone.
        rng: where the order comes from; None for sorted batches.
        window: batches sorted together.

    Returns:
        Positions of the examples of each batch; every example once.

    Example:
        >>> plan = plan_batches(np.array([9, 2, 8]), batch_size=2, max_residues=100, rng=None)
        >>> [batch.tolist() for batch in plan]
        [[1, 2], [0]]
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    span = max(1, len(lengths)) if rng is None else batch_size * window
    batches: list[NDArray[np.int64]] = []
    for begin in range(0, len(order), span):
        part = order[begin : begin + span]
        part = part[np.argsort(lengths[part], kind="stable")]
        while len(part):
            # Sorted: the last of the first n sequences is the longest, and sets the padded size.
            area = lengths[part[:batch_size]] * np.arange(1, min(batch_size, len(part)) + 1)
            size = max(1, int(np.searchsorted(area, max_residues, side="right")))
            batches.append(part[:size])
            part = part[size:]
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches
