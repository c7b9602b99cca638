"""The processes that train one network together, as `torchrun` starts them; one alone is rank 0.

Every process runs the same command. What they must agree on goes through here, and a process alone
passes through each function without an effect, so nobody needs to ask whether there are others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from protein_robust.errors import InputError

TIMEOUT = timedelta(hours=12)
"""How long the others wait for one: as long as ingesting or evaluating may take."""

T = TypeVar("T")


def are_several() -> bool:
    """Whether this process trains together with others."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Number of this process, from 0; only 0 writes, prints and tracks."""
    return distributed.get_rank() if are_several() else 0


def num_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if are_several() else 1


@contextmanager
def join(*, use_cuda: bool | None = None) -> Iterator[None]:
    """Meet the other processes, where `torchrun` (or SLURM by it) has started several.

    Args:
        use_cuda: whether each process takes the GPU of its local rank; None where there are GPUs.

    Raises:
        InputError: if there are fewer GPUs than processes on this machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or are_several():
        yield
        return
    use_cuda = torch.cuda.is_available() if use_cuda is None else use_cuda
    if use_cuda:
        local, available = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= available:
            raise InputError(f"a GPU for local rank {local}", f"{available} of them here")
        torch.cuda.set_device(local)
    # Flags and objects go through gloo, so that agreeing on them does not wait for the GPU.
    backend = "cpu:gloo,cuda:nccl" if use_cuda else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        # A thread of gloo may be about to free the last tensor that it has sent, for which it needs
        # the interpreter's lock; the group's end waits for that thread, and keeps the lock.
        time.sleep(0.1)
        distributed.destroy_process_group()


def wait_for_all() -> None:
    """Go on once every process has come here."""
    largest(0)


def add_up(values: Tensor) -> Tensor:
    """Sum over the processes, elementwise; a new tensor where there are several."""
    if are_several():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def largest(number: int) -> int:
    """The largest of the processes' numbers. Costs no wait for a GPU."""
    if not are_several():
        return number
    shared = torch.tensor(number)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return int(shared)


def from_first(value: T) -> T:
    """What the first process has, given to all; small objects of our own only (it is pickled)."""
    if not are_several():
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def from_any(value: list[str]) -> list[str]:
    """The first list that is not empty, of those of the processes."""
    if not are_several():
        return value
    values: list[list[str]] = [[]] * num_ranks()
    distributed.all_gather_object(values, value)
    return next(filter(None, values), [])


def gather(values: Tensor) -> Tensor:
    """Put the processes' tensors of equal shape side by side.

    Args:
        values: any shape, the same in each process.

    Returns:
        Shape (processes, ...); a view of the values where there is one process.
    """
    if not are_several():
        return values[None]
    parts = [torch.empty_like(values) for _ in range(num_ranks())]
    distributed.all_gather(parts, values.contiguous())
    return torch.stack(parts)


def gather_rows(values: Tensor) -> Tensor:
    """Put the rows of the processes' tensors one below the other, those of rank 0 first.

    Args:
        values: shape (n, ...), n differs between processes.

    Returns:
        Shape (sum of n, ...); the values themselves where there is one process.
    """
    if not are_several():
        return values
    counts = gather(torch.tensor(len(values))).tolist()
    padded = values.new_zeros((max(counts), *values.shape[1:]))
    padded[: len(values)] = values
    parts = gather(padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
