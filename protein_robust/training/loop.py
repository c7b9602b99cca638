"""`fit`: the training loop, for any model, loss and source of batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor, nn

from protein_robust.datasets import Batch, Batches
from protein_robust.errors import ProteinRobustError
from protein_robust.losses import batch_objective, batch_total, global_divisor
from protein_robust.training.checkpoint import Checkpoints, TrainingState
from protein_robust.training.objective import Objective
from protein_robust.training.schedule import FitOptions, learning_rate_factor, make_optimizer

Record = Mapping[str, float | list[float]]
"""What is known of an epoch: numbers, and histograms as lists of numbers."""

REPORTS_PER_EPOCH = 8
"""How often an epoch's running figures are read back from the device, which waits for it."""


class TrainingDiverged(ProteinRobustError):  # noqa: N818  (an event, not a mistake)
    """The loss is not finite any more.

    Args:
        epoch: in which it was seen, counted from 1.
        value: the mean loss of that epoch.
    """

    def __init__(self, epoch: int, value: float) -> None:
        """Keep the facts."""
        self.epoch = epoch
        self.value = value
        super().__init__(
            f"Expected a finite training loss, got {value} in epoch {epoch}; "
            "a lower learning rate or gradient clipping may help."
        )


@dataclass(frozen=True)
class StepReport:
    """How the training goes, a few times an epoch.

    Attributes:
        progress: fraction of the whole training that is done, in [0, 1].
        epoch: the present one, counted from 1.
        loss: mean over the epoch's examples so far, nats.
        accuracy: of the training predictions against given labels, over the same examples.
        residues_per_second: inputs other than padding per second, over the epoch so far.
    """

    progress: float
    epoch: int
    loss: float
    accuracy: float
    residues_per_second: float


class Observer(Protocol):
    """What a training tells, and asks, while it runs."""

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        """Measure the model after `epoch`; ``valid/accuracy``, if there, picks the best one."""

    def on_step(self, report: StepReport) -> None:
        """Take note of the running figures."""

    def on_epoch(self, record: Record) -> None:
        """Take note of an epoch: ``epoch``, ``seconds``, ``train/loss``, what `evaluate` gave."""


def fit(
    model: nn.Module,
    objective: Objective,
    *,
    batches: Batches,
    options: FitOptions,
    observer: Observer,
    checkpoints: Checkpoints,
) -> TrainingState:
    """Train a model in place; go on from the last checkpoint where there is one.

    Args:
        model: maps (inputs, mask) to logits (B, K); where its weights are is where it trains.
        objective: the loss, whose mean over the batch is minimised, and what belongs to it.
        batches: the training data.
        options: how long, how fast, with what.
        observer: evaluates, and is told how it goes.
        checkpoints: where ``last`` and ``best`` are kept.

    Returns:
        The state at the end, with the history of all epochs.

    Raises:
        TrainingDiverged: if the loss is not finite. The last checkpoint stays.
    """
    optimizer = make_optimizer(model, options)
    state = checkpoints.resume(model, optimizer, objective.memory)
    for epoch in range(state.epoch, options.epochs):
        started = time.perf_counter()
        model.train()
        place = _Place(epoch, options, observer)
        mean_loss = _train_epoch(model, objective, optimizer, batches, place)
        record: dict[str, float | list[float]] = {
            "epoch": epoch + 1.0,
            "train/loss": mean_loss,
            "learning_rate": float(optimizer.param_groups[0]["lr"]),
            "seconds": time.perf_counter() - started,
        }
        is_last = epoch + 1 == options.epochs
        if is_last or (epoch + 1) % options.evaluate_every == 0:
            model.eval()
            record.update(observer.evaluate(model, epoch + 1))
        state, is_best = state.after(record)
        if is_best:
            checkpoints.save("best", model, None, state, objective.memory)
        if is_last or (epoch + 1) % options.checkpoint_every == 0:
            checkpoints.save("last", model, optimizer, state, objective.memory)
        observer.on_epoch(record)
    return state


@dataclass(frozen=True)
class _Place:
    """Where in the training an epoch stands, and who wants to know."""

    epoch: int
    options: FitOptions
    observer: Observer


def _train_epoch(
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    place: _Place,
) -> float:
    """One pass; returns the mean loss. Sums stay on the device but for a few reports."""
    epoch = batches.epoch(place.epoch)
    num_steps = -(-len(epoch) // place.options.accumulate)
    report_every = max(1, num_steps // REPORTS_PER_EPOCH)
    started = time.perf_counter()
    device = next(model.parameters()).device
    sums = torch.zeros(4, dtype=torch.float64, device=device)  # loss, correct, examples, residues
    for number, group in enumerate(_groups(epoch, place.options.accumulate), start=1):
        progress = (place.epoch + number / num_steps) / place.options.epochs
        rate = place.options.learning_rate * learning_rate_factor(progress, place.options)
        for param_group in optimizer.param_groups:
            param_group["lr"] = rate
        sums += _step(model, objective, optimizer, group, progress, place.options.clip_norm)
        if number % report_every == 0 or number == num_steps:
            total, correct, examples, residues = sums.tolist()
            if not math.isfinite(total):
                raise TrainingDiverged(place.epoch + 1, total)
            speed = residues / (time.perf_counter() - started)
            place.observer.on_step(
                StepReport(progress, place.epoch + 1, total / examples, correct / examples, speed)
            )
    return float(sums[0] / sums[2])


def _groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Runs of `size` batches, the last one shorter, cut as they are needed."""
    source = iter(batches)
    while group := list(islice(source, size)):
        yield group


def _step(
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    group: Sequence[Batch],
    progress: float,
    clip_norm: float | None,
) -> Tensor:
    """One update; returns the sums of loss, correct predictions, examples and residues."""
    optimizer.zero_grad(set_to_none=True)
    if len(group) == 1:
        values, logits = objective(model, group[0], progress)
        batch_objective(objective.loss, values).backward()
        sums = _sums(group[0], values, logits)
    else:
        sums = _accumulate(model, objective, group, progress)
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return sums


def _accumulate(
    model: nn.Module, objective: Objective, group: Sequence[Batch], progress: float
) -> Tensor:
    """Gradients of several batches as if they were one: sums first, divided once by the total."""
    sums, total = [], []
    for batch in group:
        values, logits = objective(model, batch, progress)
        values.sum().backward()
        total.append(batch_total(objective.loss, values))
        sums.append(_sums(batch, values, logits))
    divisor = global_divisor(torch.stack(total).sum())
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= divisor.to(parameter.grad.dtype)
    return torch.stack(sums).sum(dim=0)


def _sums(batch: Batch, values: Tensor, logits: Tensor) -> Tensor:
    """What a batch adds to the running figures, shape (4,), float64."""
    inputs = batch.inputs.numel() if batch.mask is None else batch.mask.sum()
    device = batch.label.device
    return torch.stack(
        [
            values.detach().sum().double(),
            (logits.detach().argmax(dim=1) == batch.label).sum().double(),
            torch.as_tensor(len(batch.label), dtype=torch.float64, device=device),
            torch.as_tensor(inputs, dtype=torch.float64, device=device),
        ]
    )
