"""The final network and the one that was best on validation, side by side."""

from __future__ import annotations

import pandas as pd

from protein_robust.report.rendering import (
    DATA_NAMES,
    LOWER_NOTE,
    METRIC_NAMES,
    NO_VALUE,
    markdown_table,
)
from protein_robust.report.tables import LOWER_IS_BETTER, check_results

CHECKPOINT_NOTE = (
    "Final: the network after the last epoch. Best: that with the highest accuracy on clean "
    "validation labels, which amounts to early stopping. Percent, mean ± sample sd over seeds; the "
    "difference is best minus final, in percentage points. Early stopping can make methods much "
    "alike: where it does, what a method gains is that it does not learn wrong labels late in the "
    "training, and how sure it is, not the highest accuracy that can be reached. It also needs "
    "validation labels that are right."
)

_ROWS = (
    ("accuracy", "test"),
    ("accuracy", "test_whole"),
    ("accuracy", "train"),
    ("entropy_confidence", "test"),
    ("max_probability", "test"),
    ("expected_calibration_error", "test"),
)
_KEYS = ["noise", "metric", "data", "loss"]


def checkpoints_frame(results: pd.DataFrame) -> pd.DataFrame:
    """Give each value of the final and of the best network, and their difference.

    Args:
        results: one row a value.

    Returns:
        ``noise, metric, data, loss``, then ``final``, ``final_sd``, ``best``, ``best_sd``,
        ``difference`` (best minus final, mean over the seeds that have both), ``difference_sd`` and
        ``num_seeds``; fractions. Rows for what both networks have.

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    check_results(results)
    names = ["final", "final_sd", "best", "best_sd", "difference", "difference_sd", "num_seeds"]
    wanted = results.dropna(subset=["value"]).set_index(["metric", "data"])
    wanted = wanted[wanted.index.isin(list(_ROWS))].reset_index()
    wide = wanted.pivot_table("value", [*_KEYS, "seed"], "checkpoint", sort=False)
    if not {"final", "best"} <= set(wide.columns):
        return pd.DataFrame(columns=[*_KEYS, *names])
    wide = wide.dropna(subset=["final", "best"])
    wide["difference"] = wide["best"] - wide["final"]
    groups = wide.groupby(_KEYS, sort=False)
    made = pd.DataFrame({"num_seeds": groups.size()})
    for name in ("final", "best", "difference"):
        made[name], made[f"{name}_sd"] = groups[name].mean(), groups[name].std(ddof=1)
    made = made.reset_index()
    noises, losses = list(results["noise"].unique()), list(results["loss"].unique())
    # In the order of the study, and of the rows above.
    places = [
        (noises.index(noise), _ROWS.index((metric, data)), losses.index(loss))
        for noise, metric, data, loss in made[_KEYS].itertuples(index=False, name=None)
    ]
    order = sorted(range(len(made)), key=places.__getitem__)
    return made[[*_KEYS, *names]].iloc[order].reset_index(drop=True)


def checkpoints_display(frame: pd.DataFrame) -> pd.DataFrame:
    """Lay the frame out for people, as text in percent.

    Args:
        frame: of `checkpoints_frame`.

    Returns:
        ``noise, metric, data, loss, final, best, difference``.
    """
    metric = frame["metric"].map(
        lambda name: METRIC_NAMES[name] + (LOWER_NOTE if name in LOWER_IS_BETTER else "")
    )
    shown = {"noise": frame["noise"], "metric": metric, "data": frame["data"].map(DATA_NAMES)}
    shown["loss"] = frame["loss"]
    for name in ("final", "best", "difference"):
        sign = "+" if name == "difference" else ""
        shown[name] = pd.Series(
            [
                _text(mean, sd, sign)
                for mean, sd in zip(frame[name], frame[f"{name}_sd"], strict=True)
            ],
            index=frame.index,
            dtype=object,
        )
    return pd.DataFrame(shown, dtype=object)


def checkpoints_markdown(frame: pd.DataFrame, title: str) -> str:
    """Give the frame as Markdown, with what to know of it.

    Args:
        frame: of `checkpoints_frame`.
        title: heading above it.
    """
    table = markdown_table(checkpoints_display(frame), num_names=4)
    return "\n".join([f"## {title}", "", CHECKPOINT_NOTE, "", table, ""])


def _text(mean: float, spread: float, sign: str) -> str:
    """One value in percent, a difference with its sign."""
    if pd.isna(mean):
        return NO_VALUE
    percent = round(100 * mean, 1) + 0.0  # no minus sign before a zero
    return f"{percent:{sign}.1f}" + ("" if pd.isna(spread) else f" ± {100 * spread:.1f}")
