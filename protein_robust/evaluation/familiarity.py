"""How familiar sequences look to a network: four scores of each, bigger for what it knows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.datasets import Batch, Batches
from protein_robust.evaluation.centroids import Centroids, WithEmbedding
from protein_robust.evaluation.predict import over_examples
from protein_robust.evaluation.scoring import COLUMNS, score
from protein_robust.models import Precision, ProtCNN

SIGNS = {
    "max_probability": 1,
    "entropy_confidence": 1,
    "energy": -1,
    "centroid_distance": -1,
}
"""The scores, and what each is multiplied by to be the bigger, the more familiar."""


def familiarity(
    model: ProtCNN, batches: Batches, centroids: Centroids, *, precision: Precision = "auto"
) -> dict[str, NDArray[np.float64]]:
    """Score every example once, in evaluation mode.

    Where several processes train together, each does its share, and all get everything.

    Args:
        model: the network; its mode is restored afterwards.
        batches: the data; its labels do not count.
        centroids: of the network's families.
        precision: in which the network computes.

    Returns:
        Values times `SIGNS`, so an energy of -3 comes out as 3: bigger is more familiar. In the
        order of the data set, shapes (N,), float64, by name of the score.
    """
    width = model.config.width
    centroids = centroids.to(model.head.weight.device)
    columns = [COLUMNS.index(name) for name in SIGNS if name in COLUMNS]

    def numbers(represented: Tensor, batch: Batch) -> Tensor:
        embedding, logits = represented[:, :width], represented[:, width:]
        # What is of no family has no label; what depends on one is not read.
        kept = score(logits, torch.zeros_like(batch.label))[:, columns]
        distance = centroids.distance(embedding).double()
        return torch.cat([batch.index[:, None].double(), kept, distance[:, None]], dim=1)

    table = over_examples(WithEmbedding(model), batches, numbers, precision=precision)
    values = table[:, 1:].T if len(table) else np.zeros((len(SIGNS), 0))
    return {name: sign * found for (name, sign), found in zip(SIGNS.items(), values, strict=True)}
