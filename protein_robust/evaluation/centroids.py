r"""How far an example is from every family, in the space that the network represents it in.

The distance is one minus the cosine to the nearest family's centroid, the mean of the embeddings of
its training sequences, once the mean of all centroids has been subtracted and the space whitened by
the covariance W within families:

.. math:: 1 - \max_k \cos(A^T (e - m), A^T (c_k - m)), \quad A A^T = W^{-1}

Why so: all embeddings share a large part, so without m every cosine is near 1; directions in which
sequences of one family differ say little about families, so they count less; and what a network
does not know it represents by something near the middle of all, so that the Euclidean and the
Mahalanobis distance to the nearest centroid are smaller for unknown sequences than for known ones.
In trials with Pfam families, not kept, those two were below chance and plain cosine between. Each
run's `evaluation/unknown.parquet` has this distance beside the scores of the logits.

Nothing of size N x K or N x d is kept: sums of K x d and d x d, in one pass.

References:
    Hatch, Kajarekar and Stolcke, "Within-Class Covariance Normalization for SVM-based Speaker
    Recognition", Interspeech 2006 (the whitening); Dehak et al., "Front-End Factor Analysis for
    Speaker Verification", IEEE TASLP 2011 (with the cosine). There m is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from protein_robust import ranks
from protein_robust.datasets import Batches, Parts, Share, with_room
from protein_robust.models import Precision, ProtCNN, scores

SHRINKAGE = 0.01
"""Share of the mean variance that is added to each: directions without variance stay finite."""

BLOCK = 2**22
"""Cosines that are worked on at a time."""


@dataclass(frozen=True)
class Centroids:
    """Where the families are.

    Attributes:
        mean: of the embeddings of each family, NaN for one without an example, shape (K, d),
            float32.
        count: examples of each family, shape (K,), int64.
        whitening: A, which makes the covariance within families the identity, shape (d, d),
            float32.

    Raises:
        ValueError: if the shapes do not fit each other, or no family has an example.
    """

    mean: Tensor
    count: Tensor
    whitening: Tensor

    def __post_init__(self) -> None:
        """Check shapes, and that there is a centroid."""
        num_families, width = self.mean.shape
        shapes = (tuple(self.count.shape), tuple(self.whitening.shape))
        if shapes != ((num_families,), (width, width)):
            expected = ((num_families,), (width, width))
            raise ValueError(
                f"Expected `count` and `whitening` of shapes {expected}, got {shapes}."
            )
        if not (self.count > 0).any():
            raise ValueError("Expected a family with an example, got none.")

    @cached_property
    def centre(self) -> Tensor:
        """m, the mean of the centroids, each family counting once, shape (d,)."""
        return self.mean[self.count > 0].mean(dim=0)

    @cached_property
    def directions(self) -> Tensor:
        """From the centre to each family that has one, whitened, of length 1, shape (K', d)."""
        return self._direction(self.mean[self.count > 0])

    def to(self, device: torch.device | str) -> Centroids:
        """The same on another device; itself where it is there already."""
        if self.mean.device == torch.device(device):
            return self
        return Centroids(self.mean.to(device), self.count.to(device), self.whitening.to(device))

    def distance(self, embedding: Tensor) -> Tensor:
        """Measure how far examples are from the nearest family.

        Args:
            embedding: of each example, shape (B, d), floating, on the device of the centroids.

        Returns:
            From 0, in the direction of a family, over 1, at a right angle, to 2, shape (B,),
            float32. An example at the very centre has no direction, and 1.
        """
        num_rows = max(1, BLOCK // len(self.directions))
        nearest = [
            (self._direction(rows.float()) @ self.directions.T).amax(dim=1)
            for rows in embedding.split(num_rows)
        ]
        return 1 - torch.cat(nearest)

    def _direction(self, embedding: Tensor) -> Tensor:
        return nn.functional.normalize((embedding - self.centre) @ self.whitening, dim=1)


class WithEmbedding(nn.Module):
    """A network that gives (B, d + K): what it represents an example by, then its logits.

    Args:
        model: the network; it is in the same mode as this.
    """

    def __init__(self, model: ProtCNN) -> None:
        """Share the network and its mode."""
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """(B, L) and (B, L) -> (B, d + K)."""
        embedding = self.model.embed(inputs, mask)
        return torch.cat([embedding, self.model.head(embedding)], dim=1)


@torch.no_grad()
def family_centroids(
    model: ProtCNN, batches: Batches, *, precision: Precision = "auto"
) -> Centroids:
    """Find where the families are, from one pass over the data, in evaluation mode.

    Where several processes train together, each does its share, and all get everything.

    Args:
        model: the network; its mode is restored afterwards.
        batches: the data, with the labels that count.
        precision: in which the network computes; sums are float64.

    Returns:
        The centroids, on the CPU.

    Raises:
        ValueError: if there is no example.
    """
    num_families, width = model.num_classes, model.config.width
    device = model.head.weight.device
    was_training = model.training
    model.eval()
    network = WithEmbedding(model)
    total = torch.zeros(num_families, width, dtype=torch.float64)
    count = torch.zeros(num_families, dtype=torch.int64)
    squares = torch.zeros(width, width, dtype=torch.float64, device=device)

    def work(parts: Parts) -> list[tuple[Tensor, Tensor]]:
        done = []
        for part in parts:
            batch = part()
            if len(batch.label):
                rows = scores(network, batch.inputs, batch.mask, precision)[:, :width]
                done.append((rows.double(), batch.label))
        return done

    epoch, share = batches.epoch(0), Share(ranks.rank(), ranks.num_ranks())
    for number in range(len(epoch)):
        done, share = with_room(epoch, [number], share, work)
        for rows, label in done:
            squares.addmm_(rows.T, rows)
            # On the CPU the order of the additions, and so the last bit, is always the same.
            total.index_add_(0, label.cpu(), rows.cpu())
            count += label.cpu().bincount(minlength=num_families)
    model.train(was_training)
    total, count = ranks.add_up(total), ranks.add_up(count)
    squares = ranks.add_up(squares).cpu()
    return _centroids(total, count, squares)


def _centroids(total: Tensor, count: Tensor, squares: Tensor) -> Centroids:
    """From sums to means and the whitening of what is within families."""
    mean = total / count[:, None]  # 0/0 is the NaN of a family without an example
    some = count > 0
    within = squares - mean[some].T @ total[some]  # W times its degrees of freedom
    num_free = int(count.sum() - some.sum())
    variance, axes = torch.linalg.eigh(within / max(1, num_free))
    average = float(variance.mean())
    # Where no family has two different sequences, all that is left is rounding.
    if average * num_free <= 1e-12 * float(squares.trace()) / len(squares):
        return Centroids(mean.float(), count, torch.eye(len(squares)))
    scale = (variance.clamp(min=0) + SHRINKAGE * average).rsqrt()
    return Centroids(mean.float(), count, (axes * scale).float())
