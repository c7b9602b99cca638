"""What a loss remembers of each training example: a running mean of its predictions, cut short.

Of every example the k classes with the largest shares are kept, so the memory is O(N k), where all
of it would be N x K (at 17,929 families, 72 kB for each example). What is cut is taken as 0. With
k = K nothing is cut and the mean is exact.

The classes of an example are always distinct; a slot that is not used yet has some class at share
0, which is what the mean of that class is. So no slot needs a mark. Nothing here waits for an
accelerator.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.context import LossContext, Memory

LabelForm = Literal["soft", "hard"]
"""Whether a remembered label is the distribution, or its largest class."""

BLOCK_COLUMNS = 128
"""Columns of which the maximum is taken first when the largest of a row are looked for."""


def check_num_entries(num_entries: object) -> None:
    """Refuse what is not a number of classes to keep.

    Raises:
        InputError: if it is not an integer of at least 1.

    Example:
        >>> check_num_entries(0)
        Traceback (most recent call last):
        protein_robust.errors.InputError: Expected `num_entries` as an integer >= 1, got 0.
    """
    is_integer = isinstance(num_entries, int) and not isinstance(num_entries, bool)
    if not (is_integer and num_entries >= 1):  # type: ignore[operator]
        raise InputError("`num_entries` as an integer >= 1", repr(num_entries))


def new_label_memory(
    num_examples: int, num_classes: int, *, num_entries: int, device: torch.device
) -> dict[str, Tensor]:
    """A memory of which every mean is 0.

    Args:
        num_examples: N, of the training set.
        num_classes: K.
        num_entries: classes kept of each example; all where K is smaller.
        device: where the memory shall be.

    Returns:
        ``classes``, shape (N, k), int32, distinct in each row, and ``shares``, shape (N, k),
        float32.

    Example:
        >>> new_label_memory(1, 5, num_entries=3, device=torch.device("cpu"))
        {'classes': tensor([[0, 1, 2]], dtype=torch.int32), 'shares': tensor([[0., 0., 0.]])}
    """
    size = min(num_entries, num_classes)
    row = torch.arange(size, dtype=torch.int32, device=device)
    return {
        "classes": row.repeat(num_examples, 1),
        "shares": torch.zeros(num_examples, size, device=device),
    }


def label_memory(context: LossContext, num_classes: int) -> Memory:
    """The memory that a loss was given.

    Args:
        context: of the loss.
        num_classes: K.

    Returns:
        ``context.memory``.

    Raises:
        ValueError: if there is none, or it is not what `new_label_memory` makes.
    """
    memory = context.memory
    if memory is None or not {"classes", "shares"} <= set(memory):
        names = None if memory is None else sorted(memory)
        raise ValueError(
            "Expected `context.memory` with `classes` and `shares`, as `new_memory` makes them, "
            f"got {names}."
        )
    classes, shares = memory["classes"], memory["shares"]
    shape = tuple(classes.shape)
    if (
        (classes.dtype, shares.dtype) != (torch.int32, torch.float32)
        or shape != tuple(shares.shape)
        or len(shape) != 2
        or not 1 <= shape[1] <= num_classes
    ):
        raise ValueError(
            "Expected `context.memory` with `classes` (int32) and `shares` (float32), both of "
            f"shape (N, k) with 1 <= k <= {num_classes}, got {classes.dtype}, {shape} and "
            f"{shares.dtype}, {tuple(shares.shape)}."
        )
    return memory


def update_label_memory(
    memory: Memory, index: Tensor, probs: Tensor, momentum: float
) -> tuple[Tensor, Tensor]:
    r"""Add predictions to the running means, in place.

    .. math:: t \leftarrow m\, t + (1 - m)\, p, \text{ and of that the k largest}

    Args:
        memory: of `new_label_memory`.
        index: positions of the examples, each at most once, shape (b,), int64.
        probs: p, shape (b, K), detached.
        momentum: m, in [0, 1]; at 1 the memory stays as it is.

    Returns:
        What `read_label_memory` now gives for these examples.

    Example:
        >>> memory = new_label_memory(1, 3, num_entries=2, device=torch.device("cpu"))
        >>> update_label_memory(memory, torch.tensor([0]), torch.tensor([[0.25, 0.0, 0.75]]), 0.5)
        (tensor([[2, 0]]), tensor([[0.3750, 0.1250]]))
    """
    classes, shares = read_label_memory(memory, index, probs.dtype)
    num_entries = classes.shape[1]
    # The k largest of all classes are among those kept and the k largest of p, so nothing of the
    # size of p is written.
    shares = shares * momentum + probs.gather(1, classes) * (1 - momentum)
    largest, places = _largest(probs, num_entries)
    is_kept = (places.unsqueeze(2) == classes.unsqueeze(1)).any(dim=2)
    # Below every share: a class that is kept counts once.
    largest = (largest * (1 - momentum)).masked_fill(is_kept, -1)
    shares, order = torch.cat([shares, largest], dim=1).topk(num_entries, dim=1)
    classes = torch.cat([classes, places], dim=1).gather(1, order)
    memory["classes"][index] = classes.int()
    shares = shares.float()
    memory["shares"][index] = shares
    return classes, shares.to(probs.dtype)


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row in falling order and their columns, (b, k); as `torch.topk`."""
    num_rows, num_columns = values.shape
    num_blocks = num_columns // BLOCK_COLUMNS
    if num_blocks <= k:
        largest = values.topk(k, dim=1)
        return largest.values, largest.indices
    # They lie in the k blocks with the largest maxima, or in what is left after the last block. The
    # maxima cost a CPU much less than a top-k of all.
    begin = num_blocks * BLOCK_COLUMNS
    blocks = values[:, :begin].view(num_rows, num_blocks, BLOCK_COLUMNS)
    found = blocks.amax(dim=2).topk(k, dim=1, sorted=False).indices  # (b, k)
    rows = torch.arange(num_rows, device=values.device).unsqueeze(1)
    candidates = torch.cat([blocks[rows, found].flatten(1), values[:, begin:]], dim=1)
    largest = candidates.topk(k, dim=1)
    # The rest is one more block, after the k found.
    found = torch.cat([found, torch.full_like(rows, num_blocks)], dim=1)
    block = found.gather(1, largest.indices // BLOCK_COLUMNS)
    return largest.values, block * BLOCK_COLUMNS + largest.indices % BLOCK_COLUMNS


def read_label_memory(memory: Memory, index: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The running means of some examples.

    Args:
        memory: of `new_label_memory`.
        index: positions of the examples, shape (b,), int64.
        dtype: of the shares.

    Returns:
        Classes, shape (b, k), int64, and their shares; copies. Shares sum to at most 1, and to 0
        for an example that was never seen.
    """
    return memory["classes"][index].long(), memory["shares"][index].to(dtype)


def remembered_labels(
    memory: Memory, index: Tensor, form: LabelForm, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The running means of some examples as targets.

    Args:
        memory: of `new_label_memory`.
        index: positions of the examples, shape (b,), int64.
        form: ``soft``: the kept shares, made to sum to 1; ``hard``: 1 for the largest of them.
        dtype: of the shares.

    Returns:
        Classes, shape (b, k), int64; their shares, of sum 1, or 0 for an example that was never
        seen; and what is left for the given label, shape (b, 1): 1 for those, 0 for the others.

    Example:
        >>> memory = {
        ...     "classes": torch.tensor([[4, 2]], dtype=torch.int32),
        ...     "shares": torch.tensor([[0.5, 0.25]]),
        ... }
        >>> remembered_labels(memory, torch.tensor([0]), "soft", torch.float32)
        (tensor([[4, 2]]), tensor([[0.6667, 0.3333]]), tensor([[0.]]))
    """
    classes, shares = read_label_memory(memory, index, dtype)
    if form == "hard":
        largest = shares.argmax(dim=1, keepdim=True)
        classes, shares = classes.gather(1, largest), shares.gather(1, largest)
    total = shares.sum(dim=1, keepdim=True)
    is_unseen = total == 0
    return classes, shares / total.masked_fill(is_unseen, 1), is_unseen.to(dtype)
