"""Sequences of other families, and of unknown ones, that are added to the training set."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.noise import LabelRule
from protein_robust.noise.additions import Addition, draw_additions


def added(
    rule: LabelRule, *, train: int = 80, unlabelled: int = 0, heldout: int = 0, seed: int = 0
) -> dict[str, Addition]:
    available = {"train": train, "unlabelled": unlabelled, "heldout": heldout}
    return draw_additions(rule, available, num_classes=5, seed=seed)


def test_nothing_is_added_unless_it_is_asked_for() -> None:
    assert [len(part.rows) for part in added(LabelRule(), unlabelled=9, heldout=9).values()] == [
        0,
        0,
    ]


@given(percent=st.integers(0, 99), train=st.integers(0, 60))
def test_held_out_sequences_make_up_their_share_rounded_down(percent: int, train: int) -> None:
    rule = LabelRule(open_set_rate=percent / 100)
    part = added(rule, train=train, heldout=100 * 60)["heldout"]
    share = Fraction(percent, 100)
    assert len(part.rows) == math.floor(share * train / (1 - share))


def test_the_share_is_of_the_whole_with_the_unlabelled_ones() -> None:
    rule = LabelRule(open_set_rate=0.25, unlabelled="random")
    parts = added(rule, train=80, unlabelled=10, heldout=100)
    # 30 are a quarter of 80 + 10 + 30.
    assert [len(part.rows) for part in parts.values()] == [10, 30]


def test_all_unlabelled_sequences_are_added_once() -> None:
    part = added(LabelRule(unlabelled="random"), unlabelled=30)["unlabelled"]
    assert part.rows.tolist() == list(range(30))


def test_rows_are_ascending_and_differ_and_any_can_be_taken() -> None:
    rule = LabelRule(open_set_rate=0.2)
    hits = np.zeros(40)
    for seed in range(1000):
        rows = added(rule, heldout=40, seed=seed)["heldout"].rows
        assert (np.diff(rows) > 0).all()
        hits[rows] += 1
    # 20 of 40: binomial(1000, 1/2), deviation 15.8; six of them is 95.
    assert np.abs(hits - 500).max() < 95


@pytest.mark.parametrize("origin", ["unlabelled", "heldout"])
def test_labels_are_uniform_over_the_classes(origin: str) -> None:
    rule = LabelRule(open_set_rate=0.5, unlabelled="random")
    parts = added(rule, train=10_000, unlabelled=20_000, heldout=30_000)
    count = np.bincount(parts[origin].label, minlength=5)
    # Of 20,000 or 30,000, a deviation of at most 69.3; six of them is 416.
    assert len(count) == 5
    assert np.abs(count - len(parts[origin].label) / 5).max() < 416


def test_what_is_added_of_one_origin_does_not_depend_on_the_other() -> None:
    alone = added(LabelRule(unlabelled="random"), unlabelled=30, seed=3)["unlabelled"]
    rule = LabelRule("symmetric", 0.5, unlabelled="random", open_set_rate=0.1)
    both = added(rule, unlabelled=30, heldout=50, seed=3)["unlabelled"]
    np.testing.assert_array_equal(alone.label, both.label)


def test_a_seed_decides() -> None:
    rule = LabelRule(open_set_rate=0.2)
    first, same, other = (added(rule, heldout=99, seed=s)["heldout"] for s in (1, 1, 2))
    assert first.rows.tobytes() == same.rows.tobytes()
    assert first.label.tobytes() == same.label.tobytes()
    assert (first.rows != other.rows).any()
    assert (first.label != other.label).any()


def test_too_few_held_out_sequences_say_how_many_there_are_and_what_is_possible() -> None:
    message = (
        r"Expected `open_set_rate` of at most 0\.111111, or 20 held-out sequences, "
        r"got 10 of them for 80 others\."
    )
    with pytest.raises(InputError, match=message):
        added(LabelRule(open_set_rate=0.2), heldout=10)
    assert len(added(LabelRule(open_set_rate=0.111111), heldout=10)["heldout"].rows) <= 10


def test_no_held_out_sequence_allows_no_rate() -> None:
    with pytest.raises(InputError, match=r"`open_set_rate` of at most 0, or 20 held-out"):
        added(LabelRule(open_set_rate=0.2))


def test_random_labels_for_unlabelled_sequences_need_some() -> None:
    expected = r"sequences of unknown class where `unlabelled` is random, got none in the data\."
    with pytest.raises(InputError, match=expected):
        added(LabelRule(unlabelled="random"))
