"""Accuracy and its kin, by hand and against scikit-learn and SciPy."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.evaluation import accuracy_score
from protein_robust.evaluation.classification import (
    balanced_accuracy_score,
    macro_f1_score,
    top_accuracy_score,
    wilson_interval,
)

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def columns(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    prediction, label = np.array(pairs, dtype=np.int64).T
    return prediction, label


def test_two_right_of_three_are_two_thirds() -> None:
    assert accuracy_score(np.array([0, 1, 2]), np.array([0, 1, 0])) == 2 / 3


def test_it_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    prediction, label = rng.integers(0, 4, (2, 101))
    expected = sklearn.metrics.accuracy_score(label, prediction)
    assert accuracy_score(prediction, label) == pytest.approx(expected)


def test_no_examples_have_no_accuracy() -> None:
    assert math.isnan(accuracy_score(np.zeros(0, np.int64), np.zeros(0, np.int64)))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected labels of shape \(3,\), got \(1,\)\."):
        accuracy_score(np.array([0, 1, 2]), np.array([0]))


@pytest.mark.parametrize(("right", "n"), [(0, 1), (0, 10), (3, 7), (50, 100), (10, 10)])
def test_the_interval_is_that_of_scipy(right: int, n: int) -> None:
    expected = scipy.stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert [float(end) for end in wilson_interval(right, n)] == pytest.approx(list(expected))


def test_a_group_without_examples_has_no_interval() -> None:
    low, high = wilson_interval(np.array([0, 5]), np.array([0, 10]))
    assert np.isnan([low[0], high[0]]).all()
    assert 0 < low[1] < 0.5 < high[1] < 1


@given(PAIRS)
def test_balanced_accuracy_is_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    prediction, label = columns(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are predicted and never there
        expected = sklearn.metrics.balanced_accuracy_score(label, prediction)
    assert balanced_accuracy_score(prediction, label) == pytest.approx(expected)


@given(PAIRS)
def test_macro_f1_is_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    prediction, label = columns(pairs)
    expected = sklearn.metrics.f1_score(label, prediction, average="macro", zero_division=0)
    assert macro_f1_score(prediction, label) == pytest.approx(expected)


def test_a_rank_of_five_is_not_among_the_first_five() -> None:
    assert top_accuracy_score(np.array([0, 4, 5, 6]), 5) == 0.5


@pytest.mark.parametrize("score", [balanced_accuracy_score, macro_f1_score])
def test_no_examples_have_no_score_and_shapes_must_agree(score: object) -> None:
    assert callable(score)
    none = np.zeros(0, np.int64)
    assert math.isnan(score(none, none))
    assert math.isnan(top_accuracy_score(none, 5))
    with pytest.raises(ValueError, match=r"Expected labels of shape \(2,\), got \(1,\)\."):
        score(np.array([0, 1]), np.array([0]))
