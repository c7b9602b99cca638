"""Which part of a sequence a crop keeps."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.noise import CropRule, Crops, draw_crops

LENGTHS = np.array([1, 2, 3, 7, 25, 100, 434, 435, 2000])


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
def test_a_rule_without_chance_leaves_the_generator_alone(kind: str) -> None:
    rng = np.random.default_rng(0)
    draw_crops(LENGTHS, rule=CropRule(kind), rng=rng)  # type: ignore[arg-type]
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    percents=st.tuples(st.integers(1, 100), st.integers(1, 100)).map(sorted),
    seed=st.integers(0, 2**32),
)
def test_a_random_crop_keeps_a_fraction_between_the_bounds_and_fits(
    lengths: list[int], percents: list[int], seed: int
) -> None:
    least, most = percents
    crops = drawn(random_rule(least / 100, most / 100), np.array(lengths), seed)
    for length, start, kept in zip(lengths, crops.start, crops.length, strict=True):
        shortest = max(1, math.ceil(Fraction(least, 100) * length))  # in exact arithmetic
        longest = max(shortest, math.floor(Fraction(most, 100) * length))
        assert shortest <= kept <= longest
        assert 0 <= start <= length - kept


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


def test_the_kept_length_is_uniform_and_so_is_the_start_given_the_length() -> None:
    crops = drawn(random_rule(0.5, 1.0), np.full(40_000, 6))
    # Lengths 3 to 6 with 10,000 each: standard deviation 87; six of them is 520.
    counts = np.bincount(crops.length, minlength=7)[3:]
    assert np.abs(counts - 10_000).max() < 520
    # Of about 10,000 crops of length 3 each start 0..3 has 2500: deviation 43; six of them, and
    # a quarter of the 520, is 390.
    starts = np.bincount(crops.start[crops.length == 3], minlength=4)
    assert np.abs(starts - 2500).max() < 390


def test_the_same_seed_gives_the_same_crops() -> None:
    first, second = drawn(random_rule(0.2, 0.9)), drawn(random_rule(0.2, 0.9))
    assert first.start.tobytes() == second.start.tobytes()
    assert first.length.tobytes() == second.length.tobytes()


def test_another_seed_gives_other_crops() -> None:
    rule = random_rule(0.2, 0.9)
    assert (drawn(rule, seed=1).length != drawn(rule, seed=2).length).any()


@pytest.mark.parametrize("kind", ["none", "first", "random"])
def test_no_sequences_have_no_crops(kind: str) -> None:
    crops = drawn(CropRule(kind), np.zeros(0, np.int64))  # type: ignore[arg-type]
    assert (crops.start.shape, crops.length.shape) == ((0,), (0,))


@pytest.mark.parametrize("value", [0.0, -0.5, 1.1, float("nan")])
def test_a_least_fraction_outside_zero_to_one_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected `min_fraction` in \(0, 1\], got {value}\."):
        CropRule(min_fraction=value)


@pytest.mark.parametrize("value", [0.4, 1.1, float("nan")])
def test_a_largest_fraction_below_the_least_or_above_one_is_refused(value: float) -> None:
    expected = r"Expected `max_fraction` in \[min_fraction, 1\] = \[0\.5, 1\], got "
    with pytest.raises(ValueError, match=expected + f"{value}"):
        CropRule(max_fraction=value)


def test_keeping_no_residue_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `num_residues` of at least 1, got 0\."):
        CropRule(num_residues=0)
