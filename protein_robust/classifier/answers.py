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
        energy: -log sum_j exp(z_j) of the logits z, nats, shape (N,), float64; the lower, the more
            a sequence looks like those of training (Liu et al., "Energy-based Out-of-distribution
            Detection", NeurIPS 2020, eq. 4 with T = 1).
    """

    family: NDArray[np.int64]
    confidence: NDArray[np.float64]
    second_family: NDArray[np.int64]
    second_confidence: NDArray[np.float64]
    group: NDArray[np.int64]
    clan_confidence: NDArray[np.float64]
    energy: NDArray[np.float64]


def answer(
    network: ProtCNN,
    batches: Batches,
    families: Families,
    *,
    temperature: float,
    precision: Precision = "auto",
) -> Answers:
    """Ask a network about every sequence once.

    Args:
        network: what is asked.
        batches: the sequences.
        families: the network's classes.
        temperature: what logits are divided by.
        precision: in which the network computes.

    Returns:
        The answers, in the order of the data set.
    """
    group = torch.from_numpy(families.group).to(network.head.weight.device)

    def numbers(logits: Tensor, batch: Batch) -> Tensor:
        return _numbers(logits.float(), batch, group, temperature)

    with torch.inference_mode():
        table = over_examples(network, batches, numbers, precision=precision)
    columns = np.ascontiguousarray(table.T)[1:] if len(table) else np.zeros((len(_KINDS), 0))
    return Answers(*(values.astype(kind) for values, kind in zip(columns, _KINDS, strict=True)))


_KINDS = [np.int64 if "int64" in str(field.type) else np.float64 for field in fields(Answers)]
"""The type of each number of `Answers`."""


def _numbers(logits: Tensor, batch: Batch, group: Tensor, temperature: float) -> Tensor:
    """The index and what `Answers` holds of each sequence, shape (B, 8), float64."""
    probs = functional.softmax(logits / temperature, dim=1)
    top, classes = probs.topk(2, dim=1)  # (B, 2)
    by_group = torch.zeros_like(probs).scatter_add_(1, group.expand_as(probs), probs)
    of_group, best = by_group.max(dim=1)
    columns = [
        batch.index,
        classes[:, 0],
        top[:, 0],
        classes[:, 1],
        top[:, 1],
        best,
        of_group.clamp_max(1),  # a sum may be rounded to more
        -logits.logsumexp(dim=1),
    ]
    return torch.stack([column.double() for column in columns], dim=1)
