"""What to do when the memory of the device is full: the same with half as much at a time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from protein_robust.datasets.batching import Batch, Epoch, Share
from protein_robust.errors import ProteinRobustError

T = TypeVar("T")
Parts = list[Callable[[], Batch]]

_logger = logging.getLogger(__name__)


def with_room(
    epoch: Epoch, numbers: Sequence[int], share: Share, work: Callable[[Parts], T]
) -> tuple[T, Share]:
    """Work on some batches; where memory runs out, do it again in parts of half the size.

    Args:
        epoch: of the batches.
        numbers: which ones.
        share: of this process, with the budget of before.
        work: is given what cuts the parts. What it had done when memory ran out must not count.

    Returns:
        What ``work`` gives, and the share with the budget from here on.

    Raises:
        ProteinRobustError: if single examples do not find room, or several processes train
            together, which would have to agree on it.
    """
    while True:
        parts = [part for number in numbers for part in epoch.parts(number, share)]
        problem = None
        try:
            return work(parts), share
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        # Here the traceback, and the tensors that it held, are gone.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        share = _smaller(epoch, numbers, share, len(parts), problem)


def _smaller(
    epoch: Epoch, numbers: Sequence[int], share: Share, num_parts: int, problem: str
) -> Share:
    """The next budget that cuts these batches finer."""
    num_examples = sum(len(epoch.examples(number)) for number in numbers)
    if share.num_ranks > 1 or num_parts >= num_examples:
        advice = "smaller parts or batches" if num_parts < num_examples else "a smaller network"
        raise ProteinRobustError(
            f"Expected room for a part of a batch, got `{problem}`; {advice} may help."
        )
    smaller = replace(share, halvings=share.halvings + 1)
    while sum(len(epoch.parts(number, smaller)) for number in numbers) == num_parts:
        smaller = replace(smaller, halvings=smaller.halvings + 1)
    _logger.warning(
        "out of memory: batches are worked on in parts of 1/%d of the size from here on",
        2**smaller.halvings,
    )
    return smaller


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an accelerator or this machine has no memory left."""
    signs = (
        "can't allocate memory",
        "not enough memory",
        "could not create a memory object",
        "could not create a primitive",  # of oneDNN, which does not say why
        "could not execute a primitive",
        "CUDA error: out of memory",
        "ALLOC_FAILED",  # of cuBLAS and cuDNN
        "unable to find an engine to execute this computation",  # of cuDNN, where none has room
    )
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in str(error) for sign in signs
    )
