"""Joint optimisation by hand and against plain autograd; what it remembers; its second step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.errors import InputError
from protein_robust.losses import CrossEntropy, Loss, LossContext
from protein_robust.losses.joint_optimization import CorrectedLabels, JointOptimization

CPU = torch.device("cpu")
WORKED = torch.tensor([[1 / 2, 1 / 3, 1 / 6], [0.2, 0.7, 0.1]], dtype=torch.float64).log()


def memory_of(targets: list[list[float]]) -> dict[str, Tensor]:
    """A memory that keeps all classes of some examples."""
    shares = torch.tensor(targets)
    classes = torch.arange(shares.shape[1], dtype=torch.int32).repeat(len(shares), 1)
    return {"classes": classes, "shares": shares}


def context_of(
    memory: dict[str, Tensor] | None, num_examples: int, progress: float = 1.0
) -> LossContext:
    return LossContext(progress=progress, index=torch.arange(num_examples), memory=memory)


def call(
    loss: Loss, logits: Tensor, labels: list[int], context: LossContext
) -> tuple[Tensor, Tensor]:
    """Values, and the gradient of their mean."""
    leaf = logits.detach().clone().requires_grad_()
    values = loss(leaf, torch.tensor(labels), context)
    (gradient,) = torch.autograd.grad(values.mean(), leaf)
    return values.detach(), gradient


def plain(
    logits: Tensor, target: Tensor, alpha: float = 1.2, beta: float = 0.8
) -> tuple[Tensor, Tensor]:
    """The same by the published equation and autograd."""
    leaf = logits.detach().clone().requires_grad_()
    p = leaf.softmax(dim=1)
    uniform = torch.full_like(p[0], 1 / p.shape[1])
    to_prior = (uniform * (uniform / p.mean(dim=0)).log()).sum()
    values = -(target * p.log()).sum(dim=1) - beta * (p * p.log()).sum(dim=1) + alpha * to_prior
    (gradient,) = torch.autograd.grad(values.mean(), leaf)
    return values.detach(), gradient


def test_the_worked_example() -> None:
    # L_c = 1.011389, L_p = 0.143082, L_e = 0.906611
    memory = memory_of([[1, 0, 0], [0, 0.5, 0.5]])
    values, gradients = call(JointOptimization(), WORKED, [2, 2], context_of(memory, 2))
    assert values.mean().item() == pytest.approx(1.908376, abs=1e-6)
    expected = [[-0.266992, 0.270844, -0.003852], [0.157375, 0.079069, -0.236444]]
    torch.testing.assert_close(
        gradients, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )


def test_the_other_forms_of_the_terms_differ_by_constants() -> None:
    # L_c as KL(t || p) lacks the labels' entropies, 0 and ln 2; L_p as cross entropy adds ln 3.
    def mean_of(**weights: float) -> float:
        memory = memory_of([[1, 0, 0], [0, 0.5, 0.5]])
        values, _ = call(JointOptimization(**weights), WORKED, [2, 2], context_of(memory, 2))
        return values.mean().item()

    given = mean_of(alpha=0.0, beta=0.0)
    assert given - math.log(2) / 2 == pytest.approx(0.664815, abs=1e-6)
    assert mean_of(alpha=1.0, beta=0.0) - given + math.log(3) == pytest.approx(1.241694, abs=1e-6)


@pytest.mark.parametrize(
    ("parameters", "term"),
    [
        ({"alpha": 0.0, "beta": 0.0}, 1.011389),
        ({"alpha": 1.0, "beta": 0.0}, 1.011389 + 0.143082),
        ({"alpha": 0.0, "beta": 1.0}, 1.011389 + 0.906611),
    ],
    ids=["classification", "prior", "entropy"],
)
def test_each_term_of_the_worked_example(parameters: dict[str, float], term: float) -> None:
    memory = memory_of([[1, 0, 0], [0, 0.5, 0.5]])
    values, _ = call(JointOptimization(**parameters), WORKED, [2, 2], context_of(memory, 2))  # type: ignore[arg-type]
    assert values.mean().item() == pytest.approx(term, abs=2e-6)


@pytest.fixture
def logits() -> Tensor:
    """Scores, shape (4, 6), float64."""
    return 2 * torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(12))


@pytest.mark.parametrize("form", ["soft", "hard"])
def test_passes_agree_with_a_dense_memory_and_plain_autograd(logits: Tensor, form: Any) -> None:
    loss = JointOptimization(form=form, momentum=0.5, num_entries=6)
    memory = loss.new_memory(4, 6, CPU)
    dense = torch.zeros(4, 6)  # float32, as the memory
    labels = [0, 5, 2, 2]
    for number in range(4):
        scores = logits + number * logits.flip(0)
        progress = number / 4  # from 0.35 on labels are remembered
        seen = dense.double() if form == "soft" else functional.one_hot(dense.argmax(1), 6)
        given = functional.one_hot(torch.tensor(labels), 6).double()
        target = seen / seen.sum(1, keepdim=True) if progress >= 0.35 else given
        expected = plain(scores, target)
        actual = call(loss, scores, labels, context_of(memory, 4, progress))
        torch.testing.assert_close(actual, expected)
        dense = (0.5 * dense.double() + 0.5 * scores.softmax(dim=1)).float()


@pytest.mark.parametrize("form", ["soft", "hard"])
def test_the_gradient_is_that_of_the_mean_with_the_memory_held_fixed(
    logits: Tensor, form: Any
) -> None:
    loss = JointOptimization(form=form, momentum=1.0, num_entries=3)
    memory = loss.new_memory(4, 6, CPU)
    call(JointOptimization(num_entries=3), logits, [0, 1, 2, 3], context_of(memory, 4))
    context = context_of(memory, 4)
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, torch.tensor([0, 5, 2, 2]), context).mean(),
        (logits.requires_grad_(),),
    )


@pytest.mark.parametrize("progress", [0.0, 0.34, 0.36, 1.0])
def test_the_given_label_counts_at_first_and_for_what_was_never_seen(
    logits: Tensor, progress: float
) -> None:
    loss = JointOptimization()
    target = functional.one_hot(torch.tensor([0, 5, 2, 2]), 6).double()
    memory = loss.new_memory(4, 6, CPU)
    actual = call(loss, logits, [0, 5, 2, 2], context_of(memory, 4, progress))
    torch.testing.assert_close(actual, plain(logits, target))


def test_the_present_prediction_is_remembered_only_for_the_next_pass(logits: Tensor) -> None:
    loss = JointOptimization(alpha=0.0, beta=0.0, form="hard")
    memory = loss.new_memory(1, 6, CPU)
    first, _ = call(loss, logits[:1], [3], context_of(memory, 1))
    second, _ = call(loss, logits[:1], [3], context_of(memory, 1))
    log_probs = logits[0].log_softmax(dim=0)
    assert first.item() == pytest.approx(-log_probs[3].item())
    assert second.item() == pytest.approx(-log_probs.max().item())


def test_chunks_of_a_batch_share_its_mean_prediction(
    monkeypatch: pytest.MonkeyPatch, logits: Tensor
) -> None:
    target = [[0.5, 0.5, 0, 0, 0, 0]] * 3 + [[0, 0, 0, 0, 0, 1.0]]
    monkeypatch.setattr("protein_robust.losses.rows.CHUNK_ELEMENTS", 6)  # one row each
    actual = call(JointOptimization(), logits, [0, 1, 2, 3], context_of(memory_of(target), 4))
    torch.testing.assert_close(actual, plain(logits, torch.tensor(target, dtype=torch.float64)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_class_that_all_but_underflows_is_pulled_in_full(dtype: torch.dtype) -> None:
    # log mean p_2 = -75 - 2 log 2, where the mean is 1e-33; the gradient of B alpha KL with regard
    # to log p_2 is -alpha B / K = -0.8 for the first row.
    logits = torch.tensor([[0.0, 0.0, -75.0], [0.0, 0.0, -125.0]], dtype=dtype)
    loss = JointOptimization(alpha=1.2, beta=0.0)
    context = context_of(loss.new_memory(2, 3, CPU), 2)
    values, gradients = call(loss, logits, [0, 0], context)
    # log 2 + 1.2 * -mean log(3 p): two classes of log 3/2, one of log 3 - 75 - 2 log 2
    to_prior = -(2 * math.log(1.5) + math.log(3) - 75 - 2 * math.log(2)) / 3
    assert values.tolist() == pytest.approx([math.log(2) + 1.2 * to_prior] * 2, rel=1e-6)
    assert (2 * gradients[:, 2]).tolist() == pytest.approx([-0.8, 0.0], abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("score", [-85.0, -200.0, -1e4])
def test_a_class_below_the_smallest_mean_counts_as_that_and_is_not_pulled(
    score: float, dtype: torch.dtype
) -> None:
    # MEAN_MIN = 1e-35 = exp(-80.6). The others have 1 / 2, so the prior pulls each by -0.4, and
    # the softmax gives it back: 0. What is left is cross entropy.
    logits = torch.tensor([[0.0, 0.0, score]] * 2, dtype=dtype)
    loss = JointOptimization(alpha=1.2, beta=0.0)
    values, gradients = call(loss, logits, [0, 0], context_of(loss.new_memory(2, 3, CPU), 2))
    to_prior = -(2 * math.log(1.5) + math.log(3e-35)) / 3
    assert values.tolist() == pytest.approx([math.log(2) + 1.2 * to_prior] * 2, rel=1e-6)
    expected = torch.tensor([[-0.5, 0.5, 0.0]] * 2, dtype=dtype)
    torch.testing.assert_close(2 * gradients, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_logits_give_finite_values_and_gradients(dtype: torch.dtype) -> None:
    loss = JointOptimization()
    memory = loss.new_memory(4, 2, CPU)
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], dtype=dtype)
    for progress in (0.1, 0.6, 1.0):
        values, gradients = call(loss, logits, [0, 1, 0, 1], context_of(memory, 4, progress))
        assert values.isfinite().all()
        assert gradients.isfinite().all()


def test_float32_agrees_with_float64_with_many_more_classes_than_examples() -> None:
    generator = torch.Generator().manual_seed(13)
    loss = JointOptimization()
    logits = 4 * torch.randn(3, 17929, generator=generator)
    labels = [3, 17, 17928]
    memories = [loss.new_memory(3, 17929, CPU) for _ in range(2)]
    for progress in (0.1, 0.9):
        values, gradients = call(loss, logits, labels, context_of(memories[0], 3, progress))
        exact = call(loss, logits.double(), labels, context_of(memories[1], 3, progress))
        torch.testing.assert_close(values.double(), exact[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(gradients.double(), exact[1], atol=1e-6, rtol=1e-4)


def test_the_running_mean_is_as_old_as_a_window_of_ten_passes() -> None:
    m = JointOptimization().momentum
    mean_age = sum(age * (1 - m) * m**age for age in range(500))
    assert mean_age == pytest.approx(sum(range(10)) / 10)


@pytest.mark.parametrize(
    ("form", "value"), [("soft", (math.log(2) + math.log(6)) / 2), ("hard", math.log(2))]
)
def test_corrected_labels_by_hand(worked_logits: Tensor, form: Any, value: float) -> None:
    # p = [1/2, 1/3, 1/6]; remembered in halves: classes 0 and 2, the first of them larger by a hair
    memory = memory_of([[0.25 + 1e-7, 0, 0.25]])
    values, gradients = call(CorrectedLabels(form=form), worked_logits, [1], context_of(memory, 1))
    target = [0.5, 0, 0.5] if form == "soft" else [1, 0, 0]
    assert values.item() == pytest.approx(value, abs=1e-6)
    expected = [p - t for p, t in zip([1 / 2, 1 / 3, 1 / 6], target, strict=True)]
    assert gradients[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_corrected_labels_are_the_given_ones_where_nothing_is_remembered(logits: Tensor) -> None:
    memory = JointOptimization().new_memory(4, 6, CPU)
    context = context_of(memory, 4)
    torch.testing.assert_close(
        call(CorrectedLabels(), logits, [0, 5, 2, 2], context),
        call(CrossEntropy(), logits, [0, 5, 2, 2], context),
    )


def test_corrected_labels_leave_the_memory_as_it_is(logits: Tensor) -> None:
    memory = memory_of([[0.1, 0.5, 0.2, 0, 0, 0]] * 4)
    before = {name: tensor.clone() for name, tensor in memory.items()}
    call(CorrectedLabels(), logits, [0, 5, 2, 2], context_of(memory, 4))
    assert all(memory[name].equal(tensor) for name, tensor in before.items())


@pytest.mark.parametrize("form", ["soft", "hard"])
def test_the_gradient_of_corrected_labels_is_that_of_the_value(logits: Tensor, form: Any) -> None:
    context = context_of(memory_of([[0.1, 0.5, 0.2, 0, 0, 0]] * 3 + [[0.0] * 6]), 4)
    loss = CorrectedLabels(form=form)
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, torch.tensor([0, 5, 2, 2]), context), (logits.requires_grad_(),)
    )


def test_corrected_labels_ask_for_the_labels_of_another_run() -> None:
    assert CorrectedLabels.teacher == "labels"
    assert not hasattr(CorrectedLabels(), "new_memory")


@pytest.mark.parametrize("loss", [JointOptimization(), CorrectedLabels()], ids=repr)
def test_nothing_is_read_from_a_device(loss: Loss) -> None:
    # The meta device holds no data: reading a value from it raises.
    meta = torch.device("meta")
    labels = torch.zeros(2, dtype=torch.int64, device=meta)
    memory = JointOptimization().new_memory(4, 9, meta)
    context = LossContext(progress=0.5, index=labels, memory=memory)
    assert loss(torch.zeros(2, 9, device=meta), labels, context).shape == (2,)


@pytest.mark.parametrize("loss", [JointOptimization(), CorrectedLabels()], ids=repr)
def test_a_call_without_memory_is_refused(logits: Tensor, loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"Expected `context\.memory` with `classes` and `shares`"):
        loss(logits, torch.tensor([0, 1, 2, 3]), context_of(None, 4))


@pytest.mark.parametrize(
    ("factory", "parameters", "message"),
    [
        (JointOptimization, {"alpha": -1}, r"`alpha` in \[0, inf\), got -1\."),
        (JointOptimization, {"beta": -1}, r"`beta` in \[0, inf\), got -1\."),
        (JointOptimization, {"form": "mean"}, r"`form` out of soft, hard, got 'mean'\."),
        (JointOptimization, {"update_start": 70}, r"`update_start` in \[0, 1\], got 70\."),
        (JointOptimization, {"momentum": 2}, r"`momentum` in \[0, 1\], got 2\."),
        (JointOptimization, {"num_entries": 1.5}, r"`num_entries` as an integer >= 1, got 1\.5\."),
        (CorrectedLabels, {"form": 1}, r"`form` out of soft, hard, got 1\."),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(
    factory: type, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        factory(**parameters)
