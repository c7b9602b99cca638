"""What a training minimises: a loss, with what it remembers and the network it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from protein_robust.datasets import Batch
from protein_robust.losses import LossContext, Memory

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
    """

    loss: Loss
    memory: Memory | None = None
    teacher: nn.Module | None = None

    def __call__(self, model: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """Predict a batch and evaluate the loss.

        Args:
            model: maps (inputs, mask) to logits.
            batch: the examples.
            progress: of the training, the present step counted, in [0, 1].

        Returns:
            Values, shape (B,), and logits, shape (B, K), both attached.
        """
        logits = _scores(model, batch)
        told = None
        if self.teacher is not None:
            with torch.no_grad():
                told = _scores(self.teacher, batch)
        context = LossContext(
            progress=progress, index=batch.index, memory=self.memory, teacher_logits=told
        )
        return self.loss(logits, batch.label, context), logits


def _scores(model: nn.Module, batch: Batch) -> Tensor:
    device = batch.label.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits: Tensor = model(batch.inputs, batch.mask)
    return logits
