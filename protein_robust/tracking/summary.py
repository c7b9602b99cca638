"""The one run of a study that holds its tables and figures."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from protein_robust.tracking.artifacts import copy_files, show_images
from protein_robust.tracking.source import source_tags
from protein_robust.tracking.stores import Experiment, connect, is_reachable
from protein_robust.tracking.views import save_view

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

_log = logging.getLogger(__name__)


def log_summary(
    experiment: Experiment,
    study: str,
    *,
    tables: Mapping[str, pd.DataFrame],
    figures: Iterable[Path] = (),
    files: Iterable[Path] = (),
    note: str | None = None,
) -> str | None:
    """Put the outcome of a study in one run, in place of that of the last time.

    The old one is deleted after the new one is complete, so one is there at any moment. The study's
    view is saved too, where it is not there yet.

    Args:
        experiment: where the study's trainings are.
        study: its name; the run is tagged ``study`` and ``kind=summary``.
        tables: frames with flat columns by name, for MLflow's table view.
        figures: PNG files; each becomes an image card and a file.
        files: CSV, Markdown and other files to be kept at the root; a folder is kept under its
            name, as ``data`` with the data card and the figures of the data.
        note: Markdown description of the run.

    Returns:
        The run's identifier, or None where the store failed, which is logged as a warning.
    """
    run_id = None
    try:
        client = connect(experiment.uri)
        old = _summaries(client, experiment.experiment_id, study)
        tags = {**source_tags(), "study": study, "kind": "summary"}
        if note is not None:
            tags["mlflow.note.content"] = note
        name = f"summary of {study}"
        run = client.create_run(experiment.experiment_id, tags=tags, run_name=name)
        run_id = str(run.info.run_id)
        _fill(client, run_id, tables=tables, figures=list(figures), files=files)
        client.set_terminated(run_id)
        for run_id_before in old:
            client.delete_run(run_id_before)
    except Exception as error:  # noqa: BLE001  the same tables and figures lie in the results folder
        _log.warning("tracking stopped: the summary of %s is not in MLflow: %s", study, error)
        discard_run(experiment, run_id)
        return None
    save_view(experiment, study)
    return run_id


def _fill(
    client: MlflowClient,
    run_id: str,
    *,
    tables: Mapping[str, pd.DataFrame],
    figures: list[Path],
    files: Iterable[Path],
) -> None:
    """Log everything; only files at the root can be compared side by side."""
    for name, frame in tables.items():
        # MLflow looks for columns of objects, and pandas 3 warns where those are of its text type.
        client.log_table(run_id, frame.astype(object), f"{name}.json")
    for path in (*files, *figures):
        copy_files(client, run_id, [path], path.name if path.is_dir() else None)
    show_images(client, run_id, figures)


def discard_run(experiment: Experiment, run_id: str | None) -> None:
    """Remove what is there of a run that failed, so that the one before it stays the only one.

    Args:
        experiment: where it is.
        run_id: the run; None where there is none.
    """
    if run_id is not None and is_reachable(experiment.uri):
        # Where even this fails, the next one that succeeds replaces both.
        with contextlib.suppress(Exception):
            connect(experiment.uri).delete_run(run_id)


def _summaries(client: MlflowClient, experiment_id: str, study: str) -> list[str]:
    """Find the summaries of this study that are there now."""
    runs = client.search_runs([experiment_id], "tags.kind = 'summary'", max_results=1000)
    # Compared here, because a quote in the name of a study has no escape in MLflow's filters.
    return [str(run.info.run_id) for run in runs if run.data.tags.get("study") == study]
