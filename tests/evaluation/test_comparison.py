"""Two methods on the same sequences: tests, intervals, and what is said of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from protein_robust.evaluation.comparison import (
    Comparison,
    bootstrap_interval,
    compare_all,
    compare_pair,
    holm_correction,
    mcnemar_p_values,
    seeds_interval,
)


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def correct(pattern: str) -> NDArray[np.bool_]:
    """One row a seed, one letter a sequence: + is right."""
    return np.array([[letter == "+" for letter in row] for row in pattern.split()])


def compared(ours: str, theirs: str) -> Comparison:
    return compare_pair(("A", correct(ours)), ("B", correct(theirs)), generator())


def known_pair(*, better: int, worse: int, same: int = 0) -> Comparison:
    """A pair with these numbers of sequences that only one gets right, one seed."""
    ours = np.array([[True] * better + [False] * worse + [True] * same])
    theirs = np.array([[False] * better + [True] * worse + [True] * same])
    return compare_pair(("A", ours), ("B", theirs), generator())


class TestMcNemar:
    @given(first=st.integers(0, 400), second=st.integers(0, 400))
    def test_exact_value_is_that_of_the_binomial_test(self, first: int, second: int) -> None:
        total = first + second
        expected = stats.binomtest(first, total, 0.5).pvalue if total else 1.0
        assert mcnemar_p_values(first, second)[0] == pytest.approx(expected, rel=1e-9)

    @given(first=st.integers(0, 200), second=st.integers(0, 200))
    def test_mid_p_counts_half_of_what_was_seen(self, first: int, second: int) -> None:
        total, least = first + second, min(first, second)
        below = stats.binom.cdf(least - 1, total, 0.5)
        expected = 2 * (below + stats.binom.pmf(least, total, 0.5) / 2)
        assert mcnemar_p_values(first, second)[1] == pytest.approx(min(1, expected), rel=1e-9)

    @given(first=st.integers(0, 1000), second=st.integers(0, 1000))
    def test_order_of_the_methods_does_not_matter(self, first: int, second: int) -> None:
        assert mcnemar_p_values(first, second) == mcnemar_p_values(second, first)

    def test_hand_value(self) -> None:
        # Of 6 sequences all go to one: 2 / 2^6 = 1/32 exact, half of it mid-p.
        assert mcnemar_p_values(6, 0) == pytest.approx((1 / 32, 1 / 64))

    def test_equal_counts_are_no_evidence(self) -> None:
        assert mcnemar_p_values(5, 5) == pytest.approx((1.0, 1.0))
        assert mcnemar_p_values(0, 0) == (1.0, 1.0)

    def test_counts_of_a_large_test_set_do_not_overflow(self) -> None:
        expected = stats.binomtest(62_000, 126_000, 0.5).pvalue
        assert mcnemar_p_values(62_000, 64_000)[0] == pytest.approx(expected, rel=1e-7)

    def test_negative_count_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="Expected counts of at least 0, got -1 and 3"):
            mcnemar_p_values(-1, 3)


class TestBootstrap:
    def test_interval_is_that_of_all_resamples_of_three(self) -> None:
        # 27 equally likely draws of three values: the oracle takes the quantiles of them all.
        values = np.array([-1.0, 0.0, 1.0])
        means = [np.mean(draw) for draw in product(values, repeat=3)]
        low, high = np.quantile(means, [0.25, 0.75])
        made = bootstrap_interval(values, generator(), num_resamples=100_000, level=0.5)
        assert made == pytest.approx((low, high), abs=1e-9)

    def test_interval_is_that_of_drawing_examples_one_by_one(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=300)
        drawn = values[rng.integers(0, 300, size=(20_000, 300))].mean(axis=1)
        expected = np.quantile(drawn, [0.025, 0.975])
        made = bootstrap_interval(values, generator(), num_resamples=20_000)
        # Monte Carlo error of a 2.5 % quantile of 20,000 draws is about 1.5 % of its width.
        assert made == pytest.approx(tuple(expected), abs=0.005)

    def test_same_generator_gives_the_same_interval(self) -> None:
        values = np.array([-1.0, 0.0, 0.0, 1.0, 1.0])
        assert bootstrap_interval(values, generator()) == bootstrap_interval(values, generator())

    def test_without_examples_there_is_none(self) -> None:
        assert all(math.isnan(end) for end in bootstrap_interval(np.array([]), generator()))


class TestSeeds:
    def test_interval_is_that_of_scipy(self) -> None:
        values = np.array([0.01, 0.03, 0.02, 0.05])
        expected = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
        assert seeds_interval(values) == pytest.approx(expected)

    def test_one_seed_has_none(self) -> None:
        assert all(math.isnan(end) for end in seeds_interval(np.array([0.1])))


class TestHolm:
    def test_hand_values(self) -> None:
        # Sorted .01 .02 .03 .2, times 4 3 2 1: .04 .06 .06 .2.
        assert holm_correction([0.02, 0.2, 0.01, 0.03]) == pytest.approx([0.06, 0.2, 0.04, 0.06])

    @given(st.lists(st.floats(0, 1), max_size=20))
    def test_correction_keeps_the_order_and_never_lowers(self, values: list[float]) -> None:
        made = holm_correction(values)
        assert all(p <= q <= 1 for p, q in zip(values, made, strict=True))
        order = np.argsort(values, kind="stable")
        assert (np.diff(np.array(made)[order]) >= 0).all()

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
    def test_what_is_rejected_is_what_stepping_down_rejects(
        self, values: list[float], level: float
    ) -> None:
        rejected = set()
        for step, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if (len(values) - step) * values[place] > level:
                break
            rejected.add(place)
        made = holm_correction(values)
        assert {place for place, p in enumerate(made) if p <= level} == rejected


class TestPair:
    def test_hand_counts_of_one_seed(self) -> None:
        made = compared("++++-", "++---")
        assert (made.first_only, made.second_only) == (2, 0)
        assert (made.num_seeds, made.num_examples) == (1, 5)
        assert (made.first_accuracy, made.second_accuracy) == (0.8, 0.4)
        assert made.difference == pytest.approx(0.4)
        assert made.p_exact == 0.5  # 2 / 2^2

    def test_a_sequence_has_one_vote_over_all_seeds(self) -> None:
        # First sequence: 2 to 0; second: 1 to 1, no vote; third: 0 to 1.
        made = compared("++- +--", "--+ -+-")
        assert (made.first_only, made.second_only) == (1, 1)
        assert made.difference == pytest.approx((2 + 0 - 1) / 6)
        # By seed the difference is 1/3 and 0.
        assert (made.num_seeds_better, made.num_seeds_worse) == (1, 0)

    @settings(max_examples=30)
    @given(st.integers(1, 3), st.integers(1, 30), st.integers(0, 2**31))
    def test_swapping_the_methods_swaps_every_sign(self, seeds: int, size: int, draw: int) -> None:
        rng = np.random.default_rng(draw)
        ours, theirs = (rng.random((seeds, size)) < rate for rate in (0.7, 0.5))
        one = compare_pair(("A", ours), ("B", theirs), generator())
        other = compare_pair(("B", theirs), ("A", ours), generator())
        assert other.difference == -one.difference
        assert other.p_exact == one.p_exact
        assert (other.first_only, other.second_only) == (one.second_only, one.first_only)
        assert other.num_seeds_better == one.num_seeds_worse
        np.testing.assert_allclose(
            [other.seeds_low, other.seeds_high], [-one.seeds_high, -one.seeds_low]
        )

    def test_copies_of_a_seed_add_no_evidence(self) -> None:
        row = "+++++++--- "
        other = "---+++++++ "
        one, three = compared(row, other), compared(row * 3, other * 3)
        assert (three.p_exact, three.low, three.high) == (one.p_exact, one.low, one.high)

    @pytest.mark.parametrize(
        ("ours", "theirs"), [("++", "+++"), ("++ ++", "++")], ids=["sequences", "seeds"]
    )
    def test_other_sequences_or_seeds_are_an_error(self, ours: str, theirs: str) -> None:
        with pytest.raises(ValueError, match="Expected the same seeds and examples"):
            compared(ours, theirs)


class TestStatement:
    def test_difference_that_is_real(self) -> None:
        made = replace(known_pair(better=40, worse=10, same=50), low=0.171, high=0.424)
        assert made.statement == "A is better than B by 30.0 points (17.1 to 42.4)"

    def test_second_may_be_the_better_one(self) -> None:
        made = replace(known_pair(better=10, worse=40, same=50), low=-0.424, high=-0.171)
        assert made.statement == "B is better than A by 30.0 points (17.1 to 42.4)"

    def test_seeds_are_counted_where_there_are_several(self) -> None:
        base = known_pair(better=10, worse=40, same=50)
        made = replace(base, num_seeds=3, num_seeds_better=0, num_seeds_worse=2)
        assert made.statement.endswith(", in 2 of 3 seeds")

    def test_few_discordant_sequences_are_chance(self) -> None:
        # 4 to 0 of 100: the exact p is 2 / 2^4 = 0.125.
        assert known_pair(better=4, worse=0, same=96).statement == (
            "A and B: no difference beyond chance"
        )

    def test_votes_against_the_mean_difference_are_no_result(self) -> None:
        made = known_pair(better=40, worse=10, same=50)
        assert made.is_real
        assert not replace(made, difference=-made.difference).is_real

    def test_correction_for_many_pairs_counts(self) -> None:
        made = known_pair(better=40, worse=10, same=50)
        assert not replace(made, p_holm=0.06).is_real


class TestAll:
    def test_pairs_are_in_the_order_of_the_methods_and_corrected_together(self) -> None:
        rng = np.random.default_rng(1)
        right = {
            name: {0: rng.random(80) < rate}
            for name, rate in zip("ABC", (0.9, 0.6, 0.3), strict=True)
        }
        made = compare_all(right, generator())
        assert [(pair.first, pair.second) for pair in made] == [("A", "B"), ("A", "C"), ("B", "C")]
        assert [pair.p_holm for pair in made] == holm_correction([pair.p_exact for pair in made])

    def test_only_seeds_that_both_have_are_compared(self) -> None:
        row = np.array([True, False])
        made = compare_all({"A": {0: row, 1: ~row}, "B": {1: ~row, 2: row}}, generator())
        assert [(pair.num_seeds, pair.difference) for pair in made] == [(1, 0.0)]

    def test_methods_without_a_seed_in_common_are_not_compared(self) -> None:
        row = np.array([True, False])
        assert compare_all({"A": {0: row}, "B": {1: row}}, generator()) == []
