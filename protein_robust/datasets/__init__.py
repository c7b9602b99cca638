"""Arrays resident on the device, and the batches that are cut from them."""

from protein_robust.datasets.batching import (
    Batch,
    Batches,
    Epoch,
    Share,
    mixing_window,
    plan_batches,
)
from protein_robust.datasets.images import Augmentation, ImageBatches, ImageDataset
from protein_robust.datasets.room import Parts, with_room
from protein_robust.datasets.sequences import SequenceBatches, SequenceDataset

__all__ = [
    "Augmentation",
    "Batch",
    "Batches",
    "Epoch",
    "ImageBatches",
    "ImageDataset",
    "Parts",
    "SequenceBatches",
    "SequenceDataset",
    "Share",
    "mixing_window",
    "plan_batches",
    "with_room",
]
