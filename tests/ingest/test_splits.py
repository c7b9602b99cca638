from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.splits import (
    TEST,
    TRAIN,
    VALID,
    Allocation,
    LabelledSequences,
    choose_families,
    keep_splits,
    split_at_random,
)

Row = tuple[str, str, int, int]  # name, sequence, label, split

ROWS = st.lists(
    st.tuples(
        st.text("abc", min_size=1, max_size=2),
        st.text("AC", min_size=1, max_size=3),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=40,
)


def columns(rows: list[Row]) -> LabelledSequences:
    return LabelledSequences(
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.array([row[2] for row in rows], dtype=np.int32),
        np.array([row[3] for row in rows], dtype=np.int8),
    )


def at_random(rows: list[Row], seed: int = 0, fraction: float = 0.25) -> Allocation:
    return split_at_random(columns(rows), seed, valid_fraction=fraction, test_fraction=fraction)


def content(rows: list[Row], allocation: Allocation) -> list[Row]:
    kept = [rows[row] for row in allocation.rows]
    return [(*row[:3], int(split)) for row, split in zip(kept, allocation.splits, strict=True)]


def family(size: int, label: int = 0) -> list[Row]:
    return [(f"n{i}", "A" * (i + 1) + "CDE"[label], label, 0) for i in range(size)]


def as_given(rows: list[Row]) -> Allocation:
    return keep_splits(columns(rows))


Rule = Callable[[list[Row]], Allocation]
both_rules = pytest.mark.parametrize("rule", [at_random, as_given], ids=["random", "existing"])


@both_rules
@given(rows=ROWS)
def test_equal_sequences_never_stand_in_two_splits(rule: Rule, rows: list[Row]) -> None:
    splits = defaultdict(set)
    for _, sequence, _, split in content(rows, rule(rows)):
        splits[sequence].add(split)
    assert all(len(found) == 1 for found in splits.values())


@both_rules
@given(data=st.data(), rows=ROWS)
def test_the_order_of_the_rows_does_not_matter(
    rule: Rule, data: st.DataObject, rows: list[Row]
) -> None:
    shuffled = data.draw(st.permutations(rows))
    assert content(rows, rule(rows)) == content(shuffled, rule(shuffled))


@both_rules
@given(rows=ROWS)
def test_every_row_is_kept_or_counted(rule: Rule, rows: list[Row]) -> None:
    found = rule(rows)
    dropped = found.num_duplicates_within_family + found.num_duplicates_across_splits
    assert len(found.rows) + dropped == len(rows)
    assert len(set(found.rows.tolist())) == len(found.rows)


@given(rows=ROWS)
def test_conflicting_sequences_are_in_train(rows: list[Row]) -> None:
    found = at_random(rows)
    families = defaultdict(set)
    for _, sequence, label, _ in rows:
        families[sequence].add(label)
    for (_, sequence, _, split), flag in zip(
        content(rows, found), found.is_conflicting, strict=True
    ):
        assert flag == (len(families[sequence]) > 1)
        assert not flag or split == TRAIN


@pytest.mark.parametrize(
    ("size", "fraction", "counts"),
    [
        # floor(n f) to test and to valid, the rest to train
        (10, 0.1, (8, 1, 1)),
        (9, 0.1, (9, 0, 0)),
        (19, 0.1, (17, 1, 1)),
        (100, 0.29, (42, 29, 29)),  # 100 * 0.29 is 28.999... in floating point
        (5, 0.0, (5, 0, 0)),
        (1, 0.49, (1, 0, 0)),
    ],
)
def test_counts_are_floors(size: int, fraction: float, counts: tuple[int, int, int]) -> None:
    splits = at_random(family(size), fraction=fraction).splits
    assert tuple(np.bincount(splits, minlength=3)) == counts


def test_rows_stand_by_split_then_family() -> None:
    rows = family(8, 1) + family(8, 0)
    found = content(rows, at_random(rows))
    keys = [(split, label) for _, _, label, split in found]
    assert keys == sorted(keys)
    assert {split for split, _ in keys} == {TRAIN, VALID, TEST}


def test_the_seed_changes_the_choice() -> None:
    rows = family(40)
    tests = [
        {row for row in content(rows, at_random(rows, seed=seed)) if row[3] == TEST}
        for seed in (0, 0, 1)
    ]
    assert tests[0] == tests[1]
    assert tests[0] != tests[2]


def test_other_families_do_not_change_a_familys_split() -> None:
    alone = content(family(20), at_random(family(20)))
    both = family(20) + family(30, 1)
    assert [row for row in content(both, at_random(both)) if row[2] == 0] == alone


def test_the_smallest_name_of_a_repeated_sequence_stays() -> None:
    rows = [("b", "MK", 0, 0), ("a", "MK", 0, 0), ("c", "MK", 0, 0)]
    found = at_random(rows)
    assert content(rows, found) == [("a", "MK", 0, TRAIN)]
    assert found.num_duplicates_within_family == 2


def test_given_splits_stay_with_test_before_valid_before_train() -> None:
    rows = [
        ("a", "MK", 0, TRAIN),
        ("b", "MK", 1, TEST),
        ("c", "MK", 0, VALID),
        ("d", "ML", 0, TRAIN),
        ("e", "ML", 0, TRAIN),
        ("f", "MV", 0, VALID),
        ("g", "MV", 0, TRAIN),
    ]
    found = as_given(rows)
    assert content(rows, found) == [
        ("d", "ML", 0, TRAIN),
        ("f", "MV", 0, VALID),
        ("b", "MK", 1, TEST),
    ]
    assert found.num_duplicates_across_splits == 3
    assert found.num_duplicates_within_family == 1


def test_given_splits_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"Expected `data\.splits`, got None"):
        keep_splits(LabelledSequences([], [], np.array([], dtype=np.int32)))


def test_families_are_drawn_whatever_their_order() -> None:
    accessions = [f"F{i}" for i in range(30)]
    drawn = choose_families(accessions, 10, seed=3)
    assert drawn == choose_families(accessions[::-1], 10, seed=3)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 10
    assert drawn != choose_families(accessions, 10, seed=4)


def test_more_families_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match=r"`num_families` of at most 2, the families .*, got 3"):
        choose_families(["a", "b"], 3, seed=0)
