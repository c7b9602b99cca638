"""From one row a value to the study's tables: a mean over seeds for each setting and loss.

Every metric here is a fraction in [0, 1], but for `SECONDS`. The rows and columns keep the order in
which settings and losses first appear in the results, which is the study's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

KEYS = ("noise", "loss", "seed", "checkpoint", "data", "metric")
SECONDS = frozenset({"build_seconds", "search_seconds"})
"""Metrics that are times, of a baseline; tables print them in seconds, all others in percent."""
LOWER_IS_BETTER = SECONDS | {"expected_calibration_error", "wrong_fitting"}

_TALK_METRICS = ("accuracy", "entropy_confidence", "max_probability")
_TALK_DATA = ("test", "train")
_DETAILS = (
    ("accuracy", "test_whole"),
    ("expected_calibration_error", "test"),
    ("correct_fitting", "train"),
    ("wrong_fitting", "train"),
    ("correction", "train"),
    # Of baselines only.
    ("coverage", "test"),
    ("first_pass_coverage", "test"),
    ("coverage", "test_whole"),
    ("first_pass_coverage", "test_whole"),
    ("build_seconds", "test"),
    ("search_seconds", "test"),
)
_MEASURES = (
    ("accuracy", "test"),
    ("balanced_accuracy", "test"),
    ("macro_f1", "test"),
    ("top5_accuracy", "test"),
    ("clan_accuracy", "test"),
    ("accuracy", "test_whole"),
    ("balanced_accuracy", "test_whole"),
    ("clan_accuracy", "test_whole"),
    ("accuracy", "valid"),
)


@dataclass(frozen=True)
class Table:
    """One number for each setting and loss.

    The four frames share their rows (``noise``, ``metric``, ``data``, and ``checkpoint`` where both
    checkpoints stand in the table) and their columns, the losses.

    Attributes:
        mean: mean over seeds, a fraction; NaN where there is no value.
        spread: sample standard deviation over seeds; NaN for fewer than two.
        num_seeds: how many values went into the mean.
        is_best: whether the mean is the best of its row as printed, in percent with one decimal;
            all that print the same are best. No mark where there is nothing to compare.
    """

    mean: pd.DataFrame
    spread: pd.DataFrame
    num_seeds: pd.DataFrame
    is_best: pd.DataFrame


def talk_table(results: pd.DataFrame, checkpoint: Literal["final", "best"] = "final") -> Table:
    """Give accuracy, 1 - H(p)/H(u) and max p, on test and training data, for each loss.

    Confidence is not calibration: the calibration error stands in `details_table`.

    Args:
        results: one row a value; columns ``noise, loss, seed, checkpoint, data, metric, value``.
        checkpoint: which weights were evaluated.

    Returns:
        The table, with rows (noise, metric, data).

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    rows = [(metric, data, checkpoint) for metric in _TALK_METRICS for data in _TALK_DATA]
    table = _aggregate(results, rows)
    frames = (table.mean, table.spread, table.num_seeds, table.is_best)
    return Table(*(frame.droplevel("checkpoint") for frame in frames))


def details_table(results: pd.DataFrame) -> Table:
    """Give what the talk's table leaves out.

    First its own rows for the weights that were best on validation; then, for these and the final
    ones, accuracy on whole test sequences, calibration error, and what became of the clean and the
    corrupted training labels.

    Args:
        results: one row a value, as for `talk_table`.

    Returns:
        The table, with rows (noise, metric, data, checkpoint).

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    best = [(metric, data, "best") for metric in _TALK_METRICS for data in _TALK_DATA]
    rest = [(metric, data, point) for metric, data in _DETAILS for point in ("final", "best")]
    return _aggregate(results, [*best, *rest])


def measures_table(results: pd.DataFrame) -> Table:
    """Give other measures of what the final networks get right.

    Args:
        results: one row a value, as for `talk_table`.

    Returns:
        The table, with rows (noise, metric, data).

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    table = _aggregate(results, [(*row, "final") for row in _MEASURES])
    frames = (table.mean, table.spread, table.num_seeds, table.is_best)
    return Table(*(frame.droplevel("checkpoint") for frame in frames))


def check_results(results: pd.DataFrame) -> None:
    """Raise where results cannot be averaged as they are."""
    require_columns(results, (*KEYS, "value"), "results")
    keys = results[list(KEYS)]
    if keys.isna().to_numpy().any():
        raise ValueError("Expected every key of `results` to be set, got a missing one")
    twice = keys[keys.duplicated()]
    if len(twice):
        key = ", ".join(str(part) for part in twice.iloc[0])
        raise ValueError(f"Expected one value for each key of `results`, got two for {key}")


def require_columns(frame: pd.DataFrame, names: Sequence[str], what: str) -> None:
    """Raise where a frame lacks a column.

    Args:
        frame: to look at.
        names: of the columns that are needed.
        what: the argument, for the message.

    Raises:
        ValueError: if one is missing.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"Expected `{what}` to have columns {', '.join(names)}, "
            f"got none named {', '.join(missing)}"
        )


def printed_percent(fraction: float) -> float:
    """Round a fraction to what a table prints of it.

    Example:
        >>> printed_percent(0.84349)
        84.3
    """
    return float(f"{100 * fraction:.1f}")


def _aggregate(results: pd.DataFrame, rows: Sequence[tuple[str, str, str]]) -> Table:
    """Average over seeds, for the given (metric, data, checkpoint) in each noise setting."""
    check_results(results)
    row_names = ["noise", "metric", "data", "checkpoint"]
    present = results.dropna(subset=["value"])
    groups = present.groupby([*row_names, "loss"], sort=False)["value"]
    known = set(present[row_names].itertuples(index=False, name=None))
    wanted = [(noise, *row) for noise in results["noise"].unique() for row in rows]
    index = pd.MultiIndex.from_tuples([row for row in wanted if row in known] or [("",) * 4])
    index = index.set_names(row_names)[: sum(row in known for row in wanted)]
    losses = pd.Index(results["loss"].unique(), name="loss")

    def wide(values: pd.Series) -> pd.DataFrame:
        return values.unstack("loss").reindex(index=index, columns=losses)

    mean = wide(groups.mean())
    return Table(
        mean=mean,
        spread=wide(groups.std(ddof=1)),
        num_seeds=wide(groups.count()).fillna(0).astype(int),
        is_best=_mark_best(mean),
    )


def _mark_best(mean: pd.DataFrame) -> pd.DataFrame:
    """Mark the best of each row, ties as printed included."""
    printed = mean.map(printed_percent)
    is_lower = mean.index.get_level_values("metric").isin(list(LOWER_IS_BETTER))
    best = printed.max(axis=1).where(~is_lower, printed.min(axis=1))
    return printed.eq(best, axis=0) & (printed.notna().sum(axis=1) > 1).to_numpy()[:, None]
