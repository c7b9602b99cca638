"""Pseudo-label: its schedule, examples with and without label, its relation to Boot-hard."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses import BootstrapHard, CrossEntropy, Loss, LossContext
from protein_robust.losses.pseudo_label import PseudoLabel


def call(
    loss: Loss, logits: Tensor, labels: list[int], progress: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Values, and the gradient of their sum."""
    leaf = logits.detach().clone().requires_grad_()
    context = LossContext(progress=progress, index=torch.arange(len(labels)))
    values = loss(leaf, torch.tensor(labels), context)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


@pytest.fixture
def logits() -> Tensor:
    """Scores, shape (4, 5), float64."""
    return torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(
    ("epoch", "weight"), [(0, 0), (50, 0), (100, 0), (350, 1.5), (600, 3), (700, 3), (1000, 3)]
)
def test_the_weight_by_hand(epoch: int, weight: float) -> None:
    # Lee's schedule: 0 up to epoch 100, a straight line to 3 at epoch 600; of 1000
    assert PseudoLabel().ramp(epoch / 1000) == pytest.approx(weight)


@pytest.mark.parametrize(("progress", "weight"), [(0.49, 0.0), (0.5, 3.0)])
def test_a_ramp_of_no_length_is_a_step(progress: float, weight: float) -> None:
    assert PseudoLabel(ramp_start=0.5, ramp_end=0.5).ramp(progress) == weight


def test_value_and_gradient_by_hand(worked_logits: Tensor) -> None:
    # p = [1/2, 1/3, 1/6], a = 3. Label 1: log 3 + 3 log 2, (p - q) + 3 (p - [1, 0, 0]).
    # None: 3 log 2 and 3 (p - [1, 0, 0]).
    values, gradients = call(PseudoLabel(), worked_logits.repeat(2, 1), [1, -1])
    assert values.tolist() == pytest.approx([math.log(24), math.log(8)], abs=1e-6)
    assert gradients[0].tolist() == pytest.approx([-1, 1 / 3, 2 / 3], abs=1e-6)
    assert gradients[1].tolist() == pytest.approx([-3 / 2, 1, 1 / 2], abs=1e-6)


def test_the_papers_sum_leaves_labelled_examples_to_their_labels(logits: Tensor) -> None:
    labels = [2, -1, 0, -1]
    values, gradients = call(PseudoLabel(on_labelled=False), logits, labels, 0.35)
    leaf = logits.clone().requires_grad_()
    given = [
        label if label >= 0 else int(row.argmax())
        for row, label in zip(logits, labels, strict=True)
    ]
    expected = functional.cross_entropy(leaf, torch.tensor(given), reduction="none")
    expected = expected * torch.tensor([1, 1.5, 1, 1.5])
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    torch.testing.assert_close((values, gradients), (expected.detach(), gradient))


@pytest.mark.parametrize("progress", [0.2, 0.35, 1.0])
def test_with_noisy_labels_it_is_boot_hard_times_one_plus_a(
    logits: Tensor, progress: float
) -> None:
    loss = PseudoLabel()
    weight = loss.ramp(progress)
    labels = [0, 1, 2, int(logits[3].argmax())]
    boot = call(BootstrapHard(epsilon=weight / (1 + weight)), logits, labels)
    torch.testing.assert_close(
        call(loss, logits, labels, progress), ((1 + weight) * boot[0], (1 + weight) * boot[1])
    )


@pytest.mark.parametrize("on_labelled", [False, True])
def test_before_the_ramp_it_is_cross_entropy_and_nothing_without_label(
    logits: Tensor, on_labelled: bool
) -> None:
    values, gradients = call(PseudoLabel(on_labelled=on_labelled), logits, [3, 1, -1, -1], 0.1)
    plain = call(CrossEntropy(), logits[:2], [3, 1])
    torch.testing.assert_close((values[:2], gradients[:2]), plain)
    assert values[2:].count_nonzero() == 0
    assert gradients[2:].count_nonzero() == 0


@pytest.mark.parametrize("on_labelled", [False, True])
def test_the_gradient_is_that_of_the_value(logits: Tensor, on_labelled: bool) -> None:
    loss = PseudoLabel(on_labelled=on_labelled)
    context = LossContext(progress=0.5, index=torch.arange(4))
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, torch.tensor([0, -1, 4, -1]), context), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("on_labelled", [False, True])
def test_a_mask_follows_its_rows_into_every_chunk(
    monkeypatch: pytest.MonkeyPatch, logits: Tensor, on_labelled: bool
) -> None:
    loss = PseudoLabel(on_labelled=on_labelled)
    whole = call(loss, logits, [0, -1, 4, -1])
    monkeypatch.setattr("protein_robust.losses.rows.CHUNK_ELEMENTS", 5)  # one row each
    torch.testing.assert_close(call(loss, logits, [0, -1, 4, -1]), whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_logits_give_finite_values_and_gradients(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], dtype=dtype)
    values, gradients = call(PseudoLabel(), logits, [1, -1, -1, 0])
    assert values.isfinite().all()
    assert gradients.isfinite().all()


def test_an_unlabelled_example_of_certain_class_is_done() -> None:
    values, gradients = call(PseudoLabel(), torch.tensor([[1e4] + [0.0] * 17928]), [-1])
    assert values.item() == 0
    assert gradients.count_nonzero() == 0


@pytest.mark.parametrize(("label", "actual"), [(-2, "-2"), (5, "5")])
def test_a_label_that_is_no_class_is_refused(logits: Tensor, label: int, actual: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `labels` in \[-1, 5\), got {actual}\."):
        call(PseudoLabel(), logits, [0, 1, 2, label])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weight": -1}, r"`weight` in \[0, inf\), got -1\."),
        ({"ramp_start": -0.1}, r"`ramp_start` in \[0, 1\], got -0\.1\."),
        ({"ramp_end": 1.1}, r"`ramp_end` in \[0, 1\], got 1\.1\."),
        ({"ramp_start": 0.7}, r"`ramp_end` at or after `ramp_start` 0\.7, got 0\.6\."),
        ({"on_labelled": 1}, r"`on_labelled` out of True, False, got 1\."),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        PseudoLabel(**parameters)  # type: ignore[arg-type]
