"""Transition matrices: reading them, and labels that follow them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.noise import Classes, LabelRule, corrupt_labels, read_transitions
from protein_robust.noise.labels import Labels
from protein_robust.noise.rules import Count
from protein_robust.noise.transitions import sparse_matrix

NAMES = ("A", "B", "C", "D")
ROWS = {"A": {"B": 0.25, "D": 0.5}, "C": {"A": 1.0}, "D": {"D": 0.7, "B": 0.1}}


def drawn(
    rows: dict[str, dict[str, float]], clean: Labels, count: Count = "exact", seed: int = 0
) -> Labels:
    rule = LabelRule("matrix", transitions=rows, count=count)
    rng = np.random.default_rng(seed)
    return corrupt_labels(clean, Classes(NAMES, (None,) * 4), rule=rule, rng=rng).label


def dense(rows: dict[str, dict[str, float]]) -> np.ndarray:
    """The matrix by its definition, with the rest of each row on the diagonal."""
    matrix = np.zeros((4, 4))
    for clean, row in rows.items():
        for given_label, probability in row.items():
            if clean != given_label:
                matrix[NAMES.index(clean), NAMES.index(given_label)] = probability
    matrix[np.arange(4), np.arange(4)] = 1 - matrix.sum(axis=1)
    return matrix


def table_of(clean: Labels, label: Labels) -> np.ndarray:
    table = np.zeros((4, 4))
    np.add.at(table, (clean, label), 1)
    return table


def random_rows(seed: int) -> dict[str, dict[str, float]]:
    """A row for each class, some entries 0; the sum is at most 1, in some rows 1."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.ones(4), size=4) * (rng.random((4, 4)) < 0.7)
    return {
        a: {b: float(p) for b, p in zip(NAMES, row, strict=True)}
        for a, row in zip(NAMES, values, strict=True)
    }


@given(seed=st.integers(0, 2**32))
def test_the_sparse_matrix_is_the_dense_one_and_its_rows_sum_to_one(seed: int) -> None:
    rows = random_rows(seed)
    matrix = sparse_matrix(rows, NAMES)
    full = np.zeros((4, 4))
    full[matrix.clean, matrix.given] = matrix.probability
    np.testing.assert_allclose(full, dense(rows), atol=1e-12)
    np.testing.assert_allclose(full.sum(axis=1), 1, atol=1e-12)
    assert (matrix.probability > 0).all()


def largest_remainders(size: int, row: list[float], own: int) -> list[int]:
    """Shares of whole things, in pure Python; of equal remainders the own class comes first."""
    ideal = [size * p for p in row]
    counts = [math.floor(x + 1e-9) for x in ideal]
    order = sorted(range(4), key=lambda j: (-round(ideal[j] - counts[j], 9), j != own, j))
    for j in order[: size - sum(counts)]:
        counts[j] += 1
    return counts


@pytest.mark.slow
@settings(deadline=None)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_exact_counts_are_those_of_the_largest_remainders(seed: int, sizes: list[int]) -> None:
    rows = random_rows(seed)
    clean = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), sizes))
    table = table_of(clean, drawn(rows, clean, seed=seed))
    matrix = dense(rows).clip(0)
    expected = [largest_remainders(sizes[i], matrix[i].tolist(), i) for i in range(4)]
    np.testing.assert_array_equal(table, expected)


def test_exact_counts_by_hand() -> None:
    clean = np.repeat(np.arange(4), [8, 5, 3, 10])
    expected = [[2, 2, 0, 4], [0, 5, 0, 0], [3, 0, 0, 0], [0, 1, 0, 9]]
    np.testing.assert_array_equal(table_of(clean, drawn(ROWS, clean)), expected)


@pytest.mark.slow
def test_exact_counts_fall_on_any_example_of_the_class() -> None:
    clean = np.zeros(8, np.int64)
    hits = sum((drawn(ROWS, clean, seed=seed) == 1).astype(int) for seed in range(2000))
    # Each of 8 is one of the two in a quarter of 2000 draws: deviation 19.4; six of them is 116.
    assert np.abs(np.asarray(hits) - 500).max() < 116


