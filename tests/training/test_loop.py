"""What `fit` does with a loss, its batches and its observer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.datasets import Batch, Share
from protein_robust.errors import InputError
from protein_robust.losses import LossContext, make_loss
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    Objective,
    Record,
    StepReport,
    TrainingDiverged,
    TrainingState,
    fit,
    load_weights,
    read_checkpoint,
    read_memory,
)

SIZES = (4, 4, 1)
"""Examples of each batch; the last is smaller, so a mean of batch means would be another number."""


class FlatLinear(nn.Module):
    """A classifier of images without a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 3)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            self.linear.weight.uniform_(-0.1, 0.1, generator=generator)
            self.linear.bias.zero_()

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is None
        logits: Tensor = self.linear(inputs.flatten(1))
        return logits


@dataclass(frozen=True)
class ImageBatches:
    """Images (3, 2, 2) of three classes that a line separates, in hand-made batches."""

    sizes: Sequence[int] = SIZES

    def epoch(self, number: int) -> ImageBatches:
        return self

    def __len__(self) -> int:
        return len(self.sizes)

    def examples(self, number: int) -> NDArray[np.int64]:
        end = sum(self.sizes[: number + 1])
        return np.arange(end - self.sizes[number], end)

    unit = "residues"

    def num_units(self, number: int) -> int:
        return 12 * self.sizes[number]

    def parts(self, number: int, share: Share) -> list[Callable[[], Batch]]:
        return [partial(self.cut, torch.from_numpy(self.examples(number)))]

    def cut(self, index: Tensor) -> Batch:
        label = torch.arange(sum(self.sizes)) % 3
        noise = torch.rand(len(label), 3, 2, 2, generator=torch.Generator().manual_seed(1))
        inputs = functional.one_hot(label, 3)[:, :, None, None] + 0.3 * noise
        return Batch(inputs[index], None, label[index], index)

    def whole(self) -> Batch:
        """All examples."""
        return self.cut(torch.arange(sum(self.sizes)))


@dataclass
class Recorder:
    """An observer that keeps all it is told."""

    accuracies: Sequence[float] = ()
    evaluated: list[tuple[int, bool]] = field(default_factory=list)
    reports: list[StepReport] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    diverged: list[tuple[TrainingDiverged, TrainingState | None]] = field(default_factory=list)

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        self.evaluated.append((epoch, model.training))
        return {"valid/accuracy": self.accuracies[epoch - 1]} if self.accuracies else {}

    def on_step(self, report: StepReport) -> None:
        self.reports.append(report)

    def on_epoch(self, record: Record) -> None:
        self.records.append(dict(record))

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        self.diverged.append((diverged, back_to))


@dataclass
class Watched:
    """Cross entropy that keeps the contexts and values it was asked for."""

    contexts: list[LossContext] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        values = functional.cross_entropy(logits, labels, reduction="none")
        self.contexts.append(context)
        self.values.append(values.detach())
        return values


OPTIONS = FitOptions(epochs=4, learning_rate=0.05)
PLAIN = FitOptions(
    epochs=1,
    optimizer="sgd",
    learning_rate=0.5,
    momentum=0.0,
    weight_decay=0.0,
    schedule="constant",
    warmup=0.0,
    clip_norm=None,
)


