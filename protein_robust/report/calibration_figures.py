"""Whether confidence can be believed: reliability diagrams, and risk against coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.styles import PALETTE, Styles, add_legend, line_look, loss_styles
from protein_robust.report.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELIABILITY_COLUMNS = (
    "noise", "loss", "seed", "checkpoint", "data", "is_calibrated", "binning", "place", "low",
    "high", "num_examples", "confidence", "accuracy",
)  # fmt: skip
_RISK_COLUMNS = ("noise", "loss", "seed", "checkpoint", "data", "coverage", "risk")
_LOOKS: dict[bool, dict[str, Any]] = {
    False: {"color": PALETTE[0], "linestyle": "-", "marker": "o", "label": "as trained"},
    True: {
        "color": PALETTE[1],
        "linestyle": "--",
        "marker": "s",
        "markerfacecolor": "w",
        "label": "after temperature scaling",
    },
}
MIN_EXAMPLES = 10
"""Bins of fewer are drawn small and no line goes through them."""
_GRID = 200
"""Places at which risks of several seeds are averaged."""


def reliability_diagrams(
    reliability: pd.DataFrame, styles: Styles | None = None
) -> dict[str, Figure]:
    """Draw accuracy against confidence, before and after temperature scaling.

    A panel for each loss: final networks, test data, bins of equal width; below it how many
    predictions are in each bin. Bins of several seeds are put together; the calibration error in
    the title is the mean over seeds.

    Args:
        reliability: a row for each bin, columns `RELIABILITY_COLUMNS`.
        styles: of all losses, for their order.

    Returns:
        A figure for each noise setting.

    Raises:
        ValueError: if a column is missing.
    """
    require_columns(reliability, RELIABILITY_COLUMNS, "reliability")
    chosen = reliability[
        (reliability["checkpoint"] == "final")
        & (reliability["data"] == "test")
        & (reliability["binning"] == "equal_width")
        & (reliability["num_examples"] > 0)
    ]
    order = list(styles or loss_styles(reliability["loss"]))
    return {
        str(noise): _draw_reliability(
            part, [loss for loss in order if (part["loss"] == loss).any()]
        )
        for noise, part in chosen.groupby("noise", sort=False)
    }


def risk_coverage_curves(
    risk_coverage: pd.DataFrame, styles: Styles | None = None
) -> dict[str, Figure]:
    """Draw the share of wrong answers among those that are given, against how many are given.

    Final networks, test data, answered from the most confident prediction down; means over seeds.

    Args:
        risk_coverage: columns ``noise, loss, seed, checkpoint, data, coverage, risk``.
        styles: colour and line of each loss; by default `loss_styles` of this frame.

    Returns:
        A figure for each noise setting.

    Raises:
        ValueError: if a column is missing.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    require_columns(risk_coverage, _RISK_COLUMNS, "risk_coverage")
    styles = styles or loss_styles(risk_coverage["loss"])
    is_shown = (risk_coverage["checkpoint"] == "final") & (risk_coverage["data"] == "test")
    figures = {}
    for noise, part in risk_coverage[is_shown].groupby("noise", sort=False):
        figure = Figure(figsize=(8.0, 4.4), layout="constrained")
        axis = figure.subplots()
        for place, loss in enumerate(styles):
            of_loss = part[part["loss"] == loss]
            if len(of_loss):
                coverage, risk = mean_risk(of_loss)
                # Other places for each loss, so that no marker covers another.
                marks = (0.02 + 0.1 * place / len(styles), 0.12)
                axis.plot(coverage, risk, markevery=marks, **line_look(styles, loss))
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_xlim(0, 1.02)
        axis.set_ylim(bottom=0)
        x, y = "coverage: share of the test examples answered", "risk: wrong among the answered"
        finish_axis(axis, title=f"Risk and coverage: {noise}", x=x, y=y)
        add_legend(figure, [axis])
        figures[str(noise)] = figure
    return figures


