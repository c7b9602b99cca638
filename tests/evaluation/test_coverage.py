"""Risk against coverage, by hand and against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.evaluation.coverage import risk_coverage

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


def test_each_threshold_answers_those_at_least_as_sure() -> None:
    # Sorted: 0.9 right, 0.7 wrong and right together, 0.2 wrong.
    curve = risk_coverage(np.array([0.7, 0.2, 0.9, 0.7]), np.array([False, False, True, True]))
    assert curve.threshold.tolist() == [0.9, 0.7, 0.2]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk == pytest.approx([0, 1 / 3, 1 / 2])
    # One example at risk 0, two at 1/3, one at 1/2.
    assert curve.area == pytest.approx((0 + 2 / 3 + 1 / 2) / 4)


@given(PAIRS)
def test_it_is_what_counting_gives(pairs: list[tuple[int, bool]]) -> None:
    confidence = np.array([c for c, _ in pairs], dtype=float)
    right = np.array([r for _, r in pairs])
    curve = risk_coverage(confidence, right)
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        answered = confidence >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx((~right[answered]).mean())
    assert curve.coverage[-1] == pytest.approx(1)


def test_without_equal_confidences_the_area_is_the_mean_of_the_risks() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(101) < 0.7
    order = rng.permutation(101)
    running = np.cumsum(~right) / np.arange(1, 102)
    confidence = 1 - np.arange(101) / 101
    assert risk_coverage(confidence[order], right[order]).area == pytest.approx(running.mean())


def test_the_threshold_answers_the_most_as_if_the_next_answer_were_wrong() -> None:
    # Errors 0, 1, 1, 1, 2 of 1 to 5, and one more of one more: 1/2, 2/3, 2/4, 2/5, 3/6.
    right = np.array([True, False, True, True, False])
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), right)
    assert curve.threshold_for(0.4) == 0.6
    assert curve.threshold_for(0.5) == 0.5
    assert math.isnan(curve.threshold_for(0.39))


@pytest.mark.parametrize(("size", "is_enough"), [(98, False), (99, True)])
def test_one_percent_needs_ninety_nine_answers_without_an_error(size: int, is_enough: bool) -> None:
    curve = risk_coverage(np.linspace(0.5, 1, size), np.ones(size, dtype=bool))
    assert math.isnan(curve.threshold_for(0.01)) is not is_enough


def test_the_error_to_be_expected_is_kept_on_examples_that_were_not_seen() -> None:
    # Calibrated confidences: each answer is right with just that probability.
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        confidence, fresh = rng.beta(4, 1, (2, 200))
        curve = risk_coverage(confidence, rng.random(200) < confidence)
        accepted = fresh[fresh >= curve.threshold_for(0.05)]
        errors.append((1 - accepted).mean() if len(accepted) else 0.0)
    assert np.mean(errors) <= 0.05


def test_where_even_the_surest_are_wrong_there_is_no_threshold() -> None:
    curve = risk_coverage(np.array([0.9, 0.5]), np.array([False, True]))
    assert math.isnan(curve.threshold_for(0.6))


def test_few_points_are_kept_of_a_long_curve_the_ends_among_them() -> None:
    rng = np.random.default_rng(0)
    curve = risk_coverage(rng.random(5000), rng.random(5000) < 0.5)
    few = curve.thinned(200)
    assert len(few.risk) <= 200
    assert few.coverage[[0, -1]].tolist() == curve.coverage[[0, -1]].tolist()
    assert set(few.threshold) <= set(curve.threshold)
    assert np.diff(few.coverage).max() < 0.011
    assert few.thinned(200) is few


def test_no_examples_make_no_curve() -> None:
    curve = risk_coverage(np.zeros(0), np.zeros(0, dtype=bool))
    assert len(curve.risk) == 0
    assert math.isnan(curve.area)
    assert math.isnan(curve.threshold_for(1.0))