Train = Callable[..., tuple[FlatLinear, TrainingState]]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`train(options=, loss= or objective=, batches=, observer=)`: a linear model in `fit`."""

    def run(options: FitOptions = OPTIONS, **given: Any) -> tuple[FlatLinear, TrainingState]:
        model = FlatLinear()
        state = fit(
            model,
            given.get("objective", Objective(given.get("loss", Watched()))),
            batches=given.get("batches", ImageBatches()),
            options=options,
            observer=given.get("observer", Recorder()),
            checkpoints=Checkpoints(tmp_path, {}),
        )
        return model, state

    return run


def test_the_loss_falls_and_everything_is_learned(train: Train) -> None:
    observer = Recorder()
    train(FitOptions(epochs=40, learning_rate=0.05), observer=observer)
    assert observer.records[-1]["train/loss"] < 0.3 * observer.records[0]["train/loss"]
    assert observer.reports[-1].accuracy == 1.0


def test_a_loss_of_the_registry_fits_in(train: Train) -> None:
    observer = Recorder()
    train(loss=make_loss("cross_entropy"), observer=observer)
    assert observer.records[-1]["train/loss"] < observer.records[0]["train/loss"]


def test_the_gradient_is_that_of_the_mean_over_the_batch(train: Train) -> None:
    batches = ImageBatches(sizes=(5,))
    batch = batches.whole()
    start = FlatLinear()
    mean = functional.cross_entropy(start(batch.inputs, None), batch.label)
    gradient_weight, gradient_bias = torch.autograd.grad(mean, list(start.parameters()))
    model, _ = train(PLAIN, batches=batches)
    torch.testing.assert_close(model.linear.weight, start.linear.weight - 0.5 * gradient_weight)
    torch.testing.assert_close(model.linear.bias, start.linear.bias - 0.5 * gradient_bias)


def test_the_reported_loss_is_the_mean_over_all_examples(train: Train) -> None:
    loss, observer = Watched(), Recorder()
    train(PLAIN, loss=loss, observer=observer)
    expected = torch.cat(loss.values).double().mean().item()
    assert observer.records[0]["train/loss"] == pytest.approx(expected, rel=1e-6)
    assert observer.reports[-1].loss == observer.records[0]["train/loss"]


def test_a_report_is_of_the_epoch_so_far(train: Train) -> None:
    loss, observer = Watched(), Recorder()
    train(PLAIN, loss=loss, observer=observer)
    so_far = [torch.cat(loss.values[: i + 1]).mean().item() for i in range(3)]
    assert [report.loss for report in observer.reports] == pytest.approx(so_far, rel=1e-6)


def test_progress_rises_by_equal_steps_to_exactly_one(train: Train) -> None:
    loss, observer = Watched(), Recorder()
    train(loss=loss, observer=observer)
    progress = [context.progress for context in loss.contexts]
    assert progress == pytest.approx([step / 12 for step in range(1, 13)])
    assert progress[-1] == 1.0
    assert [report.progress for report in observer.reports] == progress


def test_the_loss_is_told_the_positions_of_the_examples(train: Train) -> None:
    loss = Watched()
    train(PLAIN, loss=loss)
    assert [c.index.tolist() for c in loss.contexts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_an_epoch_of_many_batches_is_reported_a_few_times(train: Train) -> None:
    observer = Recorder()
    train(PLAIN, batches=ImageBatches(sizes=(1,) * 81), observer=observer)
    # Every 81 // 8 = 10 steps, and at the end.
    assert [round(81 * r.progress) for r in observer.reports] == [*range(10, 81, 10), 81]


def test_a_report_says_the_epoch_and_a_speed(train: Train) -> None:
    observer = Recorder()
    train(observer=observer)
    assert [report.epoch for report in observer.reports] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert all(report.speed > 0 for report in observer.reports)


def test_the_gradient_is_clipped_to_the_norm_that_is_allowed(train: Train) -> None:
    options = replace(PLAIN, learning_rate=1.0, clip_norm=0.01)
    model, _ = train(options, batches=ImageBatches(sizes=(5,)))
    start = FlatLinear()
    moved = [a - b for a, b in zip(model.parameters(), start.parameters(), strict=True)]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_an_epoch_s_record_has_the_rate_of_its_last_step(train: Train) -> None:
    observer = Recorder()
    train(FitOptions(epochs=2, learning_rate=0.4, warmup=0.0), observer=observer)
    # Cosine: half of the peak in the middle, nothing at the end.
    rates = [record["learning_rate"] for record in observer.records]
    assert rates == pytest.approx([0.2, 0.0], abs=1e-12)


def test_an_epoch_s_record_has_its_number_and_time_and_what_was_measured(train: Train) -> None:
    observer = Recorder(accuracies=[0.1, 0.2, 0.3, 0.4])
    _, state = train(observer=observer)
    assert [record["epoch"] for record in observer.records] == [1, 2, 3, 4]
    assert [record["valid/accuracy"] for record in observer.records] == [0.1, 0.2, 0.3, 0.4]
    assert all(record["seconds"] > 0 for record in observer.records)
    assert list(state.history) == observer.records


def test_evaluation_is_every_so_many_epochs_and_at_the_end_in_evaluation_mode(
    train: Train,
) -> None:
    observer = Recorder()
    train(FitOptions(epochs=5, evaluate_every=2), observer=observer)
    assert observer.evaluated == [(2, False), (4, False), (5, False)]


def test_the_best_epoch_is_kept_beside_the_last(train: Train, tmp_path: Path) -> None:
    _, state = train(observer=Recorder(accuracies=[0.2, 0.9, 0.5, 0.9]))
    assert (state.best_epoch, state.best_value) == (2, 0.9)
    contents = [load_weights(tmp_path / name, FlatLinear()) for name in ("best", "last")]
    assert [content["epoch"] for content in contents] == [2, 4]


def test_the_last_checkpoint_holds_the_final_weights(train: Train, tmp_path: Path) -> None:
    model, _ = train(FitOptions(epochs=3, checkpoint_every=2))
    again = FlatLinear()
    load_weights(tmp_path / "last", again)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_finished_training_is_not_repeated(train: Train) -> None:
    model, state = train()
    loss = Watched()
    again, state_again = train(loss=loss)
    assert not loss.values
    assert state_again == state
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


@dataclass
class Failing:
    """Cross entropy, but for one example, of which it becomes something else a few times.

    Args:
        value: what it becomes.
        example: position of the example.
        after: progress of the training, from which on.
        times: how often.
    """

    value: float
    example: int = 5
    after: float = 0.25
    times: int = 1000

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        values = functional.cross_entropy(logits, labels, reduction="none")
        is_bad = context.index == self.example
        if context.progress > self.after and is_bad.any() and self.times:
            self.times -= 1
            values = torch.where(is_bad, values * self.value, values)
        return values


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_training_and_leaves_the_last_checkpoint(
    train: Train, tmp_path: Path, bad: float
) -> None:
    observer = Recorder()
    message = (
        f"Expected a finite loss and gradient, got a loss of {bad} in epoch 2, update 2; "
        "a lower learning rate or gradient clipping may help"
    )
    with pytest.raises(TrainingDiverged, match=message) as caught:
        train(loss=Failing(bad), observer=observer)
    assert (caught.value.epoch, caught.value.step) == (2, 2)
    # The second batch of four.
    assert caught.value.examples == (4, 5, 6, 7)
    assert observer.diverged == [(caught.value, None)]
    assert [record["epoch"] for record in observer.records] == [1]
    model = FlatLinear()
    assert load_weights(tmp_path / "last", model)["epoch"] == 1
    assert model.linear.weight.isfinite().all()


def test_a_loss_that_is_not_finite_is_seen_within_the_epoch(train: Train) -> None:
    observer = Recorder()
    with pytest.raises(TrainingDiverged):
        train(loss=Failing(float("nan")), observer=observer)
    # Three reports of the first epoch, and one of the second.
    assert [report.epoch for report in observer.reports] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("accumulate", "step", "examples"),
    # Of 81 batches of one example, reports are after every 10th update (5th where 2 make one).
    [(1, 34, (33,)), (2, 17, (32, 33))],
)
def test_the_update_and_its_examples_are_named_also_between_two_reports(
    train: Train, accumulate: int, step: int, examples: tuple[int, ...]
) -> None:
    loss = Failing(float("inf"), example=33, after=0.0)
    options = replace(PLAIN, accumulate=accumulate)
    with pytest.raises(TrainingDiverged) as caught:
        train(options, loss=loss, batches=ImageBatches(sizes=(1,) * 81))
    assert (caught.value.step, caught.value.examples) == (step, examples)


class _FineButForItsGradient(torch.autograd.Function):
    """The identity, with a gradient that is not a number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * float("nan")


