"""What a run on images reads: pixels of each split, and how training augments them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from protein_robust import ranks
from protein_robust.datasets import Augmentation, ImageBatches, ImageDataset
from protein_robust.ingest import SPLITS, read_families, read_manifest
from protein_robust.ingest.images import read_image_table, read_images
from protein_robust.models import ResNet, ResNetConfig
from protein_robust.noise import Noise
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import EVALUATION_BATCH_SIZE, RunData, split_labels


@dataclass(frozen=True)
class ImageData(RunData):
    """The images of one run, on its device.

    Attributes:
        datasets: of each split; labels are the given ones.
        augmentation: of training.
    """

    datasets: Mapping[str, ImageDataset]
    augmentation: Augmentation

    def names(self, run: PlannedRun, split: str) -> tuple[str, pa.ChunkedArray]:
        """``image_name``."""
        table = read_image_table(run.dataset_folder, split, columns=["image_name"])
        return "image_name", table["image_name"]

    def training_batches(self, run: PlannedRun) -> ImageBatches:
        """Batches with a fresh order and fresh augmentation each epoch."""
        return ImageBatches(
            self.datasets["train"],
            run.inputs["training"]["batch_size"],
            self.augmentation,
            seed=run.seed,
        )

    def evaluation_batches(
        self, kind: str, run: PlannedRun, subset: NDArray[np.int64] | None = None
    ) -> ImageBatches:
        """Images as they are."""
        return ImageBatches(self.datasets[kind], EVALUATION_BATCH_SIZE, subset=subset)

    def network(
        self, shape: Mapping[str, object], generator: torch.Generator | None = None
    ) -> ResNet:
        """A residual network.

        Where several processes train on GPUs, the statistics of its norms are those of the whole
        batch; on CPUs, where PyTorch has no such norm, those of each process's part.
        """
        network = ResNet(
            ResNetConfig(**shape),  # type: ignore[arg-type]
            len(self.families),
            num_channels=self.datasets["train"].num_channels,
            generator=generator,
        )
        if ranks.are_several() and self.device.type == "cuda":
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network


def load_images(run: PlannedRun, noise: Noise, device: torch.device) -> ImageData:
    """Read the images of a run.

    Args:
        run: the run, whose data set is the one that it was planned with.
        noise: of the run.
        device: where the arrays go.

    Returns:
        The data. Every split is normalised by mean and deviation of the training images.
    """
    manifest = read_manifest(run.dataset_folder)
    mean, deviation = np.array(manifest["channel_mean"]), np.array(manifest["channel_std"])
    datasets, given, clean_label = {}, {}, {}
    for split in SPLITS:
        table = read_image_table(run.dataset_folder, split, columns=["label"])
        label, clean_label[split] = split_labels(table, split, noise)
        datasets[split] = ImageDataset.from_arrays(
            read_images(run.dataset_folder, split),
            label,
            mean=mean,
            deviation=deviation,
            device=device,
        )
        given[split] = label
    return ImageData(
        label=given,
        clean_label=clean_label,
        noise=noise.labels,
        families=read_families(run.dataset_folder)["family_accession"].to_pylist(),
        device=device,
        datasets=datasets,
        augmentation=Augmentation(**run.inputs["augmentation"]),
    )
