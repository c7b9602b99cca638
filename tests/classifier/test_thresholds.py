"""Thresholds on confidence by tolerated error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.classifier.thresholds import Threshold, choose_threshold, find_thresholds
from protein_robust.errors import InputError

CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
IS_CORRECT = np.array([True, True, False, True, False])


def test_the_threshold_is_the_smallest_that_keeps_the_error() -> None:
    # From the surest on, with one more that is wrong: 1/2, 1/3, 2/4, 2/5, 3/6. Without errors: 1/6.
    found = find_thresholds(
        (CONFIDENCE, IS_CORRECT), (CONFIDENCE, np.ones(5, bool)), (0.1, 0.35, 0.4)
    )
    never = Threshold(0.1, math.inf, math.inf)
    assert found == (never, Threshold(0.35, 0.8, 0.5), Threshold(0.4, 0.6, 0.5))


def test_where_the_surest_is_wrong_nothing_is_accepted() -> None:
    found = find_thresholds(
        (CONFIDENCE, np.array([False] * 5)), (CONFIDENCE, np.array([True] * 5)), (0.2,)
    )
    assert found == (Threshold(0.2, math.inf, 0.5),)


def test_no_validation_data_gives_no_thresholds() -> None:
    nothing = np.zeros(0), np.zeros(0, bool)
    assert find_thresholds(nothing, nothing) == ()


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.05, 0.2, 0.5]),
)
def test_accepted_examples_keep_the_error_and_a_lower_threshold_would_not(
    examples: list[tuple[int, bool]], error: float
) -> None:
    confidence = np.array([value / 20 for value, _ in examples])
    is_correct = np.array([right for _, right in examples])
    (found,) = find_thresholds((confidence, is_correct), (confidence, is_correct), (error,))
    accepted = confidence >= found.family
    if accepted.any():
        assert expected_error(is_correct[accepted]) <= error
    for lower in np.unique(confidence[~accepted]):
        assert expected_error(is_correct[confidence >= lower]) > error


def expected_error(is_correct: NDArray[np.bool_]) -> float:
    """As if one more answer were wrong."""
    return float((~np.append(is_correct, False)).mean())


THRESHOLDS = (Threshold(0.05, 0.7, 0.6), Threshold(0.1, 0.5, 0.4))


def test_the_threshold_of_the_tolerated_error_is_chosen() -> None:
    assert choose_threshold(THRESHOLDS, 0.1) == THRESHOLDS[1]


def test_without_a_tolerated_error_every_confidence_is_enough() -> None:
    chosen = choose_threshold((), None)
    assert (chosen.family, chosen.clan) == (0.0, 0.0)


def test_an_error_without_a_threshold_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"a tolerated error among 0\.05, 0\.1, got 0\.3"):
        choose_threshold(THRESHOLDS, 0.3)


def test_a_model_without_thresholds_says_why() -> None:
    with pytest.raises(InputError, match="trained without validation data"):
        choose_threshold((), 0.05)