def without_gradient(logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
    """Cross entropy, finite throughout; at the end of the second of four epochs, no gradient."""
    values = functional.cross_entropy(logits, labels, reduction="none")
    bad: Tensor = _FineButForItsGradient.apply(values)
    return bad if context.progress == 0.5 else values


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_a_gradient_that_is_not_finite_is_seen_though_the_loss_is(
    train: Train, tmp_path: Path, clip_norm: float | None
) -> None:
    with pytest.raises(
        TrainingDiverged, match=r"got a loss of \d.* in epoch 2, update 3"
    ) as caught:
        train(replace(OPTIONS, clip_norm=clip_norm), loss=without_gradient)
    assert caught.value.examples == (8,)
    model = FlatLinear()
    # Nobody could go on from a checkpoint that was written after it.
    assert load_weights(tmp_path / "last", model)["epoch"] == 1
    assert model.linear.weight.isfinite().all()


ROLL_BACK = replace(OPTIONS, on_divergence="roll back", schedule="constant", warmup=0.0)


@pytest.mark.parametrize("after", [0.0, 0.5], ids=["in the first epoch", "in the third"])
def test_rolled_back_a_training_goes_on_from_the_last_checkpoint_with_half_the_rate(
    train: Train, after: float
) -> None:
    observer = Recorder()
    model, state = train(
        ROLL_BACK, loss=Failing(float("inf"), after=after, times=1), observer=observer
    )
    done = round(4 * after)
    assert [record["epoch"] for record in observer.records] == [1, 2, 3, 4]
    rates = [record["learning_rate"] for record in observer.records]
    assert rates == [0.05] * done + [0.025] * (4 - done)
    ((diverged, back_to),) = observer.diverged
    assert diverged.epoch == done + 1
    assert back_to is not None
    assert (back_to.epoch, back_to.step, back_to.rollbacks, back_to.rate_factor) == (
        done,
        0,
        1,
        0.5,
    )
    assert (state.epoch, state.rollbacks, state.rate_factor) == (4, 1, 0.5)
    assert model.linear.weight.isfinite().all()


def test_a_roll_back_leaves_nothing_of_what_was_rolled_back(train: Train, tmp_path: Path) -> None:
    memory = {"times": torch.zeros(9)}
    failing, counting = Failing(float("inf"), after=0.5, times=1), Counting()

    def loss(logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        counting(logits, labels, context)
        return failing(logits, labels, context)

    model, _ = train(ROLL_BACK, objective=Objective(loss, memory))
    assert memory["times"].tolist() == [4] * 9
    # The same as two epochs at the rate of before, and two at half of it.
    (tmp_path / "last").rename(tmp_path / "rolled back")
    half = replace(ROLL_BACK, schedule="step", milestones=(0.5 + 1e-9,), gamma=0.5)
    expected, _ = train(half)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-6, atol=1e-7)


def test_after_five_roll_backs_a_training_gives_up(train: Train) -> None:
    observer = Recorder()
    with pytest.raises(TrainingDiverged, match="in epoch 2, update 2"):
        train(ROLL_BACK, loss=Failing(float("nan")), observer=observer)
    back = [back_to.rate_factor if back_to else None for _, back_to in observer.diverged]
    assert back == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, None]


