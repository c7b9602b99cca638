"""What a run reads: sequences of each split, their clean and given labels, and the fixed crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from protein_robust.datasets import SequenceBatches, SequenceDataset, mixing_window
from protein_robust.errors import InputError
from protein_robust.ingest import SPLITS, read_families, read_manifest, read_sequences
from protein_robust.losses import check_labels
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule, Crops, LabelNoise, draw_crops, read_noise
from protein_robust.study.plan import PlannedRun

EVALUATION_BATCH_SIZE = 256


@dataclass(frozen=True)
class RunData:
    """The data of one run, on its device.

    Attributes:
        datasets: of each split; labels are the given ones.
        clean_label: of each split, arrays of shape (N_split,), int64; -1 for training sequences
            that noise added, which have no class inside.
        noise: labels of the training split, before and after.
        added: rows of the other parts of the data set that are in train, by part, after its own.
        crops: the fixed ones of each kind of evaluation data: ``train``, ``valid``, ``test``, and,
            where sequences are cropped, ``train_whole``, ``valid_whole`` and ``test_whole``: the
            sequences as they are.
        crop_rule: from which training draws.
        families: accession of each class.
        device: where the arrays are.
    """

    datasets: Mapping[str, SequenceDataset]
    clean_label: Mapping[str, NDArray[np.int64]]
    noise: LabelNoise
    added: Mapping[str, NDArray[np.int64]]
    crops: Mapping[str, Crops]
    crop_rule: CropRule
    families: list[str]
    device: torch.device

    def split_of(self, data: str) -> str:
        """The split that a kind of evaluation data shows."""
        return data.partition("_")[0]

    def training_batches(self, run: PlannedRun) -> SequenceBatches:
        """Batches with a fresh order and fresh crops each epoch."""
        settings = run.inputs["training"]
        window = settings["length_window"]
        return SequenceBatches(
            self.datasets["train"],
            self.crop_rule,
            batch_size=settings["batch_size"],
            max_residues=settings["max_residues"],
            window=mixing_window(len(self.families)) if window == "auto" else window,
            seed=run.seed,
        )

    def evaluation_batches(
        self, data: str, run: PlannedRun, subset: NDArray[np.int64] | None = None
    ) -> SequenceBatches:
        """Sorted batches with the fixed crops."""
        return self.cropped_batches(self.split_of(data), self.crops[data], run, subset)

    def cropped_batches(
        self,
        split: str,
        crops: Crops,
        run: PlannedRun,
        subset: NDArray[np.int64] | None = None,
    ) -> SequenceBatches:
        """Sorted batches of a split with crops of one's own."""
        return SequenceBatches(
            self.datasets[split],
            crops,
            batch_size=EVALUATION_BATCH_SIZE,
            max_residues=run.inputs["training"]["max_residues"],
            subset=subset,
        )


def load_data(run: PlannedRun) -> RunData:
    """Read the data set and the noise of a run.

    Raises:
        InputError: if either is not there, or is not the one that the run was planned with.
    """
    device = _device(run.device)
    noise = read_noise(run.noise_folder)
    digest = run.inputs["dataset_digest"]
    found = {
        run.dataset_folder: read_manifest(run.dataset_folder)["digest"],
        run.noise_folder: noise.manifest["dataset_digest"],
    }
    for folder, other in found.items():
        if other != digest:
            raise InputError(
                f"the data of run {run.name} (digest {digest[:12]})",
                f"others (digest {other[:12]}); they were replaced since",
                path=folder,
            )
    datasets, clean_label = {}, {}
    for split in SPLITS:
        table = read_split(run, split, noise.added, columns=["sequence", "label"])
        clean = table["label"].to_numpy().astype(np.int64)
        given = noise.labels.label if split == "train" else clean
        datasets[split] = SequenceDataset.from_arrow(table["sequence"], given, device=device)
        clean_label[split] = clean
    families = read_families(run.dataset_folder)["family_accession"].to_pylist()
    # Once for all here, since the losses do not look at labels on an accelerator.
    check_labels(datasets["train"].label, len(families))
    rule = CropRule(**run.inputs["noise"]["crop"])
    crops = {split: noise.crops[split] for split in SPLITS if split in noise.crops}
    if rule.kind != "none":
        for split in SPLITS:
            lengths, rng = datasets[split].lengths, np.random.default_rng(0)
            crops[f"{split}_whole"] = draw_crops(lengths, rule=CropRule(), rng=rng)
    return RunData(datasets, clean_label, noise.labels, noise.added, crops, rule, families, device)


def read_split(
    run: PlannedRun, split: str, added: Mapping[str, NDArray[np.int64]], *, columns: list[str]
) -> pa.Table:
    """Read the sequences of a split as a run sees them: train with what its noise added.

    Args:
        run: the run.
        split: ``train``, ``valid`` or ``test``.
        added: rows of the other parts of the data set that are in train.
        columns: names of the wanted columns; labels are clean, and -1 for what was added.

    Returns:
        The columns, the added rows last.
    """
    tables = [read_sequences(run.dataset_folder, split, columns=columns)]
    for origin, rows in added.items():
        if split == "train" and len(rows):
            others = read_sequences(run.dataset_folder, origin, columns=columns)
            tables.append(others.take(pa.array(rows)))
    return pa.concat_tables(tables)


def make_model(run: PlannedRun, data: RunData) -> ProtCNN:
    """The network of a run with its initial weights, which the seed alone decides."""
    shape = run.inputs["model"]
    config = ProtCNNConfig(**{**shape, "dilations": tuple(shape["dilations"])})
    generator = torch.Generator().manual_seed(run.seed)
    return ProtCNN(config, len(data.families), generator=generator).to(data.device)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(name)
