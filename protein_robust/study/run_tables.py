"""The tables of one run that MLflow shows beside those of other runs.

MLflow's table view matches the rows of several runs by one column, so here the first column names
a row in full. These are excerpts for reading; the run's ``evaluation/`` and `metrics.json` have
everything.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from protein_robust.study.evaluating import Metrics

GROUPS = {"family_size": "by_family_size", "length": "by_length"}
"""Tables of groups, by the column that made the groups."""
GROUP_DATA = ("valid", "test", "test_whole")
GROUP_VALUES = {
    "num_examples": "examples",
    "accuracy": "accuracy",
    "accuracy_low": "accuracy, low",
    "accuracy_high": "accuracy, high",
    "calibrated_max_probability": "confidence",
    "calibrated_expected_calibration_error": "calibration error",
}
"""Columns that are shown, and how; confidence is that after temperature scaling."""


def run_tables(folder: Path, metrics: Metrics) -> dict[str, pd.DataFrame]:
    """Gather the tables of an evaluated run.

    Args:
        folder: the run's folder; tables that its ``evaluation/`` does not hold are left out.
        metrics: content of its `metrics.json`.

    Returns:
        Frames by name, each with text that names the row in its first column: ``all_metrics`` (both
        networks, every kind of data), and of the final network ``by_family_size``, ``by_length``
        and ``reliability``.
    """
    # Not `metrics`, since each is a file of the run, where metrics.json lies too.
    tables = {"all_metrics": _metric_rows(metrics)}
    groups = folder / "evaluation" / "groups.parquet"
    if groups.exists():
        frame = pd.read_parquet(groups)
        tables |= {name: _group_rows(frame, column) for column, name in GROUPS.items()}
    reliability = folder / "evaluation" / "reliability.parquet"
    if reliability.exists():
        tables["reliability"] = _reliability_rows(pd.read_parquet(reliability))
    return {name: frame for name, frame in tables.items() if len(frame)}


def _metric_rows(metrics: Metrics) -> pd.DataFrame:
    """One row a value, the network last, since nearly every question is about the final one."""
    rows = [
        (f"{data} | {name} | {network}", math.nan if value is None else value)
        for network, by_data in metrics.items()
        if isinstance(by_data, dict)  # the epoch of the best network stands beside them
        for data, values in by_data.items()
        for name, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["metric", "value"])


def _group_rows(groups: pd.DataFrame, column: str) -> pd.DataFrame:
    is_shown = (groups["checkpoint"] == "final") & (groups["group_by"] == column)
    shown = groups[is_shown & groups["data"].isin(GROUP_DATA)]
    shown = shown.sort_values(["data", "place"], key=_order, kind="stable")
    named = shown[list(GROUP_VALUES)].rename(columns=GROUP_VALUES)
    named.insert(0, column.replace("_", " "), shown["data"] + " | " + shown["group"].astype(str))
    return named.reset_index(drop=True)


def _reliability_rows(bins: pd.DataFrame) -> pd.DataFrame:
    """Bins of equal width, of the test data as the network was trained."""
    is_shown = (bins["checkpoint"] == "final") & (bins["data"] == "test")
    shown = bins[is_shown & (bins["binning"] == "equal_width") & (bins["num_examples"] > 0)]
    shown = shown.sort_values(["is_calibrated", "place"], ascending=[False, True])
    kind = shown["is_calibrated"].map({True: "calibrated", False: "as trained"})
    borders = [f" | {low:.3f} to {high:.3f}" for low, high in shown[["low", "high"]].to_numpy()]
    named = shown[["num_examples", "confidence", "accuracy"]]
    named = named.rename(columns={"num_examples": "examples"})
    named.insert(0, "confidence bin", kind + borders)
    return named.reset_index(drop=True)


def _order(column: pd.Series[str]) -> pd.Series[int] | pd.Series[str]:
    """Data in the order of `GROUP_DATA`, everything else as it is."""
    return column.map(GROUP_DATA.index) if column.name == "data" else column
