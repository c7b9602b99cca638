"""Distillation by hand in both forms, its limits, and a teacher that is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses import CrossEntropy, LossContext
from protein_robust.losses.distillation import Distillation

Array = NDArray[np.float64]


def context_of(teacher: Tensor | None, num_examples: int = 1) -> LossContext:
    return LossContext(progress=0.5, index=torch.arange(num_examples), teacher_logits=teacher)


def call(
    loss: Distillation, logits: Tensor, labels: list[int], teacher: Tensor
) -> tuple[Tensor, Tensor]:
    """Values, and the gradient of their sum."""
    leaf = logits.detach().clone().requires_grad_()
    values = loss(leaf, torch.tensor(labels), context_of(teacher, len(labels)))
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


@pytest.fixture
def scores() -> tuple[Tensor, Tensor]:
    """Scores of a network and of its teacher, shape (4, 6) each, float64."""
    generator = torch.Generator().manual_seed(10)
    network, teacher = 2 * torch.randn(2, 4, 6, dtype=torch.float64, generator=generator)
    return network, teacher


@pytest.mark.parametrize(
    ("temperature", "value", "gradient"),
    [
        # The target is 0.6, 0.35, 0.05.
        pytest.param(1.0, 0.889991, [-0.1, -0.016667, 0.116667], id="non-self label correction"),
        # Teacher at T = 2: 0.279491, 0.522879, 0.197630; network: 0.417738, 0.341081, 0.241181
        pytest.param(2.0, 2.521505, [-0.111753, -0.015131, 0.126884], id="Hinton"),
    ],
)
def test_value_and_gradient_by_hand(
    worked_logits: Tensor, temperature: float, value: float, gradient: list[float]
) -> None:
    teacher = torch.tensor([[0.2, 0.7, 0.1]], dtype=torch.float64).log()
    values, gradients = call(Distillation(temperature=temperature), worked_logits, [0], teacher)
    assert values.item() == pytest.approx(value, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx(gradient, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 4.0, 100.0])
def test_values_agree_with_the_equation(scores: tuple[Tensor, Tensor], temperature: float) -> None:
    network, teacher = (array.numpy() for array in scores)
    labels = [0, 5, 2, 2]

    def log_softmax(z: Array) -> Array:
        log_probs: Array = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return log_probs

    told = np.exp(log_softmax(teacher / temperature))
    to_teacher = -(told * log_softmax(network / temperature)).sum(axis=1)
    to_label = -log_softmax(network)[np.arange(4), labels]
    expected = 0.7 * to_label + 0.3 * temperature**2 * to_teacher
    loss = Distillation(epsilon=0.3, temperature=temperature)
    values, _ = call(loss, scores[0], labels, scores[1])
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_gradient_is_that_of_the_value(
    scores: tuple[Tensor, Tensor], temperature: float
) -> None:
    loss = Distillation(epsilon=0.3, temperature=temperature)
    context = context_of(scores[1], 4)
    assert torch.autograd.gradcheck(
        lambda leaf: loss(leaf, torch.tensor([0, 5, 2, 2]), context), (scores[0].requires_grad_(),)
    )


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_trust_zero_is_cross_entropy(scores: tuple[Tensor, Tensor], temperature: float) -> None:
    network, teacher = scores
    leaf = network.clone().requires_grad_()
    expected = CrossEntropy()(leaf, torch.tensor([0, 1, 2, 3]), context_of(None, 4))
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    loss = Distillation(epsilon=0.0, temperature=temperature)
    torch.testing.assert_close(
        call(loss, network, [0, 1, 2, 3], teacher), (expected.detach(), gradient)
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_who_agrees_with_a_fully_trusted_teacher_has_nothing_to_learn(
    scores: tuple[Tensor, Tensor], temperature: float
) -> None:
    loss = Distillation(epsilon=1.0, temperature=temperature)
    _, gradients = call(loss, scores[0], [0, 1, 2, 3], scores[0] + 5.0)
    torch.testing.assert_close(gradients, torch.zeros_like(gradients))


def test_a_certain_teacher_is_a_label(scores: tuple[Tensor, Tensor]) -> None:
    certain = 1e4 * torch.eye(6, dtype=torch.float64)[[3, 1, 2, 0]]
    told = call(Distillation(epsilon=1.0, temperature=1.0), scores[0], [0, 0, 0, 0], certain)
    given = call(Distillation(epsilon=0.0, temperature=1.0), scores[0], [3, 1, 2, 0], certain)
    torch.testing.assert_close(told, given)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_each_row_has_its_own_teacher_in_every_chunk(
    monkeypatch: pytest.MonkeyPatch, scores: tuple[Tensor, Tensor], temperature: float
) -> None:
    loss = Distillation(temperature=temperature)
    whole = call(loss, scores[0], [0, 1, 2, 3], scores[1])
    monkeypatch.setattr("protein_robust.losses.rows.CHUNK_ELEMENTS", 6)  # one row each
    torch.testing.assert_close(call(loss, scores[0], [0, 1, 2, 3], scores[1]), whole)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 2.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_logits_give_finite_values_and_gradients(
    dtype: torch.dtype, temperature: float
) -> None:
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], dtype=dtype)
    values, gradients = call(
        Distillation(temperature=temperature), logits, [0, 1, 0, 1], -logits.flip(0)
    )
    assert values.isfinite().all()
    assert gradients.isfinite().all()


def test_float32_agrees_with_float64_at_all_pfam_families() -> None:
    generator = torch.Generator().manual_seed(11)
    network, teacher = 4 * torch.randn(2, 2, 17929, generator=generator)
    values, gradients = call(Distillation(), network, [3, 17928], teacher)
    exact_values, exact_gradients = call(
        Distillation(), network.double(), [3, 17928], teacher.double()
    )
    torch.testing.assert_close(values.double(), exact_values, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients.double(), exact_gradients, atol=1e-6, rtol=1e-4)


def test_a_teacher_in_half_precision_is_computed_in_that_of_the_loss(
    worked_logits: Tensor,
) -> None:
    teacher = torch.tensor([[1.5, -0.25, 3.0]])  # exact in bfloat16
    torch.testing.assert_close(
        call(Distillation(), worked_logits, [0], teacher.bfloat16()),
        call(Distillation(), worked_logits, [0], teacher.double()),
    )


def test_the_value_of_a_perfect_network_is_the_entropy_of_the_target() -> None:
    logits = torch.zeros(1, 4, dtype=torch.float64)
    values, _ = call(Distillation(epsilon=1.0, temperature=1.0), logits, [0], logits)
    assert values.item() == pytest.approx(math.log(4))


def test_it_asks_for_a_network() -> None:
    assert Distillation.teacher == "network"


@pytest.mark.parametrize(
    ("teacher", "actual"),
    [
        (None, r"None\."),
        (torch.zeros(2, 3), r"\(2, 3\), torch\.float32\."),
        (torch.zeros(1, 4), r"\(1, 4\), torch\.float32\."),
        (torch.zeros(1, 3, dtype=torch.int64), r"\(1, 3\), torch\.int64\."),
        (torch.zeros(1, 3, requires_grad=True), r"\(1, 3\), torch\.float32, attached\."),
    ],
    ids=["none", "other batch", "other classes", "integers", "attached"],
)
def test_a_teacher_that_is_missing_or_does_not_fit_is_refused(
    worked_logits: Tensor, teacher: Tensor | None, actual: str
) -> None:
    message = rf"Expected `context\.teacher_logits` of shape \(1, 3\), .* got {actual}"
    with pytest.raises(ValueError, match=message):
        Distillation()(worked_logits, torch.tensor([0]), context_of(teacher))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epsilon": 1.5}, r"`epsilon` in \[0, 1\], got 1\.5\."),
        ({"temperature": 0.01}, r"`temperature` in \[0\.1, 100\], got 0\.01\."),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=f"Expected {message}"):
        Distillation(**parameters)
