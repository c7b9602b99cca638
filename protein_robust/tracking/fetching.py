"""A classifier out of MLflow: the folder that a registered model, or a run, holds."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from protein_robust.errors import InputError
from protein_robust.tracking.models import ARTIFACT
from protein_robust.tracking.stores import connect, resolve_uri, store_problem

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPECTED = "`models:/NAME@champion`, `models:/NAME/VERSION` or `runs:/RUN_ID`"


@cache
def fetch_model(uri: str, store: str | None = None) -> Path:
    """Bring the folder of a classifier to this machine, once in a process.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/MODEL_ID`` or
            ``runs:/RUN_ID``, whose ``model`` is meant, or ``runs:/RUN_ID/PATH``.
        store: tracking URI; None: that of the environment, else ``mlflow.db`` of this folder.

    Returns:
        The folder, which is removed when this process ends.

    Raises:
        InputError: if the store does not answer or has no such model, or it is of another kind.
    """
    place = resolve_uri(store)
    scheme, _, name = uri.partition(":/")
    if scheme not in ("models", "runs") or not name.strip("/"):
        raise InputError(EXPECTED, repr(uri))
    problem = store_problem(place)
    if problem is not None:
        raise InputError(f"a tracking store that holds {uri}", f"{problem} ({place})")
    folder = _download(uri, place)
    found = _inside(folder, uri) if (folder / "MLmodel").exists() else folder
    if not (found / "model.json").is_file():
        raise InputError("a classifier that this package has made", f"another model ({uri})")
    return found


def _download(uri: str, store: str) -> Path:
    client = connect(store)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    folder = tempfile.mkdtemp(prefix="protein-robust-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        place = _place(client, uri)
        return Path(download_artifacts(artifact_uri=place, dst_path=folder, tracking_uri=store))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"a model in {store}", f"{uri}: {reason}") from error


def _place(client: MlflowClient, uri: str) -> str:
    """Where the store keeps a model; MLflow itself would ask the store of the process."""
    scheme, _, path = uri.rstrip("/").partition(":/")
    name, mark, alias = path.partition("@")
    if scheme == "runs":
        return uri if "/" in path else f"{uri}/{ARTIFACT}"
    if mark:
        found = client.get_model_version_by_alias(name, alias)
        return str(client.get_model_version_download_uri(name, found.version))
    name, mark, number = path.partition("/")
    if mark:
        return str(client.get_model_version_download_uri(name, number))
    return str(client.get_logged_model(name).artifact_location)


def _inside(folder: Path, uri: str) -> Path:
    """The classifier's folder inside an MLflow model."""
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
        return folder / str(artifacts[ARTIFACT]["path"])
    except (MlflowException, KeyError, TypeError) as error:
        raise InputError(
            "a classifier that this package has made", f"another model ({uri})"
        ) from error
