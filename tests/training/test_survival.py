"""Trainings that are killed, again and again, end bit by bit where an undisturbed one ends."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.losses import RemembersExamples, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    Objective,
    StepReport,
    Stopped,
    TrainingDiverged,
    TrainingState,
    fit,
    read_checkpoint,
    stopping,
)

pytestmark = pytest.mark.slow
EPOCHS = 3
PATIENCE_SECONDS = 120
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["protein_robust.noise", "protein_robust.training", "pytest"])


class Signalling:
    """An observer whose second epoch is the best one, and in the middle of which a signal comes.

    Args:
        number: of the signal; None for none.
    """

    def __init__(self, number: int | None) -> None:
        self.number = number

    def evaluate(self, model: nn.Module, epoch: int) -> Mapping[str, float]:
        return {"valid/accuracy": [0.1, 0.4, 0.3][epoch - 1]}

    def on_step(self, report: StepReport) -> None:
        if self.number is not None and report.progress >= 1.5 / EPOCHS:
            os.kill(os.getpid(), self.number)
            self.number = None

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        pass

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        pass


def train(folder: Path, loss: str, minutes: float = 1e-9, number: int | None = None) -> None:
    """A small network, with a checkpoint after every update if not less often."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, rng.integers(5, 40))) for _ in range(48)]
    dataset = SequenceDataset.from_arrow(pa.array(sequences), np.arange(48) % 3)
    crop = CropRule("random")
    made = make_loss(loss)
    config = ProtCNNConfig(width=6, dilations=(1, 2))
    remembers = isinstance(made, RemembersExamples)
    memory = made.new_memory(48, 3, torch.device("cpu")) if remembers else None
    fit(
        ProtCNN(config, 3, generator=torch.Generator().manual_seed(1)),
        Objective(made, memory),
        batches=SequenceBatches(dataset, crop, batch_size=4, max_residues=500, seed=1),
        options=FitOptions(epochs=EPOCHS, checkpoint_minutes=minutes),
        observer=Signalling(number),
        checkpoints=Checkpoints(folder, {"loss": loss}),
    )


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that a training ends with, but for the times."""
    files = {
        f"{checkpoint.name}/{path.name}": path.read_bytes()
        for checkpoint in folder.iterdir()
        for path in checkpoint.glob("*.safetensors")
    }
    state = {k: v for k, v in read_checkpoint(folder / "last").items() if k != "files"}
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in state["history"]]
    return {**files, **state, "history": history}


def trained(folder: Path, loss: str, minutes: float = 1e-9) -> dict[str, Any]:
    process = FORK.Process(target=train, args=(folder, loss, minutes))
    process.start()
    process.join()
    assert process.exitcode == 0
    return outcome(folder)


def wait_until(happens: Callable[[], bool], process: BaseProcess) -> None:
    """Wait for something, or for the end of the process; looks often: some things are short."""
    while process.is_alive() and not happens():
        time.sleep(0.0005)


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "early_learning_regularization", "derivative_manipulation"]
)
def test_killed_at_any_moment_a_training_ends_bit_by_bit_where_it_would_have(
    tmp_path: Path, loss: str
) -> None:
    trained(tmp_path / "first", loss)  # also starts what the others are forked from
    begin = time.monotonic()
    expected = trained(tmp_path / "whole", loss)
    seconds, dice = time.monotonic() - begin, random.Random(loss)
    folder, num_kills, num_torn = tmp_path / "0", 0, 0
    while num_kills < 10 or num_torn < 3:
        process = FORK.Process(target=train, args=(folder, loss))
        process.start()
        moment = time.monotonic() + dice.uniform(0, seconds)
        wait_until(lambda end=moment: time.monotonic() > end, process)
        if num_kills % 2:  # every other one while a checkpoint is written
            wait_until((folder / "last.partial").exists, process)
        process.kill()
        process.join()
        if process.exitcode == 0:  # it was faster: another one takes its place
            assert outcome(folder) == expected
            folder = folder.with_name(f"{int(folder.name) + 1}")
        else:
            assert process.exitcode == -signal.SIGKILL
            num_kills += 1
            num_torn += any(folder.glob("*.partial"))
        assert num_kills < 60
    assert trained(folder, loss) == expected


def train_and_leave(folder: Path, loss: str, number: int) -> None:
    """Be asked to stop within the second epoch."""
    stopping.install()
    try:
        train(folder, loss, 60, number)
    except Stopped as stopped:
        sys.exit(128 + stopped.signal_number)


@pytest.mark.parametrize("number", stopping.SIGNALS, ids=lambda number: number.name)
def test_after_a_signal_within_an_epoch_a_training_goes_on_from_the_next_update(
    tmp_path: Path, number: signal.Signals
) -> None:
    loss = "early_learning_regularization"
    expected = trained(tmp_path / "whole", loss, 60)
    process = FORK.Process(target=train_and_leave, args=(tmp_path / "cut", loss, number))
    process.start()
    process.join()
    assert process.exitcode == 128 + number
    content = read_checkpoint(tmp_path / "cut" / "last")
    assert (content["epoch"], content["step"]) == (1, 7)
    assert trained(tmp_path / "cut", loss, 60) == expected


def weights_of(run: Path) -> list[bytes]:
    return [
        (run / "checkpoints" / name / "weights.safetensors").read_bytes()
        for name in ("last", "best")
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_asked_to_leave_a_training_keeps_what_it_has_and_goes_on_from_there(
    write_study: Callable[..., Path], tmp_path: Path, number: signal.Signals
) -> None:
    study = write_study(
        model="{width: 48, dilations: [1, 2, 4]}",
        training="{epochs: 3, batch_size: 2}",
        losses="[cross_entropy]",
    )
    command = [sys.executable, "-m", "protein_robust.pipeline", "run", str(study), "--jobs", "1"]
    subprocess.run(command, check=True, capture_output=True)
    (run,) = (tmp_path / "results" / "runs").iterdir()
    expected = weights_of(run)
    step = 0
    for attempt in range(10):
        shutil.rmtree(run)
        step = leave(command, run, number, delay_seconds=0.03 * attempt)
        if step:  # and not between two epochs, where a checkpoint is written anyhow
            break
    assert step
    subprocess.run(command, check=True, capture_output=True)
    assert weights_of(run) == expected
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best", "last"]


def leave(command: list[str], run: Path, number: int, *, delay_seconds: float) -> int:
    """Train, ask to leave some time after the first epoch; the step that the checkpoint is at."""
    last = run / "checkpoints" / "last" / "checkpoint.json"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + PATIENCE_SECONDS
        while not last.exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(delay_seconds)
        process.send_signal(number)
        _, message = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + number, message
    assert "the same command goes on where it stopped" in message
    step: int = read_checkpoint(last.parent)["step"]
    return step
