"""Which sequence of a family is central."""

from __future__ import annotations

import numpy as np
import pytest
from pyhmmer.easel import Alphabet

from protein_robust.baselines.alignment import MAX_CANDIDATES, central_place

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


def random_sequence(seed: int, length: int) -> str:
    return "".join(np.random.default_rng(seed).choice(LETTERS, length))


def test_the_one_that_finds_the_most_is_central() -> None:
    core = random_sequence(0, 80)
    # The halves find the whole; the whole finds both halves, and so has the larger sum.
    assert central_place([core[:40], core[40:], core], Alphabet.amino()) == 2


def test_long_strangers_are_not_central() -> None:
    family = [random_sequence(1, 60)] * 3
    strangers = [random_sequence(seed, 600) for seed in (2, 3, 4)]
    assert central_place([*strangers, *family], Alphabet.amino()) == 3


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]], ids=["forward", "backward"])
def test_the_longest_is_central_where_none_finds_another(order: list[int]) -> None:
    rows = ["AC", "WWWW", "MKV"]
    place = central_place([rows[number] for number in order], Alphabet.amino())
    assert order[place] == 1


def test_only_some_evenly_spaced_ones_are_candidates() -> None:
    rows = [random_sequence(7, 50)] * (10 * MAX_CANDIDATES)
    assert central_place(rows, Alphabet.amino()) % 10 == 0
