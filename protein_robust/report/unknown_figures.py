"""How well each score tells sequences of no known family from those of the test set."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.styles import Styles, add_legend, loss_hatches, loss_styles
from protein_robust.report.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNKNOWN_COLUMNS = ("noise", "loss", "seed", "kind", "score", "num_unknown", "auroc")
CHANCE = 0.5
STACKED_FROM = 8
"""With more losses than this the panels stand one below the other."""


def unknown_detection(unknown: pd.DataFrame, styles: Styles | None = None) -> dict[str, Figure]:
    """Draw the AUROC of each score, a panel for each kind of unknown, a bar for each loss.

    Bars begin at one half, which is what chance gives; those below it hang down. Means over seeds,
    with the sample standard deviation.

    Args:
        unknown: a row for each kind and score, columns `UNKNOWN_COLUMNS`.
        styles: colour of each loss; by default `loss_styles` of this frame.

    Returns:
        A figure for each noise setting that has values.

    Raises:
        ValueError: if a column is missing.
    """
    require_columns(unknown, UNKNOWN_COLUMNS, "unknown")
    styles = styles or loss_styles(unknown["loss"])
    there = unknown.dropna(subset=["auroc"])
    return {
        str(noise): _draw_kinds(part, styles) for noise, part in there.groupby("noise", sort=False)
    }


def _draw_kinds(part: pd.DataFrame, styles: Styles) -> Figure:
    """Draw the panels of one noise setting."""
    from matplotlib.figure import Figure

    kinds, scores = list(part["kind"].unique()), list(part["score"].unique())
    shown = {loss: look for loss, look in styles.items() if (part["loss"] == loss).any()}
    columns = 2 if len(kinds) > 1 and len(shown) <= STACKED_FROM else 1
    rows = -(-len(kinds) // columns)
    width = min(10.0, max(4.2, len(scores) * (0.35 + 0.12 * len(shown))))
    figure = Figure(figsize=(columns * width, 2.6 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axis, kind in zip(axes, kinds, strict=False):
        of_kind = part[part["kind"] == kind]
        _draw_scores(axis, of_kind, scores, styles=shown, hatches=loss_hatches(styles))
        number = int(of_kind["num_unknown"].max())
        title = f"{str(kind).replace('_', ' ').capitalize()} (n = {number:,})"
        finish_axis(axis, title=title, x="", y="AUROC", grid="y")
    for axis in axes[len(kinds) :]:
        axis.remove()
    noise, num_seeds = str(part["noise"].iloc[0]), int(part["seed"].nunique())
    spread = f" Mean ± sample sd over {num_seeds} seeds." if num_seeds > 1 else ""
    note = (
        f"{noise}: unknown against known test sequences, final networks. 1: told apart without "
        f"fault; 0.5, where the bars begin: chance.{spread}"
    )
    add_caption(figure, [note])
    add_legend(figure, axes[: len(kinds)])
    return figure


def _draw_scores(
    axis: Axes,
    part: pd.DataFrame,
    scores: list[str],
    *,
    styles: Styles,
    hatches: dict[str, str],
) -> None:
    """Draw one kind: a group of bars for each score."""
    width = 0.8 / len(styles)
    for place, (loss, (colour, _)) in enumerate(styles.items()):
        groups = part[part["loss"] == loss].groupby("score")["auroc"]
        mean, spread = groups.mean().reindex(scores), groups.std(ddof=1).reindex(scores)
        at = np.arange(len(scores)) + (place - (len(styles) - 1) / 2) * width
        axis.bar(
            at, mean - CHANCE, width * 0.9, bottom=CHANCE, color=colour, edgecolor="w", lw=0,
            hatch=hatches[loss], label=loss,
        )  # fmt: skip
        has_spread = spread.notna().to_numpy()
        bars = (at[has_spread], mean[has_spread], spread[has_spread])
        axis.errorbar(*bars, fmt="none", ecolor="0.2", elinewidth=0.8, capsize=1.5)
    axis.axhline(CHANCE, color="0.2", linewidth=0.8)
    names = [textwrap.fill(str(score).replace("_", " "), 12) for score in scores]
    axis.set_xticks(np.arange(len(scores)), names)
    axis.set_ylim(top=1.02)
