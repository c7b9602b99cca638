"""What a run on sequences reads: residues of each split, and the fixed crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from protein_robust.datasets import SequenceBatches, SequenceDataset, mixing_window
from protein_robust.evaluation.groups import KEPT_FRACTIONS, LENGTHS, Grouping, group_by_ends
from protein_robust.ingest import SPLITS, read_families, read_sequences
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule, Crops, Noise, draw_crops
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import EVALUATION_BATCH_SIZE, RunData, split_labels


@dataclass(frozen=True)
class SequenceData(RunData):
    """The sequences of one run, on its device.

    Attributes:
        datasets: of each split; labels are the given ones.
        added: rows of the other parts of the data set that are in train, by part, after its own.
        crops: the fixed ones of each kind of evaluation data: ``train``, ``valid``, ``test``, and,
            where sequences are cropped, ``train_whole``, ``valid_whole`` and ``test_whole``: the
            sequences as they are.
        crop_rule: from which training draws.
    """

    datasets: Mapping[str, SequenceDataset]
    added: Mapping[str, NDArray[np.int64]]
    crops: Mapping[str, Crops]
    crop_rule: CropRule

    @property
    def kinds(self) -> list[str]:
        """The splits, and, where they are cropped, whole ones."""
        return list(self.crops)

    def names(self, run: PlannedRun, split: str) -> tuple[str, pa.ChunkedArray]:
        """``sequence_name``, those that noise added last."""
        table = read_split(run, split, self.added, columns=["sequence_name"])
        return "sequence_name", table["sequence_name"]

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
        self, kind: str, run: PlannedRun, subset: NDArray[np.int64] | None = None
    ) -> SequenceBatches:
        """Sorted batches with the fixed crops."""
        return self.cropped_batches(self.split_of(kind), self.crops[kind], run, subset)

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

    def network(
        self, shape: Mapping[str, object], generator: torch.Generator | None = None
    ) -> ProtCNN:
        """ProtCNN."""
        return ProtCNN(_config(**shape), len(self.families), generator=generator)

    def facts(self, kind: str) -> dict[str, NDArray[np.int64]]:
        """The part of each sequence that is seen."""
        crops = self.crops[kind]
        return {
            "crop_start": crops.start,
            "crop_length": crops.length,
            "crop_gap_start": crops.gap_start,
            "crop_gap_length": crops.gap_length,
            "sequence_length": self.datasets[self.split_of(kind)].lengths,
        }

    def groupings(self, run: PlannedRun, kind: str) -> dict[str, Grouping]:
        """Also by length and part that are seen."""
        seen, whole = self.crops[kind].length, self.datasets[self.split_of(kind)].lengths
        general = super().groupings(run, kind)
        return {
            "family_size": general.pop("family_size"),
            "length": group_by_ends(seen, LENGTHS),
            "kept_fraction": group_by_ends(seen / whole, KEPT_FRACTIONS),
            **general,
        }


def _config(**shape: object) -> ProtCNNConfig:
    dilations = shape.pop("dilations")
    return ProtCNNConfig(**shape, dilations=tuple(dilations))  # type: ignore[arg-type]


def load_sequences(run: PlannedRun, noise: Noise, device: torch.device) -> SequenceData:
    """Read the sequences of a run.

    Args:
        run: the run, whose data set is the one that it was planned with.
        noise: of the run.
        device: where the arrays go.

    Returns:
        The data.
    """
    datasets, given, clean_label = {}, {}, {}
    for split in SPLITS:
        table = read_split(run, split, noise.added, columns=["sequence", "label"])
        label, clean_label[split] = split_labels(table, split, noise)
        datasets[split] = SequenceDataset.from_arrow(table["sequence"], label, device=device)
        given[split] = label
    rule = CropRule(**run.inputs["noise"]["crop"])
    crops = {split: noise.crops[split] for split in SPLITS if split in noise.crops}
    if rule.kind != "none":
        for split in SPLITS:
            lengths, rng = datasets[split].lengths, np.random.default_rng(0)
            crops[f"{split}_whole"] = draw_crops(lengths, rule=CropRule(), rng=rng)
    return SequenceData(
        label=given,
        clean_label=clean_label,
        noise=noise.labels,
        families=read_families(run.dataset_folder)["family_accession"].to_pylist(),
        device=device,
        datasets=datasets,
        added=noise.added,
        crops=crops,
        crop_rule=rule,
    )


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
