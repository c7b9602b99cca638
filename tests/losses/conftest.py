"""What the tests of the losses share: the evaluation of a loss as the training loop does it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protein_robust.losses import Loss, LossContext

Evaluate = Callable[..., tuple[Tensor, Tensor]]


def _evaluate(
    loss: Loss, logits: Tensor, labels: list[int], progress: float = 0.0
) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    context = LossContext(progress=progress, index=torch.arange(len(labels)))
    values = loss(leaf, torch.tensor(labels), context)
    (gradient,) = torch.autograd.grad(values.mean(), leaf)
    return values.detach(), gradient


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """`evaluate(loss, logits, labels, progress=0)`: the values, and the gradient of their mean."""
    return _evaluate


@pytest.fixture(scope="session")
def worked_logits() -> Tensor:
    """One example, p = [1/2, 1/3, 1/6], shape (1, 3), float64: the one the hand values are for."""
    return torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
