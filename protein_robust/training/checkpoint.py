"""The checkpoints of a training: which ones are kept, and which one it goes on from.

A checkpoint is a folder, written under a temporary name and then renamed; the last few are kept as
``last``, ``last.1``, ``last.2``, newest first. Whenever the process ends, one of them is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn

from protein_robust import ranks
from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.losses import Memory
from protein_robust.training import checkpoint_files as files
from protein_robust.training.state import TrainingState

_logger = logging.getLogger(__name__)


class CheckpointError(ProteinRobustError):
    """A checkpoint cannot be written; those before it are as they were.

    Args:
        path: the checkpoint.
        reason: why, such as ``No space left on device``.
        num_bytes: about how much it takes.
        is_first: whether there is none before it.
    """

    def __init__(self, path: Path, reason: str, *, num_bytes: int, is_first: bool) -> None:
        """Keep the facts."""
        self.path = path
        self.reason = reason
        self.num_bytes = num_bytes
        before = "there is none before it" if is_first else "the checkpoint before it is whole"
        super().__init__(
            f"{path}: Expected room for a checkpoint of about {num_bytes / 1e6:.1f} MB, "
            f"got {reason}; {before}."
        )


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: holds one sub-folder a checkpoint: ``last``, the ones before it, and ``best``.
        metadata: what else a reader needs: model settings, families, digest of the data.
        keep: how many of ``last`` are kept while the training goes on, at least 1.

    Raises:
        ValueError: if `keep` is less than 1.
    """

    folder: Path
    metadata: Mapping[str, Any]
    keep: int = 2

    def __post_init__(self) -> None:
        """Check `keep`."""
        if self.keep < 1:
            raise ValueError(f"Expected `keep` to be at least 1, got {self.keep!r}.")

    def save(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        state: TrainingState,
        memory: Memory | None = None,
    ) -> None:
        """Write a checkpoint, in the first process; the one of the same name becomes ``name.1``.

        Args:
            name: of the sub-folder. Of ``last`` the newest `keep` stay, of another name the newest.
            model: whose weights are kept.
            optimizer: whose state is kept; None where nobody will go on from here.
            state: how far the training has come.
            memory: of the loss; None where it has none.

        Raises:
            CheckpointError: if it cannot be written, as when the disk is full.
        """
        from safetensors import SafetensorError

        if ranks.rank() != 0:
            return
        tensors: dict[str, files.Tensors] = {files.WEIGHTS_FILE: model.state_dict()}
        if optimizer is not None:
            device = next(model.parameters()).device
            tensors[files.OPTIMIZER_FILE] = files.optimizer_tensors(optimizer)
            tensors[files.GENERATORS_FILE] = files.generator_tensors(device)
        if memory is not None:
            tensors[files.MEMORY_FILE] = memory
        content = {**state.as_json(), "metadata": dict(self.metadata)}
        partial, target = self.folder / f"{name}.partial", self.folder / name
        shutil.rmtree(partial, ignore_errors=True)
        try:
            files.write_checkpoint(partial, tensors, content)
            _shift(target)
            partial.rename(target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            num_bytes = sum(t.nbytes for part in tensors.values() for t in part.values())
            is_first = not _named(target)
            reason = _reason(error)
            raise CheckpointError(target, reason, num_bytes=num_bytes, is_first=is_first) from error
        _remove(_named(target)[self.keep if name == "last" else 1 :])

    def finish(self) -> None:
        """At the end of the training, keep the newest whole ``last`` and ``best`` alone."""
        if ranks.rank() != 0:
            return
        for target in (self.folder / "last", self.folder / "best"):
            newest, _ = _newest(target)
            if newest is None:
                continue
            others = [path for path in _named(target) if path != newest]
            _remove([*others, target.with_name(f"{target.name}.partial")])
            newest.rename(target)  # does nothing where it has that name

    def history(self) -> tuple[Mapping[str, Any], ...]:
        """The epochs that the newest usable checkpoint has behind it; none where there is none.

        Raises:
            InputError: if there are checkpoints, and none can be used.
        """
        path, _ = self._usable()
        return () if path is None else tuple(files.read_checkpoint(path)["history"])

    def choose(self) -> Path | None:
        """The newest checkpoint that is whole and of this training; None where there is none.

        Each one that is newer and cannot be used is logged, with the reason.

        Raises:
            InputError: if there are checkpoints, and none can be used.
        """
        path, refused = self._usable()
        for reason in refused:
            _logger.warning("checkpoint refused: %s", reason)
        return path

    def load(
        self,
        path: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        memory: Memory | None = None,
    ) -> TrainingState:
        """Go on from a checkpoint: everything it has is put in place, torch's generators too.

        Args:
            path: what `choose` gave, in this process or in the first one of several.
            model: overwritten in place.
            optimizer: likewise.
            memory: of the loss, likewise; None where it has none.

        Returns:
            The state of the checkpoint.

        Raises:
            InputError: if it is not whole, belongs to another training, or does not fit.
        """
        content = files.read_checkpoint(path)
        _check_metadata(path, content, self.metadata)
        names = [files.WEIGHTS_FILE, files.OPTIMIZER_FILE, files.GENERATORS_FILE]
        if memory is not None:
            names.append(files.MEMORY_FILE)
        weights, of_optimizer, generators, *remembered = (
            files.read_tensors(path, name, content) for name in names
        )
        files.put_weights(path, weights, model)
        files.put_optimizer(of_optimizer, optimizer)
        if memory is not None:
            files.put_memory(path, remembered[0], memory)
        files.put_generators(generators, next(model.parameters()).device)
        return TrainingState.from_json(content)

    def resume(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, memory: Memory | None = None
    ) -> TrainingState:
        """Go on from the newest checkpoint that can be used, all processes from the same one.

        Returns:
            The state of the checkpoint; a fresh one where there is none.

        Raises:
            InputError: if there are checkpoints, and none can be used.
        """
        path = ranks.from_first(self.choose() if ranks.rank() == 0 else None)
        state = TrainingState() if path is None else self.load(path, model, optimizer, memory)
        ranks.wait_for_all()  # before the first process writes another one in its place
        return state

    def _usable(self) -> tuple[Path | None, list[InputError]]:
        path, refused = _newest(self.folder / "last", self.metadata)
        if path is None and refused:
            reasons = "; ".join(str(reason).removesuffix(".") for reason in refused)
            raise InputError(
                "a checkpoint that can be used (delete the folder to begin anew)",
                f"none: {reasons}",
                path=self.folder,
            )
        return path, refused


def find_checkpoint(run_or_checkpoint: Path) -> Path:
    """The folder of a checkpoint that is given as itself, or as its run (then ``last``).

    A process that was killed may have left only the one before it, such as ``last.1``.
    """
    if (run_or_checkpoint / files.CONTENT_FILE).exists():
        return run_or_checkpoint
    last = run_or_checkpoint / "checkpoints" / "last"
    return _newest(last)[0] or _newest(run_or_checkpoint)[0] or last


def checkpoint_digest(run_or_checkpoint: Path) -> str:
    """Sha256 of a checkpoint's weights and of what its loss remembered, hexadecimal.

    Raises:
        InputError: if there is no checkpoint.
    """
    folder = find_checkpoint(run_or_checkpoint)
    digest = hashlib.sha256()
    try:
        digest.update((folder / files.WEIGHTS_FILE).read_bytes())
    except OSError as error:
        raise InputError("the folder of a trained run", "no weights in it", path=folder) from error
    if (folder / files.MEMORY_FILE).exists():
        digest.update((folder / files.MEMORY_FILE).read_bytes())
    return digest.hexdigest()


def _named(target: Path) -> list[Path]:
    """The checkpoints of a name, newest first: ``last``, ``last.1``, ``last.2``."""
    older = [p for p in target.parent.glob(f"{target.name}.*") if p.suffix[1:].isdecimal()]
    older.sort(key=lambda path: int(path.suffix[1:]))
    return [target, *older] if target.exists() else older


def _newest(
    target: Path, metadata: Mapping[str, Any] | None = None
) -> tuple[Path | None, list[InputError]]:
    """The newest whole checkpoint of a name (and of this training), and why newer ones are not."""
    refused: list[InputError] = []
    for path in _named(target):
        try:
            content = files.read_checkpoint(path)
            if metadata is not None:
                _check_metadata(path, content, metadata)
            files.check_files(path, content)
        except InputError as error:
            refused.append(error)
        else:
            return path, refused
    return None, refused


def _check_metadata(path: Path, content: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    # Through JSON, since that is what the stored metadata went through.
    if content["metadata"] != json.loads(json.dumps(dict(metadata))):
        raise InputError(
            "a checkpoint of this very training", "one made with other settings or data", path=path
        )


def _shift(target: Path) -> None:
    """Move each checkpoint of a name back by one, up to the first free number."""
    places = []
    for number in count():
        places.append(target.with_name(f"{target.name}.{number}") if number else target)
        if not places[-1].exists():
            break
    for number in range(len(places) - 1, 0, -1):
        places[number - 1].rename(places[number])


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)  # what stays goes with the next checkpoint


def _reason(error: Exception) -> str:
    """What the system said, out of an error of Python or of safetensors."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rpartition("error: ")[2].partition(" (os error")[0]
