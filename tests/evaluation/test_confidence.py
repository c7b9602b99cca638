"""1 - H(p)/H(u)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
import torch

from protein_robust.evaluation import entropy_confidence

SIZES = [2, 3, 10, 17_929]


def test_half_of_the_classes_being_possible_is_half_sure_of_four() -> None:
    # H = log 2 and H(u) = log 4 = 2 log 2.
    log_probs = torch.tensor([[0.5, 0.5, 0.0, 0.0]], dtype=torch.float64).log()
    assert entropy_confidence(log_probs).item() == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", SIZES)
def test_a_certain_prediction_is_exactly_one(num_classes: int, dtype: torch.dtype) -> None:
    log_probs = torch.full((1, num_classes), -torch.inf, dtype=dtype)
    log_probs[0, 1] = 0
    assert entropy_confidence(log_probs).item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", SIZES)
def test_a_uniform_prediction_is_zero_to_rounding_and_never_below(
    num_classes: int, dtype: torch.dtype
) -> None:
    confidence = entropy_confidence(torch.zeros(1, num_classes, dtype=dtype).log_softmax(1))
    assert 0 <= confidence.item() <= 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 200.0])
@pytest.mark.parametrize("num_classes", SIZES)
def test_it_is_scipy_s_entropy_over_log_k(num_classes: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(3, num_classes, dtype=torch.float64, generator=generator)
    probs = logits.softmax(dim=1).numpy()
    expected = 1 - scipy.stats.entropy(probs, axis=1) / math.log(num_classes)
    ours = entropy_confidence(logits.log_softmax(dim=1)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_float32_is_enough_for_all_families() -> None:
    logits = 2 * torch.randn(4, 17_929, generator=torch.Generator().manual_seed(0))
    exact = entropy_confidence(logits.double().log_softmax(dim=1))
    ours = entropy_confidence(logits.log_softmax(dim=1))
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-6)


def test_a_row_stands_for_itself() -> None:
    rows = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]).log()
    alone = torch.cat([entropy_confidence(row[None]) for row in rows])
    assert torch.equal(entropy_confidence(rows), alone)
