"""What happens where the memory of the device is full."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import (
    Parts,
    SequenceBatches,
    SequenceDataset,
    Share,
    with_room,
)
from protein_robust.datasets.room import is_out_of_memory
from protein_robust.errors import ProteinRobustError
from protein_robust.evaluation import predict
from protein_robust.losses import RemembersExamples, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    Objective,
    Record,
    StepReport,
    TrainingDiverged,
    TrainingState,
    fit,
    read_checkpoint,
)

Where = Literal["before", "after", "on the way back"]


def dataset_of(lengths: list[int]) -> SequenceDataset:
    """Random sequences of three classes."""
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, length)) for length in lengths]
    return SequenceDataset.from_arrow(pa.array(sequences), np.arange(len(lengths)) % 3)


def batches_of(
    dataset: SequenceDataset, *, batch_size: int = 8, max_residues: int = 128
) -> SequenceBatches:
    return SequenceBatches(
        dataset, CropRule(), batch_size=batch_size, max_residues=max_residues, seed=0
    )


class Crowded(ProtCNN):
    """Has no room for more than so many positions at a time.

    Args:
        room: how many.
        where: whether that shows before or after the layers, or on the way back through them.
    """

    def __init__(self, room: int = 10**9, where: Where = "before") -> None:
        config = ProtCNNConfig(width=6, dilations=(1, 2))
        super().__init__(config, 3, generator=torch.Generator().manual_seed(1))
        self.room = room
        self.where = where

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        def fail(gradient: Tensor | None = None) -> None:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB.\nOf which nothing is free.")

        is_full = inputs.numel() > self.room
        if is_full and self.where == "before":
            fail()
        logits = super().forward(inputs, mask)
        if is_full and self.where == "after":
            fail()
        if is_full and logits.requires_grad:
            logits.register_hook(fail)
        return logits


class Quiet:
    """An observer that measures nothing."""

    def evaluate(self, model: torch.nn.Module, epoch: int) -> Record:
        return {}

    def on_step(self, report: StepReport) -> None:
        pass

    def on_epoch(self, record: Record) -> None:
        pass

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        pass


def trained(
    folder: Path,
    model: ProtCNN,
    batches: SequenceBatches,
    *,
    loss: str = "cross_entropy",
    **options: Any,
) -> tuple[dict[str, Tensor], TrainingState]:
    """Train for two epochs; what the network and the loss's memory end as, and the state."""
    made = make_loss(loss)
    memory = None
    if isinstance(made, RemembersExamples):
        memory = made.new_memory(len(batches.dataset), 3, torch.device("cpu"))
    state = fit(
        model,
        Objective(made, memory),
        batches=batches,
        options=FitOptions(**{"epochs": 2, **options}),
        observer=Quiet(),
        checkpoints=Checkpoints(folder, {}),
    )
    return {**model.state_dict(), **(memory or {})}, state


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after", "on the way back"])
@pytest.mark.parametrize("loss", ["cross_entropy", "early_learning_regularization"])
def test_a_training_without_room_goes_on_as_if_the_budget_had_been_smaller_from_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, loss: str, where: Where
) -> None:
    dataset = dataset_of([16] * 24)
    ours, state = trained(
        tmp_path / "a", Crowded(64, where), batches_of(dataset, max_residues=128), loss=loss
    )
    assert state.halvings == 1
    assert read_checkpoint(tmp_path / "a" / "last")["halvings"] == 1
    assert warnings_in(caplog) == [
        "out of memory: batches are worked on in parts of 1/2 of the size from here on"
    ]
    theirs, other = trained(
        tmp_path / "b", Crowded(), batches_of(dataset, max_residues=64), loss=loss
    )
    assert other.halvings == 0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "early_learning_regularization"])
def test_of_accumulated_batches_all_are_worked_on_again(tmp_path: Path, loss: str) -> None:
    # The first batch of an update finds room, the second does not.
    dataset = dataset_of([8] * 8 + [16] * 8)
    ours, theirs = (
        trained(
            tmp_path / str(room),
            Crowded(room, "on the way back"),
            SequenceBatches(
                dataset, CropRule(), batch_size=8, max_residues=max_residues, seed=0, window=1
            ),
            loss=loss,
            accumulate=2,
            epochs=1,
        )
        for room, max_residues in ((64, 128), (10**9, 64))
    )
    assert ours[1].halvings == 1
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_a_training_that_is_started_again_remembers_how_much_room_there_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = dataset_of([16] * 24)
    trained(tmp_path, Crowded(32), batches_of(dataset), epochs=1)
    assert len(warnings_in(caplog)) == 2
    _, state = trained(tmp_path, Crowded(32), batches_of(dataset))
    assert state.halvings == 2
    assert len(warnings_in(caplog)) == 2


