"""How examples are put into batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.datasets import plan_batches

Plan = list[NDArray[np.int64]]


def planned(
    lengths: list[int] | NDArray[np.int64],
    *,
    batch_size: int = 4,
    max_residues: int = 10**9,
    seed: int | None = None,
    window: int = 16,
) -> Plan:
    return plan_batches(
        np.array(lengths, dtype=np.int64),
        batch_size=batch_size,
        max_residues=max_residues,
        rng=None if seed is None else np.random.default_rng(seed),
        window=window,
    )


def as_lists(plan: Plan) -> list[list[int]]:
    return [batch.tolist() for batch in plan]


lengths_strategy = st.lists(st.integers(1, 400), max_size=80)
seed_strategy = st.one_of(st.none(), st.integers(0, 2**32))


@settings(deadline=None)
@given(
    lengths=lengths_strategy,
    batch_size=st.integers(1, 12),
    max_residues=st.integers(1, 3000),
    seed=seed_strategy,
    window=st.integers(1, 5),
)
def test_every_example_once_in_batches_that_keep_both_limits(
    lengths: list[int], batch_size: int, max_residues: int, seed: int | None, window: int
) -> None:
    plan = planned(
        lengths, batch_size=batch_size, max_residues=max_residues, seed=seed, window=window
    )
    assert sorted(i for batch in as_lists(plan) for i in batch) == list(range(len(lengths)))
    for batch in as_lists(plan):
        assert 1 <= len(batch) <= batch_size
        area = len(batch) * max(lengths[i] for i in batch)
        # A sequence longer than the budget cannot be left out: it stands alone.
        assert area <= max_residues or len(batch) == 1


@settings(deadline=None)
@given(lengths=lengths_strategy)
def test_without_a_generator_everything_is_sorted_by_length(lengths: list[int]) -> None:
    order = [i for batch in as_lists(planned(lengths)) for i in batch]
    # Stable: of equal lengths the first comes first.
    assert order == sorted(range(len(lengths)), key=lengths.__getitem__)


def test_batches_are_filled_up_to_the_budget() -> None:
    # Sorted 10, 10, 20, 20, 50: 3 x 20 = 60 fits, 4 x 20 = 80 does not, nor 2 x 50 after it.
    plan = planned([50, 10, 20, 10, 20], max_residues=60)
    assert as_lists(plan) == [[1, 3, 2], [4], [0]]


def test_no_examples_make_no_batches() -> None:
    assert planned([]) == []
    assert planned([], seed=0) == []


def test_the_same_seed_gives_the_same_plan() -> None:
    lengths = list(range(1, 200))
    assert as_lists(planned(lengths, seed=3)) == as_lists(planned(lengths, seed=3))


def test_another_seed_gives_another_plan() -> None:
    lengths = list(range(1, 200))
    assert as_lists(planned(lengths, seed=3)) != as_lists(planned(lengths, seed=4))


def test_short_sequences_do_not_all_come_first_when_shuffled() -> None:
    lengths = list(range(1, 1025))
    firsts = [np.mean(planned(lengths, seed=seed)[0]) for seed in range(200)]
    # Sorted, the first batch has mean 1.5. Shuffled, its mean is close to uniform over 0 to 1023:
    # expectation 511.5, deviation of 200 of them 1024 / sqrt(12 * 200) = 21; six of it is 126.
    assert abs(np.mean(firsts) - 511.5) < 126


def test_what_stands_together_changes_from_seed_to_seed() -> None:
    lengths = np.full(64, 10)
    pairs = [{frozenset(b) for b in as_lists(planned(lengths, seed=s))} for s in (1, 2)]
    assert not pairs[0] & pairs[1]


@pytest.mark.parametrize(
    ("window", "least", "most"),
    # Measured over 20 seeds: 0.63 to 0.65 unsorted, 0.14 to 0.18, 0.04 to 0.07.
    [(1, 0.5, 0.75), (16, 0.0, 0.22), (64, 0.0, 0.1)],
    ids=["unsorted", "default", "wide"],
)
def test_sorting_in_windows_saves_most_of_the_padding(
    window: int, least: float, most: float
) -> None:
    # Log-normal lengths with the spread of the Pfam seed alignments, median 130.
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(np.log(130), 0.55, 8192)), 10, 2000).astype(np.int64)
    plan = planned(lengths, batch_size=32, seed=1, window=window)
    area = sum(len(batch) * int(lengths[batch].max()) for batch in plan)
    assert least < 1 - lengths.sum() / area < most
