"""How well scores tell known from unknown, against scikit-learn and by counting pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from protein_robust.evaluation.unknown import (
    Separation,
    auroc_score,
    average_precision_score,
    fpr_at_tpr,
)

NONE = np.zeros(0)
# Few different values, so that most draws have ties within and between the two.
SCORES = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=30).map(np.array)
MEASURES = [auroc_score, average_precision_score, fpr_at_tpr]


def labelled(
    known: NDArray[np.float64], unknown: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As scikit-learn takes them."""
    return np.repeat([1, 0], [len(known), len(unknown)]), np.concatenate([known, unknown])


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_in_order(
    known: NDArray[np.float64], unknown: NDArray[np.float64]
) -> None:
    difference = known[:, None] - unknown
    pairs = (difference > 0) + 0.5 * (difference == 0)
    assert auroc_score(known, unknown) == pytest.approx(pairs.mean(), abs=1e-12)


@settings(max_examples=40)
@given(SCORES, SCORES)
def test_auroc_is_that_of_scikit_learn(
    known: NDArray[np.float64], unknown: NDArray[np.float64]
) -> None:
    expected = metrics.roc_auc_score(*labelled(known, unknown))
    assert auroc_score(known, unknown) == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES)
def test_average_precision_is_that_of_scikit_learn(
    known: NDArray[np.float64], unknown: NDArray[np.float64]
) -> None:
    expected = metrics.average_precision_score(*labelled(known, unknown))
    assert average_precision_score(known, unknown) == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES)
def test_negated_scores_give_the_average_precision_of_the_unknown(
    known: NDArray[np.float64], unknown: NDArray[np.float64]
) -> None:
    labels, scores = labelled(known, unknown)
    expected = metrics.average_precision_score(labels, -scores, pos_label=0)
    assert average_precision_score(-unknown, -known) == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_fpr_is_read_off_the_curve_of_scikit_learn(
    known: NDArray[np.float64], unknown: NDArray[np.float64], tpr: float
) -> None:
    false, true, _ = metrics.roc_curve(*labelled(known, unknown), drop_intermediate=False)
    assert fpr_at_tpr(known, unknown, tpr) == pytest.approx(false[true >= tpr].min(), abs=1e-12)


def test_five_in_a_hundred_known_may_be_refused() -> None:
    # 96 of 100 known score 1 and 4 score 0: 95 % are accepted at 1 already, where 1 of 4 unknown
    # is. With 94 at 1 the threshold falls to 0, where all 4 are accepted.
    unknown = np.array([1.0, 0.0, 0.0, 0.0])
    assert fpr_at_tpr(np.repeat([1.0, 0.0], [96, 4]), unknown) == 0.25
    assert fpr_at_tpr(np.repeat([1.0, 0.0], [95, 5]), unknown) == 0.25
    assert fpr_at_tpr(np.repeat([1.0, 0.0], [94, 6]), unknown) == 1.0


@given(SCORES, SCORES)
def test_what_keeps_the_order_changes_nothing(
    known: NDArray[np.float64], unknown: NDArray[np.float64]
) -> None:
    changed = Separation.of(np.exp(known), np.exp(unknown))
    assert changed == Separation.of(known, unknown)


def test_all_numbers_at_once_are_the_single_ones() -> None:
    known, unknown = np.array([3.0, 2.0, 1.0]), np.array([2.5, 0.0])
    # Pairs in order: 3 beats both, 2 and 1 beat one each: 4 of 6. Precision at 3, 2, 1: 1, 2/3,
    # 3/4. All known are accepted at 1, and there 1 of 2 unknown is.
    found = Separation.of(known, unknown)
    assert (found.num_known, found.num_unknown) == (3, 2)
    assert found.auroc == pytest.approx(4 / 6)
    assert found.aupr == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found.fpr_at_95_tpr == 0.5


def test_infinite_scores_are_scores() -> None:
    assert auroc_score(np.array([np.inf, 0.0]), np.array([-np.inf, 0.0])) == 0.875


@pytest.mark.parametrize("measure", MEASURES)
def test_nothing_to_compare_is_no_number(measure: object) -> None:
    assert callable(measure)
    assert math.isnan(measure(NONE, np.ones(2)))
    assert math.isnan(measure(np.ones(2), NONE))


@pytest.mark.parametrize("measure", MEASURES)
def test_a_score_that_is_no_number_is_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="Expected scores that are numbers, got NaN"):
        measure(np.ones(2), np.array([0.0, np.nan]))


@pytest.mark.parametrize("tpr", [0.0, 1.5, math.nan])
def test_a_share_must_be_one(tpr: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `tpr` in \(0, 1\], got"):
        fpr_at_tpr(np.ones(2), np.zeros(2), tpr)
