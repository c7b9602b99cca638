"""Networks and sequences for the benchmarks of training: random ones, or a dataset folder's.

Random ones have uniformly drawn residues and labels and the lengths that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import Batch, Parts, SequenceBatches, SequenceDataset, Share
from protein_robust.errors import InputError
from protein_robust.ingest import read_families, read_sequences
from protein_robust.models import ProtCNNConfig
from protein_robust.noise import CropRule

MEAN_LENGTH = 155
LENGTH_SIGMA = 0.7
"""Standard deviation of the logarithm of the lengths."""
LENGTH_LIMITS = (20, 2000)
LOGNORMAL = "lognormal"


@dataclass(frozen=True)
class Preset:
    """What is trained on what.

    Attributes:
        config: shape of the network.
        num_classes: K.
        batch_size: sequences an update.
        num_sequences: of one pass; less than a window of batches is padded more than an epoch is.
    """

    config: ProtCNNConfig
    num_classes: int
    batch_size: int
    num_sequences: int


PRESETS = {
    "quick-start": Preset(ProtCNNConfig(32, 0.5, 5, (1, 2, 4)), 20, 32, 2048),
    "width256": Preset(ProtCNNConfig(256, 0.5, 9, (1, 2, 4)), 100, 64, 1600),
    "paper": Preset(ProtCNNConfig.paper(), 17929, 64, 32768),
}


@dataclass(frozen=True)
class Examples:
    """Sequences with labels, on the host.

    Attributes:
        sequences: strings, N.
        labels: classes, shape (N,), int64.
        num_classes: K.
    """

    sequences: pa.Array | pa.ChunkedArray
    labels: NDArray[np.int64]
    num_classes: int


def draw_lengths(num_sequences: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw lengths like those of Pfam domains, shape (N,), int64, in residues."""
    # The mean of a lognormal variable is exp(mu + sigma^2 / 2).
    mu = np.log(MEAN_LENGTH) - LENGTH_SIGMA**2 / 2
    lengths = rng.lognormal(mu, LENGTH_SIGMA, num_sequences)
    return lengths.clip(*LENGTH_LIMITS).astype(np.int64)


def read_lengths(source: str, num_sequences: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw lengths as a file has them, or like those of Pfam domains.

    Args:
        source: `LOGNORMAL`, or an array of whole numbers of at least 1, as `numpy.save` writes it.
        num_sequences: N.
        rng: what they are drawn with.

    Returns:
        Shape (N,), int64, in residues.

    Raises:
        InputError: if the file holds anything else.
    """
    if source == LOGNORMAL:
        return draw_lengths(num_sequences, rng)
    path = Path(source)
    try:
        lengths = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError("an array of lengths (.npy)", str(error), path=path) from error
    if lengths.dtype.kind not in "iu" or not lengths.size or lengths.min() < 1:
        smallest = f", the least {lengths.min()}" if lengths.size else ""
        actual = f"{lengths.size} of {lengths.dtype}{smallest}"
        raise InputError("whole numbers of at least 1", actual, path=path)
    return rng.choice(lengths.ravel(), num_sequences).astype(np.int64)


def random_column(lengths: NDArray[np.int64], rng: np.random.Generator) -> pa.Array:
    """Draw residues; a column of strings of these lengths, in memory of PyArrow as if read."""
    letters = np.frombuffer(STANDARD_RESIDUES.encode(), dtype=np.uint8)
    offsets, data = (pa.allocate_buffer(n) for n in (8 * len(lengths) + 8, int(lengths.sum())))
    places = np.frombuffer(offsets, dtype=np.int64)
    places[0] = 0
    np.cumsum(lengths, out=places[1:])
    drawn = rng.integers(0, len(letters), data.size, dtype=np.uint8)
    np.frombuffer(data, dtype=np.uint8)[:] = letters[drawn]
    return pa.Array.from_buffers(pa.large_string(), len(lengths), [None, offsets, data])


def random_examples(
    lengths: NDArray[np.int64], num_classes: int, rng: np.random.Generator
) -> Examples:
    """Draw residues and labels for sequences of these lengths."""
    labels = rng.integers(0, num_classes, len(lengths))
    return Examples(random_column(lengths, rng), labels, num_classes)


def real_examples(folder: Path, num_sequences: int, rng: np.random.Generator) -> Examples:
    """Draw from the training sequences of a dataset folder, as `ingest` makes it.

    Args:
        folder: the dataset folder.
        num_sequences: how many are drawn; all, if there are fewer.
        rng: what they are drawn with.

    Raises:
        InputError: if it is no dataset folder.
    """
    table = read_sequences(folder, "train", columns=["sequence", "label"])
    chosen = rng.permutation(len(table))[:num_sequences]
    table = table.take(chosen)
    labels = table["label"].to_numpy().astype(np.int64)
    return Examples(table["sequence"], labels, len(read_families(folder)))


def make_batches(
    examples: Examples,
    *,
    batch_size: int,
    device: torch.device | str,
    seed: int,
    max_residues: int = 10**9,
    window: int = 16,
) -> SequenceBatches:
    """Batches as training has them, without crops.

    Args:
        examples: the data.
        batch_size: sequences an update.
        device: where they go.
        seed: of the order.
        max_residues: positions that are worked on at a time; all of a batch, if not given.
        window: batches sorted together.
    """
    dataset = SequenceDataset.from_arrow(examples.sequences, examples.labels, device=device)
    return SequenceBatches(
        dataset,
        CropRule(),
        batch_size=batch_size,
        max_residues=max_residues,
        seed=seed,
        window=window,
    )


def cut(batches: SequenceBatches, number: int) -> Iterator[Parts]:
    """Plan a pass as `protein_robust.training.fit` does; of each batch, what cuts its parts."""
    epoch = batches.epoch(number)
    for place in range(len(epoch)):
        yield epoch.parts(place, Share())


def median_batch(
    num_classes: int, *, batch_size: int, device: torch.device, seed: int
) -> tuple[Batch, int]:
    """The batch of median size of a small random data set, and the number of its examples."""
    rng = np.random.default_rng(seed)
    examples = random_examples(draw_lengths(16 * batch_size, rng), num_classes, rng)
    batches = make_batches(examples, batch_size=batch_size, device=device, seed=seed)
    cut_now = [part() for parts in cut(batches, 0) for part in parts]
    cut_now.sort(key=lambda batch: batch.inputs.numel())
    return cut_now[len(cut_now) // 2], len(examples.labels)
