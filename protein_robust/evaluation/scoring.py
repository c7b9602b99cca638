"""From the logits of some examples to the few numbers that are kept of each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

COLUMNS = (
    "prediction",
    "max_probability",
    "second_prediction",
    "second_probability",
    "entropy_confidence",
    "label_probability",
    "log_label_probability",
    "label_rank",
    "brier_error",
    "energy",
)
"""What `score` gives of each example, in this order; `predict.Predictions` says what they are."""

BLOCK = 2**18
"""Logits that are worked on at a time: a mebibyte, so that the passes over them stay in cache."""


def score(logits: Tensor, label: Tensor, *temperatures: float) -> Tensor:
    """Read the numbers of `COLUMNS` off the logits, at each temperature.

    With x = (z - max z) / T and S = sum_j exp(x_j): the entropy is log S - sum_j x_j exp(x_j) / S,
    and the Brier error sum_j p_j^2 - 2 p_y + 1, so three sums over the classes are enough.

    Args:
        logits: z, shape (B, K), floating, K at least 2.
        label: given classes, shape (B,), int64 in [0, K).
        temperatures: T of softmax(z / T), above 0; 1 alone if none is given.

    Returns:
        Shape (B, 10 for each temperature), float64, on the device of the logits.

    Example:
        >>> row = score(torch.tensor([[2.0, 2.0]]), torch.tensor([0]))[0].tolist()
        >>> row[COLUMNS.index("max_probability")], row[COLUMNS.index("entropy_confidence")]
        (0.5, 0.0)
    """
    num_rows = max(1, BLOCK // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    blocks = zip(logits.split(num_rows or 1), label.split(num_rows or 1), strict=True)
    return torch.cat([_score_block(z.float(), y, temperatures or (1.0,)) for z, y in blocks])


def _score_block(z: Tensor, label: Tensor, temperatures: Sequence[float]) -> Tensor:
    top, classes = z.topk(2, dim=1)  # (B, 2)
    of_label = z.gather(1, label[:, None])  # (B, 1)
    # Written as numbers right away: a sum over truth values is ten times slower.
    rank = torch.gt(z, of_label, out=torch.empty_like(z)).sum(dim=1)
    columns = []
    for temperature in temperatures:
        largest, second, confidence, given, brier, energy = _probabilities(
            z, top, of_label, temperature
        )
        columns += [classes[:, 0], largest, classes[:, 1], second, confidence]
        columns += [given.exp(), given, rank, brier, energy]
    return torch.stack([column.double() for column in columns], dim=1)


def _probabilities(
    z: Tensor, top: Tensor, of_label: Tensor, temperature: float
) -> tuple[Tensor, ...]:
    """The numbers that depend on the temperature, each (B,) and float64."""
    x = z.sub(top[:, :1]).div_(temperature)
    power = x.exp()
    total = power.sum(dim=1)  # S, at least 1
    moment = torch.linalg.vecdot(power, x)
    squares = torch.linalg.vecdot(power, power)
    # From here on (B,) in float64.
    total, top, of_label = total.double(), top.double(), of_label[:, 0].double()
    log_total, largest = total.log(), top[:, 0]
    second = ((top[:, 1] - largest) / temperature).exp() / total
    log_given = (of_label - largest) / temperature - log_total
    entropy = log_total - moment.double() / total
    # Rounding can put the entropy of a nearly uniform prediction a little above log K.
    confidence = (1 - entropy / math.log(z.shape[1])).clamp(0, 1)
    brier = (squares.double() / total.square() - 2 * log_given.exp() + 1).clamp(min=0)
    energy = -(largest + temperature * log_total)
    return 1 / total, second, confidence, log_given, brier, energy
