"""Arrays resident on the device, and the batches that are cut from them."""

from protein_robust.datasets.batching import Batch, Batches, Epoch, plan_batches
from protein_robust.datasets.sequences import SequenceBatches, SequenceDataset

__all__ = ["Batch", "Batches", "Epoch", "SequenceBatches", "SequenceDataset", "plan_batches"]
