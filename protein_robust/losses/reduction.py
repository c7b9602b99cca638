"""From one value per example to the number that a training step minimises.

A batch's objective is the sum of its values over a total: the number of examples, or, for methods
that normalise by the batch, the sum of the examples' weights. Kept apart, the two add up over the
parts of a batch that is accumulated, and over processes: the total is always that of the *global*
batch.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from protein_robust import ranks


@runtime_checkable
class BatchNormalised(Protocol):
    """A loss whose gradients are divided by a sum over the batch, not by its size."""

    def example_weights(self, values: Tensor) -> Tensor | None:
        """What each example adds to that sum, from the loss's own values; None for 1 each.

        Args:
            values: what the loss returned, shape (B,), detached.

        Returns:
            Shape (B,), or None.
        """


def batch_total(loss: object, values: Tensor) -> Tensor:
    """What the sum of a loss's values is divided by.

    Args:
        loss: which gave the values.
        values: shape (B,).

    Returns:
        Number of examples, or sum of weights; shape (), float64, detached. Totals of the parts of a
        batch add up.

    Example:
        >>> from protein_robust.losses import make_loss
        >>> batch_total(make_loss("cross_entropy"), torch.zeros(5))
        tensor(5., dtype=torch.float64)
    """
    weights = _weights(loss, values)
    if weights is None:
        return torch.full((), len(values), dtype=torch.float64, device=values.device)
    return weights.sum(dtype=torch.float64)


def _weights(loss: object, values: Tensor) -> Tensor | None:
    # Asked of the method, since asking a protocol would cost as much as a small loss.
    weigh = getattr(loss, "example_weights", None)
    weights: Tensor | None = None if weigh is None else weigh(values.detach())
    return weights


def global_divisor(total: Tensor) -> Tensor:
    """What a process divides the sum of its values by, given its total.

    In a distributed training that is the total of all processes over their number, since
    `DistributedDataParallel` averages the gradients over processes.

    Args:
        total: of this process, shape (), float64.

    Returns:
        Shape (), float64, at least the smallest normal number of float32.
    """
    total = ranks.add_up(total) / ranks.num_ranks()
    # A weight may underflow for every example of a batch: no pull then, rather than 0 / 0.
    return total.clamp(min=torch.finfo(torch.float32).tiny)


def batch_objective(loss: object, values: Tensor) -> Tensor:
    """The number to call ``backward`` on, for a batch that is not accumulated.

    Args:
        loss: which gave the values.
        values: shape (B,), attached.

    Returns:
        Shape (), dtype of the values.

    Example:
        >>> from protein_robust.losses import make_loss
        >>> batch_objective(make_loss("cross_entropy"), torch.tensor([1.0, 2.0]))
        tensor(1.5000)
    """
    if not ranks.are_several() and getattr(loss, "example_weights", None) is None:
        return values.sum() / len(values)  # the same, without five small operations
    divisor = global_divisor(batch_total(loss, values))
    return values.sum() / divisor.to(values.dtype)
