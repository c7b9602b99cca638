"""MLflow's pages: the process that shows a store of this machine, and links to where to look."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from protein_robust.errors import InputError
from protein_robust.tracking.stores import connect, resolve_uri, sqlite_path
from protein_robust.tracking.views import view_key

if TYPE_CHECKING:
    from mlflow.entities import Run


LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `serve_ui` listens if nothing else is said."""
_KIND = "workflowType=machine_learning"
"""Without it, MLflow's pages open for language models."""


def study_links(
    experiment_id: str,
    study: str,
    *,
    summary_id: str | None = None,
    run_ids: Sequence[str] = (),
    model: str | None = None,
    pages: str = LOCAL_PAGES,
) -> dict[str, str]:
    """Give links to the pages of a study.

    Args:
        experiment_id: MLflow's identifier.
        study: name that the runs are tagged with.
        summary_id: the run that `log_summary` made, if there is one.
        run_ids: the trainings to compare, as `find_run_ids` gives them; a page of one compares
            nothing.
        model: name of the registered model, if there is one.
        pages: where the server that shows the store listens.

    Returns:
        Addresses by name: ``charts``, ``tables`` and ``runs``, in the view that `save_view` saved;
        ``compare``, parameters and values side by side; ``model``; with a summary also ``report``,
        ``table``, ``figures`` and ``data``, its data card.
    """
    start = f"{pages.rstrip('/')}/#"
    experiment = f"{start}/experiments/{experiment_id}"
    page = f"{experiment}/runs?{_KIND}&viewStateShareKey={view_key(study)}"
    modes = {"charts": "CHART", "tables": "ARTIFACT"}
    links = {name: f"{page}&compareRunsMode={mode}" for name, mode in modes.items()}
    links["runs"] = page
    if len(run_ids) > 1:
        runs, experiments = (quote(json.dumps(part)) for part in (list(run_ids), [experiment_id]))
        # The page fails where another parameter is before the runs.
        links["compare"] = f"{start}/compare-runs?runs={runs}&experiments={experiments}&{_KIND}"
    if model is not None:
        links["model"] = f"{start}/models/{quote(model)}?{_KIND}"
    if summary_id is not None:
        files = {
            "report": "report.html",
            "table": "table.html",
            "figures": "method_comparison.png",
            "data": "data/data_card.md",
        }
        summary = f"{experiment}/runs/{summary_id}/artifacts"
        links |= {name: f"{summary}/{file}?{_KIND}" for name, file in files.items()}
    return links


def data_link(experiment_id: str, run_id: str, *, pages: str = LOCAL_PAGES) -> str:
    """Give a link to the data card that `log_data_card` logged.

    Args:
        experiment_id: MLflow's identifier.
        run_id: the run of the data set.
        pages: where the server that shows the store listens.

    Returns:
        The address.
    """
    run = f"{pages.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
    return f"{run}/artifacts/data_card.md?{_KIND}"


def list_studies(uri: str) -> list[tuple[str, str]]:
    """Find the studies that a store holds.

    Args:
        uri: tracking URI of a store that exists.

    Returns:
        (experiment identifier, study) of each, the newest first.
    """
    client = connect(resolve_uri(uri))
    found: dict[tuple[str, str], None] = {}
    for experiment in client.search_experiments():
        identifier, token = str(experiment.experiment_id), None
        while True:
            page = client.search_runs([identifier], "tags.stage = 'train'", page_token=token)
            found |= {(identifier, run.data.tags["study"]): None for run in page if _has_study(run)}
            token = page.token
            if not token:
                break
    return list(found)


def serve_ui(uri: str, *, host: str = "127.0.0.1", port: int = 5000) -> subprocess.Popen[bytes]:
    """Start MLflow's pages over an SQLite store, in a process of its own.

    In its light form: one worker and none of the job runners (about 560 MB instead of 2.6 GB). It
    answers after 10 to 15 s.

    Args:
        uri: tracking URI; a server shows its own pages.
        host: address to listen at; the default is reachable from this machine only.
        port: port to listen at.

    Returns:
        The running process; the caller waits for it or ends it.

    Raises:
        InputError: for the URI of a server, a store that does not exist, or a port in use.
    """
    uri = resolve_uri(uri)
    path = sqlite_path(uri)
    if path is None:
        raise InputError("an SQLite store to show", f"{uri}, which shows its own pages")
    if not path.is_file():
        raise InputError("a tracking database", "no file", path=path)
    _check_port(host, port)
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    address = ["--host", host, "--port", str(port)]
    quiet = ["--uvicorn-opts", "--log-level warning"]  # not a line for each request
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *address]
    return subprocess.Popen([*command, "--workers", "1", *quiet], env=environment, cwd=path.parent)


def _has_study(run: Run) -> bool:
    """Tell the runs of this package from others in the same store."""
    return "study" in run.data.tags


def _check_port(host: str, port: int) -> None:
    """Raise where something already listens, which MLflow itself says only seconds later."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Without this a port that was closed a moment ago would count as busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError("a free address", f"{host}:{port} ({reason})") from error