def mean_risk(curves: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Average the curves of several seeds over their common range of coverage.

    Args:
        curves: of one loss, columns ``seed, coverage, risk``.

    Returns:
        Coverage and mean risk, each of shape (G,), float64; of one seed the curve itself.
    """
    by_seed = [
        part.sort_values("coverage")[["coverage", "risk"]].to_numpy(np.float64)
        for _, part in curves.groupby("seed")
    ]
    if len(by_seed) == 1:
        return by_seed[0][:, 0], by_seed[0][:, 1]
    low = max(points[0, 0] for points in by_seed)
    high = min(points[-1, 0] for points in by_seed)
    grid = np.linspace(low, high, _GRID)
    risks = [np.interp(grid, points[:, 0], points[:, 1]) for points in by_seed]
    return grid, np.mean(risks, axis=0)


def pooled_bins(bins: pd.DataFrame) -> pd.DataFrame:
    """Put the bins of several seeds together.

    Args:
        bins: of one loss, with or without temperature, none of them empty.

    Returns:
        A row for each place: ``low, high, num_examples, confidence, accuracy``; means weighted by
        the number of examples.
    """
    weighted = bins.assign(
        confidence=bins["confidence"] * bins["num_examples"],
        accuracy=bins["accuracy"] * bins["num_examples"],
    )
    made = weighted.groupby("place").agg(
        {"low": "first", "high": "first", "num_examples": "sum", "confidence": "sum",
         "accuracy": "sum"}
    )  # fmt: skip
    made["confidence"] /= made["num_examples"]
    made["accuracy"] /= made["num_examples"]
    return made


def count_steps(bins: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Give how many predictions there are between all borders, none where a bin is missing.

    Args:
        bins: of `pooled_bins`.

    Returns:
        Counts of shape (M,) and borders of shape (M + 1,).
    """
    edges = np.unique(np.concatenate((bins["low"], bins["high"])).round(9))
    counts = np.zeros(len(edges) - 1, np.int64)
    counts[np.searchsorted(edges, bins["low"].to_numpy().round(9))] = bins["num_examples"]
    return counts, edges


def error_of_bins(bins: pd.DataFrame) -> float:
    """Give the expected calibration error from the bins of each seed, the mean over seeds."""
    gap = (bins["accuracy"] - bins["confidence"]).abs() * bins["num_examples"]
    totals = bins.groupby("seed")["num_examples"].sum()
    return float((gap.groupby(bins["seed"]).sum() / totals).mean())


def _draw_reliability(part: pd.DataFrame, losses: list[str]) -> Figure:
    """Draw the panels of one noise setting."""
    from matplotlib.figure import Figure

    rows = -(-len(losses) // 4)
    columns = -(-len(losses) // rows)
    figure = Figure(figsize=(max(2.9 * columns, 5.8), 3.7 * rows + 0.9), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=(3, 1) * rows)
    axes = []
    for place, loss in enumerate(losses):
        row, column = divmod(place, columns)
        upper = figure.add_subplot(grid[2 * row, column])
        lower = figure.add_subplot(grid[2 * row + 1, column], sharex=upper)
        _draw_loss(upper, lower, part[part["loss"] == loss], loss)
        axes.append(upper)
        if column:
            upper.set_ylabel("")
            lower.set_ylabel("")
    noise = str(part["noise"].iloc[0])
    num_seeds = int(part["seed"].nunique())
    seeds = f", bins of {num_seeds} seeds put together" if num_seeds > 1 else ""
    notes = [
        f"{noise}: test data, final networks{seeds}. On the grey line confidence is the chance of "
        f"being right; below it a network is too sure of itself. Small marks: bins of fewer than "
        f"{MIN_EXAMPLES}."
    ]
    add_caption(figure, notes)
    add_legend(figure, axes)
    return figure


def _draw_loss(upper: Axes, lower: Axes, bins: pd.DataFrame, loss: str) -> None:
    """Draw one loss: reliability above, numbers of predictions below."""
    from matplotlib.ticker import PercentFormatter

    upper.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    errors = []
    for is_calibrated, look in _LOOKS.items():
        of_kind = bins[bins["is_calibrated"].astype(bool) == is_calibrated]
        if of_kind.empty:
            continue
        pooled = pooled_bins(of_kind)
        many = pooled[pooled["num_examples"] >= MIN_EXAMPLES]
        few = pooled[pooled["num_examples"] < MIN_EXAMPLES]
        upper.plot(many["confidence"], many["accuracy"], markersize=4.5, linewidth=1.3, **look)
        small = {**look, "linestyle": "", "label": "", "alpha": 0.45}
        upper.plot(few["confidence"], few["accuracy"], markersize=2.5, **small)
        style = {name: look[name] for name in ("color", "linestyle")}
        lower.stairs(*count_steps(pooled), linewidth=1.3, **style)
        errors.append(f"{100 * error_of_bins(of_kind):.1f}")
    change = " \N{RIGHTWARDS ARROW} ".join(errors)
    finish_axis(upper, title=f"{loss}\nECE {change} %", x="", y="accuracy")
    finish_axis(lower, title="", x="confidence (max p)", y="number", grid="y")
    upper.tick_params(labelbottom=False)
    for axis in (upper.xaxis, upper.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.03)
    upper.set_xticks([0, 0.25, 0.5, 0.75, 1])
    lower.set_yscale("symlog", linthresh=1)
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.set_ylim(bottom=0)
