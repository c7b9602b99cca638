"""Early-learning regularisation: by hand, against a dense memory and plain autograd, its bounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses import CrossEntropy, LossContext
from protein_robust.losses.early_learning import EarlyLearningRegularization

CPU = torch.device("cpu")


def context_of(memory: dict[str, Tensor] | None, index: list[int]) -> LossContext:
    return LossContext(progress=0.5, index=torch.tensor(index), memory=memory)


def call(
    loss: EarlyLearningRegularization,
    logits: Tensor,
    labels: list[int],
    memory: dict[str, Tensor],
    index: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Values, and the gradient of their sum."""
    leaf = logits.detach().clone().requires_grad_()
    index = list(range(len(labels))) if index is None else index
    values = loss(leaf, torch.tensor(labels), context_of(memory, index))
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


def certain(num_classes: int) -> dict[str, Tensor]:
    """A memory of one example that was always class 0."""
    shares = torch.eye(1, num_classes)
    return {
        "classes": torch.arange(num_classes, dtype=torch.int32).unsqueeze(0),
        "shares": shares,
    }


def test_value_and_gradient_by_hand(worked_logits: Tensor) -> None:
    # t = 0.3 p, <t, p> = 0.3 * 14 / 36 = 0.116667, so lam / (1 - <t, p>) = 3.396226, and
    # t - <t, p> = 0.033333, -0.016667, -0.066667; value log 2 + 3 log 0.883333.
    loss = EarlyLearningRegularization()
    values, gradients = call(loss, worked_logits, [0], loss.new_memory(1, 3, CPU))
    assert values.item() == pytest.approx(0.320989, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx([-0.556604, 0.352201, 0.204403], abs=1e-6)


def test_three_passes_agree_with_a_dense_memory_and_plain_autograd() -> None:
    generator = torch.Generator().manual_seed(5)
    loss = EarlyLearningRegularization(lam=7.0, momentum=0.9, num_entries=6)
    memory = loss.new_memory(8, 6, CPU)
    dense = torch.zeros(8, 6)  # float32, as the memory
    for index in ([7, 2, 4], [2, 0, 7], [7, 2, 1]):
        logits = 3 * torch.randn(3, 6, dtype=torch.float64, generator=generator)
        leaf = logits.clone().requires_grad_()
        p = leaf.softmax(dim=1)
        dense[index] = (0.9 * dense[index].double() + (1 - 0.9) * p.detach()).float()
        gap = 1 - (dense[index].double() * p).sum(dim=1)
        labels = [0, 5, 3]
        expected = functional.cross_entropy(leaf, torch.tensor(labels), reduction="none")
        expected = expected + 7 * gap.log()
        (gradient,) = torch.autograd.grad(expected.sum(), leaf)
        torch.testing.assert_close(
            call(loss, logits, labels, memory, index), (expected.detach(), gradient)
        )


def test_classes_that_are_not_kept_count_as_zero() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    loss = EarlyLearningRegularization(lam=1.0, momentum=0.0, num_entries=1)
    values, gradients = call(loss, logits, [1], loss.new_memory(1, 3, CPU))
    # t = [0.5, 0, 0], <t, p> = 0.25; gradient p - q - p (t - 0.25) / 0.75
    assert values.item() == pytest.approx(-math.log(0.3) + math.log(0.75), abs=1e-6)
    expected = [0.5 - 1 / 6, 0.3 + 0.1 - 1, 0.2 + 0.2 / 3]
    assert gradients[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_entries", [2, 5])
def test_the_gradient_is_that_of_the_value_with_the_memory_held_fixed(num_entries: int) -> None:
    generator = torch.Generator().manual_seed(6)
    learn = EarlyLearningRegularization(momentum=0.2, num_entries=num_entries)
    hold = EarlyLearningRegularization(momentum=1.0, num_entries=num_entries)  # t stays
    memory = learn.new_memory(3, 5, CPU)
    logits = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    call(learn, logits, [0, 1, 2], memory)
    context = context_of(memory, [0, 1, 2])
    assert torch.autograd.gradcheck(
        lambda leaf: hold(leaf, torch.tensor([0, 3, 4]), context), (logits.requires_grad_(),)
    )


def test_the_present_prediction_counts_before_it_is_used(worked_logits: Tensor) -> None:
    loss = EarlyLearningRegularization(momentum=0.0)
    memory = loss.new_memory(1, 3, CPU)
    values, _ = call(loss, worked_logits, [0], memory)
    assert memory["shares"][0].tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 6])
    assert values.item() == pytest.approx(math.log(2) + 3 * math.log(1 - 14 / 36), abs=1e-6)


