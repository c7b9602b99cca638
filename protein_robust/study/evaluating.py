"""Evaluate a trained run: the last and the best-validation network, on every kind of data."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protein_robust import ranks
from protein_robust.atomic import replace_file
from protein_robust.evaluation import summarise
from protein_robust.evaluation.measures import measure
from protein_robust.models import ProtCNN
from protein_robust.study.data import RunData, make_model, read_split
from protein_robust.study.measuring import (
    BOOTSTRAP,
    Reading,
    clan_numbers,
    find_temperature,
    measure_kept_fractions,
    measure_tables,
    read,
)
from protein_robust.study.packaging import package_run
from protein_robust.study.plan import PlannedRun, write_json
from protein_robust.study.unknown import measure_unknown, run_centroids
from protein_robust.training import load_weights, read_checkpoint

CHECKPOINTS = {"final": "last", "best": "best"}
"""The networks that are evaluated, and the checkpoint that holds each."""

Metrics = dict[str, dict[str, dict[str, float]]]


def evaluate_run(run: PlannedRun, data: RunData) -> Metrics:
    """Evaluate both networks, and write all that is found.

    `predictions.parquet`, the tables of `evaluation/`, the final network as a classifier in
    `model/`, and last `metrics.json`.

    Args:
        run: a trained run.
        data: what it reads.

    Returns:
        Values by network (``final``, ``best``), data (``train``, ``valid``, ``test``, and each
        with ``_whole`` where sequences are cropped) and metric.

    Raises:
        InputError: if there is no checkpoint.
    """
    model = make_model(run, data)
    metrics: Metrics = {}
    predictions: list[pd.DataFrame] = []
    tables: dict[str, list[pd.DataFrame]] = defaultdict(list)
    state: dict[str, Any] = {}
    for network, checkpoint in CHECKPOINTS.items():
        folder = run.folder / "checkpoints" / checkpoint
        if checkpoint == "best" and not folder.exists():
            continue  # no validation data, so no best network
        state = load_weights(folder, model)
        temperature = find_temperature(run, data, model)
        readings = _read_all(run, data, model, temperature)
        metrics[network] = _measure_all(run, data, readings, temperature)
        for kind, reading in readings.items():
            predictions.append(_table(run, data, network, kind, reading))
            for name, table in measure_tables(run, data, kind, reading).items():
                table.insert(0, "data", kind)
                table.insert(0, "checkpoint", network)
                tables[name].append(table)
        if network == "final":
            for name, table in _of_final_network(run, data, model, temperature).items():
                tables[name].append(table)
    if ranks.rank() == 0:
        _write(run, {"predictions": predictions}, "")
        _write(run, tables, "evaluation")
        write_json(run.folder / "metrics.json", {**metrics, "best_epoch": state["best_epoch"]})
    return metrics


def mark_done(run: PlannedRun) -> bool:
    """Note that an evaluated run is finished, unless its training is not at its end yet."""
    state = read_checkpoint(run.folder / "checkpoints" / "last")
    is_trained: bool = state["epoch"] == run.inputs["training"]["epochs"]
    if is_trained:
        write_json(run.folder / "done.json", {"key": run.key})
    return is_trained


def _read_all(
    run: PlannedRun, data: RunData, model: ProtCNN, temperature: float | None
) -> dict[str, Reading]:
    """What a network says of every kind of data that has examples."""
    return {
        kind: read(run, model, data.evaluation_batches(kind, run), temperature)
        for kind in data.crops
        if len(data.crops[kind].length)
    }


def _measure_all(
    run: PlannedRun, data: RunData, readings: dict[str, Reading], temperature: float | None
) -> dict[str, dict[str, float]]:
    """The metrics of every kind of data."""
    clan_of = clan_numbers(run)
    metrics = {}
    for kind, reading in readings.items():
        split = data.split_of(kind)
        label = data.datasets[split].label.cpu().numpy()
        rng = np.random.default_rng([run.seed, BOOTSTRAP])
        metrics[kind] = {
            **summarise(reading.predictions, label, data.clean_label[split]),
            **measure(reading.predictions, reading.calibrated, label, clan_of=clan_of, rng=rng),
        }
    if temperature is not None:
        metrics["valid"]["temperature"] = temperature
    return metrics


def _of_final_network(
    run: PlannedRun, data: RunData, model: ProtCNN, temperature: float | None
) -> dict[str, pd.DataFrame]:
    """What is asked of the result only: shorter and shorter parts, the unknown, new sequences."""
    centroids = run_centroids(run, data, model)
    tables = {"unknown": measure_unknown(run, data, model, centroids=centroids)}
    if len(data.datasets["test"]):
        kept = measure_kept_fractions(run, data, model, temperature)
        kept.insert(0, "checkpoint", "final")
        tables["kept_fractions"] = kept
    package_run(run, data, model, temperature, centroids=centroids)
    return tables


def _write(run: PlannedRun, tables: dict[str, list[pd.DataFrame]], folder: str) -> None:
    """Write each table, its parts one below the other."""
    (run.folder / folder).mkdir(exist_ok=True)
    for name, parts in tables.items():
        write = partial(pd.concat(parts, ignore_index=True).to_parquet, compression="zstd")
        replace_file(run.folder / folder / f"{name}.parquet", write)


def _table(
    run: PlannedRun, data: RunData, network: str, kind: str, reading: Reading
) -> pd.DataFrame:
    """One row a prediction; families by accession, since a class number means nothing outside."""
    split = data.split_of(kind)
    family = np.array([*data.families, None], dtype=object)  # the last place is that of -1
    label = data.datasets[split].label.cpu().numpy()
    clean = data.clean_label[split]
    names = read_split(run, split, data.added, columns=["sequence_name"])
    crops, said, scaled = data.crops[kind], reading.predictions, reading.calibrated
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
            "prediction": family[said.prediction],
            "max_probability": said.max_probability,
            "second_prediction": family[said.second_prediction],
            "second_probability": said.second_probability,
            "calibrated_max_probability": np.nan if scaled is None else scaled.max_probability,
            "entropy_confidence": said.entropy_confidence,
            "label_probability": said.label_probability,
            "energy": said.energy,
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
