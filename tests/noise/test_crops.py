"""Which part of a sequence a crop keeps."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from protein_robust.noise import CropRule, Crops, draw_crops
from protein_robust.noise.crops import CropKind, LengthDistribution

LENGTHS = np.array([1, 2, 3, 7, 25, 100, 434, 435, 2000])
FRACTIONS: tuple[CropKind, ...] = ("random", "n_terminal", "c_terminal", "internal_deletion")
CHANCE: tuple[CropKind, ...] = (*FRACTIONS, "fragment")
DISTRIBUTIONS: tuple[LengthDistribution, ...] = get_args(LengthDistribution)
EVERY_RULE = [
    *(CropRule(kind, min_fraction=0.1) for kind in get_args(CropKind)),
    CropRule("fragment", length_distribution="geometric", mean_length=5),
    CropRule("fragment", length_distribution="uniform", max_length=9),
]
LENGTH_LISTS = st.lists(st.integers(1, 3000), min_size=1, max_size=30)
SEEDS = st.integers(0, 2**32)


def named(rule: CropRule) -> str:
    return f"{rule.kind} {rule.length_distribution}" if rule.kind == "fragment" else rule.kind


def drawn(rule: CropRule, lengths: np.ndarray = LENGTHS, seed: int = 0) -> Crops:
    return draw_crops(lengths, rule=rule, rng=np.random.default_rng(seed))


def random_rule(least: float, most: float) -> CropRule:
    return CropRule("random", min_fraction=least, max_fraction=most)


def test_no_rule_keeps_every_sequence_whole() -> None:
    crops = drawn(CropRule())
    np.testing.assert_array_equal(crops.start, np.zeros(9))
    np.testing.assert_array_equal(crops.length, LENGTHS)


def test_no_rule_does_not_hand_out_the_given_array() -> None:
    assert not np.shares_memory(drawn(CropRule()).length, LENGTHS)


def test_first_keeps_the_n_terminus() -> None:
    crops = drawn(CropRule("first", num_residues=434))
    np.testing.assert_array_equal(crops.start, np.zeros(9))
    np.testing.assert_array_equal(crops.length, [1, 2, 3, 7, 25, 100, 434, 434, 434])


@pytest.mark.parametrize("kind", ["none", "first"])
def test_a_rule_without_chance_leaves_the_generator_alone(kind: CropKind) -> None:
    rng = np.random.default_rng(0)
    draw_crops(LENGTHS, rule=CropRule(kind), rng=rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_crops_without_gaps_need_no_arrays_of_them() -> None:
    crops = Crops(np.array([3, 0]), np.array([2, 9]))
    assert (crops.gap_start.tolist(), crops.gap_length.tolist()) == ([0, 0], [0, 0])
    assert crops.gap_start.dtype == crops.gap_length.dtype == np.int64


@pytest.mark.parametrize("name", ["length", "gap_start", "gap_length"])
def test_arrays_of_different_shapes_are_refused(name: str) -> None:
    arrays = {field: np.array([1, 1]) for field in ("start", "length", "gap_start", "gap_length")}
    with pytest.raises(ValueError, match=r"Expected arrays of one shape, got \[.*\(3,\)"):
        Crops(**{**arrays, name: np.array([1, 1, 1])})


def residues_seen(length: int, crops: Crops, row: int) -> list[int]:
    """Places in one sequence that a crop shows, by the definition, one by one."""
    start, gap_start = int(crops.start[row]), int(crops.gap_start[row])
    gap_length = int(crops.gap_length[row])
    places = [
        start + j + (gap_length if j >= gap_start else 0) for j in range(int(crops.length[row]))
    ]
    assert all(0 <= place < length for place in places)
    return places


@pytest.mark.parametrize("rule", EVERY_RULE, ids=named)
@settings(deadline=None, max_examples=30)
@given(lengths=LENGTH_LISTS, seed=SEEDS)
def test_what_is_seen_is_in_the_sequence_and_where_the_kind_says(
    rule: CropRule, lengths: list[int], seed: int
) -> None:
    crops = drawn(rule, np.array(lengths), seed)
    for row, length in enumerate(lengths):
        places = residues_seen(length, crops, row)
        assert places
        assert places == sorted(set(places))
        if rule.kind in ("none", "first", "n_terminal", "internal_deletion"):
            assert places[0] == 0
        if rule.kind in ("none", "c_terminal", "internal_deletion"):
            assert places[-1] == length - 1
        if rule.kind != "internal_deletion":
            assert places[-1] - places[0] == len(places) - 1


@pytest.mark.parametrize("kind", FRACTIONS)
@settings(deadline=None, max_examples=50)
@given(
    lengths=LENGTH_LISTS,
    percents=st.tuples(st.integers(1, 100), st.integers(1, 100)).map(sorted),
    min_residues=st.integers(1, 100),
    seed=SEEDS,
)
def test_a_random_fraction_is_between_the_bounds_and_never_below_the_least_number(
    kind: CropKind, lengths: list[int], percents: list[int], min_residues: int, seed: int
) -> None:
    least, most = percents
    rule = CropRule(
        kind, min_fraction=least / 100, max_fraction=most / 100, min_residues=min_residues
    )
    crops = drawn(rule, np.array(lengths), seed)
    fewest = max(min_residues, 2) if kind == "internal_deletion" else min_residues
    for length, kept in zip(lengths, crops.length, strict=True):
        shortest = math.ceil(Fraction(least, 100) * length)  # in exact arithmetic
        shortest = max(shortest, min(length, fewest))
        longest = max(shortest, math.floor(Fraction(most, 100) * length))
        assert shortest <= kept <= longest


# Drawn by the first version of `random`, the only kind of chance that it knew. Stored noise of old
# runs must come out again.
@pytest.mark.parametrize(
    ("fractions", "seed", "start", "length", "next_draw"),
    [
        (
            (0.5, 1.0),
            0,
            [0, 0, 0, 0, 8, 23, 191, 101, 597],
            [1, 2, 3, 6, 16, 65, 225, 234, 1016],
            4169308741,
        ),
        (
            (0.1, 0.9),
            7,
            [0, 0, 0, 1, 2, 16, 174, 0, 233],
            [1, 1, 2, 4, 16, 82, 244, 313, 1534],
            3527149199,
        ),
    ],
    ids=["default fractions", "other fractions"],
)
def test_random_draws_what_it_always_drew(
    fractions: tuple[float, float],
    seed: int,
    start: list[int],
    length: list[int],
    next_draw: int,
) -> None:
    rng = np.random.default_rng(seed)
    crops = draw_crops(LENGTHS, rule=random_rule(*fractions), rng=rng)
    assert (crops.start.tolist(), crops.length.tolist()) == (start, length)
    assert rng.integers(2**32) == next_draw


def test_random_draws_what_it_always_drew_for_many_sequences() -> None:
    lengths = np.random.default_rng(0).integers(1, 3000, 10_000)
    crops = drawn(CropRule("random"), lengths, seed=1)
    digest = hashlib.sha256(np.stack([crops.start, crops.length]).astype("<i8").tobytes())
    assert digest.hexdigest() == "e7de2c71a23ad59b2b3aea8ee52bb4f0c01b1b30c7a839a97fa74b7002de9251"


@pytest.mark.parametrize(
    ("fractions", "length", "kept"),
    [
        # 0.28 * 25 is 7.000000000000001 in floating point, of which the ceiling would be 8.
        pytest.param((0.28, 0.28), 25, {7}, id="rounded up"),
        # 0.29 * 100 is 28.999999999999996, of which the floor would be 28.
        pytest.param((0.28, 0.29), 100, {28, 29}, id="rounded down"),
        # Of 3 residues no whole number is a half: the least that is one.
        pytest.param((0.5, 0.5), 3, {2}, id="nothing between"),
        pytest.param((0.5, 1.0), 6, {3, 4, 5, 6}, id="both ends"),
        pytest.param((0.1, 0.2), 1, {1}, id="one residue"),
        pytest.param((1.0, 1.0), 8, {8}, id="whole"),
    ],
)
def test_every_length_between_the_bounds_occurs_and_no_other(
    fractions: tuple[float, float], length: int, kept: set[int]
) -> None:
    crops = drawn(random_rule(*fractions), np.full(500, length))
    assert set(crops.length.tolist()) == kept


@pytest.mark.parametrize("kind", FRACTIONS)
def test_the_mean_of_a_random_fraction_is_halfway_between_the_bounds(kind: CropKind) -> None:
    kept = drawn(CropRule(kind), np.full(100_000, 200)).length
    # 101 integers, 100 to 200: variance (101^2 - 1) / 12 = 850.
    assert abs(kept.mean() - 150) < 5 * math.sqrt(850 / len(kept))


def test_the_kept_length_is_uniform_and_so_is_the_start_given_the_length() -> None:
    crops = drawn(random_rule(0.5, 1.0), np.full(40_000, 6))
    # Lengths 3 to 6 with 10,000 each: standard deviation 87; six of them is 520.
    counts = np.bincount(crops.length, minlength=7)[3:]
    assert np.abs(counts - 10_000).max() < 520
    # Of about 10,000 crops of length 3 each start 0..3 has 2500: deviation 43; six of them, and
    # a quarter of the 520, is 390.
    starts = np.bincount(crops.start[crops.length == 3], minlength=4)
    assert np.abs(starts - 2500).max() < 390


@pytest.mark.parametrize(
    ("kind", "start", "gap_start", "gap_length"),
    [("n_terminal", 0, 0, 0), ("c_terminal", 4, 0, 0), ("internal_deletion", 0, None, 4)],
)
def test_of_ten_residues_four_are_missing_at_the_right_place(
    kind: CropKind, start: int, gap_start: int | None, gap_length: int
) -> None:
    rule = CropRule(kind, min_fraction=0.6, max_fraction=0.6)
    crops = drawn(rule, np.full(1000, 10))
    assert set(crops.length.tolist()) == {6}
    assert set(crops.start.tolist()) == {start}
    assert set(crops.gap_length.tolist()) == {gap_length}
    # One to five of the six residues before the deletion, and the others behind it.
    places = {1, 2, 3, 4, 5} if gap_start is None else {gap_start}
    assert set(crops.gap_start.tolist()) == places


@pytest.mark.parametrize(
    ("length", "seen"),
    [
        pytest.param(1, {(0,)}, id="one residue"),
        pytest.param(2, {(0, 1)}, id="two"),
        pytest.param(3, {(0, 2), (0, 1, 2)}, id="three"),
        pytest.param(4, {(0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)}, id="four"),
    ],
)
def test_a_deletion_leaves_both_ends_and_occurs_in_every_possible_way(
    length: int, seen: set[tuple[int, ...]]
) -> None:
    crops = drawn(CropRule("internal_deletion", min_fraction=0.1), np.full(400, length))
    assert {tuple(residues_seen(length, crops, row)) for row in range(400)} == seen


def test_a_whole_sequence_has_no_gap() -> None:
    crops = drawn(CropRule("internal_deletion", min_fraction=1.0))
    np.testing.assert_array_equal(crops.length, LENGTHS)
    assert not crops.gap_start.any()
    assert not crops.gap_length.any()


def test_the_place_of_a_deletion_is_uniform() -> None:
    rule = CropRule("internal_deletion", min_fraction=0.6, max_fraction=0.6)
    counts = np.bincount(drawn(rule, np.full(50_000, 10)).gap_start, minlength=6)
    # Five places with 10,000 each: standard deviation 89; six of them is 537.
    assert counts[0] == 0
    assert np.abs(counts[1:] - 10_000).max() < 537


@pytest.mark.parametrize("rule", EVERY_RULE, ids=named)
def test_a_sequence_with_no_more_than_the_least_number_is_whole(rule: CropRule) -> None:
    rule = CropRule(rule.kind, length_distribution=rule.length_distribution, min_residues=25)
    lengths = np.array([1, 2, 3, 7, 25])
    np.testing.assert_array_equal(drawn(rule, lengths).length, lengths)


def test_the_least_number_does_not_count_for_the_first_residues() -> None:
    crops = drawn(CropRule("first", num_residues=2, min_residues=9))
    assert crops.length.tolist() == [1, *[2] * 8]


MEAN_AND_DEVIATION = {
    # Rounding adds a variance of 1/12.
    "lognormal": (60, math.sqrt(20**2 + 1 / 12)),
    # Support 1, 2, ...: variance (1 - p) / p^2 with p = 1 / 60.
    "geometric": (60, math.sqrt(60 * 59)),
    # 41 integers, 30 to 70: variance (41^2 - 1) / 12.
    "uniform": (50, math.sqrt(140)),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_fragments_have_the_mean_and_the_deviation_asked_for(
    distribution: LengthDistribution,
) -> None:
    least = 30 if distribution == "uniform" else 1
    rule = CropRule("fragment", length_distribution=distribution, min_residues=least, max_length=70)
    kept = drawn(rule, np.full(100_000, 10_000)).length.astype(float)
    mean, deviation = MEAN_AND_DEVIATION[distribution]
    assert abs(kept.mean() - mean) < 5 * deviation / math.sqrt(len(kept))
    # The standard error of a variance, from the fourth central moment of what was drawn.
    error = math.sqrt((stats.moment(kept, 4) - kept.var() ** 2) / len(kept))
    assert abs(kept.var() - deviation**2) < 5 * error


def test_lognormal_fragments_follow_the_distribution_of_scipy() -> None:
    kept = drawn(CropRule("fragment"), np.full(50_000, 10_000)).length
    sigma = math.sqrt(math.log(1 + (20 / 60) ** 2))
    expected = stats.lognorm(sigma, scale=60 * math.exp(-(sigma**2) / 2))
    places = np.arange(20, 120)
    found = np.searchsorted(np.sort(kept), places, side="right") / len(kept)
    # A length is rounded to n where it lies below n + 1/2. A proportion of 50,000 has a standard
    # deviation of at most 0.0022; five of them is 0.011.
    assert np.abs(found - expected.cdf(places + 0.5)).max() < 0.011


def test_geometric_fragments_follow_the_distribution_of_scipy() -> None:
    rule = CropRule("fragment", length_distribution="geometric", mean_length=4)
    kept = drawn(rule, np.full(50_000, 10_000)).length
    found = np.bincount(kept, minlength=31)[1:31] / len(kept)
    assert np.abs(found - stats.geom(1 / 4).pmf(np.arange(1, 31))).max() < 0.011


def test_uniform_fragments_have_every_length_between_the_bounds_and_no_other() -> None:
    rule = CropRule("fragment", length_distribution="uniform", min_residues=3, max_length=6)
    assert set(drawn(rule, np.full(500, 100)).length.tolist()) == {3, 4, 5, 6}
    assert set(drawn(rule, np.full(500, 4)).length.tolist()) == {3, 4}


def test_fragments_without_a_deviation_are_reads_of_one_length() -> None:
    crops = drawn(CropRule("fragment", mean_length=50, sd_length=0))
    assert crops.length.tolist() == [1, 2, 3, 7, 25, 50, 50, 50, 50]


def test_fragments_of_mean_one_are_single_residues() -> None:
    rule = CropRule("fragment", length_distribution="geometric", mean_length=1)
    assert set(drawn(rule).length.tolist()) == {1}


@pytest.mark.parametrize("distribution", ["lognormal", "geometric"])
@settings(deadline=None, max_examples=50)
@given(
    lengths=LENGTH_LISTS,
    mean=st.floats(1, 1e308),
    deviation=st.floats(0, 1e308),
    min_residues=st.integers(1, 4000),
    seed=SEEDS,
)
def test_a_fragment_is_within_the_sequence_and_no_shorter_than_the_least(
    distribution: LengthDistribution,
    lengths: list[int],
    mean: float,
    deviation: float,
    min_residues: int,
    seed: int,
) -> None:
    rule = CropRule(
        "fragment",
        length_distribution=distribution,
        mean_length=mean,
        sd_length=deviation,
        min_residues=min_residues,
    )
    crops = drawn(rule, np.array(lengths), seed)
    assert (crops.length >= np.minimum(lengths, min_residues)).all()
    assert (crops.start >= 0).all()
    assert (crops.start + crops.length <= lengths).all()


def test_fragments_start_everywhere_where_they_fit() -> None:
    crops = drawn(CropRule("fragment", mean_length=4, sd_length=0), np.full(70_000, 10))
    counts = np.bincount(crops.start, minlength=7)
    # Seven starts with 10,000 each: standard deviation 93; six of them is 556.
    assert len(counts) == 7
    assert np.abs(counts - 10_000).max() < 556


@pytest.mark.parametrize("rule", EVERY_RULE, ids=named)
def test_the_same_seed_gives_the_same_crops(rule: CropRule) -> None:
    first, second = drawn(rule), drawn(rule)
    for name in ("start", "length", "gap_start", "gap_length"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


@pytest.mark.parametrize("kind", CHANCE)
def test_another_seed_gives_other_crops(kind: CropKind) -> None:
    rule = CropRule(kind, min_fraction=0.2, max_fraction=0.9)
    assert (drawn(rule, seed=1).length != drawn(rule, seed=2).length).any()


@pytest.mark.parametrize("rule", EVERY_RULE, ids=named)
def test_no_sequences_have_no_crops(rule: CropRule) -> None:
    crops = drawn(rule, np.zeros(0, np.int64))
    arrays = (crops.start, crops.length, crops.gap_start, crops.gap_length)
    assert {array.shape for array in arrays} == {(0,)}


@pytest.mark.parametrize("rule", EVERY_RULE, ids=named)
def test_every_array_is_of_64_bit_integers(rule: CropRule) -> None:
    crops = drawn(rule)
    arrays = (crops.start, crops.length, crops.gap_start, crops.gap_length)
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}


def test_a_sequence_without_residues_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected lengths of at least 1, got 0\."):
        drawn(CropRule(), np.array([3, 0]))


@pytest.mark.parametrize(
    ("field", "choices"),
    [("kind", get_args(CropKind)), ("length_distribution", DISTRIBUTIONS)],
)
def test_an_unknown_choice_is_refused_with_those_that_there_are(
    field: str, choices: tuple[str, ...]
) -> None:
    fields: dict[str, Any] = {field: "middle"}
    with pytest.raises(ValueError, match=f"Expected `{field}` one of ") as caught:
        CropRule(**fields)
    assert str(caught.value).endswith(f"one of {', '.join(choices)}, got 'middle'.")


@pytest.mark.parametrize("value", [0.0, -0.5, 1.1, float("nan")])
def test_a_least_fraction_outside_zero_to_one_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected `min_fraction` in \(0, 1\], got {value}\."):
        CropRule(min_fraction=value)


@pytest.mark.parametrize("value", [0.4, 1.1, float("nan")])
def test_a_largest_fraction_below_the_least_or_above_one_is_refused(value: float) -> None:
    expected = r"Expected `max_fraction` in \[min_fraction, 1\] = \[0\.5, 1\], got "
    with pytest.raises(ValueError, match=expected + f"{value}"):
        CropRule(max_fraction=value)


@pytest.mark.parametrize("field", ["num_residues", "min_residues", "max_length"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_number_of_residues_below_one_is_refused(field: str, value: int) -> None:
    fields: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=rf"Expected `{field}` of at least 1, got {value}\."):
        CropRule(**fields)


@pytest.mark.parametrize("value", [0.9, -1.0, math.inf, math.nan])
def test_a_mean_length_below_one_residue_or_not_finite_is_refused(value: float) -> None:
    message = rf"Expected a finite `mean_length` of at least 1, got {value}\."
    with pytest.raises(ValueError, match=message):
        CropRule(mean_length=value)


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_a_deviation_below_zero_or_not_finite_is_refused(value: float) -> None:
    message = rf"Expected a finite `sd_length` of at least 0, got {value}\."
    with pytest.raises(ValueError, match=message):
        CropRule(sd_length=value)


def test_uniform_fragments_need_a_largest_length_that_is_not_below_the_least() -> None:
    message = r"Expected `max_length` of at least `min_residues` = 30, got 29\."
    with pytest.raises(ValueError, match=message):
        CropRule("fragment", length_distribution="uniform", min_residues=30, max_length=29)


def test_a_largest_length_that_does_not_count_may_be_below_the_least() -> None:
    rule = CropRule("random", length_distribution="uniform", min_residues=30, max_length=29)
    assert drawn(rule).length[3] == 7
