"""Several processes train as one does: the same losses, weights, memories and predictions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_ranks import together
from torch import Tensor, nn
from torch.nn import functional

from protein_robust import ranks
from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.evaluation import predict
from protein_robust.losses import LossContext, RemembersExamples, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule, draw_crops
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

pytestmark = pytest.mark.slow

NUM_SEQUENCES = 41
"""One more than a multiple of the batch sizes: the last batch has one, for one process alone."""
NUM_CLASSES = 3
EPOCHS = 2
OPTIONS = FitOptions(epochs=EPOCHS, optimizer="sgd", learning_rate=0.05)
"""Adam would turn the rounding of a gradient that is 0 (a bias before a norm) into a full step."""


def dataset() -> SequenceDataset:
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, rng.integers(5, 60))) for _ in range(NUM_SEQUENCES)]
    return SequenceDataset.from_arrow(pa.array(sequences), np.arange(NUM_SEQUENCES) % NUM_CLASSES)


@dataclass
class Telling:
    """An observer that predicts everything, as a study does, and may tell a process to stop.

    Args:
        stop_rank: the process that is sent a signal.
        stop_update: during which update of the first epoch; 0 for none.
        number: the signal.
        is_for_all: whether every process is sent it, and twice, as launchers do.
    """

    stop_rank: int = 0
    stop_update: int = 0
    number: int = signal.SIGTERM
    is_for_all: bool = False
    num_updates: int = 0
    num_rollbacks: int = 0

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        predictions = predict(model, sorted_batches())
        correct = predictions.prediction == predictions.index % NUM_CLASSES
        return {"valid/accuracy": float(correct.mean())}

    def on_step(self, report: StepReport) -> None:
        self.num_updates += 1
        is_told = self.is_for_all or ranks.rank() == self.stop_rank
        if self.num_updates == self.stop_update and is_told:
            for _ in range(1 + self.is_for_all):
                os.kill(os.getpid(), self.number)

    def on_epoch(self, record: Record) -> None:
        pass

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        self.num_rollbacks += 1


def sorted_batches() -> SequenceBatches:
    sequences = dataset()
    crops = draw_crops(sequences.lengths, rule=CropRule(), rng=np.random.default_rng(0))
    return SequenceBatches(sequences, crops, batch_size=8, max_residues=200)


class Failing:
    """Cross entropy, which is infinite for one example, once."""

    def __init__(self) -> None:
        self.times = 1

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        values = functional.cross_entropy(logits, labels, reduction="none")
        is_bad = context.index == 7
        if context.progress > 0.5 and is_bad.any() and self.times:
            self.times -= 1
            values = torch.where(is_bad, torch.inf, values)
        return values


class SlowToRead(Checkpoints):
    """The checkpoints where each process takes longer than the one before to load one."""

    def load(self, *given: Any) -> TrainingState:
        time.sleep(0.3 * ranks.rank())
        return super().load(*given)


class SlowToWrite(SlowToRead):
    """The checkpoints that take the first process a while."""

    def save(self, *given: Any) -> None:
        if ranks.rank() == 0:
            time.sleep(0.5)
        super().save(*given)


def train(
    folder: Path,
    name: str = "cross_entropy",
    options: FitOptions = OPTIONS,
    *,
    batch_size: int = 8,
    max_residues: int = 10**6,
    observer: Telling | None = None,
) -> dict[str, Any]:
    """Train a small network; everything that can be known of it afterwards, by plain values."""
    loss: Any = Failing() if name == "failing" else make_loss(name)
    memory = None
    if isinstance(loss, RemembersExamples):
        memory = loss.new_memory(NUM_SEQUENCES, NUM_CLASSES, torch.device("cpu"))
    # Each process begins with other weights: those of the first one count.
    generator = torch.Generator().manual_seed(ranks.rank())
    config = ProtCNNConfig(width=6, dilations=(1, 2))
    model = ProtCNN(config, NUM_CLASSES, generator=generator)
    observer = Telling() if observer is None else observer
    stopping.install()
    try:
        state = fit(
            model,
            Objective(loss, memory),
            batches=SequenceBatches(
                dataset(),
                CropRule("random"),
                batch_size=batch_size,
                max_residues=max_residues,
                window=2,
                seed=0,
            ),
            options=options,
            observer=observer,
            checkpoints=(SlowToWrite if observer.is_for_all else SlowToRead)(
                folder / f"of rank {ranks.rank()}", {}
            ),
        )
    except Stopped as stopped:
        is_there = (folder / "of rank 0" / "last").exists()
        return {"stopped by": stopped.signal_number, "checkpoint": is_there}
    predictions = predict(model, sorted_batches(), lambda logits, _: {"first": logits[:, 0]})
    return {
        "losses": [record["train/loss"] for record in state.history],
        "accuracies": [record["valid/accuracy"] for record in state.history],
        "weights": dict(model.state_dict()),
        "memory": dict(memory or {}),
        "predictions": predictions.prediction.tolist(),
        "index": predictions.index.tolist(),
        "first": predictions.described["first"].tolist(),
        "rate factor": state.rate_factor,
        "rollbacks": observer.num_rollbacks,
    }


def alone(folder: Path, *given: Any, **options: Any) -> dict[str, Any]:
    """The same in a process of its own, since a handler of signals stays for good."""
    (result,) = together(folder, 1, partial(train, folder, *given, **options))
    return dict(result)


def spread_over(num_ranks: int, folder: Path, *given: Any, **options: Any) -> list[dict[str, Any]]:
    return together(folder, num_ranks, partial(train, folder, *given, **options))


def assert_same_training(several: dict[str, Any], one: dict[str, Any]) -> None:
    """Hold a training by several processes against one by one process."""
    assert several["losses"] == pytest.approx(one["losses"], abs=1e-5)
    torch.testing.assert_close(several["weights"], one["weights"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(several["memory"], one["memory"], rtol=1e-5, atol=1e-5)
    assert several["accuracies"] == one["accuracies"]
    assert several["index"] == one["index"] == list(range(NUM_SEQUENCES))
    assert several["predictions"] == one["predictions"]
    assert several["first"] == pytest.approx(one["first"], abs=1e-5)


def assert_equal_everywhere(results: list[dict[str, Any]]) -> None:
    """Not a bit may differ: what follows is done by each process from its own copy."""
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        "proselflc",
        "derivative_manipulation",
        "imae",
        "early_learning_regularization",
    ],
)
def test_several_processes_train_as_one(tmp_path: Path, loss: str, num_ranks: int) -> None:
    one = alone(tmp_path / "one", loss)
    several = spread_over(num_ranks, tmp_path / "several", loss)
    assert_same_training(several[0], one)
    assert_equal_everywhere(several)


def test_the_default_optimiser_has_the_same_losses_too(tmp_path: Path) -> None:
    options = FitOptions(epochs=EPOCHS)
    one = alone(tmp_path / "one", "proselflc", options)
    several = spread_over(2, tmp_path / "several", "proselflc", options)
    assert several[0]["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert_equal_everywhere(several)


def test_a_loss_of_the_whole_batch_sees_its_part_and_all_remember_the_same(tmp_path: Path) -> None:
    # Joint optimisation takes the mean prediction of what it is given.
    several = spread_over(2, tmp_path, "joint_optimization")
    assert (several[0]["memory"]["shares"].sum(dim=1) > 0).all()
    assert_equal_everywhere(several)


@pytest.mark.parametrize(
    "options",
    [{"accumulate": 2}, {"accumulate": 5, "clip_norm": 0.1}, {"clip_norm": None}],
    ids=str,
)
def test_accumulated_batches_are_spread_too(tmp_path: Path, options: dict[str, Any]) -> None:
    chosen = replace(OPTIONS, **options)
    one = alone(tmp_path / "one", "derivative_manipulation", chosen)
    several = spread_over(2, tmp_path / "several", "derivative_manipulation", chosen)
    assert_same_training(several[0], one)
    assert_equal_everywhere(several)


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    spread_over(3, tmp_path)
    written = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert written == {"of rank 0"}
    assert {path.name for path in (tmp_path / "of rank 0").iterdir()} == {"best", "last"}


def test_a_batch_in_parts_is_as_large_for_each_process_as_it_may_be(tmp_path: Path) -> None:
    # Statistics are of the parts that are worked on at once, which here are other ones.
    several = spread_over(2, tmp_path / "several", max_residues=100)
    one = alone(tmp_path / "one", max_residues=100)
    assert_equal_everywhere(several)
    assert several[0]["losses"] == pytest.approx(one["losses"], rel=0.1)


SELDOM = replace(OPTIONS, checkpoint_every=9)


@pytest.mark.parametrize(
    ("batch_size", "place"),
    # Every 16 updates they ask each other, and at the end of an epoch.
    [pytest.param(2, (0, 16), id="21 updates"), pytest.param(8, (1, 0), id="6 updates")],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
@pytest.mark.parametrize("afterwards", [1, 2])
def test_a_signal_to_one_process_stops_all_and_any_number_can_go_on(
    tmp_path: Path, batch_size: int, place: tuple[int, int], number: int, afterwards: int
) -> None:
    observer = Telling(stop_rank=1, stop_update=3, number=number)
    stopped = spread_over(
        2, tmp_path, "proselflc", SELDOM, batch_size=batch_size, observer=observer
    )
    assert [result["stopped by"] for result in stopped] == [number] * 2
    content = read_checkpoint(tmp_path / "of rank 0" / "last")
    assert (content["epoch"], content["step"]) == place
    whole = alone(tmp_path / "whole", "proselflc", SELDOM, batch_size=batch_size)
    resumed = spread_over(afterwards, tmp_path, "proselflc", SELDOM, batch_size=batch_size)
    assert_same_training(resumed[0], whole)


def test_no_process_leaves_before_the_checkpoint_is_written(tmp_path: Path) -> None:
    observer = Telling(stop_update=3, number=signal.SIGUSR1, is_for_all=True)
    stopped = spread_over(2, tmp_path, "cross_entropy", SELDOM, batch_size=2, observer=observer)
    assert stopped == [{"stopped by": signal.SIGUSR1, "checkpoint": True}] * 2


def test_what_one_process_began_two_can_finish(tmp_path: Path) -> None:
    observer = Telling(stop_rank=0, stop_update=2)
    given: tuple[Any, ...] = ("early_learning_regularization", SELDOM)
    assert alone(tmp_path, *given, observer=observer)["stopped by"] == signal.SIGTERM
    content = read_checkpoint(tmp_path / "of rank 0" / "last")
    assert (content["epoch"], content["step"]) == (0, 3)
    whole = alone(tmp_path / "whole", *given)
    assert_same_training(spread_over(2, tmp_path, *given)[0], whole)


def test_all_processes_roll_back_together(tmp_path: Path) -> None:
    options = FitOptions(epochs=EPOCHS, on_divergence="roll back")
    several = spread_over(2, tmp_path, "failing", options)
    assert [(r["rate factor"], r["rollbacks"]) for r in several] == [(0.5, 1)] * 2
    assert_equal_everywhere(several)


def diverge(folder: Path) -> dict[str, Any]:
    with pytest.raises(TrainingDiverged) as caught:
        train(folder, "failing")
    return {"step": caught.value.step, "examples": list(caught.value.examples)}


def test_all_processes_name_the_same_update_and_all_of_its_examples(tmp_path: Path) -> None:
    first, second = together(tmp_path, 2, partial(diverge, tmp_path))
    assert first == second
    assert 7 in first["examples"]
    assert len(first["examples"]) == 8


def test_the_command_under_torchrun_makes_the_same_study(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    histories = []
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launch in (("one", []), ("two", launcher)):
        study = write_study(
            output=str(tmp_path / name),
            training="{epochs: 2, batch_size: 16, learning_rate: 1e-2, optimizer: sgd}",
            losses="[cross_entropy]",
        )
        command = [sys.executable, *launch, "-m", "protein_robust.pipeline", "run", str(study)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("tables and figures:") == 1
        (run,) = (tmp_path / name / "runs").iterdir()
        assert (run / "done.json").exists()
        lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
        histories.append([json.loads(line)["train/loss"] for line in lines])
    assert histories[0] == pytest.approx(histories[1], abs=1e-5)
    assert len(histories[0]) == EPOCHS
