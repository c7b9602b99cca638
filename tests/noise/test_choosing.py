"""Rates of classes that are spread around a rate, and the numbers that they become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from protein_robust.noise import LabelRule
from protein_robust.noise.choosing import (
    choose_examples,
    choose_of_each_class,
    mean_rate,
    spread_counts,
)


@pytest.mark.parametrize(("rate", "spread"), [(0.4, 0.1), (0.05, 0.2), (0.9, 3.0), (1.0, 0.1)])
def test_the_mean_rate_is_that_of_the_truncated_normal_distribution(
    rate: float, spread: float
) -> None:
    rule = LabelRule("symmetric", rate, rate_spread=spread, count="bernoulli")
    oracle = stats.truncnorm(-rate / spread, (1 - rate) / spread, loc=rate, scale=spread)
    assert mean_rate(rule) == pytest.approx(oracle.mean(), abs=1e-9)


def test_the_mean_rate_of_exact_counts_is_the_rate() -> None:
    assert mean_rate(LabelRule("symmetric", 0.05, rate_spread=0.2)) == 0.05


def test_rates_of_classes_are_truncated_normal() -> None:
    clean = np.repeat(np.arange(300), 400)
    rule = LabelRule("symmetric", 0.2, rate_spread=0.15, count="bernoulli")
    chosen = choose_examples(clean, 300, rule=rule, rng=np.random.default_rng(0))
    rates = np.bincount(clean[chosen], minlength=300) / 400
    # The binomial of 400 adds a deviation of about 0.02 to one of about 0.12.
    oracle = stats.truncnorm(-0.2 / 0.15, 0.8 / 0.15, loc=0.2, scale=0.15)
    assert stats.kstest(rates, oracle.cdf).statistic < 0.12
    assert rates.std() == pytest.approx(oracle.std(), rel=0.2)


def test_each_example_by_itself_is_chosen_at_the_rate() -> None:
    rule = LabelRule("symmetric", 0.3, count="bernoulli")
    chosen = choose_examples(np.zeros(20_000, np.int64), 2, rule=rule, rng=np.random.default_rng(0))
    # Binomial(20,000, 0.3): mean 6000, standard deviation 64.8; six of them is 389.
    assert abs(len(chosen) - 6000) < 389
    assert len(chosen) != 6000
    assert len(np.unique(chosen)) == len(chosen)


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50)), min_size=1, max_size=12),
    percent=st.integers(0, 100),
)
def test_spread_counts_have_the_sum_and_fit_into_their_classes(
    parts: list[tuple[float, int]], percent: int
) -> None:
    rates, sizes = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    total = int(sizes.sum()) * percent // 100
    counts = spread_counts(rates, sizes, total=total)
    assert counts.sum() == total
    assert (counts >= 0).all()
    assert (counts <= sizes).all()


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        # 2 + 6 + 0 asked for: as asked, a half of each, and half as many right ones of each.
        pytest.param(8, [2, 6, 0], id="as asked"),
        pytest.param(4, [1, 3, 0], id="fewer"),
        pytest.param(19, [6, 8, 5], id="more"),
        pytest.param(30, [10, 10, 10], id="all"),
        pytest.param(0, [0, 0, 0], id="none"),
    ],
)
def test_spread_counts_by_hand(total: int, expected: list[int]) -> None:
    counts = spread_counts(np.array([0.2, 0.6, 0.0]), np.array([10, 10, 10]), total=total)
    assert counts.tolist() == expected


def test_spread_counts_round_by_the_largest_remainder() -> None:
    # Ideal 1.5, 0.75, 0.75 of a sum of 3: rounded down 1, 0, 0; then both of 0.75.
    counts = spread_counts(np.array([0.5, 0.25, 0.25]), np.array([3, 3, 3]), total=3)
    assert counts.tolist() == [1, 1, 1]


def test_spread_rates_of_an_exact_count_differ_and_keep_the_overall_count() -> None:
    clean = np.repeat(np.arange(20), 100)
    rule = LabelRule("symmetric", 0.4, rate_spread=0.1)
    chosen = choose_examples(clean, 20, rule=rule, rng=np.random.default_rng(0))
    assert len(chosen) == 800
    assert np.bincount(clean[chosen]).std() > 5


def test_so_many_of_each_class_are_chosen_and_any_of_them() -> None:
    clean = np.array([2, 0, 2, 0, 2, 1])
    hits = np.zeros(6)
    for seed in range(1200):
        rng = np.random.default_rng(seed)
        chosen = choose_of_each_class(clean, np.array([1, 0, 2]), rng=rng)
        assert sorted(clean[chosen].tolist()) == [0, 2, 2]
        hits[chosen] += 1
    # Two of the three of class 2, one of the two of class 0; deviation at most 17.4, six is 104.
    assert np.abs(hits - [800, 600, 800, 600, 800, 0]).max() < 104