def test_labels_drawn_one_by_one_follow_the_matrix() -> None:
    clean = np.arange(40_000) % 4
    table = table_of(clean, drawn(ROWS, clean, "bernoulli"))
    matrix = dense(ROWS)
    # Six standard deviations of a binomial of 10,000.
    bound = 6 * np.sqrt(10_000 * matrix * (1 - matrix)) + 1e-9
    assert (np.abs(table - 10_000 * matrix) <= bound).all()


def test_labels_drawn_one_by_one_never_take_a_transition_of_zero() -> None:
    rows = {"A": {"B": 0.0, "C": 1.0}, "B": {"A": 0.0}}
    label = drawn(rows, np.arange(20_000) % 2, "bernoulli")
    assert label.tolist() == [2, 1] * 10_000


def test_the_order_in_which_entries_are_named_does_not_matter() -> None:
    turned = {a: dict(reversed(row.items())) for a, row in reversed(ROWS.items())}
    clean = np.arange(400) % 4
    for count in ("exact", "bernoulli"):
        first, second = drawn(ROWS, clean, count), drawn(turned, clean, count)
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rows", [{"X": {"A": 0.1}}, {"A": {"X": 0.1}}], ids=["clean", "given"])
def test_a_family_that_is_not_there_is_refused(rows: dict[str, dict[str, float]]) -> None:
    with pytest.raises(InputError, match=r"`transitions` between families of the data, got 'X'\."):
        drawn(rows, np.arange(4))


@pytest.mark.parametrize(
    "text",
    [
        "clean,given,probability\nA,B,0.25\n\nA,D,0.5\nC,A,1\n",
        "\ufeffgiven\tprobability\tclean\r\nB\t0.25\tA\r\nD\t5e-1\tA\r\nA\t 1.0\tC\r\n",
    ],
    ids=["csv", "tsv"],
)
def test_a_table_becomes_a_matrix(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode())
    assert read_transitions(path) == {"A": {"B": 0.25, "D": 0.5}, "C": {"A": 1.0}}


HEADER = b"clean,given,probability\n"
WRONG = {
    "columns": (b"a,b,c\n", r":1: Expected the columns clean, given, probability, got a, b, c\."),
    "empty": (b"", r":1: Expected the columns clean, given, probability, got none\."),
    "no entry": (HEADER, r": Expected transitions below the header, got none\."),
    "cells": (HEADER + b"A,B,0.1\nA,B\n", r":3: Expected 3 cells, got 2\."),
    "accession": (HEADER + b"A, ,0.1\n", r":2: Expected two accessions, got an empty cell\."),
    "twice": (HEADER + b"A,B,0.1\nA,B,0.1\n", r":3: Expected one line from 'A' to 'B', got a sec"),
    "no number": (HEADER + b"A,B,half\n", r":2: Expected a probability, got 'half'\."),
    "negative": (HEADER + b"A,B,-0.1\n", r":2: Expected a probability in \[0, 1\], got -0\.1\."),
    "nan": (HEADER + b"A,B,nan\n", r":2: Expected a probability in \[0, 1\], got nan\."),
    "sum": (
        HEADER + b"A,B,0.5\nC,B,1\nA,C,0.625\n",
        r":4: Expected a sum of at most 1 from 'A', got 1\.125\.",
    ),
    "bytes": (HEADER + b"A,\xff,0.5\n", r": Expected a CSV or TSV table in UTF-8 text, got 'utf-8"),
    "quotes": (HEADER + b'A,"B"x,0.5\n', r": Expected a CSV or TSV table in UTF-8 text, got '"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_table_that_is_none_says_where(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv" + message):
        read_transitions(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: Expected a readable file, got No such"):
        read_transitions(tmp_path / "absent.csv")
