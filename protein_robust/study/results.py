"""Collect what finished runs gave, as the frames that `protein_robust.report` turns into tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from protein_robust.errors import InputError
from protein_robust.study.plan import PlannedRun, read_run, write_json


def write_index(folder: Path, runs: Sequence[PlannedRun]) -> None:
    """Note which runs the study consists of now; older ones may lie beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "study.json", {"runs": [run.folder.name for run in runs]})


def find_runs(folders: Sequence[Path]) -> list[PlannedRun]:
    """The finished runs of study folders and run folders.

    Args:
        folders: each the output folder of a study or the folder of one run.

    Returns:
        Finished runs, in the order of their studies.

    Raises:
        InputError: if a folder is neither, or none of the runs is finished.
    """
    runs = []
    for folder in folders:
        index = folder / "study.json"
        if index.exists():
            names = json.loads(index.read_text(encoding="utf-8"))["runs"]
            present = [folder / "runs" / name for name in names]
            runs += [read_run(place) for place in present if (place / "run.json").exists()]
        elif (folder / "run.json").exists():
            runs.append(read_run(folder))
        else:
            raise InputError(
                "the output folder of a study or of a run",
                "none that has a study.json or run.json" if folder.exists() else "nothing there",
                path=folder,
            )
    done = [run for run in runs if run.is_done]
    if not done:
        raise InputError("finished runs", f"{len(runs)} unfinished ones", path=folders[0])
    return done


def collect_results(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """One row a value: noise, loss, seed, checkpoint, data, metric, value.

    Args:
        runs: finished runs. Where they are of several studies, the study stands before the noise.

    Returns:
        The frame, in the order of the runs.
    """
    rows = []
    for run, noise in _named(runs):
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        rows += [
            (noise, run.loss_label, run.seed, network, data, metric, value)
            for network in ("final", "best")
            for data, values in metrics.get(network, {}).items()
            for metric, value in values.items()
        ]
    columns = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def collect_history(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """One row an epoch: noise, loss, seed, epoch and a column for each metric."""
    frames = []
    for run, noise in _named(runs):
        text = (run.folder / "history.jsonl").read_text(encoding="utf-8")
        frame = pd.DataFrame([json.loads(line) for line in text.splitlines()])
        frame.insert(0, "noise", noise)
        frame.insert(1, "loss", run.loss_label)
        frame.insert(2, "seed", run.seed)
        frames.append(frame.astype({"epoch": "int64"}))
    return pd.concat(frames, ignore_index=True)


def _named(runs: Sequence[PlannedRun]) -> list[tuple[PlannedRun, str]]:
    several = len({run.study for run in runs}) > 1
    return [(run, f"{run.study}: {run.noise}" if several else run.noise) for run in runs]
