"""Evaluate a trained run: the last and the best-validation network, on every kind of data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protein_robust import ranks
from protein_robust.atomic import replace_file
from protein_robust.evaluation import Predictions, predict, summarise
from protein_robust.study.data import RunData, make_model, read_split
from protein_robust.study.plan import PlannedRun, write_json
from protein_robust.training import load_weights, read_checkpoint

CHECKPOINTS = {"final": "last", "best": "best"}
"""The networks that are evaluated, and the checkpoint that holds each."""

Metrics = dict[str, dict[str, dict[str, float]]]


def evaluate_run(run: PlannedRun, data: RunData) -> Metrics:
    """Evaluate both networks and write `predictions.parquet` and `metrics.json`.

    Args:
        run: a trained run.
        data: what it reads.

    Returns:
        Values by network (``final``, ``best``), data (``train``, ``valid``, ``test``,
        ``test_whole``) and metric.

    Raises:
        InputError: if there is no checkpoint.
    """
    model = make_model(run, data)
    metrics: Metrics = {}
    tables = []
    state: dict[str, Any] = {}
    for network, checkpoint in CHECKPOINTS.items():
        folder = run.folder / "checkpoints" / checkpoint
        if checkpoint == "best" and not folder.exists():
            continue  # no validation data, so no best network
        state = load_weights(folder, model)
        metrics[network] = {}
        for kind in data.crops:
            if not len(data.crops[kind].length):
                continue
            batches = data.evaluation_batches(kind, run)
            predictions = predict(model, batches, precision=run.inputs["training"]["precision"])
            split = data.split_of(kind)
            label = data.datasets[split].label.cpu().numpy()
            metrics[network][kind] = summarise(predictions, label, data.clean_label[split])
            if ranks.rank() == 0:
                tables.append(_table(run, data, network, kind, predictions))
    if ranks.rank() != 0:
        return metrics
    table = pd.concat(tables, ignore_index=True)
    replace_file(
        run.folder / "predictions.parquet",
        lambda partial: table.to_parquet(partial, compression="zstd"),
    )
    write_json(run.folder / "metrics.json", {**metrics, "best_epoch": state["best_epoch"]})
    return metrics


def mark_done(run: PlannedRun) -> bool:
    """Note that an evaluated run is finished, unless its training is not at its end yet."""
    state = read_checkpoint(run.folder / "checkpoints" / "last")
    is_trained: bool = state["epoch"] == run.inputs["training"]["epochs"]
    if is_trained:
        write_json(run.folder / "done.json", {"key": run.key})
    return is_trained


def _table(
    run: PlannedRun, data: RunData, network: str, kind: str, predictions: Predictions
) -> pd.DataFrame:
    """One row a prediction; families by accession, since a class number means nothing outside."""
    split = data.split_of(kind)
    family = np.array([*data.families, None], dtype=object)  # the last place is that of -1
    label = data.datasets[split].label.cpu().numpy()
    clean = data.clean_label[split]
    names = read_split(run, split, data.added, columns=["sequence_name"])
    crops = data.crops[kind]
    return pd.DataFrame(
        {
            "checkpoint": network,
            "data": kind,
            "sequence_name": names["sequence_name"].to_pandas(),
            "crop_start": crops.start,
            "crop_length": crops.length,
            "crop_gap_start": crops.gap_start,
            "crop_gap_length": crops.gap_length,
            "sequence_length": data.datasets[split].lengths,
            "label": family[label],
            "clean_label": family[clean],
            "is_corrupted": _is_corrupted(data, split),
            "prediction": family[predictions.prediction],
            "max_probability": predictions.max_probability,
            "entropy_confidence": predictions.entropy_confidence,
            "label_probability": predictions.label_probability,
        }
    )


def _is_corrupted(data: RunData, split: str) -> pd.Series[bool] | NDArray[np.bool_]:
    """Whether each label is wrong; missing where nobody knows. Only in train any is."""
    if split != "train":
        return np.zeros(len(data.datasets[split]), dtype=np.bool_)
    noise = data.noise
    if noise.is_known.all():
        return noise.is_corrupted
    return pd.Series(noise.is_corrupted, dtype="boolean").mask(~noise.is_known)
