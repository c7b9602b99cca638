"""The expected calibration error, by hand and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from protein_robust.evaluation import expected_calibration_error


@pytest.mark.parametrize(
    ("confidence", "is_correct", "num_bins", "expected"),
    [
        pytest.param([1.0, 0.0], [True, False], 15, 0.0, id="certain and right"),
        pytest.param([1.0, 0.0], [False, True], 15, 1.0, id="certain and wrong"),
        # 0 belongs to the first bin, with 0.05: |(1 - 0) + (0 - 0.05)| / 2.
        pytest.param([0.0, 0.05], [True, False], 15, 0.475, id="zero in the first bin"),
        # 1 belongs to the last bin, with 0.95: |(0 - 1) + (1 - 0.95)| / 2.
        pytest.param([1.0, 0.95], [False, True], 15, 0.475, id="one in the last bin"),
        # Of (0, 0.2] the upper end is in: |(1 - 0.1) + (0 - 0.2)| / 2; apart it would be 0.55.
        pytest.param([0.1, 0.2], [True, False], 5, 0.35, id="an upper end"),
        # Two bins: (|0.5 - 0.3| + |1 - 0.8 + 1 - 0.9 + 0 - 0.7|) / 4.
        pytest.param([0.3, 0.8, 0.9, 0.7], [1, 1, 1, 0], 2, 1.1 / 4, id="two bins"),
    ],
)
def test_the_error_is_the_one_by_hand(
    confidence: list[float], is_correct: list[bool], num_bins: int, expected: float
) -> None:
    error = expected_calibration_error(
        np.array(confidence), np.array(is_correct, dtype=bool), num_bins=num_bins
    )
    assert error == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_torchmetrics_for_many_classes(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probs = (3 * torch.randn(400, 6, generator=generator)).softmax(dim=1)
    label = torch.randint(6, (400,), generator=generator)
    # A probability of exactly 1 has a bin of its own there.
    assert probs.max() < 1
    largest, prediction = probs.max(dim=1)
    ours = expected_calibration_error(
        largest.double().numpy(), (prediction == label).numpy(), num_bins=15
    )
    theirs = multiclass_calibration_error(probs, label, num_classes=6, n_bins=15, norm="l1")
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


def test_it_is_that_of_torchmetrics_for_two_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(500, generator=generator)
    label = torch.randint(2, (500,), generator=generator)
    ours = expected_calibration_error(probability.double().numpy(), label.bool().numpy())
    theirs = binary_calibration_error(probability, label, n_bins=15, norm="l1")
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_it_is_the_weighted_mean_over_the_bins(pairs: list[tuple[float, bool]]) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, is_correct in pairs:
        bins.setdefault(max(1, math.ceil(confidence * 15)), []).append((confidence, is_correct))
    expected = sum(
        len(members)
        / len(pairs)
        * abs(np.mean([right for _, right in members]) - np.mean([c for c, _ in members]))
        for members in bins.values()
    )
    ours = expected_calibration_error(
        np.array([confidence for confidence, _ in pairs]),
        np.array([is_correct for _, is_correct in pairs]),
    )
    assert ours == pytest.approx(expected)


def test_no_examples_have_no_error() -> None:
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))
