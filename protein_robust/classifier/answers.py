"""What a network says of sequences, by family and by clan, before anybody judges it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from protein_robust.classifier.families import Families
from protein_robust.datasets import Batch, Batches
from protein_robust.evaluation.centroids import Centroids, WithEmbedding
from protein_robust.evaluation.predict import over_examples
from protein_robust.models import Precision, ProtCNN


@dataclass(frozen=True)
class Answers:
    """What a network says of N sequences, in their order.

    Attributes:
        family: class of the largest probability, shape (N,), int64.
        confidence: its probability after temperature scaling, shape (N,), float64.
        second_family: class of the second largest one, shape (N,), int64.
        second_confidence: its probability, shape (N,), float64.
        group: number of the clan of the largest probability, shape (N,), int64; see
            `Families.group`. It need not be that of ``family``.
        clan_confidence: sum of the probabilities of its families, shape (N,), float64.
        distance: from the nearest family, in [0, 2], shape (N,), float64; the smaller, the more a
            sequence looks like those of training; see `protein_robust.evaluation.centroids`.
    """

    family: NDArray[np.int64]
    confidence: NDArray[np.float64]
    second_family: NDArray[np.int64]
    second_confidence: NDArray[np.float64]
    group: NDArray[np.int64]
    clan_confidence: NDArray[np.float64]
    distance: NDArray[np.float64]


def answer(
    network: ProtCNN,
    batches: Batches,
    families: Families,
    *,
    centroids: Centroids,
    temperature: float,
    precision: Precision = "fp32",
) -> Answers:
    """Ask a network about every sequence once.

    Args:
        network: what is asked.
        batches: the sequences.
        families: the network's classes.
        centroids: where the families are, on the network's device.
        temperature: what logits are divided by.
        precision: in which the network computes; fp32, so that every device gives one answer.

    Returns:
        The answers, in the order of the data set.
    """
    group = torch.from_numpy(families.group).to(network.head.weight.device)
    width = network.config.width

    def numbers(outputs: Tensor, batch: Batch) -> Tensor:
        embedding, logits = outputs.float().split([width, outputs.shape[1] - width], dim=1)
        columns = [batch.index, *_numbers(logits / temperature, group)]
        columns.append(centroids.distance(embedding))
        return torch.stack([column.double() for column in columns], dim=1)

    table = over_examples(WithEmbedding(network), batches, numbers, precision=precision)
    columns = np.ascontiguousarray(table.T)[1:] if len(table) else np.zeros((len(_KINDS), 0))
    return Answers(*(values.astype(kind) for values, kind in zip(columns, _KINDS, strict=True)))


_KINDS = [np.int64 if "int64" in str(field.type) else np.float64 for field in fields(Answers)]
"""The type of each number of `Answers`."""


def _numbers(scaled: Tensor, group: Tensor) -> list[Tensor]:
    """From logits over the temperature to all of `Answers` but the distance, each of shape (B,)."""
    probs = functional.softmax(scaled, dim=1)
    top, classes = probs.topk(2, dim=1)  # (B, 2)
    by_group = torch.zeros_like(probs).scatter_add_(1, group.expand_as(probs), probs)
    of_group, best = by_group.max(dim=1)
    # A sum may be rounded to more than 1.
    return [classes[:, 0], top[:, 0], classes[:, 1], top[:, 1], best, of_group.clamp_max(1)]
