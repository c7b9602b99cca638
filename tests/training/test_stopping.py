"""Signals that ask a training to stop: a checkpoint first, and the same bits after it."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.losses import LossContext, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    Objective,
    Record,
    StepReport,
    Stopped,
    TrainingDiverged,
    TrainingState,
    fit,
    read_checkpoint,
    stopping,
)

EPOCHS = 2
NUM_BATCHES = 6
"""Of 24 sequences, 4 each."""
SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name
)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Ours for the time of a test, and nothing left waiting after it."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    stopping.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stopping._asked = 0


def send(number: int) -> None:
    """Send a signal to this process; Python heeds it before the next statement."""
    os.kill(os.getpid(), number)


@SIGNALS
def test_outside_of_a_training_a_signal_stops_at_once(number: int) -> None:
    with pytest.raises(Stopped, match=f"signal {int(number)}") as caught:
        send(number)
    assert caught.value.signal_number == number
    assert isinstance(caught.value, KeyboardInterrupt)


@SIGNALS
def test_in_a_training_the_first_signal_waits_to_be_heeded(number: int) -> None:
    with stopping.deferred():
        assert stopping.asked() == 0
        send(number)
        assert stopping.asked() == number
        with pytest.raises(Stopped):
            stopping.stop(stopping.asked())
    assert stopping.asked() == 0


def test_the_second_signal_stops_at_once_wherever() -> None:
    with stopping.deferred():
        send(signal.SIGTERM)
        with pytest.raises(Stopped) as caught:
            send(signal.SIGINT)
    assert caught.value.signal_number == signal.SIGINT


def test_a_signal_that_nobody_has_heeded_is_not_forgotten() -> None:
    with stopping.deferred():
        send(signal.SIGTERM)
    with stopping.deferred():
        assert stopping.asked() == signal.SIGTERM


def test_a_request_is_a_signal_by_call() -> None:
    with stopping.deferred():
        stopping.request(signal.SIGUSR1)
        assert stopping.asked() == signal.SIGUSR1
        stopping._asked = 0
    with pytest.raises(Stopped):
        stopping.request(signal.SIGUSR1)


def test_after_a_training_that_failed_a_signal_stops_at_once_again() -> None:
    def fail() -> None:
        with stopping.deferred():
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError, match="failed"):
        fail()
    with pytest.raises(Stopped):
        send(signal.SIGTERM)


def test_it_crosses_from_one_process_to_another() -> None:
    again = pickle.loads(pickle.dumps(Stopped(signal.SIGTERM)))
    assert (type(again), again.signal_number) == (Stopped, signal.SIGTERM)


def do_nothing(*_: object) -> None:
    """Send no signal."""


@dataclass
class Told:
    """An observer that does something when it is told, or asked."""

    step: Callable[[StepReport], None] = do_nothing
    evaluation: Callable[[int], None] = do_nothing
    records: list[Record] = field(default_factory=list)

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        self.evaluation(epoch)
        return {"valid/accuracy": [0.5, 0.4][epoch - 1]}

    def on_step(self, report: StepReport) -> None:
        self.step(report)

    def on_epoch(self, record: Record) -> None:
        self.records.append(record)

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        raise AssertionError


def trained(
    folder: Path, observer: Told, loss: Any = None, **options: Any
) -> tuple[dict[str, Tensor], list[Record]]:
    """A fresh network through `fit`; its weights, and its history without times."""
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, rng.integers(5, 40))) for _ in range(24)]
    dataset = SequenceDataset.from_arrow(pa.array(sequences), np.arange(24) % 3)
    model = ProtCNN(
        ProtCNNConfig(width=6, dilations=(1, 2)), 3, generator=torch.Generator().manual_seed(0)
    )
    state = fit(
        model,
        Objective(make_loss("proselflc") if loss is None else loss),
        batches=SequenceBatches(
            dataset, CropRule("random"), batch_size=4, max_residues=500, seed=0
        ),
        options=FitOptions(**{"epochs": EPOCHS, **options}),
        observer=observer,
        checkpoints=Checkpoints(folder, {}),
    )
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in state.history]
    return dict(model.state_dict()), history


def place(folder: Path) -> tuple[int, int]:
    """Epochs, and updates of the present one, that the last checkpoint has behind it."""
    content = read_checkpoint(folder / "last")
    return content["epoch"], content["step"]


def at(progress: float, number: int) -> Callable[[StepReport], None]:
    """Sends a signal at some progress."""

    def tell(report: StepReport) -> None:
        if report.progress == pytest.approx(progress):
            send(number)

    return tell


@pytest.mark.slow
@SIGNALS
# A report comes after each update; the training is at the next one when the signal is seen.
@pytest.mark.parametrize(("update", "seen"), [(1, (0, 2)), (4, (0, 5)), (8, (1, 3))])
def test_asked_in_an_epoch_a_training_keeps_the_present_update_and_ends_with_the_same_bits(
    tmp_path: Path, number: int, update: int, seen: tuple[int, int]
) -> None:
    weights, history = trained(tmp_path / "whole", Told())
    observer = Told(at(update / (EPOCHS * NUM_BATCHES), number))
    with pytest.raises(Stopped) as caught:
        trained(tmp_path / "cut", observer)
    assert caught.value.signal_number == number
    assert place(tmp_path / "cut") == seen
    weights_again, history_again = trained(tmp_path / "cut", Told())
    torch.testing.assert_close(weights_again, weights, rtol=0, atol=0)
    assert history_again == history


@pytest.mark.slow
def test_asked_again_and_again_a_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    weights, history = trained(tmp_path / "whole", Told())
    for _ in range(EPOCHS * NUM_BATCHES // 2):
        with pytest.raises(Stopped):
            trained(tmp_path / "cut", Told(lambda report: send(signal.SIGUSR1)))
    weights_again, history_again = trained(tmp_path / "cut", Told())
    torch.testing.assert_close(weights_again, weights, rtol=0, atol=0)
    assert history_again == history


def test_asked_while_it_is_measured_an_epoch_is_finished_first(tmp_path: Path) -> None:
    observer = Told(evaluation=lambda epoch: send(signal.SIGTERM))
    with pytest.raises(Stopped):
        trained(tmp_path, observer)
    assert [record["epoch"] for record in observer.records] == [1]
    assert place(tmp_path) == (1, 0)


def test_asked_at_its_very_end_a_training_is_complete_and_nothing_is_waiting(
    tmp_path: Path,
) -> None:
    def ask(epoch: int) -> None:
        if epoch == EPOCHS:
            send(signal.SIGTERM)

    with pytest.raises(Stopped):
        trained(tmp_path, Told(evaluation=ask))
    assert place(tmp_path) == (EPOCHS, 0)
    assert stopping.asked() == 0
    observer = Told()
    _, history = trained(tmp_path, observer)
    assert (len(history), observer.records) == (EPOCHS, [])


def test_asked_twice_a_training_leaves_without_a_checkpoint(tmp_path: Path) -> None:
    cross_entropy = make_loss("cross_entropy")

    def loss(logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        if context.progress > 0.5:
            send(signal.SIGTERM)
            send(signal.SIGINT)
        return cross_entropy(logits, labels, context)

    with pytest.raises(Stopped) as caught:
        trained(tmp_path, Told(), loss)
    assert caught.value.signal_number == signal.SIGINT
    # What there is, is of the end of the first epoch.
    assert place(tmp_path) == (1, 0)


def test_a_training_that_was_asked_to_stop_can_be_finished_in_one_call(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, Told(at(1 / 12, signal.SIGTERM)), checkpoint_every=9)
    trained(tmp_path, Told(), checkpoint_every=9)
    assert place(tmp_path) == (EPOCHS, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
