"""Evaluate a trained run: the last and the best-validation network, on every kind of data."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import nn

from protein_robust import ranks
from protein_robust.atomic import replace_file
from protein_robust.evaluation import summarise
from protein_robust.evaluation.measures import measure
from protein_robust.models import ProtCNN
from protein_robust.study.data import make_model
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
from protein_robust.study.run_data import RunData
from protein_robust.study.sequence_data import SequenceData
from protein_robust.study.unknown import measure_unknown, run_centroids
from protein_robust.training import load_weights, read_checkpoint

CHECKPOINTS = {"final": "last", "best": "best"}
"""The networks that are evaluated, and the checkpoint that holds each."""

NAMES = (
    "checkpoint",
    "data",
    "sequence_name",
    "image_name",
    "label",
    "clean_label",
    "prediction",
    "second_prediction",
)
"""Columns of `predictions.parquet` that hold text."""

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
    if ranks.rank() == 0:
        # Until everything is new: a run that was done before must not seem so with half of it.
        (run.folder / "done.json").unlink(missing_ok=True)
    model = make_model(run, data)
    found = _Found()
    state: dict[str, Any] = {}
    for network, checkpoint in CHECKPOINTS.items():
        folder = run.folder / "checkpoints" / checkpoint
        if checkpoint == "best" and not folder.exists():
            continue  # no validation data, so no best network
        state = load_weights(folder, model)
        _evaluate_network(run, data, model, network=network, found=found)
    if ranks.rank() == 0:
        _write(run, found)
        content = {**found.metrics, "best_epoch": state["best_epoch"]}
        write_json(run.folder / "metrics.json", content)
    return found.metrics


@dataclass
class _Found:
    """What is found of a run's networks, one after the other."""

    metrics: Metrics = field(default_factory=dict)
    predictions: list[pa.Table] = field(default_factory=list)
    tables: dict[str, list[pd.DataFrame]] = field(default_factory=lambda: defaultdict(list))


def _evaluate_network(
    run: PlannedRun, data: RunData, model: nn.Module, *, network: str, found: _Found
) -> None:
    """Evaluate one network on every kind of data, and add what is found."""
    temperature = find_temperature(run, data, model)
    readings = _read_all(run, data, model, temperature)
    found.metrics[network] = _measure_all(run, data, readings, temperature)
    for kind, reading in readings.items():
        found.predictions.append(_table(run, data, network, kind, reading))
        for name, table in measure_tables(run, data, kind, reading).items():
            table.insert(0, "data", kind)
            table.insert(0, "checkpoint", network)
            found.tables[name].append(table)
    if network == "final" and isinstance(data, SequenceData):
        assert isinstance(model, ProtCNN)  # what sequences are given to
        for name, table in _of_final_network(run, data, model, temperature).items():
            found.tables[name].append(table)


def mark_done(run: PlannedRun) -> bool:
    """Note that an evaluated run is finished, unless its training is not at its end yet."""
    state = read_checkpoint(run.folder / "checkpoints" / "last")
    is_trained: bool = state["epoch"] == run.inputs["training"]["epochs"]
    if is_trained:
        write_json(run.folder / "done.json", {"key": run.key})
    return is_trained


def _read_all(
    run: PlannedRun, data: RunData, model: nn.Module, temperature: float | None
) -> dict[str, Reading]:
    """What a network says of every kind of data that has examples."""
    return {
        kind: read(run, model, data.evaluation_batches(kind, run), temperature)
        for kind in data.kinds
        if data.size(data.split_of(kind))
    }


def _measure_all(
    run: PlannedRun, data: RunData, readings: dict[str, Reading], temperature: float | None
) -> dict[str, dict[str, float]]:
    """The metrics of every kind of data."""
    clan_of = clan_numbers(run)
    metrics = {}
    for kind, reading in readings.items():
        split = data.split_of(kind)
        label = data.label[split]
        rng = np.random.default_rng([run.seed, BOOTSTRAP])
        metrics[kind] = {
            **summarise(reading.predictions, label, data.clean_label[split]),
            **measure(reading.predictions, reading.calibrated, label, clan_of=clan_of, rng=rng),
        }
    if temperature is not None:
        metrics["valid"]["temperature"] = temperature
    return metrics


def _of_final_network(
    run: PlannedRun, data: SequenceData, model: ProtCNN, temperature: float | None
) -> dict[str, pd.DataFrame]:
    """What is asked of the result only: shorter and shorter parts, the unknown, new sequences.

    Of a network for images nothing of the kind is asked: an image has no length, no decoys, and
    `predict` reads sequences.
    """
    centroids = run_centroids(run, data, model)
    tables = {"unknown": measure_unknown(run, data, model, centroids=centroids)}
    if data.size("test"):
        kept = measure_kept_fractions(run, data, model, temperature)
        kept.insert(0, "checkpoint", "final")
        tables["kept_fractions"] = kept
    package_run(run, data, model, temperature, centroids=centroids)
    return tables


def _write(run: PlannedRun, found: _Found) -> None:
    """Write the predictions and each table of `evaluation/`, its parts one below the other."""
    replace_file(run.folder / "predictions.parquet", partial(_write_parts, found.predictions))
    folder = run.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    for name, parts in found.tables.items():
        write = partial(pd.concat(parts, ignore_index=True).to_parquet, compression="zstd")
        replace_file(folder / f"{name}.parquet", write)


def _write_parts(parts: list[pa.Table], path: Path) -> None:
    """Write predictions part by part: of a million sequences they need no room twice."""
    with pq.ParquetWriter(path, parts[0].schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part.cast(parts[0].schema))


def _table(run: PlannedRun, data: RunData, network: str, kind: str, reading: Reading) -> pa.Table:
    """One row a prediction; families by accession, since a class number means nothing outside."""
    split = data.split_of(kind)
    family = np.array([*data.families, None], dtype=object)  # the last place is that of -1
    label, clean = data.label[split], data.clean_label[split]
    column, names = data.names(run, split)
    said, scaled = reading.predictions, reading.calibrated
    frame = pd.DataFrame(
        {
            "checkpoint": network,
            "data": kind,
            column: names.to_pandas(),
            **data.facts(kind),
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
    types = {name: pa.string() for name in NAMES}  # also where all of them are missing
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = [column.with_type(types.get(column.name, column.type)) for column in table.schema]
    return table.cast(pa.schema(columns))


def _is_corrupted(data: RunData, split: str) -> pd.Series[bool] | NDArray[np.bool_]:
    """Whether each label is wrong; missing where nobody knows. Only in train any is."""
    if split != "train":
        return np.zeros(data.size(split), dtype=np.bool_)
    noise = data.noise
    if noise.is_known.all():
        return noise.is_corrupted
    return pd.Series(noise.is_corrupted, dtype="boolean").mask(~noise.is_known)
