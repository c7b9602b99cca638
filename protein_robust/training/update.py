"""One update of the weights, from the parts of a batch that this process works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from protein_robust import ranks
from protein_robust.datasets import Batch
from protein_robust.losses import batch_total
from protein_robust.training.objective import Objective


def spread(model: nn.Module) -> nn.Module:
    """The network to call in training: where several processes train, their gradients are averaged.

    Every process must have the same weights.
    """
    if not ranks.are_several():
        return model
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


def update(
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Callable[[], Batch]],
    *,
    progress: float,
    clip_norm: float | None,
) -> Tensor:
    """Change the weights once.

    The gradient is that of the whole batch, whatever number of parts and processes it is cut into:
    sums first, divided once by the total.

    Args:
        network: of `spread`.
        objective: what is minimised.
        optimizer: of the network's weights.
        parts: what cuts each part of the batch.
        progress: of the training, this update counted, in [0, 1].
        clip_norm: largest 2-norm of the gradient of all weights; None for no limit.

    Returns:
        Sums over the examples of all processes, loss and correct predictions, and the norm of the
        gradient before it is limited; shape (3,), float64.
    """
    optimizer.zero_grad(set_to_none=True)
    traces: list[_Trace] = [(buffer, ..., buffer.clone()) for buffer in network.buffers()]
    has_state = set(optimizer.state)
    try:
        totals = _add_gradients(network, objective, parts, progress=progress, traces=traces)
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        if len(parts) > 1:
            for gradient in gradients:
                gradient /= _divisor(totals).to(gradient.dtype)
        norm = nn.utils.get_total_norm(gradients)
        if clip_norm is not None:
            nn.utils.clip_grads_with_norm_(network.parameters(), clip_norm, norm)
        optimizer.step()
    except (RuntimeError, MemoryError):  # without room the same is done again, in smaller parts
        for tensor, place, before in reversed(traces):
            tensor[place] = before
        for parameter in set(optimizer.state) - has_state:  # begun in the first update
            del optimizer.state[parameter]
        raise
    return torch.cat([totals[1:], norm.double().view(1)])


_Trace = tuple[Tensor, Any, Tensor]
"""What a way forward changes for good: statistics, memories; where in it, and what was there."""


def _add_gradients(
    network: nn.Module,
    objective: Objective,
    parts: Sequence[Callable[[], Batch]],
    *,
    progress: float,
    traces: list[_Trace],
) -> Tensor:
    """Forwards and back through each part; several parts leave gradients of sums, not of means.

    Returns:
        `_totals` over all parts and processes.
    """
    totals = None
    for number, part in enumerate(parts):
        batch = part()
        memories = (objective.memory or {}).values()
        traces += [(kept, batch.index, kept[batch.index]) for kept in memories]
        with nullcontext() if number == len(parts) - 1 else _unshared(network):
            values, logits = objective(network, batch, progress)
            of_part = _totals(objective, batch, values, logits)
            totals = of_part if totals is None else totals + of_part
            objective_value = values.sum()
            if len(parts) == 1:  # divided before the way back: no pass over the gradients
                totals = ranks.add_up(totals)
                objective_value = objective_value / _divisor(totals).to(values.dtype)
            objective_value.backward()
    assert totals is not None  # a batch has at least one part
    return totals if len(parts) == 1 else ranks.add_up(totals)


def _unshared(network: nn.Module) -> AbstractContextManager[None]:
    """Gradients stay in this process: they are averaged once, with those of the last part."""
    if isinstance(network, DistributedDataParallel):
        unshared: AbstractContextManager[None] = network.no_sync()
        return unshared
    return nullcontext()


def _totals(objective: Objective, batch: Batch, values: Tensor, logits: Tensor) -> Tensor:
    """Total that the loss divides by, sum of its values, correct ones; shape (3,), float64."""
    correct = (logits.detach().argmax(dim=1) == batch.label).sum()
    total = batch_total(objective.loss, values)
    return torch.stack([total, values.detach().sum().double(), correct.double()])


def _divisor(totals: Tensor) -> Tensor:
    """What the sum of values of this process is divided by, where gradients are then averaged."""
    # A weight may underflow for every example of a batch: no pull then, rather than 0 / 0.
    return (totals[0] / ranks.num_ranks()).clamp(min=torch.finfo(torch.float32).tiny)
