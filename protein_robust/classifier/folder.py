"""A model as a folder: files of tensors, and `model.json`, which says what they must be.

Each file is held against its size and sha256 before it is read, and `model.json` against its own;
nothing is ever unpickled, so opening a model executes no code from it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from protein_robust.errors import InputError

SCHEMA_VERSION = 1
CONTENT_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
REFERENCE_FILE = "reference.safetensors"

MODEL = "model"
"""Folder of the classifier, in that of its run."""

Tensors = Mapping[str, Tensor]


def write_folder(folder: Path, tensors: Mapping[str, Tensors], content: Mapping[str, Any]) -> None:
    """Write a model's folder under a temporary name, `model.json` last, then rename.

    Args:
        folder: a model that is there is replaced.
        tensors: of each file, by the file's name.
        content: of `model.json`, besides the schema version and what the files must be.

    Raises:
        InputError: if the folder holds something that is not a model, or cannot be written.
    """
    if folder.exists() and not (folder / CONTENT_FILE).exists() and any(folder.iterdir()):
        raise InputError("a new folder, or that of a model", "one with other files", path=folder)
    partial = folder.with_name(f".partial-{folder.name}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        files = {name: _write_tensors(partial / name, part) for name, part in tensors.items()}
        whole = {"kind": "classifier", "schema_version": SCHEMA_VERSION, **content, "files": files}
        text = json.dumps({**whole, "sha256": _digest(whole)}, allow_nan=False)
        (partial / CONTENT_FILE).write_text(text, encoding="utf-8")
        old = folder.with_name(f".old-{folder.name}")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)  # at every moment one of the two is whole
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError("a folder to write", error.strerror or str(error), path=folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_content(folder: Path) -> dict[str, Any]:
    """Read `model.json`.

    Args:
        folder: of the model.

    Returns:
        What it says, all of which is as it was written.

    Raises:
        InputError: if it is missing, no JSON, of another kind or schema version, or was changed.
    """
    path = folder / CONTENT_FILE
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        actual = f"none ({error.strerror or error})"
        raise InputError(f"a model's folder with a {CONTENT_FILE}", actual, path=folder) from error
    except ValueError as error:
        raise InputError("JSON", str(error), path=path) from error
    if not isinstance(content, dict) or content.get("kind") != "classifier":
        raise InputError("the description of a model", "another one", path=path)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        expected = f"a model of schema version {SCHEMA_VERSION} (package the run again)"
        raise InputError(expected, f"version {version}", path=path)
    digest = content.pop("sha256", None)
    if digest != _digest(content):
        raise InputError("the content that was written", "another one (sha256 differs)", path=path)
    return content


def read_tensors(folder: Path, name: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Read one file of tensors.

    Args:
        folder: of the model.
        name: of the file.
        content: of `model.json`.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        InputError: if the file is missing, is not as it was written, or holds no tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / name
    try:
        found = _describe(path)
    except OSError as error:
        raise InputError("a file of tensors", error.strerror or str(error), path=path) from error
    expected = content["files"].get(name)
    if found != expected:
        is_cut = expected is not None and found["bytes"] != expected["bytes"]
        differs = f"{found['bytes']} bytes of {expected['bytes']}" if is_cut else "sha256 differs"
        raise InputError("the file that was written", f"another one ({differs})", path=path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError("a file of tensors", str(error), path=path) from error
    return tensors


def find_model(place: Path) -> Path:
    """The model's folder that a path means.

    Args:
        place: the folder of a model or of an evaluated run.

    Returns:
        The folder of the model.

    Raises:
        InputError: if it is neither; the message says what to give or to do instead.
    """
    if (place / MODEL / CONTENT_FILE).exists():
        return place / MODEL
    if (place / CONTENT_FILE).exists():
        return place
    if (place / "run.json").exists():
        expected = f"a run on sequences with a {MODEL} folder (`evaluate {place}` makes it)"
        raise InputError(expected, "one without", path=place)
    if (place / "study.json").exists():
        runs = sorted(path.parent for path in place.glob(f"runs/*/{MODEL}"))
        listed = ", ".join(map(str, runs)) or "none that is evaluated"
        actual = f"that of a study, whose runs are: {listed}"
        raise InputError("the folder of one run", actual, path=place)
    found = "another folder" if place.is_dir() else "none there"
    raise InputError("the folder of a model or of a run", found, path=place)


def _write_tensors(path: Path, tensors: Tensors) -> dict[str, Any]:
    """Write one file; returns its size and digest."""
    from safetensors.torch import save_file

    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    path.chmod(path.parent.stat().st_mode & 0o666)  # safetensors lets nobody else read it
    return _describe(path)


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
