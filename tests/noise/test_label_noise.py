"""Which labels noise changes, and into what: what holds for all kinds, and for single ones."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise import (
    Classes,
    LabelNoise,
    LabelRule,
    corrupt_labels,
    draw_crops,
    expected_rate,
)
from protein_robust.noise.crops import CropRule
from protein_robust.noise.labels import HELDOUT, TRAIN, UNLABELLED

Labels = NDArray[np.int64]

SIX = Classes(
    tuple(f"PF{number}" for number in (3, 1, 4, 0, 5, 2)),
    ("CL1", "CL1", "CL1", "CL2", "CL2", None),
    nearest=lambda: np.array([1, 0, 0, 4, 3, 4]),
)
"""Six classes, not in the order of their accessions."""

RULES = {
    "none": LabelRule(),
    "symmetric": LabelRule("symmetric", 0.4),
    "symmetric each": LabelRule("symmetric", 0.4, count="bernoulli"),
    "included": LabelRule("symmetric", 0.4, own_class="included"),
    "included each": LabelRule("symmetric", 0.4, own_class="included", count="bernoulli"),
    "spread": LabelRule("symmetric", 0.4, rate_spread=0.2),
    "spread each": LabelRule("symmetric", 0.4, rate_spread=0.2, count="bernoulli"),
    "pair": LabelRule("pair", 0.3),
    "pair each": LabelRule("pair", 0.3, count="bernoulli"),
    "asymmetric": LabelRule("asymmetric", 0.4, class_map={"PF1": "PF2", "PF5": "PF1"}),
    "asymmetric each": LabelRule(
        "asymmetric", 0.4, class_map={"PF1": "PF2", "PF5": "PF1"}, count="bernoulli"
    ),
    "matrix": LabelRule("matrix", transitions={"PF1": {"PF2": 0.5, "PF3": 0.25}}),
    "matrix each": LabelRule(
        "matrix", transitions={"PF1": {"PF2": 0.5, "PF3": 0.25}}, count="bernoulli"
    ),
    "clan": LabelRule("clan", 0.4, in_clan_share=0.5),
    "clan each": LabelRule("clan", 0.4, in_clan_share=0.5, count="bernoulli"),
    "clan pair": LabelRule("clan_pair", 0.4),
    "clan pair each": LabelRule("clan_pair", 0.4, count="bernoulli"),
    "clan spread": LabelRule("clan", 0.4, in_clan_share=0.5, rate_spread=0.1),
}


def plain(num_classes: int) -> Classes:
    return Classes(tuple(f"PF{i:05}" for i in range(num_classes)), (None,) * num_classes)


def corrupted(clean: Labels, num_classes: int, rate: float, seed: int = 0) -> LabelNoise:
    rule = LabelRule("symmetric", rate)
    return drawn(rule, clean, plain(num_classes), seed)


def drawn(rule: LabelRule, clean: Labels, classes: Classes = SIX, seed: int = 0) -> LabelNoise:
    return corrupt_labels(clean, classes, rule=rule, rng=np.random.default_rng(seed))


def test_symmetric_labels_of_a_seed_are_those_of_the_first_version() -> None:
    # Recorded from the code before other kinds were added; results on disk depend on them.
    rng = np.random.default_rng([0, 0])
    rule = LabelRule("symmetric", 0.4)
    label = corrupt_labels(np.arange(20) % 7, plain(7), rule=rule, rng=rng).label
    assert label.tolist() == [5, 5, 2, 3, 6, 4, 6, 4, 6, 2, 3, 2, 5, 6, 0, 1, 2, 3, 4, 2]
    rng = np.random.default_rng([123, 0])
    rule = LabelRule("symmetric", 0.29)
    label = corrupt_labels(np.arange(10_000) % 97, plain(97), rule=rule, rng=rng).label
    digest = hashlib.sha256(label.astype("<i8").tobytes()).hexdigest()
    assert digest == "0f1022705dfbf283991c5d7f3240b16516fa2423cabd828b2ce670f395d2cccb"


def test_random_crops_of_a_seed_are_those_of_the_first_version() -> None:
    lengths = np.array([10, 20, 30, 40, 50, 60])
    crops = draw_crops(lengths, rule=CropRule("random"), rng=np.random.default_rng([5, 1, 0]))
    assert crops.start.tolist() == [5, 2, 3, 6, 2, 5]
    assert crops.length.tolist() == [5, 18, 27, 29, 47, 51]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_rule_and_a_seed_give_the_same_bytes(rule: LabelRule) -> None:
    clean = np.arange(500) % 6
    assert drawn(rule, clean).label.tobytes() == drawn(rule, clean).label.tobytes()


@pytest.mark.parametrize("rule", list(RULES.values())[1:], ids=list(RULES)[1:])
def test_another_seed_changes_other_labels(rule: LabelRule) -> None:
    clean = np.arange(500) % 6
    assert (drawn(rule, clean, seed=1).label != drawn(rule, clean, seed=2).label).any()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_labels_stay_classes_and_the_clean_ones_are_kept(rule: LabelRule) -> None:
    clean = np.arange(500) % 6
    noise = drawn(rule, clean)
    np.testing.assert_array_equal(clean, np.arange(500) % 6)
    np.testing.assert_array_equal(noise.clean_label, clean)
    assert (noise.label.dtype, noise.label.shape) == (np.int64, (500,))
    assert 0 <= noise.label.min() <= noise.label.max() < 6


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_actual_rate_is_the_expected_one_within_its_deviation(rule: LabelRule) -> None:
    clean = np.random.default_rng(5).integers(0, 6, 6000)
    expected = expected_rate(clean, SIX, rule=rule)
    rates = [drawn(rule, clean, seed=seed).actual_rate for seed in range(20)]
    # Of 120,000 labels, a standard deviation of at most 0.0015. With rates drawn for six classes,
    # that of their mean is at most 0.2 / sqrt(6) a draw, 0.018 for twenty. Six of either.
    wide = bool(rule.rate_spread) and rule.count == "bernoulli"
    assert abs(np.mean(rates) - expected) < (0.11 if wide else 0.009)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_no_examples_are_no_trouble(rule: LabelRule) -> None:
    noise = drawn(rule, np.zeros(0, np.int64))
    assert (len(noise.label), noise.actual_rate, noise.wrong_rate) == (0, 0.0, 0.0)
    assert expected_rate(noise.clean_label, SIX, rule=rule) == 0.0


def test_with_the_own_class_included_all_classes_are_drawn_equally() -> None:
    clean = np.arange(30_000) % 6
    label = drawn(LabelRule("symmetric", 1.0, own_class="included"), clean).label
    # Binomial(30,000, 1/6): mean 5000, standard deviation 64.5; six of them is 387.
    assert np.abs(np.bincount(label) - 5000).max() < 387
    assert abs(np.mean(label == clean) - 1 / 6) < 387 / 30_000


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (LabelRule("symmetric", 0.6), 0.6),
        (LabelRule("symmetric", 0.6, own_class="included"), 0.5),
        (LabelRule("pair", 0.6), 0.6),
        (RULES["asymmetric"], 0.4 * 2 / 6),
        (RULES["matrix"], 0.75 / 6),
        (RULES["clan"], 0.4),
        # Two of the three classes of CL1 and both of CL2: four of six classes.
        (RULES["clan pair"], 0.4 * 4 / 6),
        (LabelRule(), 0.0),
    ],
)
def test_the_expected_rate_of_equal_classes_by_hand(rule: LabelRule, expected: float) -> None:
    clean = np.arange(600) % 6
    assert expected_rate(clean, SIX, rule=rule) == pytest.approx(expected)


def test_symmetric_noise_at_the_size_of_cifar10_has_both_published_rates() -> None:
    clean = np.repeat(np.arange(10), 5000)
    assert drawn(LabelRule("symmetric", 0.4), clean, plain(10)).is_changed.sum() == 20_000
    noise = drawn(LabelRule("symmetric", 0.4, own_class="included"), clean, plain(10))
    # Of 20,000 chosen labels each stays right with probability 1/10: mean 18,000 wrong, which is
    # 36 %, standard deviation 42.4; six of them is 255.
    assert abs(noise.is_changed.sum() - 18_000) < 255


def test_pair_noise_moves_to_the_next_accession_and_the_last_to_the_first() -> None:
    label = drawn(LabelRule("pair", 1.0), np.arange(6)).label
    # Accessions PF3, PF1, PF4, PF0, PF5, PF2: after PF3 comes PF4, which is class 2, and so on.
    assert label.tolist() == [2, 5, 4, 1, 3, 0]


def test_pair_noise_changes_the_floor_of_rate_times_n() -> None:
    noise = drawn(LabelRule("pair", 0.29), np.arange(100) % 6)
    assert noise.is_corrupted.sum() == 29


def test_asymmetric_noise_takes_the_rate_of_each_source_class_and_no_other() -> None:
    clean = np.repeat(np.arange(6), [10, 21, 10, 10, 9, 10])
    noise = drawn(RULES["asymmetric"], clean)
    # PF1 is class 1, 21 examples: floor(8.4); PF5 is class 4, 9 examples: floor(3.6).
    assert np.bincount(clean[noise.is_corrupted], minlength=6).tolist() == [0, 8, 0, 0, 3, 0]
    assert set(noise.label[(clean == 1) & noise.is_corrupted].tolist()) == {5}
    assert set(noise.label[(clean == 4) & noise.is_corrupted].tolist()) == {1}


def test_asymmetric_noise_of_each_example_by_itself_keeps_to_the_map() -> None:
    clean = np.arange(12_000) % 6
    noise = drawn(RULES["asymmetric each"], clean)
    table = np.zeros((6, 6))
    np.add.at(table, (clean, noise.label), 1)
    off = table * (1 - np.eye(6))
    assert np.argwhere(off).tolist() == [[1, 5], [4, 1]]
    # Binomial(2000, 0.4): mean 800, standard deviation 21.9; six of them is 131.
    assert np.abs(off[[1, 4], [5, 1]] - 800).max() < 131


@pytest.mark.parametrize("class_map", [{"PF9": "PF1"}, {"PF1": "PF9"}], ids=["from", "to"])
def test_a_class_map_of_a_family_that_is_not_there_is_refused(class_map: dict[str, str]) -> None:
    rule = LabelRule("asymmetric", 0.4, class_map=class_map)
    with pytest.raises(InputError, match=r"`class_map` of families of the data, got 'PF9'\."):
        drawn(rule, np.arange(6))


def test_what_is_known_of_added_labels_counts_and_nothing_else() -> None:
    noise = LabelNoise(
        LabelRule(),
        clean_label=np.array([0, 1, 2, -1, -1, -1]),
        label=np.array([0, 2, 2, 0, 1, 1]),
        origin=np.array([TRAIN, TRAIN, TRAIN, UNLABELLED, HELDOUT, HELDOUT], np.int8),
    )
    assert noise.is_corrupted.tolist() == [False, True, False, False, True, True]
    assert noise.is_changed.tolist() == [False, True, False, False, False, False]
    assert noise.is_known.tolist() == [True, True, True, False, True, True]
    assert noise.actual_rate == 1 / 3
    assert noise.wrong_rate == 3 / 5


def test_label_arrays_of_several_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"arrays of one shape, got \[\(2,\), \(3,\), \(3,\)\]\."):
        LabelNoise(LabelRule(), np.zeros(2, np.int64), np.zeros(3, np.int64))


@pytest.mark.parametrize(("clean", "origin"), [(-1, TRAIN), (2, HELDOUT)])
def test_an_unknown_class_is_that_of_an_added_sequence(clean: int, origin: int) -> None:
    found = f"{clean} for one of {('train', 'unlabelled', 'heldout')[origin]}"
    with pytest.raises(ValueError, match=rf"-1 just for added sequences, got {found}\."):
        LabelNoise(LabelRule(), np.array([clean]), np.array([0]), np.array([origin], np.int8))


@settings(deadline=None)
@given(
    size=st.integers(0, 60),
    num_classes=st.integers(2, 9),
    percent=st.integers(0, 100),
    seed=st.integers(0, 2**32),
)
def test_exactly_the_floor_of_rate_times_n_labels_change(
    size: int, num_classes: int, percent: int, seed: int
) -> None:
    clean = np.random.default_rng(seed).integers(0, num_classes, size)
    noise = corrupted(clean, num_classes, percent / 100, seed)
    # In exact arithmetic; the own class is never drawn, so each chosen label does change.
    assert noise.is_corrupted.sum() == math.floor(Fraction(percent, 100) * size)
    assert not len(clean) or 0 <= noise.label.min() <= noise.label.max() < num_classes


def test_a_product_just_short_of_an_integer_counts_as_that_integer() -> None:
    assert 0.29 * 100 < 29
    assert corrupted(np.zeros(100, np.int64), 5, 0.29).is_corrupted.sum() == 29


def test_the_new_class_is_uniform_over_the_other_classes() -> None:
    num_classes, size = 5, 20_000
    clean = np.arange(size) % num_classes
    label = corrupted(clean, num_classes, 1.0).label
    table = np.zeros((num_classes, num_classes))
    np.add.at(table, (clean, label), 1)
    others = table[~np.eye(num_classes, dtype=bool)]
    # Each count is binomial(4000, 1/4): mean 1000, standard deviation 27.4; six of them is 165.
    assert table.trace() == 0
    assert np.abs(others - 1000).max() < 165


def test_every_example_is_as_likely_to_be_chosen() -> None:
    chosen = sum(corrupted(np.zeros(10, np.int64), 3, 0.5, s).is_corrupted for s in range(2000))
    # Each is binomial(2000, 1/2): mean 1000, standard deviation 22.4; six of them is 134.
    assert np.abs(np.asarray(chosen) - 1000).max() < 134


@pytest.mark.parametrize("rule", [LabelRule(), LabelRule("symmetric", 0.0)], ids=["none", "rate 0"])
def test_no_noise_is_the_identity(rule: LabelRule) -> None:
    clean = np.array([2, 0, 1])
    noise = drawn(rule, clean, plain(3))
    np.testing.assert_array_equal(noise.label, clean)
    assert noise.actual_rate == 0.0


def test_rate_one_changes_every_label() -> None:
    noise = corrupted(np.arange(50) % 7, 7, 1.0)
    assert noise.is_corrupted.all()
    assert noise.actual_rate == 1.0


def test_with_two_classes_the_other_one_is_all_there_is() -> None:
    np.testing.assert_array_equal(corrupted(np.array([0, 1, 1, 0]), 2, 1.0).label, [1, 0, 0, 1])


def test_the_actual_rate_is_that_of_the_changed_labels() -> None:
    assert corrupted(np.zeros(7, np.int64), 3, 0.5).actual_rate == 3 / 7


def test_no_labels_have_no_noise() -> None:
    noise = corrupted(np.zeros(0, np.int64), 3, 0.5)
    assert (len(noise.label), noise.actual_rate) == (0, 0.0)


def test_the_same_seed_gives_the_same_bytes() -> None:
    clean = np.arange(200) % 6
    assert corrupted(clean, 6, 0.4).label.tobytes() == corrupted(clean, 6, 0.4).label.tobytes()


def test_another_seed_gives_other_labels() -> None:
    clean = np.arange(200) % 6
    assert (corrupted(clean, 6, 0.4, 0).label != corrupted(clean, 6, 0.4, 1).label).any()


def test_the_given_array_is_not_touched_and_kept_as_the_clean_label() -> None:
    clean = np.arange(200) % 6
    noise = corrupted(clean, 6, 1.0)
    np.testing.assert_array_equal(clean, np.arange(200) % 6)
    np.testing.assert_array_equal(noise.clean_label, clean)


def test_narrow_integers_become_int64() -> None:
    noise = corrupted(np.array([0, 1, 2], dtype=np.int32), 3, 0.5)
    assert [noise.label.dtype.name, noise.clean_label.dtype.name] == ["int64", "int64"]


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `classes` of at least 2, got 1\."):
        corrupted(np.zeros(3, np.int64), 1, 0.5)


@pytest.mark.parametrize(
    ("clean", "found"), [([0, 3], "0 to 3"), ([-1, 2], "-1 to 2")], ids=["too large", "negative"]
)
def test_a_label_that_is_no_class_is_refused(clean: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected labels in \[0, 3\), got {found}\."):
        corrupted(np.array(clean), 3, 0.5)
