"""Checkpoints: weights and optimiser state as safetensors, everything else as JSON.

A checkpoint is a folder, written under a temporary name and then renamed, with `checkpoint.json`
last in it. Loading one never executes code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.losses import Memory

SCHEMA_VERSION = 1
MEMORY_FILE = "memory.safetensors"


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        best_epoch: the one with the highest validation accuracy, counted from 1; 0 before any.
        best_value: that accuracy.
        history: a record for each epoch done, oldest first.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    history: tuple[Mapping[str, Any], ...] = field(default=())

    def after(self, record: Mapping[str, Any]) -> tuple[TrainingState, bool]:
        """The state one epoch later, and whether that epoch is the best so far.

        Of equal validation accuracies the first counts.
        """
        history = (*self.history, dict(record))
        value = record.get("valid/accuracy", float("-inf"))
        if value > self.best_value:
            return TrainingState(self.epoch + 1, self.epoch + 1, value, history), True
        return TrainingState(self.epoch + 1, self.best_epoch, self.best_value, history), False


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: holds one sub-folder a checkpoint, ``last`` and ``best``.
        metadata: what else a reader needs: model settings, families, digest of the data.
    """

    folder: Path
    metadata: Mapping[str, Any]

    def save(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        state: TrainingState,
        memory: Memory | None = None,
    ) -> None:
        """Write a checkpoint, replacing the one of the same name.

        Args:
            name: of the sub-folder.
            model: whose weights are kept.
            optimizer: whose state is kept; None where nobody will go on from here.
            state: how far the training has come.
            memory: of the loss; None where it has none.
        """
        from safetensors.torch import save_file

        temporary = self.folder / f"{name}.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        weights = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
        save_file(weights, temporary / "weights.safetensors")
        if optimizer is not None:
            save_file(_optimizer_tensors(optimizer), temporary / "optimizer.safetensors")
        if memory is not None:
            save_file(dict(memory), temporary / MEMORY_FILE)
        content = {
            "schema_version": SCHEMA_VERSION,
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_value": state.best_value if state.best_epoch else None,
            "history": [dict(record) for record in state.history],
            "metadata": dict(self.metadata),
        }
        (temporary / "checkpoint.json").write_text(json.dumps(content), encoding="utf-8")
        _replace(temporary, self.folder / name)

    def history(self) -> tuple[Mapping[str, Any], ...]:
        """The epochs that ``last`` has behind it; none where there is no checkpoint."""
        _restore_interrupted(self.folder / "last")
        if not (self.folder / "last").exists():
            return ()
        return tuple(read_checkpoint(self.folder / "last")["history"])

    def resume(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, memory: Memory | None = None
    ) -> TrainingState:
        """Go on from ``last``: load weights, optimiser state and the loss's memory in place.

        Returns:
            The state of the checkpoint; a fresh one where there is none.

        Raises:
            InputError: if the checkpoint belongs to another training, or cannot be read.
        """
        last = self.folder / "last"
        _restore_interrupted(self.folder / "best")
        _restore_interrupted(last)
        if not last.exists():
            return TrainingState()
        content = read_checkpoint(last)
        # Through JSON, since that is what the stored metadata went through.
        if content["metadata"] != json.loads(json.dumps(dict(self.metadata))):
            raise InputError(
                "a checkpoint of this very training",
                "one made with other settings or data",
                path=last,
            )
        load_weights(last, model)
        _load_optimizer(optimizer, last)
        if memory is not None:
            load_memory(last, memory)
        best = content["best_value"]
        return TrainingState(
            content["epoch"],
            content["best_epoch"],
            float("-inf") if best is None else best,
            tuple(content["history"]),
        )


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
    weights = _read_tensors(checkpoint / "weights.safetensors")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError("weights that fit the model", reason, path=checkpoint) from error
    return content


def find_checkpoint(run_or_checkpoint: Path) -> Path:
    """The folder of a checkpoint that is given as itself, or as its run (then ``last``)."""
    is_checkpoint = (run_or_checkpoint / "checkpoint.json").exists()
    return run_or_checkpoint if is_checkpoint else run_or_checkpoint / "checkpoints" / "last"


def checkpoint_digest(run_or_checkpoint: Path) -> str:
    """Sha256 of a checkpoint's weights and of what its loss remembered, hexadecimal.

    Raises:
        InputError: if there is no checkpoint.
    """
    folder = find_checkpoint(run_or_checkpoint)
    digest = hashlib.sha256()
    try:
        digest.update((folder / "weights.safetensors").read_bytes())
    except OSError as error:
        raise InputError("the folder of a trained run", "no weights in it", path=folder) from error
    if (folder / MEMORY_FILE).exists():
        digest.update((folder / MEMORY_FILE).read_bytes())
    return digest.hexdigest()


def load_memory(checkpoint: Path, memory: Memory) -> None:
    """Load what a loss remembered, in place.

    Args:
        checkpoint: folder of one checkpoint.
        memory: of a loss with the same settings, for as many examples.

    Raises:
        InputError: if the checkpoint has none, or one of another shape.
    """
    kept = read_memory(checkpoint)
    shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in memory.items()}
    if shapes != expected:
        raise InputError(f"a memory of the shapes {expected}", f"{shapes}", path=checkpoint)
    for name, tensor in memory.items():
        tensor.copy_(kept[name])


def read_memory(checkpoint: Path) -> dict[str, Tensor]:
    """Read what a loss remembered, on the CPU.

    Raises:
        InputError: if the checkpoint has none, or it cannot be read.
    """
    return _read_tensors(checkpoint / MEMORY_FILE)


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Read `checkpoint.json`.

    Raises:
        InputError: if it is missing, no JSON, or of another schema version.
    """
    path = checkpoint / "checkpoint.json"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("a checkpoint", "no readable checkpoint.json", path=path) from error
    except ValueError as error:
        raise InputError("JSON", str(error), path=path) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        found = f"version {version}"
        raise InputError(f"a checkpoint of schema version {SCHEMA_VERSION}", found, path=path)
    return dict(content)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError("a complete safetensors file", str(error), path=path) from error
    return tensors


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of the optimiser's state, by parameter number and name."""
    return {
        f"{number}.{name}": value.detach().contiguous()
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if value is not None
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _read_tensors(checkpoint / "optimizer.safetensors").items():
        text, name = key.split(".", 1)
        number = int(text)
        if value.ndim:
            # Fused optimisers walk through memory: in another layout (weights are channels-last,
            # files are not) they would pair each weight with the state of another one.
            value = torch.empty_like(parameters[number]).copy_(value)
        state.setdefault(number, {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _replace(temporary: Path, target: Path) -> None:
    """Put a finished folder in the place of an older one; at each moment one of them is whole."""
    older = target.with_name(target.name + ".older")
    shutil.rmtree(older, ignore_errors=True)
    if target.exists():
        target.rename(older)
    temporary.rename(target)
    shutil.rmtree(older, ignore_errors=True)


def _restore_interrupted(target: Path) -> None:
    """If a replacement was cut off between its two renames, take the older folder back."""
    older = target.with_name(target.name + ".older")
    if older.exists() and not target.exists():
        older.rename(target)
