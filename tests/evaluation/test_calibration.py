"""The expected calibration error, by hand and against torchmetrics."""

from __future__ import annotations

import math
from itertools import pairwise

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
from protein_robust.evaluation.calibration import (
    MAX_RESAMPLES,
    bootstrap_intervals,
    equal_mass_bins,
    equal_mass_calibration_error,
    equal_width_bins,
    reliability,
)


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
    assert math.isnan(equal_mass_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))


def test_bins_of_equal_mass_are_thirds_of_the_sorted_examples() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.permutation(np.linspace(0.1, 0.9, 90))
    is_correct = rng.random(90) < confidence
    parts = np.array_split(np.argsort(confidence), 3)
    expected = sum(abs(is_correct[p].mean() - confidence[p].mean()) * len(p) / 90 for p in parts)
    ours = equal_mass_calibration_error(confidence, is_correct, num_bins=3)
    assert ours == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 20))
def test_equal_confidences_are_in_one_bin_and_bins_follow_confidence(
    values: list[float], num_bins: int
) -> None:
    confidence = np.array(values)
    bins, borders = equal_mass_bins(confidence, num_bins)
    assert borders[0] == 0
    assert borders[-1] == 1
    assert len(borders) <= num_bins + 1
    for first, second in pairwise(confidence):
        assert first != second or len(np.unique(bins[confidence == first])) == 1
    assert (np.diff(bins[np.argsort(confidence, kind="stable")]) >= 0).all()
    inside = (confidence <= borders[bins + 1]) & ((confidence > borders[bins]) | (bins == 0))
    assert inside.all()


@given(st.integers(1, 200), st.integers(1, 20))
def test_different_confidences_fill_bins_of_equal_mass_evenly(size: int, num_bins: int) -> None:
    bins, _ = equal_mass_bins(np.arange(1, size + 1) / (size + 1), num_bins)
    counts = np.bincount(bins)
    assert counts.max() - counts.min() <= 1


def test_the_diagram_has_the_numbers_of_each_bin() -> None:
    confidence = np.array([0.1, 0.3, 0.9, 1.0])
    drawn = reliability(
        confidence, np.array([True, False, True, False]), equal_width_bins(confidence, 2)
    )
    assert drawn.num_examples.tolist() == [2, 2]
    assert drawn.confidence == pytest.approx([0.2, 0.95])
    assert drawn.accuracy == pytest.approx([0.5, 0.5])
    assert (drawn.low.tolist(), drawn.high.tolist()) == ([0, 0.5], [0.5, 1])
    assert drawn.error == pytest.approx(0.3 / 2 + 0.45 / 2)


def test_an_empty_bin_has_no_numbers_and_does_not_count() -> None:
    drawn = reliability(np.array([0.9]), np.array([True]), equal_width_bins(np.array([0.9]), 2))
    assert np.isnan([drawn.confidence[0], drawn.accuracy[0]]).all()
    assert drawn.error == pytest.approx(0.1)
    none = reliability(np.zeros(0), np.zeros(0, bool), equal_width_bins(np.zeros(0)))
    assert math.isnan(none.error)


def test_the_interval_is_that_of_resamples_drawn_one_by_one() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(50)
    is_correct = rng.random(50) < confidence
    bins = equal_width_bins(confidence)[0]
    again = np.random.default_rng(2)
    errors = []
    for _ in range(MAX_RESAMPLES):
        drawn = again.integers(0, 50, 50)
        errors.append(expected_calibration_error(confidence[drawn], is_correct[drawn]))
    [interval] = bootstrap_intervals(
        (is_correct - confidence)[None], [bins], rng=np.random.default_rng(2)
    )
    assert interval == pytest.approx(tuple(np.quantile(errors, [0.025, 0.975])))


def test_readings_of_the_same_draws_do_not_depend_on_each_other() -> None:
    rng = np.random.default_rng(1)
    gaps = rng.random((2, 30)) - 0.5
    bins = [rng.integers(0, 15, 30), rng.integers(0, 3, 30)]
    together = bootstrap_intervals(gaps, bins, rng=np.random.default_rng(0))
    alone = bootstrap_intervals(gaps[1:], bins[1:], rng=np.random.default_rng(0))
    assert together[1] == pytest.approx(alone[0])
    assert together[0] != together[1]


def test_no_examples_have_no_interval_and_bins_are_needed_for_each_reading() -> None:
    rng = np.random.default_rng(0)
    [(low, high)] = bootstrap_intervals(np.zeros((1, 0)), [np.zeros(0, np.int64)], rng=rng)
    assert math.isnan(low)
    assert math.isnan(high)
    with pytest.raises(ValueError, match="Expected 2 arrays of bins, got 1"):
        bootstrap_intervals(np.zeros((2, 3)), [np.zeros(3, np.int64)], rng=rng)
