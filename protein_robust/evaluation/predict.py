"""Run a network over a data set and keep a few numbers per example, never N x K of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from protein_robust import ranks
from protein_robust.datasets import Batch, Batches, Parts, Share, with_room
from protein_robust.evaluation.confidence import entropy_confidence
from protein_robust.models import Precision, scores

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
def predict(
    model: nn.Module,
    batches: Batches,
    describe: Describe | None = None,
    *,
    precision: Precision = "auto",
) -> Predictions:
    """Predict every example once, in evaluation mode.

    Where several processes train together, each predicts its share, and all get everything.

    Args:
        model: maps (inputs, mask) to logits (B, K); its mode is restored afterwards.
        batches: the data.
        describe: gives further numbers of each example; None for none.
        precision: in which the network computes.

    Returns:
        The predictions.
    """
    was_training = model.training
    model.eval()
    names: list[str] = []

    def work(parts: Parts) -> list[Tensor]:
        """One table a part; float64 holds every class and index exactly."""
        done = []
        for part in parts:
            batch = part()
            if len(batch.label):
                logits = scores(model, batch.inputs, batch.mask, precision)
                described = {} if describe is None else describe(logits, batch.label)
                names[:] = described
                done.append(_numbers(batch, logits, described).cpu())
        return done

    epoch, share = batches.epoch(0), Share(ranks.rank(), ranks.num_ranks())
    tables = []
    for number in range(len(epoch)):
        done, share = with_room(epoch, [number], share, work)
        tables += done
    model.train(was_training)
    # A process that had nothing to predict knows neither the number of columns nor their names.
    names = ranks.from_any(names)
    empty = torch.zeros(0, 5 + len(names), dtype=torch.float64)
    table = ranks.gather_rows(torch.cat([empty, *tables])).numpy()
    return _predictions(table[np.argsort(table[:, 0], kind="stable")], names)


def _numbers(batch: Batch, logits: Tensor, described: Mapping[str, Tensor]) -> Tensor:
    """What is kept of each example, shape (B, 5 + described), float64."""
    log_probs = functional.log_softmax(logits.float(), dim=1)
    largest, prediction = log_probs.max(dim=1)
    given = log_probs.gather(1, batch.label[:, None])[:, 0]
    confidence = entropy_confidence(log_probs)
    columns = [batch.index, prediction, largest.exp(), confidence, given.exp(), *described.values()]
    return torch.stack([column.double() for column in columns], dim=1)


def _predictions(table: NDArray[np.float64], names: Sequence[str]) -> Predictions:
    columns = np.ascontiguousarray(table.T)
    index, prediction = columns[:2].astype(np.int64)
    return Predictions(
        index=index,
        prediction=prediction,
        max_probability=columns[2],
        entropy_confidence=columns[3],
        label_probability=columns[4],
        described=dict(zip(names, columns[5:], strict=True)),
    )