def test_the_budget_is_halved_until_it_cuts_something(
    caplog: pytest.LogCaptureFixture,
) -> None:
    epoch = batches_of(dataset_of([16] * 8), max_residues=10**6).epoch(0)

    def work(parts: Parts) -> int:
        if len(parts) < 2:
            raise MemoryError("full")
        return len(parts)

    # Of 2 ** 20 positions a batch takes 128: 976,562 / 2 ** 13 = 122 is the first that is less.
    assert with_room(epoch, [0], Share(), work) == (2, Share(halvings=13))
    assert warnings_in(caplog) == [
        "out of memory: batches are worked on in parts of 1/8192 of the size from here on"
    ]


@pytest.mark.slow
def test_a_single_sequence_without_room_is_an_error_that_says_what_may_help(
    tmp_path: Path,
) -> None:
    message = (
        "Expected room for a part of a batch, got `Tried to allocate 2.00 GiB.`; "
        "a smaller network may help"
    )
    with pytest.raises(ProteinRobustError, match=message):
        trained(tmp_path, Crowded(8), batches_of(dataset_of([16] * 24)))


def test_several_processes_do_not_change_their_budget() -> None:
    epoch = batches_of(dataset_of([16] * 8)).epoch(0)

    def work(parts: Parts) -> None:
        raise torch.OutOfMemoryError("full")

    message = "Expected room .*, got `full`; smaller parts or batches may help"
    with pytest.raises(ProteinRobustError, match=message):
        with_room(epoch, [0], Share(0, 2), work)


def test_any_other_error_is_passed_on() -> None:
    epoch = batches_of(dataset_of([16] * 8)).epoch(0)

    def work(parts: Parts) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        with_room(epoch, [0], Share(), work)


@pytest.mark.parametrize("room", [128, 64, 16])
def test_predictions_are_the_same_with_any_room(room: int) -> None:
    dataset = dataset_of([16] * 24)
    expected = predict(Crowded(), batches_of(dataset))
    said = predict(Crowded(room, "after"), batches_of(dataset))
    assert said.index.tolist() == list(range(24))
    assert said.prediction.tolist() == expected.prediction.tolist()
    np.testing.assert_allclose(said.max_probability, expected.max_probability, rtol=1e-5)


def error_of(work: Callable[[], object]) -> BaseException:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        work()
    return caught.value


@pytest.mark.parametrize(
    "work",
    [lambda: torch.empty(2**50), lambda: np.empty(2**50)],
    ids=["torch", "numpy"],
)
def test_the_machine_s_own_errors_are_known(work: Callable[[], object]) -> None:
    assert is_out_of_memory(error_of(work))


def test_an_error_of_shapes_is_not_about_memory() -> None:
    assert not is_out_of_memory(error_of(lambda: torch.zeros(2, 3) @ torch.zeros(2, 3)))


@pytest.mark.slow
def test_a_sequence_of_35_000_residues_trains_and_predicts(tmp_path: Path) -> None:
    dataset = dataset_of([35_000, 100, 80, 60])
    batches = batches_of(dataset, batch_size=4, max_residues=4096)
    weights, state = trained(tmp_path, Crowded(), batches)
    assert state.history[-1]["train/loss"] > 0
    assert all(w.isfinite().all() for w in weights.values())
    assert predict(Crowded(), batches).index.tolist() == [0, 1, 2, 3]


LITTLE_ROOM = """
import json, logging, resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import torch
from protein_robust.evaluation import predict
from protein_robust.models import ProtCNN, ProtCNNConfig
from test_room import batches_of, dataset_of, trained

torch.set_num_threads(1)
folder = Path(sys.argv[1]) / sys.argv[3]
config = ProtCNNConfig(width=64, dilations=(1, 2, 4))
dataset = dataset_of([512] * 64)
big = batches_of(dataset, batch_size=64, max_residues=64 * 512)
# What is loaded and compiled once does not count.
model = ProtCNN(config, 3, generator=torch.Generator().manual_seed(0))
trained(folder / "warm", model, batches_of(dataset, batch_size=2))
predict(model, batches_of(dataset, batch_size=2))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
model = ProtCNN(config, 3, generator=torch.Generator().manual_seed(0))
_, state = trained(folder / "run", model, big)
said = predict(model, big)
print(json.dumps([state.epoch, state.halvings, len(said.index)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the address space is needed")
def test_in_a_process_with_little_memory_a_large_batch_is_done_in_parts(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    for megabytes in (48, 80, 112):
        done = subprocess.run(
            [sys.executable, "-c", LITTLE_ROOM, str(tmp_path), here, str(megabytes * 2**20)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode >= 0:  # else compiled code fell over a failed allocation: not ours
            break
    assert done.returncode == 0, done.stderr
    epochs, halvings, num_predicted = json.loads(done.stdout)
    assert (epochs, num_predicted) == (2, 64)
    assert halvings >= 1
    assert "out of memory: batches are worked on in parts of" in done.stderr
