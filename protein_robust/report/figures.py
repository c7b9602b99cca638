"""What happened during training, and how the losses compare, as figures.

Figures are made without pyplot, so nothing here depends on a display or on what was drawn before.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from protein_robust.report.styles import (
    LINE_STYLES,
    PALETTE,
    add_legend,
    loss_hatches,
    loss_markers,
    loss_styles,
)
from protein_robust.report.tables import check_results, require_columns

__all__ = [
    "LINE_STYLES",
    "PALETTE",
    "loss_styles",
    "method_comparison",
    "training_dynamics",
    "trust_and_emphasis",
]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (
    ("train/correct_fitting", "Correct fitting", "accuracy on clean train labels"),
    ("train/wrong_fitting", "Wrong fitting", "wrong labels predicted as given"),
    ("train/correction", "Correction", "wrong labels predicted as they were"),
    ("train/clean_entropy", "Entropy of clean subset", "mean H(p)/H(u)"),
    ("train/noisy_entropy", "Entropy of noisy subset", "mean H(p)/H(u)"),
    ("test/accuracy", "Generalisation", "test accuracy"),
)
_DESCRIBED = (
    ("train/trust", "Trust in the prediction", "mean $\\epsilon = g(t) \\, l(p)$"),
    ("train/global_trust", "Trust in the network", "$g(t)$"),
    ("train/local_trust", "Trust in an example", "mean $l(p)$"),
    ("train/emphasis", "Emphasis", "mean weight $w(p_y)$"),
    ("train/emphasis_variance", "Emphasis variance", "$\\sigma$ of $w(p_y)$"),
)
_BARS = (
    ("accuracy", "Test accuracy"),
    ("entropy_confidence", "Test 1 - H(p)/H(u)"),
    ("max_probability", "Test max p"),
    ("expected_calibration_error", "Test calibration error (lower is better)"),
)


def training_dynamics(
    history: pd.DataFrame, styles: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, Figure]:
    """Draw how each loss fits, corrects and generalises over the epochs.

    Up to six panels: correct fitting, wrong fitting, correction, entropy of the clean and of the
    noisy subset, generalisation. A line is the mean over seeds, its band the sample standard
    deviation. A panel without values, as those of wrong labels where there are none, is left out.

    Args:
        history: one row for each noise, loss, seed and epoch, one column for each metric.
        styles: colour and line of each loss; by default `loss_styles` of this history.

    Returns:
        A figure for each noise setting that has any of these values.

    Raises:
        ValueError: if ``noise``, ``loss``, ``seed`` or ``epoch`` is missing.
    """
    return _curves_by_noise(history, _PANELS, styles or {})


def trust_and_emphasis(
    history: pd.DataFrame, styles: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, Figure]:
    """Draw what the losses say of the training examples over the epochs.

    For ProSelfLC the trust epsilon and its two factors, g(t) and l(p); for derivative manipulation
    the weights and their variance.

    Args:
        history: one row for each noise, loss, seed and epoch, one column for each metric.
        styles: colour and line of each loss; by default `loss_styles` of this history.

    Returns:
        A figure for each noise setting that has any of these values.

    Raises:
        ValueError: if ``noise``, ``loss``, ``seed`` or ``epoch`` is missing.
    """
    return _curves_by_noise(history, _DESCRIBED, styles or {})


def _curves_by_noise(
    history: pd.DataFrame,
    all_panels: Sequence[tuple[str, str, str]],
    styles: Mapping[str, tuple[str, str]],
) -> dict[str, Figure]:
    """Draw those panels of which there are values, a figure for each noise setting."""
    require_columns(history, ("noise", "loss", "seed", "epoch"), "history")
    styles = styles or loss_styles(history["loss"])
    figures = {}
    for noise, part in history.groupby("noise", sort=False):
        panels = [
            panel for panel in all_panels if panel[0] in part and part[panel[0]].notna().any()
        ]
        if panels:
            figures[str(noise)] = _draw_dynamics(part, panels, styles, title=str(noise))
    return figures


def method_comparison(
    results: pd.DataFrame,
    checkpoint: Literal["final", "best"] = "final",
    *,
    styles: Mapping[str, tuple[str, str]] | None = None,
) -> Figure | None:
    """Draw test accuracy, confidence and calibration by loss, a group for each noise setting.

    Bars are means over seeds, error bars sample standard deviations.

    Args:
        results: one row a value.
        checkpoint: which weights were evaluated.
        styles: colour of each loss; by default `loss_styles` of these results.

    Returns:
        The figure, None where there is nothing to draw.

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    from matplotlib.figure import Figure

    check_results(results)
    styles = styles or loss_styles(results["loss"])
    of_test = results[(results["checkpoint"] == checkpoint) & (results["data"] == "test")]
    of_test = of_test.dropna(subset=["value"])
    bars = [bar for bar in _BARS if (of_test["metric"] == bar[0]).any()]
    if not bars:
        return None
    figure = Figure(figsize=(9.6, 2.3 * len(bars) + 0.9), layout="constrained")
    axes = figure.subplots(len(bars), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (metric, title) in zip(axes, bars, strict=True):
        _draw_bars(axis, of_test[of_test["metric"] == metric], styles, noises=_order(of_test))
        axis.set_title(title, loc="left", fontsize=10)
    add_legend(figure, axes)
    return figure


def _draw_dynamics(
    history: pd.DataFrame,
    panels: Sequence[tuple[str, str, str]],
    styles: Mapping[str, tuple[str, str]],
    *,
    title: str,
) -> Figure:
    """Draw the panels of one noise setting."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    num_columns = min(3, len(panels))
    num_rows = -(-len(panels) // num_columns)
    figure = Figure(figsize=(3.6 * num_columns, 2.9 * num_rows + 0.8), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axis, (column, name, label) in zip(axes, panels, strict=False):
        _draw_curves(axis, history, column, styles)
        axis.set_title(name, loc="left", fontsize=10)
        if column.endswith(("fitting", "correction", "accuracy")):
            axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_ylabel(label, fontsize=8)
        axis.set_xlabel("epoch", fontsize=8)
    for axis in axes[len(panels) :]:
        axis.remove()
    num_seeds = history["seed"].nunique()
    note = f" (mean ± sample sd over {num_seeds} seeds)" if num_seeds > 1 else ""
    figure.suptitle(title + note, fontsize=11, x=0.01, ha="left")
    add_legend(figure, axes[: len(panels)])
    return figure


def _draw_curves(
    axis: Axes, history: pd.DataFrame, column: str, styles: Mapping[str, tuple[str, str]]
) -> None:
    """Draw one metric over the epochs, a line for each loss."""
    from matplotlib.ticker import MaxNLocator

    markers = loss_markers(styles)
    for loss, (colour, line) in styles.items():
        part = history[history["loss"] == loss].dropna(subset=[column])
        if part.empty:
            continue  # and no line in the legend
        groups = part.groupby("epoch")[column]
        mean, spread = groups.mean(), groups.std(ddof=1)
        # Markers tell losses apart in print, at other epochs for each so that none covers another.
        place = list(styles).index(loss)
        step = max(1, len(mean) // 6)
        axis.plot(
            mean.index,
            mean,
            color=colour,
            linestyle=line,
            marker=markers[loss],
            markevery=(place % step, step),
            markersize=4,
            label=loss,
        )
        if spread.notna().any():
            axis.fill_between(
                mean.index, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
            )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    epochs = history["epoch"]
    axis.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)  # also where there is one epoch only
    _tidy(axis)


def _draw_bars(
    axis: Axes,
    values: pd.DataFrame,
    styles: Mapping[str, tuple[str, str]],
    *,
    noises: list[str],
) -> None:
    """Draw one metric, a group for each noise setting, a bar for each loss."""
    from matplotlib.ticker import PercentFormatter

    width = 0.8 / max(len(styles), 1)
    hatches = loss_hatches(styles)
    for place, (loss, (colour, _)) in enumerate(styles.items()):
        groups = values[values["loss"] == loss].groupby("noise")["value"]
        mean, spread = groups.mean().reindex(noises), groups.std(ddof=1).reindex(noises)
        at = np.arange(len(noises)) + (place - (len(styles) - 1) / 2) * width
        hatch = hatches[loss]
        axis.bar(at, mean, width * 0.9, color=colour, edgecolor="w", lw=0, hatch=hatch, label=loss)
        has_spread = spread.notna().to_numpy()
        axis.errorbar(
            at[has_spread],
            mean[has_spread],
            spread[has_spread],
            fmt="none",
            ecolor="0.2",
            capsize=2,
        )
    axis.set_xticks(np.arange(len(noises)), [textwrap.fill(noise, 22) for noise in noises])
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    _tidy(axis)


def _order(results: pd.DataFrame) -> list[str]:
    """Give the noise settings in order of first appearance."""
    return [str(noise) for noise in results["noise"].unique()]


def _tidy(axis: Axes) -> None:
    """Leave out what carries no information."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="0.9")
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
