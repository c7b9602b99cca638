"""Wrong labels inside and outside the clan, and what is known of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.noise import Classes, LabelRule, corrupt_labels
from protein_robust.noise.labels import Labels

# Two clans of three and two, in mixed order, one clan of one, and a class without a clan.
CLANS = ("CL1", "CL2", "CL1", None, "CL2", "CL1", "CL3")
MATES = {0: {2, 5}, 1: {4}, 2: {0, 5}, 3: {1}, 4: {1}, 5: {0, 2}, 6: {3}}
"""Where the in-clan part goes; classes 3 and 6 have no clan-mate, only a nearest class."""
NEAREST = np.array([1, 0, 0, 1, 0, 0, 3])
CLASSES = Classes(tuple("ABCDEFG"), CLANS, nearest=lambda: NEAREST)


def drawn(rule: LabelRule, clean: Labels, classes: Classes = CLASSES, seed: int = 0) -> Labels:
    return corrupt_labels(clean, classes, rule=rule, rng=np.random.default_rng(seed)).label


def table_of(clean: Labels, label: Labels) -> np.ndarray:
    table = np.zeros((7, 7))
    np.add.at(table, (clean, label), 1)
    return table


@pytest.mark.parametrize("count", ["exact", "bernoulli"])
def test_a_share_of_one_stays_in_the_clan_evenly_or_goes_to_the_nearest(count: str) -> None:
    clean = np.arange(14_000) % 7
    rule = LabelRule("clan", 1.0, in_clan_share=1.0, count=count)  # type: ignore[arg-type]
    table = table_of(clean, drawn(rule, clean))
    for own, mates in MATES.items():
        assert set(np.flatnonzero(table[own]).tolist()) == mates
    # Binomial(2000, 1/2): mean 1000, standard deviation 22.4; six of them is 134.
    assert abs(table[0, 2] - 1000) < 134


def test_a_share_of_zero_goes_evenly_to_the_classes_outside() -> None:
    clean = np.arange(56_000) % 7
    table = table_of(clean, drawn(LabelRule("clan", 1.0), clean))
    groups = [{0, 2, 5}, {1, 4}, {3}, {6}]
    for group in groups:
        for own in group:
            outside = set(range(7)) - group
            assert set(np.flatnonzero(table[own]).tolist()) == outside
            # Of 8000: deviation at most 38.8 (four classes); six of them is 233.
            expected = 8000 / len(outside)
            assert np.abs(table[own, sorted(outside)] - expected).max() < 233


def test_without_an_in_clan_part_no_nearest_class_is_asked_for() -> None:
    classes = Classes(CLASSES.accessions, CLANS)
    clean = np.arange(700) % 7
    expected = drawn(LabelRule("clan", 0.5), clean)
    np.testing.assert_array_equal(drawn(LabelRule("clan", 0.5), clean, classes), expected)


def test_the_nearest_classes_are_not_sought_where_every_class_has_mates() -> None:
    classes = Classes(tuple("ABCD"), ("x", "x", "y", "y"))
    rule = LabelRule("clan", 1.0, in_clan_share=1.0)
    assert drawn(rule, np.arange(4), classes).tolist() == [1, 0, 3, 2]


@settings(deadline=None)
@given(share=st.integers(0, 100), rate=st.integers(0, 100), seed=st.integers(0, 2**32))
def test_an_exact_count_makes_the_rate_and_the_share_exact(
    share: int, rate: int, seed: int
) -> None:
    clean = np.random.default_rng(seed).choice([0, 1, 2, 4, 5], 300)  # all with clan-mates
    rule = LabelRule("clan", rate / 100, in_clan_share=share / 100)
    label = drawn(rule, clean, seed=seed)
    wrong = np.flatnonzero(label != clean)
    assert len(wrong) == rate * 3
    inside = sum(CLANS[clean[i]] == CLANS[label[i]] for i in wrong)
    assert inside == share * len(wrong) // 100


def test_the_share_of_labels_drawn_one_by_one_converges() -> None:
    clean = np.tile([0, 1, 2, 4, 5], 10_000)
    rule = LabelRule("clan", 0.4, in_clan_share=0.34, count="bernoulli")
    label = drawn(rule, clean)
    wrong = label != clean
    code = np.array([0, 1, 0, -1, 1, 0, 2])
    inside = (code[label] == code[clean])[wrong].mean()
    # 50,000 draws of rate 0.4 (six deviations: 0.0131), some 20,000 of share 0.34 (0.0201).
    assert abs(wrong.mean() - 0.4) < 0.0132
    assert abs(inside - 0.34) < 0.0202


@pytest.mark.slow
def test_both_parts_fall_on_any_example() -> None:
    # Exact counts: one label in each draw stays in the clan, one leaves it.
    rule = LabelRule("clan", 0.5, in_clan_share=0.5)
    clean = np.zeros(4, np.int64)
    inside, outside = np.zeros(4), np.zeros(4)
    for seed in range(2000):
        label = drawn(rule, clean, seed=seed)
        inside += np.isin(label, [2, 5])
        outside += np.isin(label, [1, 3, 4, 6])
    # Each is binomial(2000, 1/4): deviation 19.4; six of them is 116.
    assert np.abs(inside - 500).max() < 116
    assert np.abs(outside - 500).max() < 116


def test_leaving_a_clan_that_has_all_classes_is_refused() -> None:
    classes = Classes(("A", "B"), ("CL7", "CL7"))
    rule = LabelRule("clan", 1.0, in_clan_share=0.5)
    expected = r"`in_clan_share` 1 where all families are of clan CL7, got a smaller one\."
    with pytest.raises(InputError, match=expected):
        drawn(rule, np.array([0, 1]), classes)


def test_a_nearest_class_that_is_needed_and_not_known_is_refused() -> None:
    rule = LabelRule("clan", 1.0, in_clan_share=1.0)
    expected = r"`nearest` where a class has no other class of its clan in the data, got None\."
    with pytest.raises(ValueError, match=expected):
        drawn(rule, np.array([3]), Classes(CLASSES.accessions, CLANS))


@pytest.mark.parametrize("near", [[1], [0, 0, 0], [1, 3, 0], [1, -1, 0]])
def test_nearest_classes_that_are_no_other_classes_are_refused(near: list[int]) -> None:
    classes = Classes(tuple("ABC"), (None,) * 3, nearest=lambda: np.array(near))
    with pytest.raises(ValueError, match=r"`nearest` with another class of \[0, 3\) for each clas"):
        classes.nearest_classes()


def test_as_many_clans_as_classes_are_needed() -> None:
    with pytest.raises(ValueError, match=r"a clan or None for each of 2 accessions, got 1\."):
        Classes(("A", "B"), (None,))


def test_an_accession_stands_for_one_class() -> None:
    with pytest.raises(ValueError, match=r"`accessions` that differ, got 'B' twice\."):
        Classes(("A", "B", "C", "B"), (None,) * 4)
