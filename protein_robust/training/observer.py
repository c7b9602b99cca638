"""What a training says of itself, and to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from protein_robust.errors import ProteinRobustError
from protein_robust.training.state import TrainingState

Record = Mapping[str, float | list[float]]
"""What is known of an epoch: numbers, and histograms as lists of numbers."""


class TrainingDiverged(ProteinRobustError):  # noqa: N818  (an event, not a mistake)
    """The loss or its gradient is not finite any more.

    Args:
        epoch: in which it was so first, counted from 1.
        step: update of that epoch, counted from 1.
        loss: mean over the examples of that update.
        examples: their positions in the training data.
    """

    def __init__(self, epoch: int, step: int, loss: float, examples: Sequence[int]) -> None:
        """Keep the facts."""
        self.epoch = epoch
        self.step = step
        self.loss = loss
        self.examples = tuple(examples)
        super().__init__(
            f"Expected a finite loss and gradient, got a loss of {loss:g} in epoch {epoch}, update "
            f"{step}; a lower learning rate or gradient clipping may help."
        )


@dataclass(frozen=True)
class StepReport:
    """How the training goes, a few times an epoch.

    Attributes:
        progress: fraction of the whole training that is done, in [0, 1].
        epoch: the present one, counted from 1.
        loss: mean over the epoch's examples so far, nats.
        accuracy: of the training predictions against given labels, over the same examples.
        speed: how much is done a second, padding apart, over the epoch so far.
        unit: what that is counted in, such as residues.
    """

    progress: float
    epoch: int
    loss: float
    accuracy: float
    speed: float
    unit: str


class Observer(Protocol):
    """What a training tells, and asks, while it runs; where several processes train, all do."""

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        """Measure the model after `epoch`; ``valid/accuracy``, if there, picks the best one."""

    def on_step(self, report: StepReport) -> None:
        """Take note of the running figures."""

    def on_epoch(self, record: Record) -> None:
        """Take note of an epoch: ``epoch``, ``seconds``, ``train/loss``, what `evaluate` gave."""

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        """Take note of it, and of the checkpoint from which the training goes on, if it does."""
