"""Run a network over a data set and keep a few numbers per example, never N x K of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protein_robust import ranks
from protein_robust.datasets import Batch, Batches, Parts, Share, with_room
from protein_robust.evaluation.scoring import COLUMNS, score
from protein_robust.models import Precision, scores

Describe = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Logits (B, K) and labels (B,) to further numbers of each example, (B,), by name."""


@dataclass(frozen=True)
class Predictions:
    """What a network says of N examples, in the order of the data set.

    Probabilities are of softmax(z / T) of its logits z, with T = 1 if nothing else is said.

    Attributes:
        index: positions in the data set, increasing, shape (N,), int64.
        prediction: class of the highest score, shape (N,), int64.
        max_probability: its probability, shape (N,), float64.
        second_prediction: class of the second highest score, shape (N,), int64.
        second_probability: its probability, shape (N,), float64.
        entropy_confidence: 1 - H(p)/H(u), shape (N,), float64.
        label_probability: probability of the given class, shape (N,), float64.
        log_label_probability: its logarithm, nats, finite where the probability is below the
            smallest number, shape (N,), float64.
        label_rank: number of classes that score higher than the given one, shape (N,), int64.
        brier_error: sum over classes of (p_j - [j is the given class])^2, in [0, 2], shape (N,),
            float64.
        energy: -T log sum_j exp(z_j / T), the lower the more an example looks like those of
            training, shape (N,), float64 (Liu et al., "Energy-based Out-of-distribution Detection",
            NeurIPS 2020, eq. 4).
        described: what the loss says of each example, shapes (N,), float64, by name.
    """

    index: NDArray[np.int64]
    prediction: NDArray[np.int64]
    max_probability: NDArray[np.float64]
    second_prediction: NDArray[np.int64]
    second_probability: NDArray[np.float64]
    entropy_confidence: NDArray[np.float64]
    label_probability: NDArray[np.float64]
    log_label_probability: NDArray[np.float64]
    label_rank: NDArray[np.int64]
    brier_error: NDArray[np.float64]
    energy: NDArray[np.float64]
    described: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


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
    names: list[str] = []

    def numbers(logits: Tensor, batch: Batch) -> Tensor:
        described = {} if describe is None else describe(logits, batch.label)
        names[:] = described
        more = [column.double() for column in described.values()]
        return torch.cat([_numbered(batch, logits), *(column[:, None] for column in more)], dim=1)

    table = over_examples(model, batches, numbers, precision=precision)
    # A process that had nothing to predict does not know their names.
    return _predictions(table, ranks.from_any(names))


def predict_at(
    model: nn.Module,
    batches: Batches,
    temperatures: Sequence[float],
    *,
    precision: Precision = "auto",
) -> list[Predictions]:
    """Predict every example once, and read the scores at several temperatures.

    Args:
        model: maps (inputs, mask) to logits (B, K); its mode is restored afterwards.
        batches: the data.
        temperatures: T of softmax(z / T), each above 0.
        precision: in which the network computes.

    Returns:
        The predictions at each temperature; they differ in their probabilities and energies.

    Raises:
        ValueError: if a temperature is not above 0.
    """
    if not temperatures or not min(temperatures) > 0:
        raise ValueError(f"Expected `temperatures` above 0, got {list(temperatures)}.")

    def numbers(logits: Tensor, batch: Batch) -> Tensor:
        return _numbered(batch, logits, *temperatures)

    table = over_examples(model, batches, numbers, precision=precision)
    table = table.reshape(len(table), 1 + len(temperatures) * len(COLUMNS))
    index, kept = table[:, :1], np.split(table[:, 1:], len(temperatures), axis=1)
    return [_predictions(np.concatenate([index, part], axis=1), []) for part in kept]


Numbers = Callable[[Tensor, Batch], Tensor]
"""Logits (B, K) and their batch to a row for each example, (B, C), its first number the index."""


@torch.no_grad()
def over_examples(
    model: nn.Module, batches: Batches, numbers: Numbers, *, precision: Precision = "auto"
) -> NDArray[np.float64]:
    """Run a network over a data set, in evaluation mode, and keep some numbers of each example.

    Where several processes train together, each does its share, and all get everything.

    Args:
        model: maps (inputs, mask) to logits (B, K); its mode is restored afterwards.
        batches: the data.
        numbers: what is kept.
        precision: in which the network computes.

    Returns:
        The rows sorted by index, shape (N, C), float64, which holds every class and index exactly;
        (0, 0) where there is no example.
    """
    was_training = model.training
    model.eval()

    def work(parts: Parts) -> list[NDArray[np.float64]]:
        done = []
        for part in parts:
            batch = part()
            if len(batch.label):
                logits = scores(model, batch.inputs, batch.mask, precision)
                done.append(numbers(logits, batch).double().cpu().numpy())
        return done

    epoch, share = batches.epoch(0), Share(ranks.rank(), ranks.num_ranks())
    rows = _Rows(sum(len(epoch.examples(number)) for number in range(len(epoch))))
    for number in range(len(epoch)):
        done, share = with_room(epoch, [number], share, work)
        rows.add(done)
    model.train(was_training)
    # A process that had nothing to do does not know the number of columns.
    width = ranks.largest(rows.table.shape[1])
    own = torch.from_numpy(rows.table[: rows.size].reshape(rows.size, width))
    table: NDArray[np.float64] = ranks.gather_rows(own).numpy()
    return table[np.argsort(table[:, 0], kind="stable")] if len(table) else table


class _Rows:
    """Rows in one array that is there from the first ones on.

    Many small ones that stay, between scores that come and go, would keep the memory of the scores
    from being used again: gigabytes, with many families.
    """

    def __init__(self, most: int) -> None:
        self.table = np.empty((0, 0))
        self.size = 0
        self._most = most

    def add(self, parts: list[NDArray[np.float64]]) -> None:
        for part in parts:
            if not self.size:
                self.table = np.empty((self._most, part.shape[1]))
            self.table[self.size : self.size + len(part)] = part
            self.size += len(part)


def _numbered(batch: Batch, logits: Tensor, *temperatures: float) -> Tensor:
    """The index, then what `score` gives, shape (B, 1 + columns), float64."""
    kept = score(logits, batch.label, *temperatures)
    return torch.cat([batch.index[:, None].double(), kept], dim=1)


def _predictions(table: NDArray[np.float64], names: Sequence[str]) -> Predictions:
    num_columns = 1 + len(COLUMNS) + len(names)
    columns = np.ascontiguousarray(table.reshape(-1, num_columns).T)
    kept = dict(zip(("index", *COLUMNS), columns, strict=False))
    whole = ("index", "prediction", "second_prediction", "label_rank")
    integers = {name: kept.pop(name).astype(np.int64) for name in whole}
    described = dict(zip(names, columns[1 + len(COLUMNS) :], strict=True))
    return Predictions(**integers, **kept, described=described)
