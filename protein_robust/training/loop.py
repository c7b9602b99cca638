"""`fit`: the training loop, for any model, loss and source of batches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from protein_robust import ranks
from protein_robust.datasets import Batches, Epoch, Parts, Share, with_room
from protein_robust.training import stopping
from protein_robust.training.checkpoint import Checkpoints
from protein_robust.training.objective import Objective
from protein_robust.training.observer import Observer, StepReport, TrainingDiverged
from protein_robust.training.schedule import FitOptions, learning_rate_factor, make_optimizer
from protein_robust.training.state import TrainingState
from protein_robust.training.update import spread, update

REPORTS_PER_EPOCH = 8
"""How often an epoch's running figures are read back from the device, which waits for it."""
MAX_ROLLBACKS = 5
UPDATES_PER_AGREEMENT = 16
"""How often several processes ask each other whether one of them was told to stop."""


class _Clock:
    """Seconds of the present epoch, those before an interruption counted; when a checkpoint was."""

    def __init__(self) -> None:
        self.saved = time.perf_counter()
        self.begin(0)

    def begin(self, before: float) -> None:
        self._started = time.perf_counter() - before

    def of_epoch(self) -> float:
        return time.perf_counter() - self._started


@dataclass(frozen=True)
class _Training:
    """Everything that takes part."""

    model: nn.Module
    network: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    batches: Batches
    options: FitOptions
    observer: Observer
    checkpoints: Checkpoints
    clock: _Clock

    def resume(self) -> TrainingState:
        """Go back to the newest checkpoint, or to the very beginning."""
        return self.checkpoints.resume(self.model, self.optimizer, self.objective.memory)

    def save(self, name: str, state: TrainingState) -> None:
        """Write a checkpoint; nobody goes on from the best one."""
        optimizer = None if name == "best" else self.optimizer
        self.checkpoints.save(name, self.model, optimizer, state, self.objective.memory)
        if name == "last":
            self.clock.saved = time.perf_counter()

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        passed = time.perf_counter() - self.clock.saved
        return passed >= 60 * self.options.checkpoint_minutes


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

    Under `torchrun` every process calls it with the same arguments and works on its part of each
    batch; only the first one writes.

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
        TrainingDiverged: if the loss or its gradient is not finite, and the options do not say to
            roll back, or that has been done too often. The last checkpoint stays.
        Stopped: if a signal asked for it (`stopping`), once a checkpoint is written.
    """
    optimizer = make_optimizer(model, options)
    training = _Training(
        model,
        spread(model),
        objective,
        optimizer,
        batches,
        options,
        observer,
        checkpoints,
        _Clock(),
    )
    state = training.resume()
    if state == TrainingState() and options.on_divergence == "roll back":
        training.save("last", state)
    with stopping.deferred():
        while state.epoch < options.epochs:
            try:
                state = _train_epoch(training, state)
            except TrainingDiverged as diverged:
                state = _roll_back(training, diverged)
            else:
                state = _end_epoch(training, state)
        checkpoints.finish()
        _stop_if(ranks.largest(stopping.asked()))
    return state


def _stop_if(asked: int) -> None:
    """Leave, once the first process has written the checkpoint: launchers end all after one."""
    if asked:
        ranks.wait_for_all()
        stopping.stop(asked)


def _end_epoch(training: _Training, state: TrainingState) -> TrainingState:
    """What comes after the updates of an epoch: measure, keep, tell."""
    options, number = training.options, state.epoch + 1
    record: dict[str, float | list[float]] = {
        "epoch": float(number),
        "train/loss": state.sums[0] / state.sums[2],
        "learning_rate": _rate(options, state, number / options.epochs),
        "seconds": state.seconds,
    }
    is_last = number == options.epochs
    if is_last or number % options.evaluate_every == 0:
        training.model.eval()
        record.update(training.observer.evaluate(training.model, number))
    state, is_best = state.after(record)
    if is_best:
        training.save("best", state)
    asked = ranks.largest(stopping.asked())
    is_due = training.is_due() or number % options.checkpoint_every == 0
    # Where the training may roll back, the best network must not be of a way that was given up.
    if is_last or asked or is_due or (is_best and options.on_divergence == "roll back"):
        training.save("last", state)
    training.observer.on_epoch(record)
    if not is_last:
        _stop_if(asked)
    return state


def _rate(options: FitOptions, state: TrainingState, progress: float) -> float:
    factor = learning_rate_factor(progress, options) * state.rate_factor
    return options.learning_rate * factor


def _train_epoch(training: _Training, state: TrainingState) -> TrainingState:
    """The updates of an epoch that are not done yet. Figures stay on the device for a while."""
    options, epoch = training.options, training.batches.epoch(state.epoch)
    share = Share(ranks.rank(), ranks.num_ranks(), state.halvings)
    num_steps = -(-len(epoch) // options.accumulate)
    report_every = max(1, num_steps // REPORTS_PER_EPOCH)
    training.clock.begin(state.seconds)
    unread: list[Tensor] = []
    training.model.train()
    for step in range(state.step, num_steps):
        progress = (state.epoch + (step + 1) / num_steps) / options.epochs
        for param_group in training.optimizer.param_groups:
            param_group["lr"] = _rate(options, state, progress)
        numbers = _batches_of(step, options.accumulate, len(epoch))
        work = partial(_update, training, progress)
        figures, share = with_room(epoch, numbers, share, work)
        unread.append(figures)
        is_report = (step + 1) % report_every == 0 or step + 1 == num_steps
        asked, is_due = _agree(training, step)
        if is_report or asked or is_due:
            state = _read(state, epoch, unread, options.accumulate)
            state = replace(state, seconds=training.clock.of_epoch(), halvings=share.halvings)
            unread = []
        if is_report:
            training.observer.on_step(_report(state, progress, epoch.unit))
        if asked or is_due:
            training.save("last", state)
        _stop_if(asked)
    return state


def _update(training: _Training, progress: float, parts: Parts) -> Tensor:
    return update(
        training.network,
        training.objective,
        training.optimizer,
        parts,
        progress=progress,
        clip_norm=training.options.clip_norm,
    )


def _batches_of(step: int, accumulate: int, num_batches: int) -> range:
    """Numbers of the batches that make one update; the last one of an epoch may have fewer."""
    return range(step * accumulate, min((step + 1) * accumulate, num_batches))


def _agree(training: _Training, step: int) -> tuple[int, bool]:
    """The signal that one of the processes was sent, 0 for none; whether a checkpoint is due.

    Several processes ask each other from time to time, and only the first one's clock counts: what
    one did alone the others would wait for.
    """
    if ranks.are_several() and (step + 1) % UPDATES_PER_AGREEMENT:
        return 0, False
    is_due = ranks.rank() == 0 and training.is_due()
    return ranks.largest(stopping.asked()), bool(ranks.largest(is_due))


def _read(
    state: TrainingState, epoch: Epoch, unread: Sequence[Tensor], accumulate: int
) -> TrainingState:
    """Add up the figures of the last updates, one by one so that sums do not depend on reports.

    Raises:
        TrainingDiverged: at the first update whose loss or gradient is not finite.
    """
    loss, correct, examples, units = state.sums or (0.0, 0.0, 0.0, 0.0)
    for values in torch.stack(list(unread)).tolist() if unread else []:
        numbers = _batches_of(state.step, accumulate, len(epoch))
        size = sum(len(epoch.examples(number)) for number in numbers)
        if not all(map(math.isfinite, values)):
            members = [int(i) for number in numbers for i in epoch.examples(number)]
            raise TrainingDiverged(state.epoch + 1, state.step + 1, values[0] / size, members)
        loss, correct, examples = loss + values[0], correct + values[1], examples + size
        units += sum(map(epoch.num_units, numbers))
        state = replace(state, step=state.step + 1, sums=(loss, correct, examples, units))
    return state


def _report(state: TrainingState, progress: float, unit: str) -> StepReport:
    loss, correct, examples, units = state.sums
    speed = units / state.seconds
    return StepReport(progress, state.epoch + 1, loss / examples, correct / examples, speed, unit)


def _roll_back(training: _Training, diverged: TrainingDiverged) -> TrainingState:
    """Go back to the last checkpoint, and on from there with half the learning rate.

    Raises:
        TrainingDiverged: if the options do not say so, or it has been done too often.
    """
    state = training.resume() if training.options.on_divergence == "roll back" else None
    if state is None or state.rollbacks == MAX_ROLLBACKS:
        training.observer.on_divergence(diverged, None)
        raise diverged
    state = replace(state, rollbacks=state.rollbacks + 1, rate_factor=state.rate_factor / 2)
    training.save("last", state)
    training.observer.on_divergence(diverged, state)
    return state
