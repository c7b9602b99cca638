"""What the tests of the losses share: the evaluation of a loss as the training loop does it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protein_robust.losses import (
    JointOptimization,
    Loss,
    LossContext,
    RemembersExamples,
    batch_objective,
)
from protein_robust.losses.memory import update_label_memory

Evaluate = Callable[..., tuple[Tensor, Tensor]]


def _context(loss: Loss, logits: Tensor, progress: float = 0.0) -> LossContext:
    """A context of its own for these rows, with whatever the loss asks for."""
    num_rows, num_classes = logits.shape
    memory = teacher_logits = None
    if isinstance(loss, RemembersExamples):
        memory = loss.new_memory(num_rows, num_classes, logits.device)
    if getattr(loss, "teacher", None) == "labels":
        memory = JointOptimization().new_memory(num_rows, num_classes, logits.device)
    if memory is not None:
        _remember(memory, logits.detach().double())
    if getattr(loss, "teacher", None) == "network":
        # Another network, yet one that knows of shifts and permutations what this one knows.
        teacher_logits = -0.5 * logits.detach()
    return LossContext(
        progress=progress,
        index=torch.arange(num_rows),
        memory=memory,
        teacher_logits=teacher_logits,
    )


def _remember(memory: dict[str, Tensor], logits: Tensor) -> None:
    """Fill the memory of some rows with flatter, reversed predictions of theirs.

    Which rows and what depends on each row alone, so shifts and permutations are passed on.
    """
    seen = (logits.amax(dim=1) - logits.amin(dim=1) > 6).nonzero().squeeze(1)
    probs = (-0.3 * logits[seen]).softmax(dim=1)
    update_label_memory(memory, seen, probs, momentum=0.5)


def _evaluate(
    loss: Loss, logits: Tensor, labels: list[int], progress: float = 0.0
) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    values = loss(leaf, torch.tensor(labels), _context(loss, logits, progress))
    (gradient,) = torch.autograd.grad(batch_objective(loss, values), leaf)
    return values.detach(), gradient


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """`evaluate(loss, logits, labels, progress=0)`: values, and gradient of the objective."""
    return _evaluate


@pytest.fixture(scope="session")
def worked_logits() -> Tensor:
    """One example, p = [1/2, 1/3, 1/6], shape (1, 3), float64: the one the hand values are for."""
    return torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
