"""Temperature scaling: the optimum that a general minimiser finds, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_predict import LABEL, LOGITS, Listed, Lookup

from protein_robust.evaluation.temperature import (
    HIGHEST,
    LOWEST,
    collect_logits,
    fit_temperature,
    sample_size,
)


def surprise(logits: NDArray[np.float64], label: NDArray[np.int64], beta: float) -> float:
    z = beta * logits
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    return float(-log_p[np.arange(len(label)), label].mean())


def drawn(
    seed: int, scale: float, *, size: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Labels drawn from softmax(z), and logits that are a multiple of z."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.standard_normal((size, 7))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(7, p=row) for row in p])
    return scale * z, label


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 3.0, 20.0])
def test_it_is_the_minimum_that_scipy_finds(scale: float) -> None:
    logits, label = drawn(0, scale)
    found = scipy.optimize.minimize_scalar(
        lambda beta: surprise(logits, label, beta), bounds=(1e-3, 64), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    assert fit_temperature(logits, label) == pytest.approx(1 / found.x, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 5))
def test_scores_that_are_multiplied_have_a_temperature_that_is_multiplied(
    seed: int, factor: float
) -> None:
    logits, label = drawn(seed, 1.0, size=60)
    assert fit_temperature(factor * logits, label) == pytest.approx(
        factor * fit_temperature(logits, label), rel=1e-6
    )


def test_adding_a_number_to_all_scores_of_an_example_changes_nothing() -> None:
    logits, label = drawn(1, 1.0)
    shifted = logits + np.arange(len(label))[:, None]
    assert fit_temperature(shifted, label) == pytest.approx(fit_temperature(logits, label))


def test_four_of_five_right_at_two_thirds_confidence_is_made_so() -> None:
    # Confidence 0.8 needs z1 - z2 = log 4, and it is log 2: T = 1/2.
    logits = np.log([[2 / 3, 1 / 3]] * 5)
    assert fit_temperature(logits, np.array([0, 0, 0, 0, 1])) == pytest.approx(0.5)


def test_where_all_is_wrong_the_highest_is_best() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 3.0]])
    assert fit_temperature(logits, np.array([1, 0])) == HIGHEST


@pytest.mark.parametrize("size", [1, 4, 99])
def test_where_all_is_right_one_more_example_knows_nothing(size: int) -> None:
    # All scores are 0 and 3 apart, and each label counts 1 - s / 2 with s = 1 / (N + 1): so the
    # confidence 1 / (1 + exp(-3 / T)) is 1 - s / 2.
    share = 1 / (size + 1)
    expected = 3 / np.log((1 - share / 2) / (share / 2))
    logits = np.tile([3.0, 0.0], (size, 1))
    assert LOWEST < expected < HIGHEST
    assert fit_temperature(logits, np.zeros(size, np.int64)) == pytest.approx(expected)


def test_no_examples_have_no_temperature_and_lengths_must_agree() -> None:
    assert math.isnan(fit_temperature(np.zeros((0, 0)), np.zeros(0, np.int64)))
    with pytest.raises(ValueError, match="Expected 2 labels, got 1"):
        fit_temperature(np.zeros((2, 3)), np.array([0]))


def test_scores_and_labels_are_collected_in_the_order_of_the_data_set() -> None:
    logits, label = collect_logits(Lookup(), Listed([[10, 3], [0], [4, 5, 6, 7, 8, 9], [2, 1]]))
    np.testing.assert_array_equal(logits, LOGITS.double())
    np.testing.assert_array_equal(label, LABEL)
    none, no_label = collect_logits(Lookup(), Listed([]))
    assert (none.size, no_label.size) == (0, 0)


@pytest.mark.parametrize("num_families", [2, 100, 17_929, 10**9])
def test_a_fit_holds_a_quarter_of_a_gigabyte_or_one_example(num_families: int) -> None:
    size = sample_size(num_families)
    assert size == 1 or size * num_families * 8 <= 2**28
