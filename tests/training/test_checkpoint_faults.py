"""What may happen to checkpoints: kills, damage, a full disk, those of another training."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    TrainingState,
    checkpoint_digest,
    find_checkpoint,
    load_weights,
    make_optimizer,
    read_checkpoint,
)
from protein_robust.training.checkpoint import CheckpointError
from protein_robust.training.checkpoint_files import write_content

METADATA = {"families": ["PF1", "PF2", "PF3"]}
INPUTS = torch.arange(18, dtype=torch.uint8).view(3, 6)
FILES = ["weights", "optimizer", "generators", "memory"]
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["protein_robust.training", "pytest"])  # what takes long


def trained(epoch: int, width: int = 4) -> tuple[ProtCNN, torch.optim.Optimizer]:
    """A network after so many updates."""
    config = ProtCNNConfig(width=width, dilations=(1, 2))
    model = ProtCNN(config, 3, generator=torch.Generator().manual_seed(0))
    optimizer = make_optimizer(model, FitOptions())
    for _ in range(epoch):
        optimizer.zero_grad()
        logits = model(INPUTS, torch.ones(3, 6, dtype=torch.bool))
        nn.functional.cross_entropy(logits, torch.arange(3)).backward()
        optimizer.step()
    return model, optimizer


def save(folder: Path, epoch: int, *, name: str = "last", width: int = 4) -> Checkpoints:
    checkpoints = Checkpoints(folder, METADATA)
    model, optimizer = trained(epoch, width)
    state = TrainingState(epoch, history=tuple({"epoch": e + 1.0} for e in range(epoch)))
    checkpoints.save(name, model, optimizer, state, memory=memory(epoch))
    return checkpoints


def memory(value: float) -> dict[str, Tensor]:
    return {"shares": torch.full((2, 3), float(value))}


def resumed(checkpoints: Checkpoints, *, width: int = 4) -> int:
    """The epoch of the checkpoint that is used; everything in it must be of that epoch."""
    model, optimizer = trained(0, width)
    remembered = memory(-1)
    state = checkpoints.resume(model, optimizer, remembered)
    expected, _ = trained(state.epoch, width)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(remembered, memory(state.epoch), rtol=0, atol=0)
    assert len(checkpoints.history()) == state.epoch
    return state.epoch


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def seal(checkpoint: Path, **changes: Any) -> None:
    """Change `checkpoint.json`, digest and all."""
    write_content(checkpoint, {**read_checkpoint(checkpoint), **changes})


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, r"the file that was written, got another content \(sha256"),
        (truncate, r"the file that was written, got \d+ bytes of \d+\."),
        (Path.unlink, r"a complete safetensors file, got No such file or directory\."),
    ],
    ids=["flipped", "truncated", "missing"],
)
def test_a_damaged_file_is_refused_and_the_checkpoint_before_it_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, damage: Any, message: str
) -> None:
    save(tmp_path, 1)
    checkpoints = save(tmp_path, 2)
    damage(tmp_path / "last" / f"{file}.safetensors")
    assert resumed(checkpoints) == 1
    (warning,) = caplog.messages
    assert re.match(rf"checkpoint refused: .*last/{file}\.safetensors: Expected {message}", warning)
    assert names(tmp_path) == ["last", "last.1"]
    with pytest.raises(InputError, match=message):
        checkpoints.load(tmp_path / "last", *trained(0), memory(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "noise"}', r"Expected a checkpoint of schema version 2, got version None\."),
        ("[1, 2]", r"Expected a checkpoint of schema version 2, got version None\."),
        ('{"schema_version": 1}', r"Expected a checkpoint of schema version 2, got version 1\."),
        ('{"schema_version": 2}', r"Expected the content that was written, got another one \(sha2"),
        ('{"epoch": ', r"checkpoint\.json: Expected JSON, got Expecting value"),
        ("\0" * 99, r"checkpoint\.json: Expected JSON, got Expecting value"),
        (None, r"checkpoint\.json: Expected a checkpoint, got no readable checkpoint\.json\."),
    ],
    ids=["foreign", "no object", "older", "no digest", "cut off", "zeros", "missing"],
)
def test_a_folder_that_is_no_checkpoint_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None, message: str
) -> None:
    save(tmp_path, 1)
    checkpoints = save(tmp_path, 2)
    path = tmp_path / "last" / "checkpoint.json"
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert resumed(checkpoints) == 1
    assert re.search(message, caplog.messages[0])
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "last", trained(0)[0])


@pytest.mark.slow
def test_no_flipped_bit_of_the_content_goes_unseen(tmp_path: Path) -> None:
    save(tmp_path, 2)
    content = read_checkpoint(tmp_path / "last")
    path, dice = tmp_path / "last" / "checkpoint.json", random.Random(0)
    whole = path.read_bytes()
    seen = []
    for position in range(len(whole)):
        changed = bytes([whole[position] ^ 1 << dice.randrange(8)])
        path.write_bytes(whole[:position] + changed + whole[position + 1 :])
        try:
            assert read_checkpoint(tmp_path / "last") == content
        except InputError as error:
            seen.append(str(error))
    assert len(seen) > 0.98 * len(whole)  # others are blanks that became other blanks


def test_a_checkpoint_of_another_training_is_refused_and_the_one_before_it_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    checkpoints = save(tmp_path, 2)
    seal(tmp_path / "last", metadata={"families": ["PF1"]})
    assert resumed(checkpoints) == 1
    message = "last: Expected a checkpoint of this very training, got one made with other settings"
    assert message in caplog.messages[0]
    with pytest.raises(InputError, match=message):
        checkpoints.load(tmp_path / "last", *trained(0))


def test_where_none_can_be_used_every_reason_is_named_and_nothing_changed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    checkpoints = save(tmp_path, 2)
    seal(tmp_path / "last.1", metadata={})
    truncate(tmp_path / "last" / "weights.safetensors")
    model, optimizer = trained(0)
    message = (
        r"Expected a checkpoint that can be used \(delete the folder to begin anew\), got none: "
        r"\S+/last/weights\.safetensors: Expected the file that was written, got .*; "
        r"\S+/last\.1: Expected a checkpoint of this very training, got one made with .* data\.$"
    )
    for use in (lambda: checkpoints.resume(model, optimizer), checkpoints.history):
        with pytest.raises(InputError, match=message):
            use()
    torch.testing.assert_close(model.state_dict(), trained(0)[0].state_dict(), rtol=0, atol=0)
    assert names(tmp_path) == ["last", "last.1"]


class Touch:
    """Something that leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file", FILES)
