"""How accuracy and confidence bear growing noise: more wrong labels, less of each sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.styles import Styles, add_legend, line_look, loss_styles
from protein_robust.report.tables import check_results, require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURED = (
    ("accuracy", "Accuracy", "test accuracy"),
    ("expected_calibration_error", "Calibration error (lower is better)", "ECE, 15 bins"),
    ("entropy_confidence", "Confidence by entropy", "mean 1 - H(p)/H(u)"),
    ("max_probability", "Confidence by largest probability", "mean max p"),
)
"""What is drawn: metric, title of its panel, name of its axis."""


def robustness_by_rate(
    results: pd.DataFrame, rates: pd.DataFrame, styles: Styles | None = None
) -> dict[str, Figure]:
    """Draw the test figures of final networks against the rate of wrong training labels.

    A point is the mean over seeds, its bar the sample standard deviation.

    Args:
        results: one row a value.
        rates: columns ``noise``, ``group`` (of settings that differ in the rate only) and
            ``label_rate``; a setting may stand in several groups.
        styles: colour and line of each loss; by default `loss_styles` of these results.

    Returns:
        A figure for each group that has values at two rates or more.

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    check_results(results)
    require_columns(rates, ("noise", "group", "label_rate"), "rates")
    styles = styles or loss_styles(results["loss"])
    of_test = results[(results["checkpoint"] == "final") & (results["data"] == "test")]
    wide = _wide(of_test)
    figures = {}
    for group, settings in rates.groupby("group", sort=False):
        part = wide.merge(settings[["noise", "label_rate"]], on="noise")
        if part["label_rate"].nunique() > 1:
            crops = ", cropped like the training data" if _has_crops(results) else ""
            note = f"{group}: test data{crops}; final networks."
            figure = _draw_panels(part, "label_rate", styles, notes=[note])
            for axis in figure.axes:
                axis.set_xlabel("share of wrong training labels", fontsize=9)
            figures[str(group)] = figure
    return figures


def robustness_by_kept_fraction(
    kept_fractions: pd.DataFrame, styles: Styles | None = None
) -> dict[str, Figure]:
    """Draw the test figures of final networks against how much of each sequence is left.

    A point is the mean over seeds, its bar the sample standard deviation.

    Args:
        kept_fractions: columns ``noise, loss, seed, kept_fraction`` and those metrics of
            `MEASURED` that there are.
        styles: colour and line of each loss; by default `loss_styles` of this frame.

    Returns:
        A figure for each noise setting with two fractions or more.

    Raises:
        ValueError: if a column is missing.
    """
    require_columns(kept_fractions, ("noise", "loss", "seed", "kept_fraction"), "kept_fractions")
    styles = styles or loss_styles(kept_fractions["loss"])
    figures = {}
    for noise, part in kept_fractions.groupby("noise", sort=False):
        if part["kept_fraction"].nunique() > 1 and _panels(part):
            note = f"{noise}: test sequences cut to a fixed share of their length; final networks."
            figure = _draw_panels(part, "kept_fraction", styles, notes=[note])
            for axis in figure.axes:
                axis.set_xlabel("kept share of each test sequence", fontsize=9)
                axis.invert_xaxis()  # the harder task on the right, as with wrong labels
            figures[str(noise)] = figure
    return figures


def _has_crops(results: pd.DataFrame) -> bool:
    """Whether test data are also measured as they are, which is where crops are possible."""
    return bool((results["data"] == "test_whole").any())


def _wide(results: pd.DataFrame) -> pd.DataFrame:
    """One row for each noise, loss and seed, a column for each metric."""
    named = results[results["metric"].isin([metric for metric, _, _ in MEASURED])]
    wide = named.pivot(index=["noise", "loss", "seed"], columns="metric", values="value")
    return wide.reset_index()


def _panels(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Those of which there are values."""
    return [panel for panel in MEASURED if panel[0] in frame and frame[panel[0]].notna().any()]


def _draw_panels(frame: pd.DataFrame, x: str, styles: Styles, *, notes: Sequence[str]) -> Figure:
    """Draw a panel for each metric over one column, a line for each loss."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    panels = _panels(frame)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.9 * columns, 3.0 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (metric, title, name) in zip(axes, panels, strict=False):
        _draw_lines(axis, frame.dropna(subset=[metric]), (x, metric), styles)
        finish_axis(axis, title=title, x="", y=name)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_xticks(sorted(frame[x].unique()))
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])  # room for the marks at the top
    for axis in axes[len(panels) :]:
        axis.remove()
    num_seeds = int(frame["seed"].nunique())
    seeds = f"Mean ± sample sd over {num_seeds} seeds." if num_seeds > 1 else "One seed."
    add_caption(figure, [*notes, seeds])
    add_legend(figure, axes[: len(panels)])
    return figure


def _draw_lines(axis: Axes, frame: pd.DataFrame, names: tuple[str, str], styles: Styles) -> None:
    """Draw means over seeds with their spread; points of several losses a little apart."""
    x, metric = names
    span = float(frame[x].max() - frame[x].min())
    for place, loss in enumerate(styles):
        groups = frame[frame["loss"] == loss].groupby(x)[metric]
        mean, spread = groups.mean(), groups.std(ddof=1)
        if mean.empty:
            continue
        shift = (place - (len(styles) - 1) / 2) * 0.015 * span / max(1, len(styles) / 6)
        axis.errorbar(
            mean.index + shift,
            mean,
            spread.fillna(0) if spread.notna().any() else None,
            elinewidth=0.8,
            capsize=2,
            **line_look(styles, loss),
        )
