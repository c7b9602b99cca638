"""How examples are put into batches, and batches cut into parts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.datasets import plan_batches
from protein_robust.datasets.batching import within_budget
from protein_robust.datasets.sequences import padded_length
from protein_robust.noise import CropRule, draw_crops
from protein_robust.noise.crops import CropKind

Plan = list[NDArray[np.int64]]
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


def planned(
    lengths: list[int] | NDArray[np.int64],
    *,
    batch_size: int = 4,
    seed: int | None = None,
    window: int = 16,
) -> Plan:
    return plan_batches(
        np.array(lengths, dtype=np.int64),
        batch_size=batch_size,
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
    seed=seed_strategy,
    window=st.integers(1, 5),
)
def test_every_example_once_in_batches_of_one_size_sorted_by_length(
    lengths: list[int], batch_size: int, seed: int | None, window: int
) -> None:
    plan = as_lists(planned(lengths, batch_size=batch_size, seed=seed, window=window))
    assert sorted(i for batch in plan for i in batch) == list(range(len(lengths)))
    for batch in plan:
        assert [lengths[i] for i in batch] == sorted(lengths[i] for i in batch)
    # Only the very last batch before they are shuffled is smaller.
    sizes = sorted(map(len, plan), reverse=True)
    full, rest = divmod(len(lengths), batch_size)
    assert sizes == [batch_size] * full + [rest] * (rest > 0)


@settings(deadline=None)
@given(lengths=lengths_strategy)
def test_without_a_generator_everything_is_sorted_by_length(lengths: list[int]) -> None:
    order = [i for batch in as_lists(planned(lengths)) for i in batch]
    # Stable: of equal lengths the first comes first.
    assert order == sorted(range(len(lengths)), key=lengths.__getitem__)


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


def padding_of(lengths: NDArray[np.int64], window: int) -> tuple[float, set[int]]:
    """Fraction of padding where batches of 32 are cut, and their lengths."""
    padded = padded_length(lengths)
    plan = planned(padded, batch_size=32, seed=1, window=window)
    widths = [int(padded[batch].max()) for batch in plan]
    area = sum(len(batch) * width for batch, width in zip(plan, widths, strict=True))
    return 1 - int(lengths.sum()) / area, set(widths)


@pytest.mark.parametrize(
    ("window", "least", "most"),
    # Measured over 20 seeds: 0.63 to 0.65 unsorted, 0.14 to 0.19, 0.03 to 0.04.
    [(1, 0.5, 0.75), (16, 0.1, 0.22), (512, 0.0, 0.05)],
    ids=["unsorted", "narrow", "wide"],
)
def test_sorting_in_windows_saves_most_of_the_padding(
    window: int, least: float, most: float
) -> None:
    # Log-normal lengths with the spread of the Pfam seed alignments, median 130.
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(np.log(130), 0.55, 8192)), 10, 2000).astype(np.int64)
    padding, _ = padding_of(lengths, window)
    assert least < padding < most


@pytest.mark.parametrize("kind", ["none", "random", "fragment"])
def test_on_the_lengths_of_pfam_at_most_a_twentieth_is_padding_in_few_shapes(
    kind: CropKind,
) -> None:
    path = DATA / "pfam" / "train_100.csv"
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    whole = np.array([len(line.partition(",")[2]) for line in lines])
    rng = np.random.default_rng(0)
    lengths = draw_crops(whole, rule=CropRule(kind), rng=rng).length
    padding, widths = padding_of(lengths, 512)
    assert len(lengths) > 10_000
    # Measured: 2.5 %, 2.6 % and 2.8 %; 58, 62 and 27 shapes in 418 batches.
    assert padding < 0.05
    assert len(widths) < 70


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_padded_lengths_are_a_little_longer_and_keep_their_order(lengths: list[int]) -> None:
    length = np.sort(np.array(lengths, dtype=np.int64))
    padded = padded_length(length)
    assert (padded >= length).all()
    assert (padded % 4 == 0).all()
    assert (np.diff(padded) >= 0).all()
    # A step is a 16th of the power of two below.
    assert (padded - length < np.maximum(4, length / 16)).all()
    assert (padded_length(padded) == padded).all()


def test_padded_lengths_are_few() -> None:
    # 32 up to 128, and 16 for each doubling up to 32,768, which is 8 of them.
    assert len(set(padded_length(np.arange(1, 2**15 + 1)).tolist())) == 32 + 16 * 8


@pytest.mark.parametrize(
    ("length", "padded"),
    [(1, 4), (4, 4), (5, 8), (128, 128), (129, 136), (256, 256), (257, 272), (35_000, 36_864)],
)
def test_a_padded_length_is_the_one_by_hand(length: int, padded: int) -> None:
    assert padded_length(np.array([length])).tolist() == [padded]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 400), max_size=40),
    budget=st.integers(0, 3000),
    num_shares=st.integers(1, 4),
)
def test_parts_cover_a_batch_within_the_budget_and_are_as_few_as_can_be(
    lengths: list[int], budget: int, num_shares: int
) -> None:
    padded = np.sort(np.array(lengths, dtype=np.int64))
    parts = within_budget(padded, budget, num_shares)
    covered = [i for part in parts for i in range(len(lengths))[part]]
    assert covered == list(range(len(lengths)))
    for part in parts:
        # The first share has the most examples. One that is too long cannot be left out.
        first = padded[part][::num_shares]
        assert len(first) <= 1 or len(first) * padded[part.stop - 1] <= budget
        # One more would be too many.
        if part.stop < len(lengths):
            num_rows = -(-(part.stop - part.start + 1) // num_shares)
            assert num_rows > 1
            assert num_rows * padded[part.stop] > budget


def test_a_batch_within_the_budget_is_one_part() -> None:
    assert within_budget(np.array([10, 20, 20]), 60) == [slice(0, 3)]


def test_no_examples_are_one_part() -> None:
    assert within_budget(np.array([], dtype=np.int64), 60) == [slice(0, 0)]
