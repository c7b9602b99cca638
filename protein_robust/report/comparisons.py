"""Which differences between methods are real: a row for each pair, with the outcome in words."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protein_robust.evaluation.comparison import Comparison, compare_all
from protein_robust.report.rendering import NO_VALUE, markdown_table
from protein_robust.report.tables import require_columns

PREDICTION_KEYS = ("noise", "loss", "seed", "row")
COMPARISONS_NOTE = (
    "Each pair of methods on the same test examples, final networks. Difference: of the "
    "accuracies, in percentage points, with its 95 % bootstrap interval over test examples (each "
    "with all its seeds). Right only: examples that one gets right more often than the other, "
    "first : second. p: McNemar's exact test, one vote an example, corrected for the number of "
    "pairs of a noise setting (Holm). A difference is called real where p is below 0.05 and the "
    "interval does not reach 0. Both are about these networks on other such examples; what "
    "another seed would change is in the interval over seeds (Student's t), where there are two or "
    "more."
)

_COLUMNS = ["noise", *Comparison.__dataclass_fields__, "is_real", "statement"]


def compare_methods(predictions: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Compare all pairs of methods of each noise setting.

    Args:
        predictions: of one kind of data; columns ``noise, loss, seed, row, clean_label,
            prediction``, where a row is the same example in every run of a noise setting; a
            missing prediction is a wrong one.
        generator: source of the bootstrap's draws.

    Returns:
        ``noise``, the fields of `Comparison`, ``is_real`` and ``statement``; a row for each pair
        with a seed in common.

    Raises:
        ValueError: if a column is missing, or the runs of a noise setting are not of the same rows.
    """
    require_columns(predictions, (*PREDICTION_KEYS, "clean_label", "prediction"), "predictions")
    made = []
    for noise, part in predictions.groupby("noise", sort=False, observed=True):
        for comparison in compare_all(_correct_by_method(part), generator):
            words = {"is_real": comparison.is_real, "statement": comparison.statement}
            made.append({"noise": str(noise), **asdict(comparison), **words})
    return pd.DataFrame(made, columns=_COLUMNS)


def comparisons_display(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Lay comparisons out for people, as text.

    Args:
        comparisons: of `compare_methods`.

    Returns:
        Columns ``noise``, ``methods``, ``difference``, ``over seeds``, ``right only`` (how many
        examples one gets right more often than the other), ``p`` and ``better``; differences are
        first minus second in percentage points.
    """
    rows = [
        (
            row["noise"],
            f"{row['first']} - {row['second']}",
            f"{_points(row['difference'])} ({_points(row['low'])} to {_points(row['high'])})",
            NO_VALUE
            if pd.isna(row["seeds_low"])
            else f"{_points(row['seeds_low'])} to {_points(row['seeds_high'])}",
            f"{row['first_only']} : {row['second_only']}",
            p_text(row["p_holm"]),
            _better(row),
        )
        for row in comparisons.to_dict("records")
    ]
    names = ["noise", "methods", "difference", "over seeds", "right only", "p", "better"]
    return pd.DataFrame(rows, columns=names, dtype=object)


def comparisons_markdown(comparisons: pd.DataFrame, title: str) -> str:
    """Give comparisons as Markdown, the real ones in words first.

    Args:
        comparisons: of `compare_methods`.
        title: heading above it.
    """
    lines = [f"## {title}", "", COMPARISONS_NOTE, ""]
    for noise, statements in plain_statements(comparisons).items():
        lines += [f"**{noise}**", "", *(f"- {text}" for text in statements), ""]
    return "\n".join([*lines, markdown_table(comparisons_display(comparisons), num_names=2), ""])


def plain_statements(comparisons: pd.DataFrame, *, most: int = 12) -> dict[str, list[str]]:
    """Say for each noise setting which method leads, and which differences are real.

    Args:
        comparisons: of `compare_methods`.
        most: differences that are told one by one, the largest; how many more there are is said.

    Returns:
        Sentences by noise setting.
    """
    said = {}
    for noise, part in comparisons.groupby("noise", sort=False):
        real = part[part["is_real"].astype(bool)]
        order = real["difference"].abs().sort_values(ascending=False, kind="stable").index
        told = [f"{text}." for text in real.loc[order[:most], "statement"]]
        if len(real) > most:
            told.append(f"{len(real) - most} more differences are real; all are in the table.")
        num_alike = len(part) - len(real)
        if num_alike:
            which = "all" if not len(real) else str(num_alike)
            told.append(f"No difference beyond chance: {which} of {len(part)} pairs.")
        said[str(noise)] = [_leader(part), *told]
    return said


def _leader(part: pd.DataFrame) -> str:
    """Which method has the highest accuracy, and which ones chance may have put below it."""
    accuracy: dict[str, float] = {}
    for row in part.to_dict("records"):
        for side in ("first", "second"):
            accuracy.setdefault(row[side], row[f"{side}_accuracy"])
    best = max(accuracy, key=lambda name: accuracy[name])
    alike = [
        str(row["second"] if row["first"] == best else row["first"])
        for row in part.to_dict("records")
        if best in (row["first"], row["second"]) and not row["is_real"]
    ]
    others = f"no difference beyond chance from {', '.join(alike)}" if alike else "above all others"
    return f"Highest test accuracy: {best}, {100 * accuracy[best]:.1f} %; {others}."


def _better(row: dict[Hashable, Any]) -> str:
    """The better method of a pair, if one is."""
    if not row["is_real"]:
        return NO_VALUE
    return str(row["first"] if row["difference"] > 0 else row["second"])


def p_text(p: float) -> str:
    """Print a p value with two digits, tiny ones as a bound.

    Example:
        >>> [p_text(0.0321), p_text(1e-9), p_text(1.0)]
        ['0.032', '< 0.0001', '1']
    """
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _points(difference: float) -> str:
    """A difference of fractions in percentage points; no minus sign before a zero."""
    return f"{round(100 * difference, 1) + 0.0:.1f}"


def _correct_by_method(part: pd.DataFrame) -> dict[str, dict[int, NDArray[np.bool_]]]:
    """Whether each prediction is right, by method and seed, all in the order of the rows."""
    by_method: dict[str, dict[int, NDArray[np.bool_]]] = {}
    first = None
    for key, run in part.groupby(["loss", "seed"], sort=False, observed=True):
        loss, seed = str(key[0]), int(str(key[1]))
        ordered = run.sort_values("row", kind="stable")
        rows = ordered[["row", "clean_label"]].reset_index(drop=True)
        first = rows if first is None else first
        if not rows.equals(first) or rows["row"].duplicated().any():
            expected = "the same examples for every loss and seed of a noise setting, each once"
            raise ValueError(f"Expected `predictions` to have {expected}, got others for {loss}.")
        given = ordered["prediction"].astype(object)  # missing where a search has no hit
        is_same = given.where(given.notna(), "") == ordered["clean_label"].astype(object)
        is_correct = is_same.to_numpy(np.bool_)
        by_method.setdefault(loss, {})[seed] = is_correct
    return by_method
