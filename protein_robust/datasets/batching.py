"""What a batch is, what gives batches, and how sequences of many lengths are put into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples, on the device.

    Attributes:
        inputs: proteins: tokens, shape (B, L), uint8; images: (B, C, H, W), float32.
        mask: true at residues, shape (B, L), bool; None where every input is of one size.
        label: given classes, shape (B,), int64.
        index: positions in the data set, shape (B,), int64.
    """

    inputs: Tensor
    mask: Tensor | None
    label: Tensor
    index: Tensor


@dataclass(frozen=True)
class Share:
    """What one process works on of each batch, and how much of it at a time.

    Attributes:
        rank: number of the process, from 0.
        num_ranks: how many processes share a batch.
        halvings: how often the budget of a part was halved for lack of memory.
    """

    rank: int = 0
    num_ranks: int = 1
    halvings: int = 0


class Epoch(Protocol):
    """The batches of one pass over the data, in order."""

    def __len__(self) -> int:
        """How many batches."""

    def examples(self, number: int) -> NDArray[np.int64]:
        """Positions in the data set of the examples of batch `number`, in all processes."""

    @property
    def unit(self) -> str:
        """What the data are counted in, a plural: residues, images."""

    def num_units(self, number: int) -> int:
        """How many of these batch `number` has, without padding, in all processes."""

    def parts(self, number: int, share: Share) -> list[Callable[[], Batch]]:
        """What cuts the parts of batch `number`, one at a time, each within the budget.

        Every process gets as many parts; one of them may be without examples.
        """


class Batches(Protocol):
    """A source of batches, the same ones each time the same epoch is asked for."""

    def epoch(self, number: int) -> Epoch:
        """Every example once, in the order of that epoch, counted from 0."""


def plan_batches(
    lengths: NDArray[np.int64],
    *,
    batch_size: int,
    rng: np.random.Generator | None,
    window: int = 512,
) -> list[NDArray[np.int64]]:
    """Put sequences of similar length together, so that little padding is needed.

    The shuffled examples are cut into windows of ``window`` batches, each window is sorted by
    length and cut into batches, and the batches are shuffled. Without a generator everything is
    sorted by length, for evaluation. What is in a batch does not depend on memory or on the number
    of processes.

    Args:
        lengths: residues of each example as it will be seen, shape (N,), int64.
        batch_size: examples a batch; the last one of a window may have fewer.
        rng: where the order comes from; None for sorted batches.
        window: batches sorted together.

    Returns:
        Positions of the examples of each batch, shorter ones first; every example once.

    Example:
        >>> plan = plan_batches(np.array([9, 2, 8]), batch_size=2, rng=None)
        >>> [batch.tolist() for batch in plan]
        [[1, 2], [0]]
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    span = max(1, len(lengths)) if rng is None else batch_size * window
    batches: list[NDArray[np.int64]] = []
    for begin in range(0, len(order), span):
        part = order[begin : begin + span]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def mixing_window(num_families: int) -> int:
    """How many batches to sort by length together: what `length_window: auto` of a study means.

    A family has its lengths. Where there are few families, batches of one length would be batches
    of few families, which is another training: seen in accuracy (`ARCHITECTURE.md`).

    Args:
        num_families: K, of the training set.

    Returns:
        K, but at least 32 and at most 512.

    Example:
        >>> mixing_window(20), mixing_window(17929)
        (32, 512)
    """
    return min(max(num_families, 32), 512)


def within_budget(
    lengths: NDArray[np.int64], max_positions: int, num_shares: int = 1
) -> list[slice]:
    """Cut a sorted batch into parts of which each share is padded to at most so many positions.

    Args:
        lengths: padded length of each example, increasing, shape (B,), int64.
        max_positions: the most positions a share; an example that is longer stands alone in it.
        num_shares: how many processes take turns in picking the examples of a part.

    Returns:
        Consecutive slices that cover the batch; at least one.

    Example:
        >>> within_budget(np.array([4, 4, 8, 32]), 16)
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    parts, begin = [], 0
    while begin < len(lengths):
        # Sorted: the last of the first n sequences is the longest, and sets the padded size.
        rows = -(-np.arange(1, len(lengths) - begin + 1) // num_shares)
        fitting = int(np.searchsorted(lengths[begin:] * rows, max_positions, side="right"))
        end = min(begin + max(num_shares, fitting), len(lengths))
        parts.append(slice(begin, end))
        begin = end
    return parts or [slice(0, 0)]
