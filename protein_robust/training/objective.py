"""What a training minimises: a loss, with what it remembers and the network it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from protein_robust import ranks
from protein_robust.datasets import Batch
from protein_robust.losses import LossContext, Memory
from protein_robust.models import Precision, scores

Loss = Callable[[Tensor, Tensor, LossContext], Tensor]


@dataclass(frozen=True)
class Objective:
    """A loss and what it needs besides logits and labels.

    Attributes:
        loss: one value per example.
        memory: what the loss keeps about each training example; updated in place, and part of the
            checkpoint. None for a loss without.
        teacher: the network whose scores for the same inputs a distilling loss gets; in evaluation
            mode and never changed. None for a loss without.
        precision: in which the networks compute.
    """

    loss: Loss
    memory: Memory | None = None
    teacher: nn.Module | None = None
    precision: Precision = "auto"

    def __call__(self, model: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """Predict a batch and evaluate the loss.

        Args:
            model: maps (inputs, mask) to logits.
            batch: the examples; none where another process has all of the batch.
            progress: of the training, the present step counted, in [0, 1].

        Returns:
            Values, shape (B,), and logits, shape (B, K), both attached.
        """
        logits = scores(model, batch.inputs, batch.mask, self.precision)
        if len(logits):
            values = self.loss(logits, batch.label, self._context(batch, progress))
        else:
            values = logits.sum(dim=1)  # attached, so that gradients of 0 go to the other processes
        if self.memory is not None:
            share_memory(self.memory, batch.index)
        return values, logits

    def _context(self, batch: Batch, progress: float) -> LossContext:
        told = None
        if self.teacher is not None:
            with torch.no_grad():
                told = scores(self.teacher, batch.inputs, batch.mask, self.precision)
        return LossContext(
            progress=progress, index=batch.index, memory=self.memory, teacher_logits=told
        )


def share_memory(memory: Memory, index: Tensor) -> None:
    """Let every process remember what each has just learned of its own examples.

    Args:
        memory: tensors with one row an example, changed in place.
        index: the examples of this process, shape (b,), int64.
    """
    if not ranks.are_several():
        return
    everywhere = ranks.gather_rows(index)
    for kept in memory.values():
        kept[everywhere] = ranks.gather_rows(kept[index])
