"""Empirical p values against counting, and q values against SciPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from protein_robust.evaluation.p_values import (
    Decoys,
    benjamini_hochberg,
    empirical_p_values,
    q_of_distinct,
)

SEEDS = st.integers(0, 2**32)
P_VALUES = st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=50).map(np.array)


def drawn(seed: int, size: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores with ties, and lengths of which many are the same."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 9, size) / 8, rng.integers(20, 60, size)


def ranges_of(decoys: Decoys) -> list[tuple[float, float]]:
    """First length of each bin, and first length beyond it."""
    borders = [-np.inf, *decoys.border.tolist(), np.inf]
    return list(pairwise(borders))


@given(SEEDS, st.integers(1, 200), st.integers(1, 6), st.integers(1, 50))
def test_a_bin_has_the_decoys_of_its_lengths(
    seed: int, size: int, max_bins: int, least: int
) -> None:
    score, length = drawn(seed, size)
    decoys = Decoys.of(score, length, max_bins=max_bins, least=least)
    for place, (low, high) in enumerate(ranges_of(decoys)):
        found = decoys.score[decoys.begin[place] : decoys.begin[place + 1]]
        expected = np.sort(score[(low <= length) & (length < high)])
        np.testing.assert_array_equal(found, expected)


@given(SEEDS, st.integers(1, 200), st.integers(1, 6), st.integers(1, 50))
def test_bins_are_not_too_many_and_not_too_small(
    seed: int, size: int, max_bins: int, least: int
) -> None:
    decoys = Decoys.of(*drawn(seed, size), max_bins=max_bins, least=least)
    sizes = np.diff(decoys.begin)
    assert 1 <= len(sizes) <= max_bins
    assert sizes.min() >= min(least, size)


def test_bins_hold_about_as_many_each() -> None:
    # 100 decoys of lengths 1 to 100 in at most 4 bins: 25 each.
    decoys = Decoys.of(np.zeros(100), np.arange(1, 101), max_bins=4, least=10)
    assert np.diff(decoys.begin).tolist() == [25, 25, 25, 25]
    assert decoys.border.tolist() == [26, 51, 76]


def test_decoys_of_one_length_stay_together() -> None:
    decoys = Decoys.of(np.zeros(9), np.array([5] * 4 + [6] * 5), max_bins=9, least=2)
    assert decoys.border.tolist() == [6]
    assert np.diff(decoys.begin).tolist() == [4, 5]


@given(SEEDS, st.integers(1, 100), st.integers(1, 30))
def test_p_is_counted_among_decoys_of_the_bin(seed: int, size: int, least: int) -> None:
    score, length = drawn(seed, size)
    decoys = Decoys.of(score, length, max_bins=5, least=least)
    asked, lengths = drawn(seed + 1, 30)
    ranges = ranges_of(decoys)
    expected = []
    for one, residues in zip(asked, lengths, strict=True):
        low, high = next(pair for pair in ranges if pair[0] <= residues < pair[1])
        found = score[(low <= length) & (length < high)]
        expected.append((1 + (found >= one).sum()) / (1 + len(found)))
    np.testing.assert_allclose(empirical_p_values(asked, lengths, decoys), expected, rtol=1e-15)


def test_the_least_p_is_one_over_one_more_than_there_are_decoys() -> None:
    decoys = Decoys.of(np.arange(9.0), np.full(9, 30))
    far = np.array([np.inf, -np.inf])
    # Above all 9: (1 + 0) / (1 + 9); below all: (1 + 9) / (1 + 9).
    assert empirical_p_values(far, np.array([30, 4000]), decoys).tolist() == [0.1, 1.0]


def test_p_values_of_decoys_are_uniform() -> None:
    # The rank of a new decoy among n = 999 is uniform: p takes 1/1000, ..., 1 equally often.
    rng = np.random.default_rng(0)
    decoys = Decoys.of(rng.normal(size=999), np.full(999, 30))
    p_values = empirical_p_values(rng.normal(size=2000), np.full(2000, 30), decoys)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_lengths_are_compared_with_their_like() -> None:
    # Long decoys score 10 more. A long sequence of score 5 is then nothing special, a short one is.
    length = np.repeat([50, 500], 100)
    score = np.tile(np.arange(100) / 100, 2) + 10 * (length == 500)
    decoys = Decoys.of(score, length, least=100)
    found = empirical_p_values(np.array([5.0, 5.0]), np.array([50, 500]), decoys)
    assert found.tolist() == [1 / 101, 1.0]


@given(P_VALUES)
def test_q_is_that_of_scipy(p_values: NDArray[np.float64]) -> None:
    expected = stats.false_discovery_control(p_values, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(p_values), expected, rtol=1e-12)


@given(P_VALUES)
def test_q_lies_between_p_and_one_and_keeps_the_order(p_values: NDArray[np.float64]) -> None:
    q_values = benjamini_hochberg(p_values)
    assert (q_values >= p_values * (1 - 1e-12)).all()
    assert q_values.max() <= 1
    assert (np.diff(q_values[np.argsort(p_values)]) >= 0).all()


@given(P_VALUES, SEEDS)
def test_counts_of_distinct_p_give_the_q_of_each_test(
    p_values: NDArray[np.float64], seed: int
) -> None:
    distinct, counts = np.unique(p_values, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(distinct))
    found = dict(zip(distinct[order], q_of_distinct(distinct[order], counts[order]), strict=True))
    np.testing.assert_array_equal([found[p] for p in p_values], benjamini_hochberg(p_values))


def test_p_values_that_were_not_seen_change_nothing() -> None:
    seen = q_of_distinct(np.array([0.01, 0.5]), np.array([3, 5]))
    # 0.01 * 8 / 3 and 0.5 * 8 / 8; the one between has rank 3 too: 0.1 * 8 / 3.
    assert seen.tolist() == pytest.approx([0.08 / 3, 0.5])
    more = q_of_distinct(np.array([0.01, 0.1, 0.5]), np.array([3, 0, 5]))
    assert more.tolist() == pytest.approx([0.08 / 3, 0.8 / 3, 0.5])


def test_no_test_has_no_q() -> None:
    assert benjamini_hochberg(np.zeros(0)).shape == (0,)
    assert q_of_distinct(np.zeros(0), np.zeros(0, np.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("score", "length", "numbers", "message"),
    [
        ([1.0], [1, 2], (20, 1000), r"Expected lengths of shape \(1,\), got \(2,\)"),
        ([], [], (20, 1000), "Expected at least one decoy, got none"),
        ([np.nan], [1], (20, 1000), "Expected scores that are numbers, got NaN"),
        ([1.0], [1], (0, 1000), "Expected `max_bins` and `least` of at least 1, got 0, 1000"),
        ([1.0], [1], (20, 0), "Expected `max_bins` and `least` of at least 1, got 20, 0"),
    ],
    ids=["shapes", "none", "NaN", "no bin", "empty bins"],
)
def test_decoys_that_make_no_sense_are_refused(
    score: list[float], length: list[int], numbers: tuple[int, int], message: str
) -> None:
    max_bins, least = numbers
    with pytest.raises(ValueError, match=message):
        Decoys.of(np.array(score), np.array(length, dtype=np.int64), max_bins=max_bins, least=least)


def test_sequences_that_make_no_sense_are_refused() -> None:
    decoys = Decoys.of(np.ones(1), np.ones(1, np.int64))
    with pytest.raises(ValueError, match=r"Expected lengths of shape \(2,\), got \(1,\)"):
        empirical_p_values(np.ones(2), np.ones(1, np.int64), decoys)
    with pytest.raises(ValueError, match="Expected scores that are numbers, got NaN"):
        empirical_p_values(np.array([np.nan]), np.ones(1, np.int64), decoys)


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_chances_outside_0_to_1_are_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"Expected p values in \[0, 1\], got one"):
        benjamini_hochberg(np.array([0.5, p]))


def test_counts_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected counts of at least 0, got -1"):
        q_of_distinct(np.array([0.5]), np.array([-1]))
    with pytest.raises(ValueError, match=r"Expected counts of shape \(1,\), got \(2,\)"):
        q_of_distinct(np.array([0.5]), np.array([1, 1]))
