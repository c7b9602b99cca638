"""Transition matrices over many classes, kept as their few entries that are not 0.

A matrix over the 19,600 classes of a release would have 384 million entries; one that confuses each
class with a few others has some ten thousand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.rules import ROW_SUM_TOLERANCE

COLUMNS = ("clean", "given", "probability")


@dataclass(frozen=True)
class Transitions:
    """The E entries above 0 of a K x K matrix, by clean class; the diagonal is the first of a row.

    Attributes:
        clean: row of each, ascending, shape (E,), int64; every class occurs.
        given: column of each, shape (E,), int64.
        probability: shape (E,), float64; those of a row sum to 1.
    """

    clean: NDArray[np.int64]
    given: NDArray[np.int64]
    probability: NDArray[np.float64]


def read_transitions(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a transition matrix from a table, as `LabelRule` takes it.

    Args:
        path: a CSV or TSV file (a tab in its first line makes it TSV) in UTF-8, with the columns
            ``clean``, ``given`` and ``probability``, in any order.

    Returns:
        Clean accession -> given accession -> probability. What a row lacks to 1 is the diagonal's.

    Raises:
        InputError: if the file cannot be read, has other columns, a cell too many or too few, an
            empty accession, a pair twice, a probability outside [0, 1], a row whose sum exceeds 1,
            or no entry.
    """
    rows: dict[str, dict[str, float]] = {}
    totals: dict[str, float] = {}
    for line, (clean, given, text) in _cells(path):
        if not clean or not given:
            raise InputError("two accessions", "an empty cell", path=path, line=line)
        row = rows.setdefault(clean, {})
        if given in row:
            expected = f"one line from {clean!r} to {given!r}"
            raise InputError(expected, "a second", path=path, line=line)
        row[given] = _probability(text, path, line)
        totals[clean] = totals.get(clean, 0.0) + row[given]
        if totals[clean] > 1 + ROW_SUM_TOLERANCE:
            expected = f"a sum of at most 1 from {clean!r}"
            raise InputError(expected, f"{totals[clean]:.12g}", path=path, line=line)
    if not rows:
        raise InputError("transitions below the header", "none", path=path)
    return rows


def sparse_matrix(
    rows: Mapping[str, Mapping[str, float]], accessions: Sequence[str]
) -> Transitions:
    """Write out a matrix over the classes of the data, its diagonal included.

    Args:
        rows: clean accession -> given accession -> probability, checked as by `LabelRule`. What
            stands on the diagonal counts only through what it leaves of 1.
        accessions: of the K classes.

    Returns:
        The entries above 0.

    Raises:
        InputError: if an accession is not of the data.
    """
    number_of = {accession: number for number, accession in enumerate(accessions)}
    unknown = sorted({*rows, *(given for row in rows.values() for given in row)} - number_of.keys())
    if unknown:
        raise InputError("`transitions` between families of the data", repr(unknown[0]))
    entries = [
        (number_of[clean], number_of[given], probability)
        for clean, row in rows.items()
        for given, probability in row.items()
        if given != clean
    ]
    size = len(accessions)
    off = np.array([entry[:2] for entry in entries], np.int64).reshape(-1, 2)
    weight = np.array([entry[2] for entry in entries], np.float64)
    diagonal = (1 - np.bincount(off[:, 0], weights=weight, minlength=size)).clip(0)
    clean = np.concatenate([np.arange(size), off[:, 0]])
    given = np.concatenate([np.arange(size), off[:, 1]])
    # By column within a row, so that nothing depends on the order in which entries are named.
    order = np.lexsort((given, given != clean, clean))
    probability = np.concatenate([diagonal, weight])[order]
    probability /= np.bincount(clean, weights=np.concatenate([diagonal, weight]))[clean[order]]
    kept = probability > 0
    return Transitions(clean[order][kept], given[order][kept], probability[kept])


def draw_each(
    clean_label: NDArray[np.int64], matrix: Transitions, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw each label by itself from the row of its clean class.

    Args:
        clean_label: clean classes, shape (N,), int64.
        matrix: the probabilities.
        rng: where the draws come from.

    Returns:
        Given classes, shape (N,), int64.
    """
    classes = np.arange(int(matrix.clean[-1]) + 1)
    first = np.searchsorted(matrix.clean, classes, side="left")[clean_label]
    last = np.searchsorted(matrix.clean, classes, side="right")[clean_label] - 1
    # One cumulative sum over all rows: the row of class c covers c to c + 1 of it.
    reached = np.cumsum(matrix.probability)
    begin = np.concatenate([[0.0], reached])[first]
    place = np.searchsorted(reached, begin + rng.random(len(clean_label)), side="right")
    # Rounding, some 1e-12 for 20,000 rows, may lead just past the last entry of the row.
    label: NDArray[np.int64] = matrix.given[place.clip(first, last)]
    return label


def draw_counts(
    clean_label: NDArray[np.int64], matrix: Transitions, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Give each class the numbers that the matrix says, to random ones of its examples.

    Of n examples of a class, n p go to each given class: rounded down, and what is left to n goes
    to the largest remainders (of equal ones, to the clean class first, then by number).

    Args:
        clean_label: clean classes, shape (N,), int64.
        matrix: the probabilities.
        rng: where the choice of the examples comes from.

    Returns:
        Given classes, shape (N,), int64.
    """
    size = int(matrix.clean[-1]) + 1
    ideal = matrix.probability * np.bincount(clean_label, minlength=size)[matrix.clean]
    # A product such as 0.29 * 100 falls just short of the integer that was meant.
    count = np.floor(ideal + 1e-9).astype(np.int64)
    total = np.bincount(clean_label, minlength=size)
    missing = total - np.bincount(matrix.clean, weights=count, minlength=size).astype(np.int64)
    order = np.lexsort((-np.round(ideal - count, 9), matrix.clean))
    begin = np.searchsorted(matrix.clean, np.arange(size))
    rank = np.arange(len(order)) - begin[matrix.clean]  # order is by class, as the entries are
    count[order] += rank < missing[matrix.clean]
    shuffled = rng.permutation(len(clean_label))
    by_class = shuffled[np.argsort(clean_label[shuffled], kind="stable")]
    label = np.empty_like(clean_label)
    label[by_class] = np.repeat(matrix.given, count)
    return label


def _probability(text: str, path: str | Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InputError("a probability", repr(text), path=path, line=line) from error
    if not 0 <= value <= 1:
        raise InputError("a probability in [0, 1]", text, path=path, line=line)
    return value


def _cells(path: str | Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Lines of the table with their three cells, in the order of `COLUMNS`."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            delimiter = "\t" if "\t" in stream.readline() else ","
            stream.seek(0)
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(rows, [])]
            if sorted(names) != sorted(COLUMNS):
                expected = f"the columns {', '.join(COLUMNS)}"
                raise InputError(expected, ", ".join(names) or "none", path=path, line=1)
            where = [names.index(name) for name in COLUMNS]
            for row in rows:
                if row and len(row) != len(COLUMNS):
                    raise InputError("3 cells", str(len(row)), path=path, line=rows.line_num)
                if row:
                    clean, given, probability = (row[i].strip() for i in where)
                    yield rows.line_num, (clean, given, probability)
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("a CSV or TSV table in UTF-8 text", str(error), path=path) from error
