"""What each loss does to the gradient, in numbers.

Every number is asked of the loss object that trains, not of a formula written down a second time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.losses import BatchNormalised, Loss, LossContext, RemembersExamples


def loss_gradients(
    loss: Loss, logits: Tensor, labels: Tensor, *, progress: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Ask a loss for its values and for the gradient of each of them.

    Args:
        loss: one that needs neither a memory nor a teacher.
        logits: unnormalised scores z, shape (B, K), floating; not changed.
        labels: given classes, shape (B,), int64 in [0, K).
        progress: of the training, in [0, 1].

    Returns:
        Values, shape (B,), and dL/dz of each row, shape (B, K), neither divided by B. Of a loss
        that normalises by the batch, the rows are in proportion, up to that common divisor.

    Example:
        >>> from protein_robust.losses import make_loss
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> loss_gradients(make_loss("cross_entropy"), logits, torch.tensor([0]))
        (tensor([0.6931]), tensor([[-0.5000,  0.3333,  0.1667]]))
    """
    leaf = logits.detach().clone().requires_grad_()
    index = torch.arange(len(labels), device=labels.device)
    values = loss(leaf, labels, LossContext(progress=progress, index=index))
    (gradients,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradients


def loss_curves(
    losses: Mapping[str, Loss],
    *,
    num_classes: int = 10,
    progress: float = 0.5,
    num_points: int = 200,
) -> pd.DataFrame:
    """Give value and gradient of each loss against p_y, the probability of the given label.

    The rest, 1 - p_y, is spread evenly over the other classes. The points are the middles of
    equal parts of (0, 1), so that the mean of a column is its integral over p_y. A loss that
    divides its gradients by a sum over the batch leaves a common factor open: its curve is scaled
    so that its magnitude integrates to 1, as that of cross entropy does. A loss that needs a
    memory (`new_memory`) or another network (`teacher`) is no function of p_y and is left out.

    Args:
        losses: by the name to show.
        num_classes: K, at least 2.
        progress: of the training, in [0, 1]; ProSelfLC depends on it.
        num_points: how many.

    Returns:
        One row for each loss and point: ``loss``, ``label_probability``, ``value``,
        ``magnitude`` (L1 norm of dL/dz), ``factor`` (that norm over 2 (1 - p_y), the norm of p - q;
        negative where the loss pushes the label's score down) and ``is_scaled``.

    Raises:
        ValueError: if no loss is left to draw.
    """
    chosen = {name: loss for name, loss in losses.items() if not needs_more(loss)}
    if not chosen:
        raise ValueError(
            "Expected `losses` with one that needs neither memory nor teacher, "
            f"got {', '.join(losses) or 'none'}"
        )
    points = (np.arange(num_points) + 0.5) / num_points
    logits = logits_at(points, num_classes)
    labels = torch.zeros(num_points, dtype=torch.int64)
    frames = []
    for name, loss in chosen.items():
        values, gradients = loss_gradients(loss, logits, labels, progress=progress)
        is_scaled = isinstance(loss, BatchNormalised) and loss.example_weights(values) is not None
        magnitude = gradients.abs().sum(dim=1).numpy()
        if is_scaled:
            magnitude = magnitude / magnitude.mean()
        sign = np.where(gradients[:, 0].numpy() > 0, -1.0, 1.0)
        columns = {
            "loss": name,
            "label_probability": points,
            "value": values.numpy(),
            "magnitude": magnitude,
            "factor": sign * magnitude / (2 * (1 - points)),
            "is_scaled": is_scaled,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def logits_at(points: NDArray[np.float64], num_classes: int) -> Tensor:
    """Make logits whose class 0 has a given probability, the rest spread evenly.

    Args:
        points: probabilities in (0, 1), shape (N,).
        num_classes: K, at least 2.

    Returns:
        Shape (N, K), float64.

    Example:
        >>> logits_at(np.array([0.4]), 4).softmax(dim=1)
        tensor([[0.4000, 0.2000, 0.2000, 0.2000]], dtype=torch.float64)
    """
    probs = np.repeat(((1 - points) / (num_classes - 1))[:, None], num_classes, axis=1)
    probs[:, 0] = points
    return torch.from_numpy(np.log(probs))


def needs_more(loss: object) -> bool:
    """Whether a loss is no function of logits and label alone: it has a memory or a teacher."""
    return isinstance(loss, RemembersExamples) or getattr(loss, "teacher", None) is not None