def test_started_again_a_training_remembers_its_roll_backs(train: Train) -> None:
    with pytest.raises(TrainingDiverged):
        train(ROLL_BACK, loss=Failing(float("nan")))
    observer = Recorder()
    with pytest.raises(TrainingDiverged):
        train(ROLL_BACK, loss=Failing(float("nan")), observer=observer)
    assert [back_to for _, back_to in observer.diverged] == [None]


def test_a_training_that_may_roll_back_and_need_not_is_the_same(
    train: Train, tmp_path: Path
) -> None:
    model, _ = train(ROLL_BACK)
    (tmp_path / "last").rename(tmp_path / "first")
    expected, _ = train(replace(ROLL_BACK, on_divergence="stop"))
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(("minutes", "num_updates"), [(1e-9, 2), (60.0, 0)])
def test_checkpoints_within_an_epoch_are_as_far_apart_as_asked(
    train: Train, tmp_path: Path, minutes: float, num_updates: int
) -> None:
    # Without the end of an epoch, the last checkpoint is that of the second update of the second.
    with pytest.raises(TrainingDiverged):
        train(
            replace(OPTIONS, checkpoint_minutes=minutes, checkpoint_every=9),
            loss=Failing(float("nan"), example=8),
        )
    if not num_updates:
        assert not (tmp_path / "last").exists()
        return
    content = read_checkpoint(tmp_path / "last")
    assert (content["epoch"], content["step"], content["sums"][2]) == (1, 2, 8)


