"""Temperature scaling: one number that makes confidence read as accuracy.

It is fitted on validation data, never on test, and changes no prediction.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protein_robust.datasets import Batch, Batches
from protein_robust.evaluation.predict import over_examples
from protein_robust.models import Precision

LOWEST = 1 / 64
HIGHEST = 64.0
"""Between these T is sought."""

MAX_LOGITS = 2**25
"""As many logits as a fit holds: a quarter of a gigabyte in float64."""


def sample_size(num_families: int) -> int:
    """How many validation examples a fit holds at once.

    One parameter needs no more than some thousand: its standard error falls with their root.

    Args:
        num_families: K.

    Returns:
        The most examples: all of them with 100 families, unless there are 300,000.

    Example:
        >>> sample_size(17929)
        1871
    """
    return max(1, MAX_LOGITS // num_families)


def collect_logits(
    model: nn.Module, batches: Batches, *, precision: Precision = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Run a network over some examples and keep all scores: for few of them (`sample_size`).

    Args:
        model: maps (inputs, mask) to logits (B, K); its mode is restored afterwards.
        batches: the data.
        precision: in which the network computes.

    Returns:
        Logits, shape (N, K), float64, and given classes, shape (N,), int64, sorted by index.
    """

    def everything(logits: Tensor, batch: Batch) -> Tensor:
        whole = torch.stack([batch.index, batch.label], dim=1).double()
        return torch.cat([whole, logits.double()], dim=1)

    table = over_examples(model, batches, everything, precision=precision)
    if not len(table):
        return np.zeros((0, 0)), np.zeros(0, np.int64)
    return table[:, 2:], table[:, 1].astype(np.int64)


def fit_temperature(logits: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    r"""Find the temperature T of softmax(z / T) at which the labels are the least surprising.

    The mean negative log likelihood is convex in :math:`\beta = 1 / T`, with the derivative
    :math:`E[\sum_j p_j z_j - z_y]`; its zero is found by Newton steps inside a shrinking interval.

    Where every label has the highest score the optimum is 0, at which every answer is certain. Then
    each label counts as 1 - 1/(N + 1) of its class and 1/(N + 1) of all classes alike, as if one
    more example knew nothing.

    Args:
        logits: z, shape (N, K), floating.
        label: classes, shape (N,), int64.

    Returns:
        T in [1/64, 64]: an end where the optimum lies beyond; NaN for no examples.

    Raises:
        ValueError: if the numbers of logits and labels differ.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. The added
        example is a deviation; its idea is that of Platt, "Probabilistic Outputs for Support Vector
        Machines", 1999, section 2.2.

    Example:
        >>> logits = np.log([[0.8, 0.2]] * 5)
        >>> round(fit_temperature(2 * logits, np.array([0, 0, 0, 0, 1])), 6)
        2.0
    """
    if len(logits) != len(label):
        raise ValueError(f"Expected {len(logits)} labels, got {len(label)}.")
    if not len(label):
        return math.nan
    z = torch.from_numpy(np.ascontiguousarray(logits))
    z = z - z.amax(dim=1, keepdim=True)
    of_label = z.gather(1, torch.from_numpy(label)[:, None])[:, 0]
    low, high = 1 / HIGHEST, 1 / LOWEST
    if _slope(z, of_label, high)[0] <= 0:
        # As far as these examples tell, nothing is ever wrong. One that knows nothing is added.
        share = 1 / (len(z) + 1)
        of_label = (1 - share) * of_label + share * z.mean(dim=1)
    if _slope(z, of_label, low)[0] >= 0:
        return 1 / low
    if _slope(z, of_label, high)[0] <= 0:
        return 1 / high
    beta = 1.0
    while True:
        slope, curvature = _slope(z, of_label, beta)
        low, high = (beta, high) if slope < 0 else (low, beta)
        # A step that leaves the interval is replaced by its (geometric) middle.
        new = beta - slope / curvature if curvature > 0 else math.inf
        new = new if low < new < high else math.sqrt(low * high)
        if abs(new - beta) < 1e-9 * beta:
            return 1 / new
        beta = new


def _slope(z: Tensor, of_label: Tensor, beta: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log likelihood by beta, in blocks."""
    first = second = 0.0
    rows = max(1, 2**18 // z.shape[1])
    for part, given in zip(z.split(rows), of_label.split(rows), strict=True):
        p = (beta * part).softmax(dim=1)
        mean = torch.linalg.vecdot(p, part)
        first += float((mean - given).sum())
        second += float((torch.linalg.vecdot(p, part.square()) - mean.square()).sum())
    return first / len(z), second / len(z)