def test_a_pickle_under_the_name_of_a_file_is_refused_and_not_loaded(
    tmp_path: Path, file: str
) -> None:
    checkpoints = save(tmp_path, 1)
    content = pickle.dumps(Touch(tmp_path / "trace"))
    path = tmp_path / "last" / f"{file}.safetensors"
    path.write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    files = read_checkpoint(tmp_path / "last")["files"]
    seal(tmp_path / "last", files={**files, path.name: entry})
    with pytest.raises(
        InputError, match=rf"{path.name}: Expected a complete safetensors file, got"
    ):
        resumed(checkpoints)
    assert not (tmp_path / "trace").exists()
    pickle.loads(content)
    assert (tmp_path / "trace").exists()


def test_nothing_is_pickled_or_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuses)
    monkeypatch.setattr(torch, "load", refuses)
    monkeypatch.setattr(torch, "save", refuses)
    assert resumed(save(tmp_path, 2)) == 2


@pytest.mark.parametrize("name", ["last", "best"])
def test_between_two_renames_the_one_before_is_found_and_nothing_moved(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "checkpoints"
    checkpoints = save(folder, 1, name=name)
    digest = checkpoint_digest(folder / name)
    (folder / name).rename(folder / f"{name}.1")
    assert find_checkpoint(folder / name) == folder / f"{name}.1"
    assert checkpoint_digest(folder / name) == digest
    if name == "last":
        assert find_checkpoint(tmp_path) == folder / "last.1"
        assert resumed(checkpoints) == 1
    assert names(folder) == [f"{name}.1"]
    checkpoints.finish()
    assert names(folder) == [name]


def test_at_the_end_a_damaged_checkpoint_makes_room_for_a_whole_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    checkpoints = save(tmp_path, 2)
    truncate(tmp_path / "last" / "weights.safetensors")
    checkpoints.finish()
    assert (names(tmp_path), resumed(checkpoints)) == (["last"], 1)


def save_and_be_killed(folder: Path, number: int) -> None:
    """Save epoch 3, and be killed at the call of the system with this number."""
    save(folder.with_name("warm"), 0)  # imports
    calls = itertools.count()

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith(("open", "os.", "shutil.")) and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    model, optimizer = trained(3)
    sys.addaudithook(hook)
    state = TrainingState(3, history=({}, {}, {}))
    Checkpoints(folder, METADATA).save("last", model, optimizer, state, memory(3))


@pytest.mark.slow
def test_killed_at_any_call_of_the_system_a_whole_checkpoint_is_left(tmp_path: Path) -> None:
    before = tmp_path / "before"
    save(before, 1)
    save(before, 2)
    found: list[int] = []
    exit_code: int | None = -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        folder = tmp_path / str(len(found))
        shutil.copytree(before, folder)
        process = FORK.Process(target=save_and_be_killed, args=(folder, len(found)))
        process.start()
        process.join()
        exit_code = process.exitcode
        found.append(resumed(Checkpoints(folder, METADATA)))
        checkpoints = save(folder, 4)
        assert names(folder) == ["last", "last.1"]
        assert (resumed(checkpoints), read_checkpoint(folder / "last.1")["epoch"]) == (4, found[-1])
    assert exit_code == 0
    assert found == sorted(found)
    assert (set(found), len(found) > 20) == ({2, 3}, True)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond this; Python ignores the signal, so that writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# From nothing at all: the weights have 4548 bytes, the optimiser has 8592.
@pytest.mark.parametrize("limit", [0, 40, 4547, 5000, 8591])
def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(
    tmp_path: Path, limit: int
) -> None:
    save(tmp_path, 1)
    checkpoints = save(tmp_path, 2)
    message = (
        r"last: Expected room for a checkpoint of about 0\.0 MB, got File too large; "
        r"the checkpoint before it is whole\.$"
    )
    with largest_file(limit), pytest.raises(CheckpointError, match=message):
        save(tmp_path, 3)
    assert (names(tmp_path), resumed(checkpoints)) == (["last", "last.1"], 2)
    assert read_checkpoint(tmp_path / "last.1")["epoch"] == 1
    assert resumed(save(tmp_path, 3)) == 3


def test_where_the_first_checkpoint_cannot_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        CheckpointError, match=r"MB, got Not a directory; there is none before it\.$"
    ) as raised:
        save(tmp_path / "file", 1)
    error = raised.value
    assert (error.path, error.reason) == (tmp_path / "file" / "last", "Not a directory")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk: {error}")
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_so_and_the_checkpoint_before_is_used(disk: Path) -> None:
    folder, width = disk / "checkpoints", 48
    save(folder, 1, width=width)
    message = (
        r"last: Expected room for a checkpoint of about 0\.\d MB, got No space left on device; "
        r"the checkpoint before it is whole\.$"
    )
    outcomes = []
    for free in (*range(0, 240_000, 40_000), *range(240_000, 1_000_000, 4096)):  # 0.24 MB
        left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(b"x" * (left - free))
        try:
            checkpoints = save(folder, 2, width=width)
        except CheckpointError as error:
            assert re.search(message, str(error))  # noqa: PT017
            assert names(folder) == ["last"]
        (disk / "filler").unlink()
        checkpoints = Checkpoints(folder, METADATA)
        outcomes.append(resumed(checkpoints, width=width))
        if outcomes[-1] == 2:
            break
    assert outcomes[:-1] == [1] * (len(outcomes) - 1)
    assert (outcomes[0], outcomes[-1]) == (1, 2)
