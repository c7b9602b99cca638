"""What every run needs of its data, whatever the examples are: sequences or images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from protein_robust.datasets import Batches
from protein_robust.evaluation.groups import FAMILY_SIZES, Grouping, group_by_ends
from protein_robust.ingest import SPLITS, read_families
from protein_robust.noise import LabelNoise, Noise
from protein_robust.study.plan import PlannedRun

EVALUATION_BATCH_SIZE = 256


def split_labels(
    table: pa.Table, split: str, noise: Noise
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Given and clean classes of a split, from its column ``label``; only train has wrong ones."""
    clean = table["label"].to_numpy().astype(np.int64)
    return (noise.labels.label if split == "train" else clean), clean


@dataclass(frozen=True)
class RunData(ABC):
    """The data of one run, on its device.

    Attributes:
        label: given classes of each split, arrays of shape (N_split,), int64.
        clean_label: of each split, likewise; -1 for training examples that noise added, which have
            no class inside.
        noise: labels of the training split, before and after.
        families: accession of each class.
        device: where the arrays are.
    """

    label: Mapping[str, NDArray[np.int64]]
    clean_label: Mapping[str, NDArray[np.int64]]
    noise: LabelNoise
    families: list[str]
    device: torch.device

    @property
    def kinds(self) -> list[str]:
        """The kinds of evaluation data: the splits, and other views of them."""
        return list(SPLITS)

    def split_of(self, kind: str) -> str:
        """The split that a kind of evaluation data shows."""
        return kind.partition("_")[0]

    def size(self, split: str) -> int:
        """Number of examples."""
        return len(self.label[split])

    @abstractmethod
    def names(self, run: PlannedRun, split: str) -> tuple[str, pa.ChunkedArray]:
        """What a table calls its column of names, and the name of each example."""

    @abstractmethod
    def training_batches(self, run: PlannedRun) -> Batches:
        """Batches with a fresh order and fresh noise of inputs each epoch."""

    @abstractmethod
    def evaluation_batches(
        self, kind: str, run: PlannedRun, subset: NDArray[np.int64] | None = None
    ) -> Batches:
        """Batches that are always the same."""

    @abstractmethod
    def network(
        self, shape: Mapping[str, object], generator: torch.Generator | None = None
    ) -> nn.Module:
        """A network of a shape, as a run's inputs have it, with initial weights, on the CPU."""

    def facts(self, kind: str) -> dict[str, NDArray[np.int64]]:
        """What `predictions.parquet` says of each example besides labels and answers."""
        return {}

    def groupings(self, run: PlannedRun, kind: str) -> dict[str, Grouping]:
        """The groups that examples are measured by.

        By clean training examples of their class, and by class.
        """
        label = self.label[self.split_of(kind)]
        num_train = read_families(run.dataset_folder)["num_train"].to_numpy().astype(np.int64)
        return {
            "family_size": group_by_ends(num_train[label], FAMILY_SIZES),
            "family": Grouping(label, self.families),
        }