@pytest.mark.parametrize(
    "loss",
    [EarlyLearningRegularization(lam=0.0), EarlyLearningRegularization(momentum=1.0)],
    ids=repr,
)
def test_without_weight_or_memory_it_is_cross_entropy(
    worked_logits: Tensor, loss: EarlyLearningRegularization
) -> None:
    leaf = worked_logits.clone().requires_grad_()
    expected = CrossEntropy()(leaf, torch.tensor([2]), context_of(None, [0]))
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    torch.testing.assert_close(
        call(loss, worked_logits, [2], loss.new_memory(1, 3, CPU)), (expected.detach(), gradient)
    )


def test_the_value_is_between_its_bounds() -> None:
    # log 1e-4 <= log(1 - <t, p>) <= 0
    generator = torch.Generator().manual_seed(7)
    loss = EarlyLearningRegularization(num_entries=3)
    memory = loss.new_memory(50, 9, CPU)
    labels = [number % 9 for number in range(50)]
    for scale in (1, 5, 20, 100, 100, 100):
        logits = scale * torch.randn(50, 9, generator=generator).abs() * torch.eye(9)[labels]
        values, _ = call(loss, logits, labels, memory)
        cross_entropy = functional.cross_entropy(logits, torch.tensor(labels), reduction="none")
        assert (values <= cross_entropy).all()
        assert (values >= cross_entropy + 3 * math.log(1e-4) - 1e-5).all()


def test_below_the_smallest_gap_only_cross_entropy_pulls() -> None:
    # 1 - p_0 = 2 e^-20; value log p_1 term 20 and 3 log 1e-4
    logits = torch.tensor([[20.0, 0.0, 0.0]], dtype=torch.float64)
    values, gradients = call(EarlyLearningRegularization(momentum=1.0), logits, [1], certain(3))
    assert values.item() == pytest.approx(20 + 3 * math.log(1e-4), abs=1e-6)
    assert gradients[0].tolist() == pytest.approx([1, -1, 0], abs=1e-6)


@pytest.mark.parametrize("score", [8.0, 9.0, 9.5])
def test_a_small_gap_is_exact_in_float32(score: float) -> None:
    # 1 - p_0 is 6.7e-4 to 1.5e-4, where 1 - <t, p> computed as a difference has 3 digits left.
    loss = EarlyLearningRegularization(momentum=1.0)
    logits = torch.tensor([[score, 0.0, 0.0]])
    values, gradients = call(loss, logits, [1], certain(3))
    exact_values, exact_gradients = call(loss, logits.double(), [1], certain(3))
    torch.testing.assert_close(values.double(), exact_values, atol=0, rtol=1e-6)
    torch.testing.assert_close(gradients.double(), exact_gradients, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_logits_give_finite_values_and_gradients(dtype: torch.dtype) -> None:
    loss = EarlyLearningRegularization()
    memory = loss.new_memory(4, 2, CPU)
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], dtype=dtype)
    for _ in range(20):  # until t is 1 or 0
        values, gradients = call(loss, logits, [0, 1, 0, 1], memory)
        assert values.isfinite().all()
        assert gradients.isfinite().all()


def test_float32_agrees_with_float64_at_all_pfam_families() -> None:
    generator = torch.Generator().manual_seed(8)
    loss = EarlyLearningRegularization()
    memories = [loss.new_memory(2, 17929, CPU) for _ in range(2)]
    logits = 4 * torch.randn(2, 17929, generator=generator)
    logits[0, 17] = 30.0
    labels = [17, 17928]
    for _ in range(3):
        values, gradients = call(loss, logits, labels, memories[0])
        exact_values, exact_gradients = call(loss, logits.double(), labels, memories[1])
    torch.testing.assert_close(values.double(), exact_values, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients.double(), exact_gradients, atol=1e-6, rtol=1e-4)


def test_nothing_is_read_from_a_device() -> None:
    # The meta device holds no data: reading a value from it raises.
    meta = torch.device("meta")
    loss = EarlyLearningRegularization()
    context = LossContext(
        progress=0.5,
        index=torch.zeros(2, dtype=torch.int64, device=meta),
        memory=loss.new_memory(4, 9, meta),
    )
    labels = torch.zeros(2, dtype=torch.int64, device=meta)
    assert loss(torch.zeros(2, 9, device=meta), labels, context).shape == (2,)


def test_a_call_without_memory_is_refused(worked_logits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Expected `context\.memory` with `classes` and `shares`"):
        EarlyLearningRegularization()(worked_logits, torch.tensor([0]), context_of(None, [0]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lam": -1}, r"`lam` in \[0, inf\), got -1\."),
        ({"momentum": 1.5}, r"`momentum` in \[0, 1\], got 1\.5\."),
        ({"num_entries": 0}, r"`num_entries` as an integer >= 1, got 0\."),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        EarlyLearningRegularization(**parameters)  # type: ignore[arg-type]
