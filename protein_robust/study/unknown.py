"""Whether a trained network knows what it does not know: test sequences against unknown ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.evaluation.centroids import Centroids, family_centroids
from protein_robust.evaluation.familiarity import SIGNS, familiarity
from protein_robust.evaluation.unknown import Separation
from protein_robust.ingest import read_families, read_heldout_families, read_sequences
from protein_robust.models import ProtCNN
from protein_robust.noise import draw_crops
from protein_robust.noise.decoys import reverse_residues, shuffle_residues
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import EVALUATION_BATCH_SIZE
from protein_robust.study.sequence_data import SequenceData

COLUMNS = (
    "checkpoint",
    "kind",
    "score",
    "num_known",
    "num_unknown",
    "auroc",
    "aupr",
    "fpr_at_95_tpr",
)
"""Of the table that `measure_unknown` gives."""

HELDOUT_CROPS, SHUFFLES = 20, 21
"""Streams of a run's seed: the crops of held-out sequences, and the orders of shuffled ones."""


def run_centroids(run: PlannedRun, data: SequenceData, model: ProtCNN) -> Centroids:
    """Find where the families of a run are, by its given labels and the fixed crops of train.

    Args:
        run: the run.
        data: what it reads.
        model: its trained network.

    Returns:
        The centroids, on the CPU, in every process.
    """
    batches = data.evaluation_batches("train", run)
    return family_centroids(model, batches, precision=run.inputs["training"]["precision"])


def measure_unknown(
    run: PlannedRun, data: SequenceData, model: ProtCNN, *, centroids: Centroids | None = None
) -> pd.DataFrame:
    """Measure how well each score tells test sequences from each kind of unknown ones.

    Kinds: ``held-out families`` and ``held-out clans`` (no class is of their clan), where the data
    set has any that the noise did not add to training, cropped by the rule of the run; and the
    ``shuffled`` and ``reversed`` test sequences, which get the crops of the test sequences, so that
    lengths agree one by one. Where open-set noise has added some sequences of a held-out family,
    its others count as unknown still, although the network has seen relatives of theirs.

    Args:
        run: the run.
        data: what it reads.
        model: its trained network.
        centroids: from `run_centroids`, where they are there already.

    Returns:
        A row for each kind and score, with `COLUMNS`; ``aupr`` has the known as the positive ones.
        The same in every process.
    """
    centroids = run_centroids(run, data, model) if centroids is None else centroids
    precision = run.inputs["training"]["precision"]
    batches = data.evaluation_batches("test", run)
    known = familiarity(model, batches, centroids, precision=precision)
    rows = []
    for kind, others in _unknown_batches(run, data):
        found = familiarity(model, others, centroids, precision=precision)
        for name in SIGNS:
            measured = asdict(Separation.of(known[name], found[name]))
            rows.append({"checkpoint": "final", "kind": kind, "score": name, **measured})
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _unknown_batches(run: PlannedRun, data: SequenceData) -> Iterator[tuple[str, SequenceBatches]]:
    """What is of no class, one kind at a time, since each has arrays on the device."""
    yield from _heldout_batches(run, data)
    test = data.datasets["test"]
    residues = test.tokens.cpu().numpy()
    rng = np.random.default_rng([run.seed, SHUFFLES])
    decoys = {
        "shuffled": lambda: shuffle_residues(residues, test.lengths, rng=rng),
        "reversed": lambda: reverse_residues(residues, test.lengths),
    }
    batches = data.evaluation_batches("test", run)
    for kind, draw in decoys.items():
        tokens = torch.from_numpy(draw()).to(data.device)
        yield kind, replace(batches, dataset=replace(test, tokens=tokens))


def _heldout_batches(run: PlannedRun, data: SequenceData) -> Iterator[tuple[str, SequenceBatches]]:
    """Sequences of held-out families that are not in train."""
    columns = ["sequence", "family_accession"]
    table = read_sequences(run.dataset_folder, "heldout", columns=columns)
    if not len(table):
        return
    unlabelled = np.full(len(table), -1, dtype=np.int64)
    dataset = SequenceDataset.from_arrow(table["sequence"], unlabelled, device=data.device)
    rng = np.random.default_rng([run.seed, HELDOUT_CROPS])
    batches = SequenceBatches(
        dataset,
        draw_crops(dataset.lengths, rule=data.crop_rule, rng=rng),
        batch_size=EVALUATION_BATCH_SIZE,
        max_residues=run.inputs["training"]["max_residues"],
    )
    is_left = np.ones(len(table), dtype=np.bool_)
    is_left[data.added.get("heldout", np.zeros(0, np.int64))] = False
    is_of_clan = _is_of_heldout_clan(run, table["family_accession"])
    for kind, is_kind in (("families", ~is_of_clan), ("clans", is_of_clan)):
        chosen = np.flatnonzero(is_left & is_kind)
        if len(chosen):
            yield f"held-out {kind}", replace(batches, subset=chosen)


def _is_of_heldout_clan(run: PlannedRun, accessions: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether the clan of each family is known, and no class is in it, shape (N,)."""
    of_classes = read_families(run.dataset_folder)["clan"]
    held_out = read_heldout_families(run.dataset_folder)
    is_near = pc.is_in(held_out["clan"], value_set=of_classes)
    is_far = pc.and_not(pc.is_valid(held_out["clan"]), is_near)
    far = held_out["family_accession"].filter(is_far)
    found: NDArray[np.bool_] = pc.is_in(accessions, value_set=far).to_numpy()
    return found
