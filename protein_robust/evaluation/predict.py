"""Run a network over a data set and keep a few numbers per example, never N x K of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.datasets import Batches
from protein_robust.evaluation.confidence import entropy_confidence

Describe = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Logits (B, K) and labels (B,) to further numbers of each example, (B,), by name."""


@dataclass(frozen=True)
class Predictions:
    """What a network says of N examples, in the order of the data set.

    Attributes:
        index: positions in the data set, increasing, shape (N,), int64.
        prediction: class of the highest score, shape (N,), int64.
        max_probability: its probability, shape (N,), float64.
        entropy_confidence: 1 - H(p)/H(u), shape (N,), float64.
        label_probability: probability of the given class, shape (N,), float64.
        described: what the loss says of each example, shapes (N,), float64, by name.
    """

    index: NDArray[np.int64]
    prediction: NDArray[np.int64]
    max_probability: NDArray[np.float64]
    entropy_confidence: NDArray[np.float64]
    label_probability: NDArray[np.float64]
    described: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@torch.no_grad()
def predict(model: nn.Module, batches: Batches, describe: Describe | None = None) -> Predictions:
    """Predict every example once, in evaluation mode.

    Args:
        model: maps (inputs, mask) to logits (B, K); its mode is restored afterwards.
        batches: the data.
        describe: gives further numbers of each example; None for none.

    Returns:
        The predictions.
    """
    was_training = model.training
    model.eval()
    parts = []
    names: list[str] = []
    for batch in batches.epoch(0):
        device = batch.label.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(batch.inputs, batch.mask)
        log_probs = functional.log_softmax(logits.float(), dim=1)
        largest, prediction = log_probs.max(dim=1)
        given = log_probs.gather(1, batch.label[:, None])[:, 0]
        numbers = [largest.exp(), entropy_confidence(log_probs), given.exp()]
        described = {} if describe is None else describe(logits, batch.label)
        names = list(described)
        numbers += described.values()
        # float64 holds every class and index exactly; one copy to the host a batch.
        parts.append(torch.stack([batch.index.double(), prediction.double(), *numbers]).cpu())
    model.train(was_training)
    table = torch.cat(parts, dim=1).numpy() if parts else np.zeros((5, 0))
    table = table[:, np.argsort(table[0], kind="stable")]
    index, prediction = table[:2].astype(np.int64)
    return Predictions(
        index=index,
        prediction=prediction,
        max_probability=table[2],
        entropy_confidence=table[3],
        label_probability=table[4],
        described=dict(zip(names, table[5:], strict=True)),
    )