@pytest.mark.parametrize(
    "loss",
    [
        make_loss("cross_entropy"),
        make_loss("proselflc", temperature=0.5),
        make_loss("derivative_manipulation", beta=12),
        make_loss("imae", temperature=8),
    ],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("sizes", [(4, 5), (3, 3, 3), (4, 4, 1)], ids=str)
def test_accumulated_batches_are_one_batch(
    train: Train, tmp_path: Path, loss: Any, sizes: tuple[int, ...]
) -> None:
    # The normaliser of DM and IMAE is that of the whole batch, not of each part.
    whole, _ = train(PLAIN, loss=loss, batches=ImageBatches(sizes=(9,)))
    (tmp_path / "last").rename(tmp_path / "whole")
    options = replace(PLAIN, accumulate=len(sizes))
    parts, _ = train(options, loss=loss, batches=ImageBatches(sizes=sizes))
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-5, atol=1e-6)
    start = FlatLinear().linear.weight
    assert (whole.linear.weight - start).abs().max() > 1e-3


def test_the_last_batches_of_an_epoch_make_an_update_of_their_own(train: Train) -> None:
    loss = Watched()
    options = replace(PLAIN, accumulate=2)
    train(options, loss=loss)
    # Three batches, two updates: the time is that of the update.
    assert [context.progress for context in loss.contexts] == [0.5, 0.5, 1.0]


def test_a_teacher_is_asked_for_the_same_inputs_and_stays_as_it_is(train: Train) -> None:
    teacher, loss = FlatLinear().eval(), Watched()
    before = teacher.linear.weight.clone()
    batches = ImageBatches(sizes=(5,))
    train(PLAIN, objective=Objective(loss, teacher=teacher), batches=batches)
    (context,), batch = loss.contexts, batches.whole()
    assert context.teacher_logits is not None
    assert not context.teacher_logits.requires_grad
    torch.testing.assert_close(context.teacher_logits, teacher(batch.inputs, None))
    assert torch.equal(teacher.linear.weight, before)
    assert teacher.linear.weight.grad is None


@dataclass
class Counting:
    """Cross entropy that counts how often each example was seen."""

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        assert context.memory is not None
        context.memory["times"][context.index] += 1
        return functional.cross_entropy(logits, labels, reduction="none")


def test_what_a_loss_remembers_is_kept_and_comes_back(train: Train, tmp_path: Path) -> None:
    memory = {"times": torch.zeros(9)}
    train(objective=Objective(Counting(), memory))
    assert memory["times"].tolist() == [4] * 9
    assert read_memory(tmp_path / "last")["times"].tolist() == [4] * 9
    again = {"times": torch.zeros(9)}
    train(objective=Objective(Counting(), again))  # finished, so it is only read
    assert again["times"].tolist() == [4] * 9


def test_a_memory_of_another_shape_is_refused(train: Train) -> None:
    train(objective=Objective(Counting(), {"times": torch.zeros(9)}))
    message = r"Expected a memory of the shapes .*\(10,\).*, got .*\(9,\)"
    with pytest.raises(InputError, match=message):
        train(objective=Objective(Counting(), {"times": torch.zeros(10)}))
