"""What finished baselines gave: rows of a study's results, and an MLflow run each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protein_robust.errors import InputError
from protein_robust.noise import read_noise
from protein_robust.study.baseline import SHARED, PlannedBaseline
from protein_robust.study.plan import PlannedRun
from protein_robust.tracking import Experiment, is_recorded, send_rest, start_run


def collect_baselines(named: Sequence[tuple[PlannedRun, str]]) -> list[tuple[Any, ...]]:
    """Rows of results of the baselines that stand in the studies of some runs.

    Args:
        named: runs, and their noise as tables show it.

    Returns:
        Noise, label, seed, checkpoint (``final``), data, metric, value; only for the noise settings
        and seeds of the runs.

    Raises:
        InputError: if the file of a finished baseline cannot be read.
    """
    return [
        (noise, label, seed, network, data, metric, value)
        for noise, label, seed, folder in find_baselines(named)
        for network, by_data in _read_json(folder / "metrics.json").items()
        for data, values in by_data.items()
        for metric, value in values.items()
    ]


def find_baselines(named: Sequence[tuple[PlannedRun, str]]) -> list[tuple[str, str, int, Path]]:
    """Find the finished baselines that stand in the studies of some runs.

    Args:
        named: runs, and their noise as tables show it.

    Returns:
        Noise, label, seed and folder of each; only for the noise settings and seeds of the runs.

    Raises:
        InputError: if the file of a finished baseline cannot be read.
    """
    cells: dict[tuple[Path, str, int], PlannedRun] = {}
    for run, noise in named:
        cells.setdefault((run.folder.parent.parent, noise, run.seed), run)
    found = []
    for (study, noise, seed), run in cells.items():
        for folder in _finished(study):
            content = _read_json(folder / "baseline.json")
            if all(content["inputs"][key] == run.inputs[key] for key in SHARED):
                found.append((noise, str(content["label"]), seed, folder))
    return found


def track_baseline(baseline: PlannedBaseline, experiment: Experiment) -> bool:
    """Give the store a finished baseline, as one flat run beside the trainings.

    Args:
        baseline: which one.
        experiment: where it shall be.

    Returns:
        Whether everything is there now.

    Raises:
        InputError: if one of its files cannot be read.
    """
    folder = baseline.folder
    if not is_recorded(folder):
        _log(baseline, _read_json(folder / "metrics.json"), experiment)
    return send_rest(experiment, folder)


def _log(baseline: PlannedBaseline, metrics: Mapping[str, Any], experiment: Experiment) -> None:
    run, folder = baseline.run, baseline.folder
    with start_run(
        experiment,
        baseline.title,
        params=_params(baseline),
        tags={"study": run.study, "run_key": baseline.key},
        folder=folder,
    ) as tracked:
        source, digest = str(run.dataset_folder), run.inputs["dataset_digest"]
        name = run.dataset_folder.name
        tracked.log_dataset(name, digest=digest, source=source, context="training")
        noise = read_noise(run.noise_folder).manifest["digest"]
        tracked.log_dataset(run.noise, digest=noise, source=str(run.noise_folder), context="noise")
        tracked.log_metrics(
            {
                f"{network}/{kind}_{metric}": value
                for network, by_data in metrics.items()
                for kind, values in by_data.items()
                for metric, value in values.items()
                if value is not None
            }
        )
        names = ("baseline.json", "metrics.json", "predictions.parquet")
        tracked.log_files([folder / name for name in names])


def _params(baseline: PlannedBaseline) -> dict[str, Any]:
    """Its inputs, flat, by the names that those of trainings have."""
    run, noise = baseline.run, baseline.run.inputs["noise"]
    labels = {
        k: json.dumps(v)[:500] if isinstance(v, dict) else v for k, v in noise["label"].items()
    }
    return {
        "seed": run.seed,
        "loss.label": baseline.label,
        "loss.name": baseline.name,
        "noise.name": run.noise,
        **{f"noise.{name}": value for name, value in labels.items()},
        **{f"noise.crop.{name}": value for name, value in noise["crop"].items()},
    }


def _finished(study: Path) -> list[Path]:
    """Folders of the finished baselines that a study has now."""
    index = study / "study.json"
    names = _read_json(index).get("baselines", []) if index.exists() else []
    folders = [study / "baselines" / name for name in names]
    return [folder for folder in folders if (folder / "done.json").exists()]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("a readable file of a study", f"{error}", path=path) from error
    return content
