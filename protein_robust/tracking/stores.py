"""Where tracked values go: an SQLite file of this machine, or an MLflow server.

A new SQLite file must be touched by one process first (`prepare`): when several processes migrate
it at once it stays broken for good. The other SQL dialects of MLflow stand behind a server.
"""

from __future__ import annotations

import http.client
import logging
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from protein_robust.errors import InputError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
EXPECTED_URI = "a tracking URI such as `sqlite:///results/mlflow.db` or `http://127.0.0.1:5000`"
REACH_SECONDS = 3.0
"""How long a server may take to answer its health page before it counts as unreachable."""

_SQLITE_MAGIC = b"SQLite format 3\x00"
_ENVIRONMENT: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A model's requirements are ours, whatever project the current folder may be of.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own defaults (7 retries, 120 s each) hide for minutes that a server is gone.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
_LOG_LEVELS: Mapping[str, int] = {
    "mlflow": logging.WARNING,
    "alembic": logging.WARNING,
    # What these report is reported once by `Sender`, with where the values still are.
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.system_metrics": logging.CRITICAL,
    "urllib3.connectionpool": logging.ERROR,
}


@dataclass(frozen=True)
class Experiment:
    """One experiment of one tracking store.

    Attributes:
        uri: resolved tracking URI.
        experiment_id: MLflow's identifier of the experiment there.
    """

    uri: str
    experiment_id: str


def resolve_uri(configured: str | None) -> str:
    """Give the tracking URI in use: the configured one, else the environment's, else a local file.

    A relative SQLite path is made absolute: MLflow reads it against the folder of each call.

    Args:
        configured: URI of the configuration; None or empty where it has none.

    Returns:
        ``http(s)://...`` without a final slash, or ``sqlite:////absolute/path``.

    Raises:
        InputError: for a folder of run files, SQLite in memory, or any other scheme.
    """
    uri = configured or os.environ.get(URI_VARIABLE) or "sqlite:///mlflow.db"
    try:
        scheme, host = urlsplit(uri).scheme, urlsplit(uri).netloc
    except ValueError as error:
        raise InputError(EXPECTED_URI, f"{uri!r}") from error
    if scheme in ("http", "https") and host:
        return uri.rstrip("/")
    if scheme == "sqlite":
        return _absolute_sqlite(uri)
    if scheme in ("", "file"):
        raise InputError(
            f"{EXPECTED_URI} (MLflow no longer writes folders of run files)", f"{uri!r}"
        )
    raise InputError(EXPECTED_URI, f"{uri!r}")


def check_store(uri: str) -> None:
    """Refuse a store that cannot be used, without making anything.

    Args:
        uri: tracking URI, as `resolve_uri` gives it.

    Raises:
        InputError: if no server answers there, or a file there cannot be an SQLite store.
    """
    path = sqlite_path(uri)
    if path is None:
        _check_server(uri)
    elif path.exists():
        _check_sqlite(path)


def prepare(uri: str, name: str, *, note: str | None = None) -> Experiment:
    """Create the store and the experiment where they are missing, in this one process.

    Args:
        uri: tracking URI, as `resolve_uri` gives it.
        name: experiment name.
        note: Markdown shown above the experiment's list of runs; None leaves it as it is.

    Returns:
        The experiment, ready for several processes.

    Raises:
        InputError: if the store cannot be reached, read or written, or the experiment was deleted.
    """
    uri = resolve_uri(uri)
    path = sqlite_path(uri)
    if path is None:
        _check_server(uri)
    else:
        _check_sqlite(path)
    set_environment()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = connect(uri)
        experiment_id = _find_or_create(client, name, path)
        if note is not None:
            client.set_experiment_tag(experiment_id, "mlflow.note.content", note)
    except (MlflowException, SQLAlchemyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError("a tracking store that MLflow can use", f"{uri}: {reason}") from error
    return Experiment(uri, experiment_id)


def connect(uri: str) -> MlflowClient:
    """Make a client whose failures are quick and whose progress messages are off.

    Settings already in the environment are kept.
    """
    load_mlflow(uri)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


@cache
def load_mlflow(uri: str) -> None:
    """Import what a client of this store needs.

    Threads share the list of ignored warnings, so the main one calls this before another connects.
    """
    set_environment()
    with warnings.catch_warnings():
        # What MLflow's tables use of SQLAlchemy is nothing that a user of ours could change.
        warnings.simplefilter("ignore", DeprecationWarning)
        import mlflow.tracking

        if sqlite_path(uri) is not None:
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    # After the import: MLflow sets its own levels then.
    for logger, level in _LOG_LEVELS.items():
        logging.getLogger(logger).setLevel(level)


def set_environment() -> None:
    """Set what MLflow reads when it is imported, where the user has not."""
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)


def sqlite_path(uri: str) -> Path | None:
    """Give the file of an SQLite URI, None for a server."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def store_problem(uri: str) -> str | None:
    """Say within `REACH_SECONDS` why a store does not answer, or that its file is not there."""
    path = sqlite_path(uri)
    if path is None:
        return _health_problem(uri)
    # MLflow would create a new store there, without the experiment.
    return None if path.is_file() else f"no tracking database at {path}"


def is_reachable(uri: str) -> bool:
    """Tell within `REACH_SECONDS` whether the store answers, or its file exists."""
    return store_problem(uri) is None


def _absolute_sqlite(uri: str) -> str:
    """Make the path of an SQLite URI absolute, against the folder of this process."""
    path = uri.removeprefix("sqlite:///")
    if path in ("", uri) or path.startswith(":memory:"):
        raise InputError(f"{EXPECTED_URI} (a file that several processes share)", f"{uri!r}")
    name, mark, query = path.partition("?")
    return f"sqlite:///{Path(name).expanduser().absolute().as_posix()}{mark}{query}"


def _check_sqlite(path: Path) -> None:
    """Find out what MLflow would only say after a hundred seconds of retries."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab+") as file:
            file.seek(0)
            magic = file.read(len(_SQLITE_MAGIC))
        if is_new:
            path.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("a tracking database that can be written", reason, path=path) from error
    if magic not in (b"", _SQLITE_MAGIC):
        raise InputError("an SQLite database", "another kind of file", path=path)


def _check_server(uri: str) -> None:
    """Raise at once where no MLflow server answers."""
    problem = _health_problem(uri)
    if problem is not None:
        raise InputError("a running MLflow server", f"{problem} at {uri}")


def _health_problem(uri: str) -> str | None:
    """Ask a server's health page; None where it is well."""
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=REACH_SECONDS) as answer:
            text = answer.read(64).decode(errors="replace").strip()
    except urllib.error.HTTPError as error:
        error.close()
        # A proxy that asks for a password hides the page; MLflow itself will say what is missing.
        return None if error.code in (401, 403) else f"HTTP status {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return None if text == "OK" else f"the answer {text!r}"


def _find_or_create(client: MlflowClient, name: str, database: Path | None) -> str:
    """Give the identifier of the experiment of this name."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # An absolute place beside the database; a server keeps artifacts where it wants them.
        location = None if database is None else (database.parent / "mlruns").as_uri()
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage != "active":
        command = f"`mlflow experiments restore --experiment-id {found.experiment_id}` undoes that"
        raise InputError(f"an experiment name in use or new ({command})", f"deleted {name!r}")
    return str(found.experiment_id)
