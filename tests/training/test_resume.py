"""A training that is cut off and started again ends bit by bit where it would have ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import SequenceBatches, SequenceDataset
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

EPOCHS = 4
NUM_BATCHES = 5
"""Of 24 sequences, 5 each."""
CPU = torch.device("cpu")
When = Literal["after", "within", "measuring"]
ALWAYS = 1e-9
"""Minutes between two checkpoints, where there is one after every update."""


class Interrupted(Exception):  # noqa: N818  (what happens to the training is no mistake)
    """The process is gone."""


class Interrupting:
    """An observer under which the training ends after an epoch, or within it.

    Args:
        epoch: the one at which it happens; 0 for never.
        when: after the epoch, in its middle, or after all of its updates.
    """

    def __init__(self, epoch: int = 0, when: When = "after") -> None:
        self.epoch = epoch
        self.when = when
        self.progress: list[float] = []

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        if self.when == "measuring" and epoch == self.epoch:
            raise Interrupted
        return {"valid/accuracy": [0.1, 0.4, 0.3, 0.4][epoch - 1]}

    def on_step(self, report: StepReport) -> None:
        self.progress.append(report.progress)
        half = (self.epoch - 0.5) / EPOCHS
        if self.when == "within" and report.epoch == self.epoch and report.progress >= half:
            raise Interrupted

    def on_epoch(self, record: Record) -> None:
        if self.when == "after" and record["epoch"] == self.epoch:
            raise Interrupted

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        raise AssertionError


def batches(seed: int) -> SequenceBatches:
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, rng.integers(5, 40))) for _ in range(24)]
    dataset = SequenceDataset.from_arrow(pa.array(sequences), np.arange(24) % 3)
    return SequenceBatches(dataset, CropRule("random"), batch_size=5, max_residues=500, seed=seed)


def trained(
    folder: Path,
    observer: Interrupting | None = None,
    *,
    seed: int = 1,
    loss: str = "proselflc",
    **options: Any,
) -> tuple[dict[str, Tensor], TrainingState]:
    """A fresh network through `fit`; what it ends as, without the times."""
    config = ProtCNNConfig(width=6, dilations=(1, 2))
    model = ProtCNN(config, 3, generator=torch.Generator().manual_seed(seed))
    made = make_loss(loss)
    memory = made.new_memory(24, 3, CPU) if isinstance(made, RemembersExamples) else None
    state = fit(
        model,
        Objective(made, memory),
        batches=batches(seed),
        options=FitOptions(epochs=EPOCHS, **options),
        observer=Interrupting() if observer is None else observer,
        checkpoints=Checkpoints(folder, {"seed": seed}),
    )
    history = tuple({k: v for k, v in r.items() if k != "seconds"} for r in state.history)
    remembered = {f"memory.{name}": value for name, value in (memory or {}).items()}
    return {**model.state_dict(), **remembered}, TrainingState(
        state.epoch, state.best_epoch, state.best_value, history
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("checkpoint_every", [1, 2])
@pytest.mark.parametrize("when", ["after", "within", "measuring"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    tmp_path: Path,
    epoch: int,
    when: When,
    checkpoint_every: int,
    optimizer: str,
) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "checkpoint_every": checkpoint_every}
    weights, state = trained(tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", Interrupting(epoch, when), **options)
    weights_again, state_again = trained(tmp_path / "cut", **options)
    torch.testing.assert_close(weights_again, weights, rtol=0, atol=0)
    assert state_again == state


@pytest.mark.parametrize("loss", ["joint_optimization", "early_learning_regularization"])
@pytest.mark.parametrize("when", ["after", "within"])
def test_what_a_loss_remembers_goes_on_where_it_was(tmp_path: Path, loss: str, when: When) -> None:
    options: dict[str, Any] = {"loss": loss, "checkpoint_every": 2, "accumulate": 2}
    weights, state = trained(tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", Interrupting(3, when), **options)
    weights_again, state_again = trained(tmp_path / "cut", **options)
    assert "memory.shares" in weights
    torch.testing.assert_close(weights_again, weights, rtol=0, atol=0)
    assert state_again == state


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["proselflc", "early_learning_regularization"])
@pytest.mark.parametrize(("when", "step"), [("within", 2), ("measuring", NUM_BATCHES)])
def test_within_an_epoch_a_training_goes_on_after_the_update_that_was_kept(
    tmp_path: Path, loss: str, when: When, step: int
) -> None:
    weights, state = trained(tmp_path / "whole", loss=loss)
    options: dict[str, Any] = {"loss": loss, "checkpoint_minutes": ALWAYS}
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", Interrupting(2, when), **options)
    content = read_checkpoint(tmp_path / "cut" / "last")
    assert (content["epoch"], content["step"]) == (1, step)
    observer = Interrupting()
    weights_again, state_again = trained(tmp_path / "cut", observer, **options)
    # After each of the updates that were not done yet there is a report.
    total = EPOCHS * NUM_BATCHES
    assert observer.progress == pytest.approx(
        [number / total for number in range(NUM_BATCHES + step + 1, total + 1)]
    )
    torch.testing.assert_close(weights_again, weights, rtol=0, atol=0)
    assert state_again == state


def test_the_best_checkpoint_is_the_same_too(tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", Interrupting(2, "within"))
    trained(tmp_path / "cut")
    contents = [tmp_path / name / "best" / "weights.safetensors" for name in ("whole", "cut")]
    assert contents[0].read_bytes() == contents[1].read_bytes()


def test_the_same_seed_gives_the_same_network_bit_by_bit(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    assert first[1] == second[1]


def test_another_seed_gives_another_network(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b", seed=2)
    assert not torch.equal(first[0]["stem.weight"], second[0]["stem.weight"])
