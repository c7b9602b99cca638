"""How images are drawn and divided."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest.images import ImageOptions
from protein_robust.ingest.images.content import Content, Part
from protein_robust.ingest.images.drawing import choose, draw, shares

OPTIONS = ImageOptions("cifar10", "somewhere")


def part(labels: list[int]) -> Part:
    images = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    return Part(images, np.array(labels, dtype=np.int64), [""] * len(labels))


def content(train: list[int], test: list[int] | None, num_classes: int = 2) -> Content:
    names = tuple("abcdefghij"[:num_classes])
    divided = None if test is None else part(test)
    return Content(part(train), divided, names, (None,) * num_classes)


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([5, 5], 4, [2, 2]),
        ([5, 5], 5, [3, 2]),  # a tie: the first class gets the rest
        ([50, 30, 20], 5, [3, 1, 1]),  # 2.5, 1.5, 1.0: one of two equal remainders is left
        ([7, 2, 1], 3, [2, 1, 0]),  # 2.1, 0.6, 0.3
        ([4, 0, 4], 8, [4, 0, 4]),
        ([3, 3], 0, [0, 0]),
    ],
)
def test_shares_are_those_of_the_largest_remainder(
    sizes: list[int], total: int, expected: list[int]
) -> None:
    assert shares(np.array(sizes), total).tolist() == expected


@given(sizes=st.lists(st.integers(0, 500), min_size=1), data=st.data())
def test_shares_add_up_and_are_near_their_quota(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    found = shares(np.array(sizes), total)
    assert found.sum() == total
    assert (found <= sizes).all()
    quota = np.array(sizes) * total / max(1, sum(sizes))
    assert (np.abs(found - quota) < 1 + 1e-9).all()


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_what_is_drawn_is_in_order_and_of_each_class_its_share(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, len(labels)))
    array = np.array(labels, dtype=np.int64)
    rows = draw(array, total, rng=np.random.default_rng(seed), num_classes=4)
    assert len(rows) == total
    assert (np.diff(rows) > 0).all()
    expected = shares(np.bincount(array, minlength=4), total)
    assert_array_equal(np.bincount(array[rows], minlength=4), expected)


@pytest.mark.parametrize("total", range(1, 31))
def test_of_equal_classes_a_smaller_number_draws_a_subset(total: int) -> None:
    labels = np.arange(30) % 3
    small, large = (
        draw(labels, number, rng=np.random.default_rng(7), num_classes=3)
        for number in (total - 1, total)
    )
    assert {*small} < {*large}


def test_every_row_is_drawn_with_the_same_probability() -> None:
    labels = np.array([0] * 8 + [1] * 4)
    rng = np.random.default_rng(0)
    hits = np.zeros(12)
    for _ in range(3000):
        hits[draw(labels, 6, rng=rng, num_classes=2)] += 1  # 4 of 8 and 2 of 4
    # A share of 0.5 of 3,000 has a standard deviation of 0.0091; 0.04 is more than four of them.
    assert_array_equal(np.abs(hits / 3000 - 0.5) < 0.04, True)


def test_all_images_are_kept_in_the_order_of_the_source() -> None:
    chosen = choose(content([0, 1, 1, 0], [1, 0]), OPTIONS)
    assert {split: rows.tolist() for split, rows in chosen.items()} == {
        "train": [0, 1, 2, 3],
        "valid": [],
        "test": [0, 1],
    }


def test_valid_is_a_floor_of_each_class() -> None:
    # floor(7 * 0.3) = 2 and floor(10 * 0.3) = 3; in floats, 10 * 0.3 may be below 3.
    chosen = choose(
        content([0] * 7 + [1] * 10, [0]), dataclasses.replace(OPTIONS, valid_fraction=0.3)
    )
    assert ((chosen["valid"] < 7).sum(), (chosen["valid"] >= 7).sum()) == (2, 3)
    assert sorted([*chosen["train"], *chosen["valid"]]) == list(range(17))


def test_a_fraction_is_taken_as_it_is_written() -> None:
    options = dataclasses.replace(OPTIONS, valid_fraction=0.29)
    chosen = choose(content([0] * 100 + [1] * 100, [0]), options)
    assert len(chosen["valid"]) == 58  # 100 * 0.29 is 28.999999999999996 in floats


def test_valid_is_part_of_what_is_drawn() -> None:
    options = dataclasses.replace(OPTIONS, num_train=10, valid_fraction=0.4)
    chosen = choose(content([0, 1] * 10, [0]), options)
    assert (len(chosen["train"]), len(chosen["valid"])) == (6, 4)


@pytest.mark.parametrize("change", [{"num_test": 2}, {"valid_fraction": 0.5}])
def test_one_number_does_not_change_what_another_draws(change: dict[str, int]) -> None:
    source = content([0, 1] * 20, [0, 1] * 3)
    options = dataclasses.replace(OPTIONS, num_train=20)
    first = choose(source, options)
    other = choose(source, dataclasses.replace(options, **change))
    drawn = [np.sort(np.concatenate([c["train"], c["valid"]])).tolist() for c in (first, other)]
    assert drawn[0] == drawn[1]


def test_a_source_without_test_images_is_divided_by_the_seed() -> None:
    source = content([0, 1] * 20, None)
    chosen = [choose(source, dataclasses.replace(OPTIONS, seed=seed)) for seed in (0, 0, 1)]
    for one in chosen:
        assert len(one["test"]) == 10
        assert (one["test"] % 2).sum() == 5  # of each class the same
        assert sorted([*one["train"], *one["test"]]) == list(range(40))
    assert_array_equal(chosen[0]["test"], chosen[1]["test"])
    assert chosen[0]["test"].tolist() != chosen[2]["test"].tolist()


def test_numbers_of_a_divided_source_are_drawn_from_its_parts() -> None:
    source = content([0, 1] * 20, None)
    whole = choose(source, OPTIONS)
    some = choose(source, dataclasses.replace(OPTIONS, num_train=8, num_test=4))
    assert (len(some["train"]), len(some["test"])) == (8, 4)
    for split in ("train", "test"):
        assert {*some[split]} < {*whole[split]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_train": 5}, "`num_train` of at most 4, which the source has, got 5"),
        ({"num_test": 3}, "`num_test` of at most 2, which the source has, got 3"),
    ],
)
def test_more_than_there_is_cannot_be_drawn(change: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(content([0, 1, 1, 0], [1, 0]), dataclasses.replace(OPTIONS, **change))


@pytest.mark.parametrize("change", [{}, {"num_train": 3}], ids=str)
def test_a_class_without_training_images_is_refused(change: dict[str, int]) -> None:
    source = content([0, 0, 1, 1, 1], [2], 3) if not change else content([0, 0, 1, 1, 1, 2], [2], 3)
    options = dataclasses.replace(OPTIONS, **change)
    expected = "at least one training image of each class, got none of 'c'"
    if change:  # shares 1.0, 1.5 and 0.5: the rest goes to the first of two equal remainders
        assert shares(np.array([2, 3, 1]), 3).tolist() == [1, 2, 0]
    with pytest.raises(InputError, match=expected):
        choose(source, options)
