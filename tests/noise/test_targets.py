"""Noise under which a class becomes one other class: drawn pairs of clans, blocks, named maps."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.noise import (
    CLASS_MAPS,
    Classes,
    LabelNoise,
    LabelRule,
    corrupt_labels,
    expected_rate,
)
from protein_robust.noise.labels import Labels
from protein_robust.noise.rules import Count

SEVEN = Classes(tuple("ABCDEFG"), ("x", "y", "x", None, "y", "x", "z"))
"""A clan of three, one of two, one of one, and a class without a clan."""

COARSE = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 5))
HUNDRED = Classes(
    tuple(f"fine {number}" for number in range(100)), tuple(f"coarse {c}" for c in COARSE)
)
"""As CIFAR-100: twenty superclasses of five classes each, whose numbers are anywhere."""


def plain(num_classes: int) -> Classes:
    return Classes(tuple(f"c{i}" for i in range(num_classes)), (None,) * num_classes)


def drawn(rule: LabelRule, clean: Labels, classes: Classes, seed: int = 0) -> LabelNoise:
    return corrupt_labels(clean, classes, rule=rule, rng=np.random.default_rng(seed))


def transitions(noise: LabelNoise) -> Counter[tuple[int, int]]:
    """How often each clean class became each other class."""
    changed = noise.is_changed
    pairs = zip(noise.clean_label[changed].tolist(), noise.label[changed].tolist(), strict=True)
    return Counter(pairs)


# Pairs of clans.


def test_both_classes_of_a_pair_lose_the_rate_of_their_own_labels() -> None:
    clean = np.repeat([0, 1], [11, 9])
    noise = drawn(LabelRule("clan_pair", 0.4), clean, Classes(("A", "B"), ("x", "x")))
    # floor(0.4 * 11) = 4 become B; floor(0.4 * 9) = 3 become A, of those that were B before.
    assert transitions(noise) == {(0, 1): 4, (1, 0): 3}
    assert noise.pairs == (("A", "B"),)


def test_of_a_clan_two_classes_are_exchanged_and_all_others_stay_clean() -> None:
    clean = np.arange(70) % 7
    noise = drawn(LabelRule("clan_pair", 1.0), clean, SEVEN)
    number = {name: place for place, name in enumerate("ABCDEFG")}
    pairs = [(number[first], number[second]) for first, second in noise.pairs]
    expected = {move: 10 for a, b in pairs for move in ((a, b), (b, a))}
    assert transitions(noise) == expected
    assert len(pairs) == 2
    assert (1, 4) in pairs
    assert {*pairs[0], *pairs[1]} - {1, 4} < {0, 2, 5}


def test_each_pair_of_a_clan_is_drawn_as_often() -> None:
    rule, clean = LabelRule("clan_pair", 1.0), np.arange(7)
    found = (pair for seed in range(600) for pair in drawn(rule, clean, SEVEN, seed).pairs)
    draws = Counter(pair for pair in found if pair != ("B", "E"))
    # Binomial(600, 1/3): mean 200, standard deviation 11.5; six of them is 69.
    assert set(draws) == {("A", "C"), ("A", "F"), ("C", "F")}
    assert max(abs(times - 200) for times in draws.values()) < 69


def test_on_cifar100_the_talks_asymmetric_noise_of_40_percent_makes_16_percent_wrong() -> None:
    clean = np.repeat(np.arange(100), 500)
    rule = LabelRule("clan_pair", 0.4)
    noise = drawn(rule, clean, HUNDRED)
    moves = transitions(noise)
    assert noise.is_changed.sum() == 8000
    assert noise.actual_rate == 0.16
    assert expected_rate(clean, HUNDRED, rule=rule) == pytest.approx(0.16)
    # Two classes of each superclass, 200 of either become the other.
    assert len(moves) == 40
    assert set(moves.values()) == {200}
    assert all((b, a) in moves for a, b in moves)
    assert sorted(COARSE[a] for a, _ in moves) == sorted([*range(20), *range(20)])
    assert all(COARSE[a] == COARSE[b] for a, b in moves)
    assert len(noise.pairs) == 20


def test_each_label_of_a_drawn_class_by_itself() -> None:
    clean = np.repeat([0, 1, 2], [6000, 4000, 100])
    classes = Classes(("A", "B", "C"), ("x", "x", None))
    noise = drawn(LabelRule("clan_pair", 0.4, count="bernoulli"), clean, classes)
    moves = transitions(noise)
    # Binomial(6000, 0.4) and (4000, 0.4): deviations 37.9 and 31; six of them 228 and 186.
    assert set(moves) == {(0, 1), (1, 0)}
    assert abs(moves[0, 1] - 2400) < 228
    assert abs(moves[1, 0] - 1600) < 186
    assert moves != {(0, 1): 2400, (1, 0): 1600}  # as exact counts would be


@st.composite
def clan_cases(draw: st.DrawFn) -> tuple[Classes, Labels]:
    clans = draw(st.lists(st.sampled_from(["x", "y", "z", None]), min_size=2, max_size=9))
    clans += ["x", "x"]
    size = draw(st.integers(0, 80))
    clean = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, len(clans), size)
    return Classes(tuple(f"c{i}" for i in range(len(clans))), tuple(clans)), clean


@settings(deadline=None)
@given(
    case=clan_cases(),
    percent=st.integers(0, 100),
    count=st.sampled_from(["exact", "bernoulli"]),
    seed=st.integers(0, 2**32),
)
def test_labels_of_drawn_pairs_change_within_their_pair_and_no_others_do(
    case: tuple[Classes, Labels], percent: int, count: Count, seed: int
) -> None:
    classes, clean = case
    noise = drawn(LabelRule("clan_pair", percent / 100, count=count), clean, classes, seed)
    number = {name: place for place, name in enumerate(classes.accessions)}
    partner = {}
    for first, second in noise.pairs:
        partner |= {number[first]: number[second], number[second]: number[first]}
    several = {c for c in classes.clans if c is not None and classes.clans.count(c) > 1}
    assert sorted(classes.clans[number[first]] or "" for first, _ in noise.pairs) == sorted(several)
    moves = transitions(noise)
    assert all(partner[c] == y and classes.clans[c] == classes.clans[y] for c, y in moves)
    if count == "exact":
        sizes = Counter(clean.tolist())
        lost = {c: math.floor(Fraction(percent, 100) * sizes[c]) for c in partner}
        assert moves == Counter({(c, partner[c]): lost[c] for c in partner if lost[c]})
    again = drawn(LabelRule("clan_pair", percent / 100, count=count), clean, classes, seed)
    assert again.label.tobytes() == noise.label.tobytes()
    assert again.pairs == noise.pairs


def test_the_expected_rate_of_drawn_pairs_is_the_mean_over_draws() -> None:
    clean = np.repeat(np.arange(7), [100, 50, 300, 70, 150, 200, 130])
    rule = LabelRule("clan_pair", 0.4)
    # In the clan of 100, 300 and 200 each class is drawn with probability 2/3; of 50 and 150, 1.
    expected = 0.4 * (600 * 2 / 3 + 200) / 1000
    assert expected_rate(clean, SEVEN, rule=rule) == pytest.approx(expected)
    # Each draw leaves out one of three classes: 600, 500 or 400 labels of the pair and 200 of the
    # other, so that the mean of 300 draws has a deviation of 0.4 * 0.0817 / sqrt(300) = 0.0019.
    rates = [drawn(rule, clean, SEVEN, seed).actual_rate for seed in range(300)]
    assert abs(np.mean(rates) - expected) < 0.0114


@pytest.mark.parametrize("clans", [(None, None, None), ("x", "y", None)])
def test_without_a_clan_of_two_classes_there_are_no_pairs(clans: tuple[str | None, ...]) -> None:
    classes, rule = Classes(("A", "B", "C"), clans), LabelRule("clan_pair", 0.4)
    expected = r"a clan with two classes of the data where `kind` is clan_pair, got none\."
    with pytest.raises(InputError, match=expected):
        drawn(rule, np.arange(3), classes)
    with pytest.raises(InputError, match=expected):
        expected_rate(np.arange(3), classes, rule=rule)


# Blocks of five.


def test_a_class_becomes_the_next_of_its_block_and_the_last_the_first() -> None:
    noise = drawn(LabelRule("id_block", 1.0), np.arange(10), plain(10))
    assert noise.label.tolist() == [1, 2, 3, 4, 0, 6, 7, 8, 9, 5]
    assert noise.pairs == ()


def test_a_block_takes_the_rate_of_each_class() -> None:
    sizes = [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
    noise = drawn(LabelRule("id_block", 0.3), np.repeat(np.arange(10), sizes), plain(10))
    # floor(0.3 n): 3, 3, 3, 3, 4, and 0, 0, 0, 0, 1.
    assert transitions(noise) == {(0, 1): 3, (1, 2): 3, (2, 3): 3, (3, 4): 3, (4, 0): 4, (9, 5): 1}


def test_on_cifar100_the_usual_asymmetric_noise_of_40_percent_makes_40_percent_wrong() -> None:
    clean = np.repeat(np.arange(100), 500)
    rule = LabelRule("id_block", 0.4)
    noise = drawn(rule, clean, HUNDRED)
    moves = transitions(noise)
    assert noise.is_changed.sum() == 20_000
    assert expected_rate(clean, HUNDRED, rule=rule) == pytest.approx(0.4)
    assert set(moves.values()) == {200}
    assert set(moves) == {(c, c + 1 if c % 5 < 4 else c - 4) for c in range(100)}


def test_each_label_of_a_block_by_itself() -> None:
    clean = np.repeat(np.arange(5), 2000)
    moves = transitions(drawn(LabelRule("id_block", 0.4, count="bernoulli"), clean, plain(5)))
    assert set(moves) == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)}
    # Binomial(2000, 0.4): mean 800, standard deviation 21.9; six of them is 131.
    assert max(abs(times - 800) for times in moves.values()) < 131
    assert set(moves.values()) != {800}


@settings(deadline=None)
@given(
    blocks=st.integers(1, 5),
    size=st.integers(0, 100),
    percent=st.integers(0, 100),
    count=st.sampled_from(["exact", "bernoulli"]),
    seed=st.integers(0, 2**32),
)
def test_labels_never_leave_their_block(
    blocks: int, size: int, percent: int, count: Count, seed: int
) -> None:
    clean = np.random.default_rng(seed).integers(0, 5 * blocks, size)
    rule = LabelRule("id_block", percent / 100, count=count)
    noise = drawn(rule, clean, plain(5 * blocks), seed)
    assert (noise.label // 5 == clean // 5).all()
    assert (((noise.label - clean)[noise.is_changed] % 5) == 1).all()
    if count == "exact":
        lost = {
            c: math.floor(Fraction(percent, 100) * n) for c, n in Counter(clean.tolist()).items()
        }
        assert Counter(clean[noise.is_changed].tolist()) == Counter(
            {c: n for c, n in lost.items() if n}
        )
    assert drawn(rule, clean, plain(5 * blocks), seed).label.tobytes() == noise.label.tobytes()


def test_classes_that_make_no_whole_blocks_are_refused() -> None:
    rule = LabelRule("id_block", 0.4)
    expected = r"a number of classes that is a multiple of 5 where `kind` is id_block, got 7\."
    with pytest.raises(InputError, match=expected):
        drawn(rule, np.arange(7), SEVEN)
    with pytest.raises(InputError, match=expected):
        expected_rate(np.arange(7), SEVEN, rule=rule)


# Named maps.

CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip


def test_the_published_map_of_cifar10_at_its_size() -> None:
    clean = np.repeat(np.arange(10), 5000)
    classes = Classes(tuple(CIFAR10), (None,) * 10)
    rule = LabelRule("asymmetric", 0.4, class_map=CLASS_MAPS["cifar10"])
    moves = {
        (CIFAR10[c], CIFAR10[y]): times
        for (c, y), times in transitions(drawn(rule, clean, classes)).items()
    }
    # 2000 of each of five source classes: 20 % of all labels at a rate of 0.4.
    assert moves == {
        ("truck", "automobile"): 2000,
        ("bird", "airplane"): 2000,
        ("cat", "dog"): 2000,
        ("dog", "cat"): 2000,
        ("deer", "horse"): 2000,
    }
    assert expected_rate(clean, classes, rule=rule) == pytest.approx(0.2)
