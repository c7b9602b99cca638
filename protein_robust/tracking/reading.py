"""A study read back from MLflow, as the frames that its tables and figures are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

from protein_robust.errors import InputError
from protein_robust.tracking.stores import connect, resolve_uri
from protein_robust.tracking.views import study_filter

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DATA = ("train_whole", "valid_whole", "test_whole", "train", "valid", "test")
"""Kinds of data that a metric may be of, the longer names first."""
NETWORKS = ("final", "best")
ORDER = "results.parquet"
"""Of the summary run: the same results, in the order of the study."""


def read_results(uri: str | None, study: str) -> pd.DataFrame:
    """Read the metrics of a study's runs, those that MLflow's pages show.

    Args:
        uri: tracking URI; None for the default one.
        study: its name.

    Returns:
        Columns ``noise, loss, seed, checkpoint, data, metric, value``, as
        `protein_robust.study.collect_results` gives them, in the study's order where the study has
        a summary, else in the order in which runs began.

    Raises:
        InputError: if the store has no run of this study.
    """
    client = connect(resolve_uri(uri))
    rows = [
        (*_key(run), *place, value)
        for run in _trainings(client, study)
        for name, value in run.data.metrics.items()
        if (place := _place(name)) is not None
    ]
    columns = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]
    results = pd.DataFrame(rows, columns=columns).astype({"value": "float64"})
    return _in_order(results, client, study)


def read_history(uri: str | None, study: str) -> pd.DataFrame:
    """Read the training curves of a study's runs, histograms among them.

    Args:
        uri: tracking URI; None for the default one.
        study: its name.

    Returns:
        One row for each noise, loss, seed and epoch, a column for each metric.

    Raises:
        InputError: if the store has no run of this study.
    """

    def read(path: Path) -> pd.DataFrame:
        lines = path.read_text(encoding="utf-8").splitlines()
        return pd.DataFrame([json.loads(line) for line in lines]).astype({"epoch": "int64"})

    return _read_files(uri, study, "history.jsonl", read)


def read_table(uri: str | None, study: str, name: str) -> pd.DataFrame:
    """Read a table of every run of a study.

    Args:
        uri: tracking URI; None for the default one.
        study: its name.
        name: of a file in a run's folder ``evaluation``, such as ``groups``.

    Returns:
        Columns noise, loss, seed and those of the table.

    Raises:
        InputError: if the store has no run of this study.
    """
    return _read_files(uri, study, f"evaluation/{name}.parquet", pd.read_parquet)


def _read_files(
    uri: str | None, study: str, path: str, read: Callable[[Path], pd.DataFrame]
) -> pd.DataFrame:
    """One file of each run that has it, one below the other."""
    client = connect(resolve_uri(uri))
    frames = []
    for run in _trainings(client, study):
        run_id = str(run.info.run_id)
        if not _has_file(client, run_id, path):
            continue  # a baseline has no epochs
        with TemporaryDirectory() as place:
            frame = read(Path(client.download_artifacts(run_id, path, place)))
        noise, loss, seed = _key(run)
        names = pd.DataFrame({"noise": noise, "loss": loss, "seed": seed}, index=frame.index)
        frames.append(pd.concat([names, frame], axis=1))
    if not frames:
        raise InputError(f"runs with {path} of study {study}", "none")
    return _in_order(pd.concat(frames, ignore_index=True), client, study)


def _trainings(client: MlflowClient, study: str) -> list[Run]:
    """The finished trainings and baselines of a study, the earliest first."""
    experiments = [str(found.experiment_id) for found in client.search_experiments()]
    wanted = f"{study_filter(study)} and tags.stage = 'train' and attributes.status = 'FINISHED'"
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            experiments, wanted, order_by=["attributes.start_time ASC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            break
    if not runs:
        raise InputError("the name of a study with finished runs in the store", repr(study))
    return runs


def _key(run: Run) -> tuple[str, str, int]:
    params = run.data.params
    return params["noise.name"], params["loss.label"], int(params["seed"])


def _place(name: str) -> tuple[str, str, str] | None:
    """``final/test_whole_accuracy`` as checkpoint, data and metric; None for a curve."""
    network, _, rest = name.partition("/")
    if network not in NETWORKS:
        return None
    for data in DATA:
        if rest.startswith(f"{data}_"):
            return network, data, rest.removeprefix(f"{data}_")
    return None


def _has_file(client: MlflowClient, run_id: str, path: str) -> bool:
    parent = path.rpartition("/")[0] or None
    return any(entry.path == path for entry in client.list_artifacts(run_id, parent))


def _in_order(frame: pd.DataFrame, client: MlflowClient, study: str) -> pd.DataFrame:
    """Sort rows as the study's own results are."""
    known = _study_order(client, study)
    places = [
        frame[column].map(_ranks([*known.get(column, []), *frame[column].unique()]))
        for column in ("noise", "seed", "loss")
    ]
    order = pd.concat(places, axis=1).sort_values(["noise", "seed", "loss"], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _ranks(names: Iterable[object]) -> dict[object, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


def _study_order(client: MlflowClient, study: str) -> dict[str, list[object]]:
    """Noise settings, losses and seeds as the study's summary has them; empty without one."""
    experiments = [str(found.experiment_id) for found in client.search_experiments()]
    wanted = f"{study_filter(study)} and tags.kind = 'summary'"
    newest = ["attributes.start_time DESC"]
    for run in client.search_runs(experiments, wanted, max_results=1, order_by=newest):
        if _has_file(client, str(run.info.run_id), ORDER):
            with TemporaryDirectory() as place:
                path = client.download_artifacts(str(run.info.run_id), ORDER, place)
                results = pd.read_parquet(path)
            return {name: list(results[name].unique()) for name in ("noise", "loss", "seed")}
    return {}
