"""Which labels symmetric noise changes, and into what."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.noise import LabelNoise, LabelRule, corrupt_labels

Labels = NDArray[np.int64]


def corrupted(clean: Labels, num_classes: int, rate: float, seed: int = 0) -> LabelNoise:
    rng = np.random.default_rng(seed)
    return corrupt_labels(clean, num_classes, rule=LabelRule("symmetric", rate), rng=rng)


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
    noise = corrupt_labels(clean, 3, rule=rule, rng=np.random.default_rng(0))
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


@pytest.mark.parametrize("rate", [-0.1, 1.01, float("nan")])
def test_a_rate_outside_zero_to_one_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `rate` in \[0, 1\], got (-0\.1|1\.01|nan)\."):
        LabelRule("symmetric", rate)


def test_a_rate_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `rate` 0 where `kind` is none, got 0\.2\."):
        LabelRule("none", 0.2)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `num_classes` of at least 2, got 1\."):
        corrupted(np.zeros(3, np.int64), 1, 0.5)


@pytest.mark.parametrize(
    ("clean", "found"), [([0, 3], "0 to 3"), ([-1, 2], "-1 to 2")], ids=["too large", "negative"]
)
def test_a_label_that_is_no_class_is_refused(clean: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected labels in \[0, 3\), got {found}\."):
        corrupted(np.array(clean), 3, 0.5)
