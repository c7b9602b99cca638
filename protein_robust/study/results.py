"""Collect what finished runs gave, as the frames that `protein_robust.report` turns into tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from protein_robust.errors import InputError
from protein_robust.study.baseline import PlannedBaseline
from protein_robust.study.baseline_results import collect_baselines, find_baselines
from protein_robust.study.plan import PlannedRun, read_run, write_json


def write_index(
    folder: Path, runs: Sequence[PlannedRun], baselines: Sequence[PlannedBaseline] = ()
) -> None:
    """Note which runs and baselines the study consists of now, under their present names.

    Older ones may lie beside them.
    """
    for run in runs:
        run.write()
    index = {
        "runs": [run.folder.name for run in runs],
        "baselines": [baseline.folder.name for baseline in baselines],
    }
    write_json(folder / "study.json", index)


def find_runs(folders: Sequence[Path]) -> list[PlannedRun]:
    """The finished runs of study folders and run folders, each once.

    Args:
        folders: each the output folder of a study or the folder of one run.

    Returns:
        Finished runs, in the order of their studies.

    Raises:
        InputError: if a folder is neither, or none of the runs is finished.
    """
    places = dict.fromkeys(place.resolve() for folder in folders for place in _run_folders(folder))
    runs = [read_run(place) for place in places]
    done = [run for run in runs if run.is_done]
    if not done:
        actual = f"{len(runs)} that are not trained, or not evaluated yet (`run` does both)"
        raise InputError("finished runs", actual, path=folders[0])
    return done


def _run_folders(folder: Path) -> list[Path]:
    """The run folders of a study folder, or a run folder itself."""
    if (folder / "run.json").exists():
        return [folder]
    index = folder / "study.json"
    if not index.exists():
        found = "none that has a study.json or run.json" if folder.exists() else "nothing there"
        raise InputError("the output folder of a study or of a run", found, path=folder)
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("the list of a study's runs", f"{error}", path=index) from error
    return [folder / "runs" / name for name in names]


def collect_results(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """One row a value: noise, loss, seed, checkpoint, data, metric, value.

    Those of the studies' baselines come last, their label as the loss.

    Args:
        runs: finished runs. Where they lie in several study folders, the folder's name stands
            before the noise.

    Returns:
        The frame, in the order of the runs.

    Raises:
        InputError: if runs of one noise, loss and seed are several, or runs that differ in more
            than their seed would be averaged.
    """
    rows = []
    named = named_runs(runs)
    for run, noise in named:
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        rows += [
            (noise, run.loss_label, run.seed, network, data, metric, value)
            for network in ("final", "best")
            for data, values in metrics.get(network, {}).items()
            for metric, value in values.items()
        ]
    rows += collect_baselines(named)
    columns = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).astype({"value": "float64"})


def collect_tables(runs: Sequence[PlannedRun], name: str) -> pd.DataFrame:
    """Put the tables of one name that runs have one below the other.

    Args:
        runs: finished runs.
        name: of a file in the folder `evaluation` of each run, such as ``groups``.

    Returns:
        Columns noise, loss, seed, as `collect_results` names them, and those of the table; without
        rows where no run has it.

    Raises:
        InputError: as `collect_results`.
    """
    frames = [pd.DataFrame(columns=["noise", "loss", "seed"])]
    for run, noise in named_runs(runs):
        path = run.folder / "evaluation" / f"{name}.parquet"
        if path.exists():
            frames.append(_with_names(pd.read_parquet(path), run, noise))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def collect_predictions(
    runs: Sequence[PlannedRun], data: str = "test", columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Put what the final networks, then baselines, say of one kind of data one below the other.

    Args:
        runs: finished runs.
        data: such as ``test``.
        columns: of `predictions.parquet` that are wanted; None for all.

    Returns:
        Columns noise, loss, seed and those of `predictions.parquet`, with ``row``: the position
        in the data, the same sequence in every run of one data set. Baselines have no
        probabilities, and no ``prediction`` where nothing was found.

    Raises:
        InputError: as `collect_results`.
    """
    wanted = [("checkpoint", "==", "final"), ("data", "==", data)]
    chosen = None if columns is None else list(columns)
    frames = []
    for run, noise in named_runs(runs):
        path = run.folder / "predictions.parquet"
        frame = pd.read_parquet(path, filters=wanted, columns=chosen)
        frame = _with_names(frame, run, noise)
        frames.append(frame.assign(row=range(len(frame))))
    for noise, label, seed, folder in find_baselines(named_runs(runs)):
        path = folder / "predictions.parquet"
        frame = pd.read_parquet(path, filters=wanted, columns=chosen)
        frame = _with_key(frame, noise, label, seed)
        frames.append(frame.assign(row=range(len(frame))))
    return pd.concat(frames, ignore_index=True)


def _with_names(frame: pd.DataFrame, run: PlannedRun, noise: str) -> pd.DataFrame:
    return _with_key(frame, noise, run.loss_label, run.seed)


def _with_key(frame: pd.DataFrame, noise: str, loss: str, seed: int) -> pd.DataFrame:
    frame.insert(0, "noise", noise)
    frame.insert(1, "loss", loss)
    frame.insert(2, "seed", seed)
    return frame


def collect_history(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """One row an epoch: noise, loss, seed, epoch and a column for each metric."""
    frames = []
    for run, noise in named_runs(runs):
        text = (run.folder / "history.jsonl").read_text(encoding="utf-8")
        frame = pd.DataFrame([json.loads(line) for line in text.splitlines()])
        frames.append(_with_names(frame, run, noise).astype({"epoch": "int64"}))
    return pd.concat(frames, ignore_index=True)


def named_runs(runs: Sequence[PlannedRun]) -> list[tuple[PlannedRun, str]]:
    """Each run with its noise as tables show it; only runs that differ in the seed share a cell."""
    studies = {run.folder.parent.parent for run in runs}
    named = [
        (run, f"{run.folder.parent.parent.name}: {run.noise}" if len(studies) > 1 else run.noise)
        for run in runs
    ]
    cells: dict[tuple[str, str], PlannedRun] = {}
    seen: set[tuple[str, str, int]] = set()
    for run, noise in named:
        first = cells.setdefault((noise, run.loss_label), run)
        same = _without_seed(first) == _without_seed(run)
        if not same or (noise, run.loss_label, run.seed) in seen:
            raise InputError(
                f"runs of {run.loss_label} under {noise} that differ in the seed, and in it only",
                f"{first.folder} and {run.folder}",
            )
        seen.add((noise, run.loss_label, run.seed))
    return named


def _without_seed(run: PlannedRun) -> dict[str, Any]:
    """What runs that are averaged have in common; a teacher has the seed of its run."""
    return {**run.inputs, "seed": None, "teacher": run.teacher_name}
