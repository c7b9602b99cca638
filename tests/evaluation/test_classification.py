"""Accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from protein_robust.evaluation import accuracy_score


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
