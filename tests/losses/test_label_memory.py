"""The cut running mean of predictions: against the whole one, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses import LossContext
from protein_robust.losses.memory import (
    _largest,
    check_num_entries,
    label_memory,
    new_label_memory,
    read_label_memory,
    remembered_labels,
    update_label_memory,
)

CPU = torch.device("cpu")
NUM_EXAMPLES = 4

Passes = list[tuple[list[int], Tensor]]


@st.composite
def passes(draw: st.DrawFn) -> tuple[int, float, Passes]:
    """Number of classes, momentum, and some batches of positions and predictions."""
    num_classes = draw(st.integers(2, 6))
    momentum = draw(st.sampled_from([0.0, 0.3, 9 / 11, 0.9, 1.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1.0, 50.0]))  # 0: ties; 50: shares that underflow
    batches = []
    for _ in range(draw(st.integers(1, 6))):
        index = draw(st.lists(st.integers(0, NUM_EXAMPLES - 1), min_size=1, unique=True))
        logits = scale * torch.randn(len(index), num_classes, generator=generator)
        batches.append((index, logits.softmax(dim=1)))
    return num_classes, momentum, batches


def remember(
    num_classes: int, num_entries: int, momentum: float, batches: Passes
) -> dict[str, Tensor]:
    """The memory after some batches."""
    memory = new_label_memory(NUM_EXAMPLES, num_classes, num_entries=num_entries, device=CPU)
    for index, probs in batches:
        update_label_memory(memory, torch.tensor(index), probs, momentum)
    return memory


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(passes())
def test_with_all_classes_kept_it_is_the_dense_running_mean_to_the_last_bit(
    case: tuple[int, float, Passes],
) -> None:
    num_classes, momentum, batches = case
    memory = remember(num_classes, num_classes, momentum, batches)
    dense = torch.zeros(NUM_EXAMPLES, num_classes)
    for index, probs in batches:
        dense[index] = momentum * dense[index] + (1 - momentum) * probs
    classes, shares = read_label_memory(memory, torch.arange(NUM_EXAMPLES), torch.float32)
    assert torch.zeros_like(dense).scatter_(1, classes, shares).equal(dense)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(passes(), st.integers(1, 3))
def test_no_class_is_kept_twice_and_the_largest_is_first(
    case: tuple[int, float, Passes], num_entries: int
) -> None:
    num_classes, momentum, batches = case
    memory = remember(num_classes, num_entries, momentum, batches)
    for row in memory["classes"].tolist():
        assert len(set(row)) == min(num_entries, num_classes)
    assert (memory["shares"].diff(dim=1) <= 0).all()
    assert (memory["shares"].sum(dim=1) <= 1 + 1e-6).all()


def cut_mean(kept: dict[int, float], probs: NDArray[np.float64], k: int) -> dict[int, float]:
    """One update by its definition, with momentum 0.7: the union of the two, and of it the k."""
    union = {*kept, *np.argsort(-probs)[:k].tolist()}
    mean = {j: 0.7 * kept.get(j, 0.0) + 0.3 * float(probs[j]) for j in union}
    return dict(sorted(mean.items(), key=lambda item: -item[1])[:k])


@pytest.mark.parametrize("num_entries", [1, 3, 5])
def test_the_k_largest_of_what_is_kept_and_what_is_new_stay(num_entries: int) -> None:
    generator = torch.Generator().manual_seed(1)
    memory = new_label_memory(2, 9, num_entries=num_entries, device=CPU)
    expected: dict[int, float] = {}
    for _ in range(12):
        probs = (3 * torch.randn(1, 9, generator=generator)).softmax(dim=1)
        update_label_memory(memory, torch.tensor([1]), probs, 0.7)
        expected = cut_mean(expected, probs[0].double().numpy(), num_entries)
    assert memory["classes"][1].tolist() == list(expected)
    assert memory["shares"][1].tolist() == pytest.approx(list(expected.values()), rel=1e-5)


def test_a_class_that_was_cut_starts_again_from_zero() -> None:
    # Of [0.6, 0.4] the 0.4 is cut; then 0.5 * [0.6, 0] + 0.5 * [0, 1] = [0.3, 0.5].
    memory = new_label_memory(1, 2, num_entries=1, device=CPU)
    update_label_memory(memory, torch.tensor([0]), torch.tensor([[0.6, 0.4]]), 0.0)
    update_label_memory(memory, torch.tensor([0]), torch.tensor([[0.0, 1.0]]), 0.5)
    assert (memory["classes"].tolist(), memory["shares"].tolist()) == ([[1]], [[0.5]])


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0], ids=["ties", "spread", "underflow"])
@pytest.mark.parametrize(
    ("num_classes", "k"),
    [(2, 1), (100, 8), (128, 1), (129, 1), (1000, 7), (1000, 8), (1024, 7), (1025, 3), (17929, 16)],
)
def test_the_largest_by_blocks_are_those_of_top_k(num_classes: int, k: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(num_classes + k)
    probs = (scale * torch.randn(5, num_classes, generator=generator)).softmax(dim=1)
    values, columns = _largest(probs, k)
    assert values.equal(probs.topk(k, dim=1).values)
    assert probs.gather(1, columns).equal(values)
    assert all(len(set(row)) == k for row in columns.tolist())


def test_the_largest_are_found_wherever_they_are() -> None:
    # Blocks are of 128 columns: all in one, one in each, on their borders, in what is left over.
    places = [[130, 131, 132, 255], [0, 128, 256, 999], [127, 128, 895, 896], [996, 997, 998, 999]]
    values = torch.zeros(4, 1000).scatter_(
        1, torch.tensor(places), torch.arange(4, 0, -1.0).repeat(4, 1)
    )
    assert _largest(values, 4)[1].tolist() == places


def test_more_classes_than_a_block_agree_with_the_dense_running_mean() -> None:
    generator = torch.Generator().manual_seed(3)
    memory = new_label_memory(2, 1000, num_entries=5, device=CPU)
    index, dense = torch.tensor([1, 0]), torch.zeros(2, 1000)
    for _ in range(6):
        probs = (4 * torch.randn(2, 1000, generator=generator)).softmax(dim=1)
        classes, shares = update_label_memory(memory, index, probs, 0.7)
        mean = 0.7 * dense + (1 - 0.7) * probs
        largest = mean.topk(5, dim=1)
        assert shares.equal(largest.values)
        assert classes.equal(largest.indices)
        dense = torch.zeros(2, 1000).scatter_(1, classes, shares)  # the rest is cut
    stored = read_label_memory(memory, index, torch.float32)
    assert (stored[0].equal(classes), stored[1].equal(shares)) == (True, True)


def test_other_examples_are_left_alone() -> None:
    memory = remember(3, 2, 0.5, [([2], torch.tensor([[0.1, 0.2, 0.7]]))])
    assert memory["shares"][[0, 1, 3]].count_nonzero() == 0
    assert memory["classes"][2].tolist() == [2, 1]


def test_the_tensors_are_updated_in_place() -> None:
    memory = new_label_memory(1, 3, num_entries=2, device=CPU)
    classes, shares = memory["classes"], memory["shares"]
    update_label_memory(memory, torch.tensor([0]), torch.tensor([[0.25, 0.0, 0.75]]), 0.5)
    assert classes.tolist() == [[2, 0]]
    assert shares.tolist() == [[0.375, 0.125]]


@pytest.mark.parametrize(("num_classes", "size"), [(2, 2), (8, 8), (17929, 8)])
def test_the_size_is_that_of_the_entries_or_of_the_classes(num_classes: int, size: int) -> None:
    memory = new_label_memory(5, num_classes, num_entries=8, device=CPU)
    assert {name: (tuple(t.shape), t.dtype) for name, t in memory.items()} == {
        "classes": ((5, size), torch.int32),
        "shares": ((5, size), torch.float32),
    }


def test_nothing_is_read_from_a_device() -> None:
    # The meta device holds no data: reading a value from it raises.
    meta = torch.device("meta")
    memory = new_label_memory(5, 9, num_entries=3, device=meta)
    index = torch.zeros(2, dtype=torch.int64, device=meta)
    update_label_memory(memory, index, torch.zeros(2, 9, device=meta), 0.5)
    shares = [remembered_labels(memory, index, form, torch.float32)[1] for form in ("soft", "hard")]
    assert [tuple(share.shape) for share in shares] == [(2, 3), (2, 1)]


@pytest.mark.parametrize(
    ("form", "expected"), [("soft", [0.0, 0.25, 0.0, 0.75]), ("hard", [0.0, 0.0, 0.0, 1.0])]
)
def test_a_label_sums_to_one(form: str, expected: list[float]) -> None:
    memory = {
        "classes": torch.tensor([[1, 3]], dtype=torch.int32),
        "shares": torch.tensor([[0.125, 0.375]]),
    }
    classes, shares, given = remembered_labels(memory, torch.tensor([0]), form, torch.float64)  # type: ignore[arg-type]
    target = torch.zeros(1, 4, dtype=torch.float64).scatter_(1, classes, shares)
    assert target[0].tolist() == expected
    assert given.tolist() == [[0.0]]


@pytest.mark.parametrize("form", ["soft", "hard"])
def test_an_example_that_was_never_seen_keeps_its_given_label(form: str) -> None:
    memory = new_label_memory(1, 4, num_entries=2, device=CPU)
    _, shares, given = remembered_labels(memory, torch.tensor([0]), form, torch.float32)  # type: ignore[arg-type]
    assert shares.count_nonzero() == 0
    assert given.tolist() == [[1.0]]


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "8", None])
def test_a_number_of_entries_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(
        InputError, match=rf"Expected `num_entries` as an integer >= 1, got {value!r}"
    ):
        check_num_entries(value)


def context_of(memory: dict[str, Tensor] | None) -> LossContext:
    return LossContext(progress=0.0, index=torch.tensor([0]), memory=memory)


@pytest.mark.parametrize(
    ("memory", "actual"),
    [(None, "None"), ({}, r"\[\]"), ({"target": torch.zeros(1)}, r"\['target'\]")],
)
def test_a_context_without_the_memory_is_refused(
    memory: dict[str, Tensor] | None, actual: str
) -> None:
    message = rf"Expected `context\.memory` with `classes` and `shares`, .* got {actual}\."
    with pytest.raises(ValueError, match=message):
        label_memory(context_of(memory), 3)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": torch.zeros(2, 2, dtype=torch.int64)},
        {"shares": torch.zeros(2, 2, dtype=torch.float64)},
        {"shares": torch.zeros(2, 1)},
        {"classes": torch.zeros(2, dtype=torch.int32), "shares": torch.zeros(2)},
        {"classes": torch.zeros(2, 4, dtype=torch.int32), "shares": torch.zeros(2, 4)},
        {"classes": torch.zeros(2, 0, dtype=torch.int32), "shares": torch.zeros(2, 0)},
    ],
    ids=["int64", "float64", "other shape", "one axis", "more than classes", "none"],
)
def test_a_memory_of_another_kind_is_refused(change: dict[str, Tensor]) -> None:
    memory = new_label_memory(2, 3, num_entries=2, device=CPU) | change
    message = r"Expected `context\.memory` .* of shape \(N, k\) with 1 <= k <= 3, got torch\."
    with pytest.raises(ValueError, match=message):
        label_memory(context_of(memory), 3)
