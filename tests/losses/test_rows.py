"""Values and gradients of some rows at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.losses import (
    LossContext,
    Rows,
    closed_form,
    make_loss,
    row_chunks,
    softmax_rows,
)
from protein_robust.losses.rows import CHUNK_ELEMENTS


def cross_entropy(rows: Rows) -> Tensor:
    value = rows.cross_entropy
    rows.subtract(1.0)
    return value


def random_logits(num_rows: int, num_classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows)
    logits = 3 * torch.randn(num_rows, num_classes, generator=generator)
    return logits.requires_grad_(), torch.arange(num_rows) % num_classes


def test_chunks_cover_every_row_once_and_fit_the_cache() -> None:
    logits = torch.zeros(70, CHUNK_ELEMENTS // 32)
    chunks = list(row_chunks(logits))
    assert [row for chunk in chunks for row in range(70)[chunk]] == list(range(70))
    assert [chunk.stop - chunk.start for chunk in chunks] == [32, 32, 6]


def test_a_row_wider_than_a_chunk_stands_alone() -> None:
    chunks = list(row_chunks(torch.zeros(1).expand(2, 2 * CHUNK_ELEMENTS)))
    assert [chunk.stop - chunk.start for chunk in chunks] == [1, 1]


@pytest.mark.parametrize(("num_rows", "num_classes"), [(1, 2), (5, 7), (67, 17929)])
def test_cross_entropy_in_closed_form_is_that_of_torch(num_rows: int, num_classes: int) -> None:
    logits, labels = random_logits(num_rows, num_classes)
    weights = torch.linspace(0.1, 2, num_rows)  # rows weigh differently upstream
    values = closed_form(logits, labels, cross_entropy)
    (gradient,) = torch.autograd.grad(values @ weights, logits)
    plain = functional.cross_entropy(logits, labels, reduction="none")
    (expected,) = torch.autograd.grad(plain @ weights, logits)
    torch.testing.assert_close(values, plain)
    torch.testing.assert_close(gradient, expected)


def test_a_second_backward_pass_gives_the_same_gradient() -> None:
    logits, labels = random_logits(4, 5)
    mean = closed_form(logits, labels, cross_entropy).mean()
    first, second = (
        torch.autograd.grad(mean, logits, retain_graph=True)[0].clone() for _ in range(2)
    )
    assert torch.equal(first, second)


def test_half_precision_gets_a_gradient_of_its_own_kind() -> None:
    logits, labels = random_logits(4, 5)
    half = logits.detach().bfloat16().requires_grad_()
    values = closed_form(half, labels, cross_entropy)
    values.sum().backward()
    assert (values.dtype, half.grad.dtype) == (torch.float32, torch.bfloat16)  # type: ignore[union-attr]


def test_without_the_label_the_odds_against_it_are_exact() -> None:
    # p_y rounds to 1: 1 - p_y = (1 + e) / e^40 to first order, far below float32's 6e-8.
    logits = torch.tensor([[40.0, 1.0, 0.0]])
    seen = []

    def rule(rows: Rows) -> Tensor:
        seen.append((rows.gradient.clone(), rows.log_odds_against.clone()))
        return rows.log_odds_against

    closed_form(logits, torch.tensor([0]), rule, over_others=True)
    ((others, log_odds),) = seen
    assert log_odds.item() == pytest.approx(1.313262 - 40, abs=1e-5)  # log(1 + e) - 40
    assert others[0].tolist() == pytest.approx([0, 0.731059, 0.268941], abs=1e-6)


def test_softmax_of_rows_is_that_of_torch() -> None:
    logits, _ = random_logits(3, 11)
    logits = logits.detach()
    out = torch.empty_like(logits)
    scores, log_normaliser = softmax_rows(logits, out)
    torch.testing.assert_close(out, logits.softmax(dim=1))
    torch.testing.assert_close(scores - log_normaliser, logits.log_softmax(dim=1))


@pytest.mark.parametrize("name", ["label_smoothing", "proselflc", "derivative_manipulation"])
def test_logits_are_left_as_they_were(name: str) -> None:
    logits, labels = random_logits(4, 5)
    before = logits.detach().clone()
    context = LossContext(progress=0.5, index=torch.arange(4))
    make_loss(name)(logits, labels, context).sum().backward()
    assert torch.equal(logits.detach(), before)
