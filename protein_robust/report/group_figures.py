"""Where a network is right: by size of the class, by length, by how much of a sequence is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.styles import Styles, add_legend, line_look, loss_styles
from protein_robust.report.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUP_COLUMNS = (
    "noise", "loss", "seed", "checkpoint", "data", "group_by", "group", "place", "num_examples",
    "accuracy", "accuracy_low", "accuracy_high",
)  # fmt: skip
STACKED_FROM = 8
"""With more losses than this the panels stand one below the other."""
_PANELS = (
    ("family_size", "By size of the class", "training examples of the class"),
    ("length", "By length", "residues that the network sees"),
    ("kept_fraction", "By kept part", "share of the sequence that the crop keeps"),
)


def accuracy_by_group(groups: pd.DataFrame, styles: Styles | None = None) -> dict[str, Figure]:
    """Draw the test accuracy of final networks by size of the class, by length, by kept part.

    Bars are Wilson intervals of one network's test examples; point and interval are means over
    seeds. A panel is left out where all examples are in one group.

    Args:
        groups: a row for each group, columns `GROUP_COLUMNS`.
        styles: colour and line of each loss; by default `loss_styles` of this frame.

    Returns:
        A figure for each noise setting that has several groups of any kind.

    Raises:
        ValueError: if a column is missing.
    """
    require_columns(groups, GROUP_COLUMNS, "groups")
    styles = styles or loss_styles(groups["loss"])
    chosen = groups[
        (groups["checkpoint"] == "final")
        & (groups["data"] == "test")
        & (groups["num_examples"] > 0)
        & groups["accuracy"].notna()
    ]
    figures = {}
    for noise, part in chosen.groupby("noise", sort=False):
        panels = [
            panel for panel in _PANELS
            if part.loc[part["group_by"] == panel[0], "place"].nunique() > 1
        ]  # fmt: skip
        if panels:
            figures[str(noise)] = _draw_groups(part, panels, styles)
    return figures


def _draw_groups(part: pd.DataFrame, panels: list[tuple[str, str, str]], styles: Styles) -> Figure:
    """Draw the panels of one noise setting."""
    from matplotlib.figure import Figure

    numbers = [part.loc[part["group_by"] == name, "place"].nunique() for name, _, _ in panels]
    # With many losses the groups are wide, so the panels stand one below the other.
    is_stacked = len(styles) > STACKED_FROM
    if is_stacked:
        figure = Figure(figsize=(10.0, 2.7 * len(panels) + 1.2), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, sharey=True)[:, 0]
    else:
        each = 0.62 + 0.055 * len(styles)  # room for the losses side by side
        width = max(5.6, sum(max(2.6, each * number) for number in numbers) + 0.9)
        figure = Figure(figsize=(min(width, 14), 4.3), layout="constrained")
        ratios = [max(2, number) for number in numbers]
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True, width_ratios=ratios)[0]
    for axis, (name, title, x) in zip(axes, panels, strict=True):
        _draw_panel(axis, part[part["group_by"] == name], styles)
        y = "test accuracy" if is_stacked or axis is axes[0] else ""
        finish_axis(axis, title=title, x=x, y=y, grid="y")
    noise, num_seeds = str(part["noise"].iloc[0]), int(part["seed"].nunique())
    mean = f", means over {num_seeds} seeds" if num_seeds > 1 else ""
    note = f"{noise}: final networks; bars are 95 % Wilson intervals of one network's test "
    add_caption(figure, [f"{note}examples{mean}; n: test examples."])
    add_legend(figure, axes)
    return figure


def _draw_panel(axis: Axes, part: pd.DataFrame, styles: Styles) -> None:
    """Draw one kind of groups, the losses side by side in each."""
    from matplotlib.ticker import PercentFormatter

    names = part.groupby("place").agg({"group": "first", "num_examples": "max"})
    at_of = {place: at for at, place in enumerate(names.index)}
    for number, loss in enumerate(styles):
        of_loss = part[part["loss"] == loss]
        if of_loss.empty:
            continue
        mean = of_loss.groupby("place")[["accuracy", "accuracy_low", "accuracy_high"]].mean()
        shift = (number - (len(styles) - 1) / 2) * 0.7 / len(styles)
        at = np.array([at_of[place] for place in mean.index]) + shift
        below = (mean["accuracy"] - mean["accuracy_low"]).clip(lower=0)
        above = (mean["accuracy_high"] - mean["accuracy"]).clip(lower=0)
        look = {**line_look(styles, loss), "linewidth": 0.8}
        axis.errorbar(at, mean["accuracy"], [below, above], elinewidth=0.9, capsize=1.5, **look)
    texts = [
        f"{group}\nn = {number:,}"
        for group, number in zip(names["group"], names["num_examples"], strict=True)
    ]
    axis.set_xticks(range(len(names)), texts)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_ylim(top=1.01)
