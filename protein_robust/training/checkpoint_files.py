"""One checkpoint on disk: files of tensors, and `checkpoint.json`, which says what they must be.

Every file is held against its size and sha256 before it is read, and `checkpoint.json` against its
own; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.losses import Memory

SCHEMA_VERSION = 2
CONTENT_FILE = "checkpoint.json"
WEIGHTS_FILE = "weights.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
MEMORY_FILE = "memory.safetensors"
GENERATORS_FILE = "generators.safetensors"

Tensors = Mapping[str, Tensor]


def write_checkpoint(
    checkpoint: Path, tensors: Mapping[str, Tensors], content: Mapping[str, Any]
) -> None:
    """Write a checkpoint, `checkpoint.json` last, and wait until the disk has the files.

    Args:
        checkpoint: a folder that is not there yet.
        tensors: of each file, by the file's name.
        content: of `checkpoint.json`, besides the schema version and what the files must be.
    """
    checkpoint.mkdir(parents=True)
    files = {name: _write_tensors(checkpoint / name, part) for name, part in tensors.items()}
    write_content(checkpoint, {"schema_version": SCHEMA_VERSION, **content, "files": files})


def write_content(checkpoint: Path, content: Mapping[str, Any]) -> None:
    """Write `checkpoint.json` with its own digest.

    Args:
        checkpoint: folder of the checkpoint.
        content: what it says; a digest that is in it already is left out of the sum.
    """
    values = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps({**values, "sha256": _digest(values)})
    with (checkpoint / CONTENT_FILE).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Read `checkpoint.json`.

    Args:
        checkpoint: folder of one checkpoint.

    Returns:
        How far the training had come (the fields of `TrainingState`), ``metadata``, and ``files``:
        bytes and sha256 of each, by name.

    Raises:
        InputError: if it is missing, no JSON, of another schema version, or not as it was written.
    """
    path = checkpoint / CONTENT_FILE
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("a checkpoint", f"no readable {CONTENT_FILE}", path=path) from error
    except ValueError as error:
        raise InputError("JSON", str(error), path=path) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        found = f"version {version}"
        raise InputError(f"a checkpoint of schema version {SCHEMA_VERSION}", found, path=path)
    digest = content.pop("sha256", None)
    if digest != _digest(content):
        raise InputError("the content that was written", "another one (sha256 differs)", path=path)
    return dict(content)


def check_files(checkpoint: Path, content: Mapping[str, Any]) -> None:
    """Hold every file of a checkpoint against its size and digest.

    Args:
        checkpoint: folder of the checkpoint.
        content: of its `checkpoint.json`.

    Raises:
        InputError: if a file is missing, or not as it was written.
    """
    for name in content["files"]:
        _check_file(checkpoint / name, content)


def read_tensors(checkpoint: Path, name: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Read one file of tensors; they lie in the file, so copy those that stay.

    Args:
        checkpoint: folder of the checkpoint.
        name: of the file.
        content: of `checkpoint.json`.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        InputError: if the file is missing, or not as it was written, or holds no tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = checkpoint / name
    _check_file(path, content)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError("a complete safetensors file", str(error), path=path) from error
    return tensors


def load_weights(checkpoint: Path, model: nn.Module) -> dict[str, Any]:
    """Load a checkpoint's weights into a model of the same shape.

    Args:
        checkpoint: folder of one checkpoint.
        model: overwritten in place.

    Returns:
        The content of `checkpoint.json`.

    Raises:
        InputError: if there is no complete checkpoint, or its weights do not fit the model.
    """
    content = read_checkpoint(checkpoint)
    put_weights(checkpoint, read_tensors(checkpoint, WEIGHTS_FILE, content), model)
    return content


def put_weights(checkpoint: Path, weights: Tensors, model: nn.Module) -> None:
    """Overwrite the weights of a model.

    Raises:
        InputError: if they do not fit the model; `checkpoint` is where they are from.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError("weights that fit the model", reason, path=checkpoint) from error


def read_memory(checkpoint: Path) -> dict[str, Tensor]:
    """Read what a loss remembered, on the CPU.

    Raises:
        InputError: if the checkpoint has none, or it cannot be read.
    """
    return read_tensors(checkpoint, MEMORY_FILE, read_checkpoint(checkpoint))


def put_memory(checkpoint: Path, kept: Tensors, memory: Memory) -> None:
    """Overwrite what a loss remembers.

    Raises:
        InputError: if the shapes are others; `checkpoint` is where `kept` is from.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in memory.items()}
    if shapes != expected:
        raise InputError(f"a memory of the shapes {expected}", f"{shapes}", path=checkpoint)
    for name, tensor in memory.items():
        tensor.copy_(kept[name])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of an optimiser's state, by parameter number and name."""
    return {
        f"{number}.{name}": value
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if value is not None
    }


def put_optimizer(tensors: Tensors, optimizer: torch.optim.Optimizer) -> None:
    """Overwrite an optimiser's state with what `optimizer_tensors` gave."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        text, name = key.split(".", 1)
        number = int(text)
        # Fused optimisers walk through memory: in another layout (weights are channels-last, files
        # are not) they would pair each weight with the state of another one.
        place = torch.empty_like(parameters[number] if value.ndim else value)
        state.setdefault(number, {})[name] = place.copy_(value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def generator_tensors(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's own generators: of the CPU, and of a CUDA device where that is one."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def put_generators(tensors: Tensors, device: torch.device) -> None:
    """Set torch's own generators back to what `generator_tensors` gave."""
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda" and "cuda" in tensors:  # a checkpoint may come from another device
        torch.cuda.set_rng_state(tensors["cuda"], device)


def _write_tensors(path: Path, tensors: Tensors) -> dict[str, Any]:
    """Write one file; returns its size and digest, once the disk has it."""
    from safetensors.torch import save_file

    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path)
    path.chmod(path.parent.stat().st_mode & 0o666)  # safetensors lets nobody else read it
    with path.open("rb") as file:
        # Some file systems say only here that there was no room.
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _check_file(path: Path, content: Mapping[str, Any]) -> None:
    expected = content["files"].get(path.name)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found = {"bytes": file.tell(), "sha256": digest}
    except OSError as error:
        reason = f"{error.strerror}"
        raise InputError("a complete safetensors file", reason, path=path) from error
    if found != expected:
        raise InputError("the file that was written", _difference(expected, found), path=path)


def _difference(expected: Mapping[str, Any] | None, found: Mapping[str, Any]) -> str:
    if expected is None:
        return "one of which checkpoint.json knows nothing"
    if found["bytes"] != expected["bytes"]:
        return f"{found['bytes']} bytes of {expected['bytes']}"
    return "another content (sha256 differs)"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
