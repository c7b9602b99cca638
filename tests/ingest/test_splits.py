from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.ingest.splits import (
    TEST,
    TRAIN,
    VALID,
    Distinct,
    Rows,
    Sequences,
    divide_families,
    drop_copies,
    random_rule,
    valid_from_train,
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


@dataclass(frozen=True)
class Outcome:
    distinct: Distinct
    splits: list[int]


def hash_of(sequence: str, seed: int) -> tuple[int, int]:
    """Any function of the residues and the seed will do; Python's is the same in one process."""
    return hash((sequence, seed, 1)) % 2**63, hash((sequence, seed, 2)) % 2**63


def columns(rows: list[Row], seed: int = 0, *, with_splits: bool = False) -> Sequences:
    halves = [hash_of(row[1], seed) for row in rows]

    def names(places: Rows) -> list[tuple[bytes, ...]]:
        return [(rows[place][0].encode(),) for place in places.tolist()]

    return Sequences(
        np.array([row[2] for row in rows], dtype=np.int32),
        np.array([half[0] for half in halves], dtype=np.uint64),
        np.array([half[1] for half in halves], dtype=np.uint64),
        names,
        splits=np.array([row[3] for row in rows], dtype=np.int8) if with_splits else None,
    )


def at_random(rows: list[Row], seed: int = 0, fraction: float = 0.25) -> Outcome:
    data = columns(rows, seed)
    distinct = drop_copies(data)
    rule = random_rule(valid_fraction=fraction, test_fraction=fraction)
    return Outcome(distinct, divide_families(data, distinct, rule).tolist())


def as_given(rows: list[Row]) -> Outcome:
    data = columns(rows, with_splits=True)
    assert data.splits is not None
    distinct = drop_copies(data)
    return Outcome(distinct, data.splits[distinct.rows].tolist())


def with_valid(rows: list[Row], fraction: float = 0.25) -> Outcome:
    data = columns([(*row[:3], row[3] or TRAIN) for row in rows], with_splits=True)
    distinct = drop_copies(data)
    return Outcome(distinct, valid_from_train(data, distinct, valid_fraction=fraction).tolist())


def content(rows: list[Row], outcome: Outcome) -> list[Row]:
    """The kept rows with their splits, in a fixed order."""
    kept = [rows[row] for row in outcome.distinct.rows]
    return sorted((*row[:3], int(split)) for row, split in zip(kept, outcome.splits, strict=True))


def family(size: int, label: int = 0) -> list[Row]:
    return [(f"n{i}", "A" * (i + 1) + "CDE"[label], label, 0) for i in range(size)]


Rule = Callable[[list[Row]], Outcome]
all_rules = pytest.mark.parametrize(
    "rule", [at_random, as_given, with_valid], ids=["random", "existing", "valid from train"]
)


@all_rules
@given(rows=ROWS)
def test_equal_sequences_never_stand_in_two_splits(rule: Rule, rows: list[Row]) -> None:
    splits = defaultdict(set)
    for _, sequence, _, split in content(rows, rule(rows)):
        splits[sequence].add(split)
    assert all(len(found) == 1 for found in splits.values())


@all_rules
@given(data=st.data(), rows=ROWS)
def test_the_order_of_the_rows_does_not_matter(
    rule: Rule, data: st.DataObject, rows: list[Row]
) -> None:
    shuffled = data.draw(st.permutations(rows))
    assert content(rows, rule(rows)) == content(shuffled, rule(shuffled))


@all_rules
@given(rows=ROWS)
def test_every_row_is_kept_or_counted(rule: Rule, rows: list[Row]) -> None:
    found = rule(rows).distinct
    dropped = found.num_duplicates_within_family + found.num_duplicates_across_splits
    assert len(found.rows) + dropped == len(rows)
    assert len(set(found.rows.tolist())) == len(found.rows)


@given(rows=ROWS)
def test_conflicting_sequences_are_in_train(rows: list[Row]) -> None:
    found = at_random(rows)
    families = defaultdict(set)
    for _, sequence, label, _ in rows:
        families[sequence].add(label)
    flags = found.distinct.is_conflicting
    for row, split, flag in zip(found.distinct.rows, found.splits, flags, strict=True):
        assert flag == (len(families[rows[row][1]]) > 1)
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
    assert found.distinct.num_duplicates_within_family == 2


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
        ("b", "MK", 1, TEST),
        ("d", "ML", 0, TRAIN),
        ("f", "MV", 0, VALID),
    ]
    assert found.distinct.num_duplicates_across_splits == 3
    assert found.distinct.num_duplicates_within_family == 1


def test_a_part_of_train_becomes_valid_and_nothing_else_changes() -> None:
    rows = [*family(20), ("t", "WWW", 0, TEST), *family(3, 1)]
    found = content(rows, with_valid(rows, fraction=0.25))
    assert [row[3] for row in found if row[2] == 0].count(VALID) == 5
    assert ("t", "WWW", 0, TEST) in found
    assert all(row[3] == TRAIN for row in found if row[2] == 1)
