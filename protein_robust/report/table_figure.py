"""The talk's table as a picture, as it stands on the slide."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

import pandas as pd

from protein_robust.report.rendering import caption, display_frame
from protein_robust.report.tables import Table, talk_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES_IN_A_BLOCK = 9
"""More losses go below, so that the numbers stay readable on a page."""

_ROW = 0.27
"""Height of a row, inches."""
_LETTER = 0.083
"""Width of a letter of a cell, inches, on the wide side."""
_NAME_LETTERS = 12
"""Longer names of losses are broken."""
_LEAST_WIDTH = 4.6
"""Room for the line above the table, inches."""
_SHADE = "0.94"


def protein_table_figure(results: pd.DataFrame) -> Figure | None:
    """Draw accuracy, 1 - H(p)/H(u) and max p, on test and training data, for each loss.

    The numbers are the text of `table.md`: percent, mean and sample sd over seeds, the best of a
    row bold. Losses stand side by side, `LOSSES_IN_A_BLOCK` at most, the others in blocks below.

    Args:
        results: one row a value.

    Returns:
        The figure, None where there is nothing to show.

    Raises:
        ValueError: if a column or a key is missing, or a value is there twice.
    """
    from matplotlib.figure import Figure

    table = talk_table(results)
    if table.mean.empty:
        return None
    frame = display_frame(table)
    losses = [str(loss) for loss in table.mean.columns]
    num_blocks = -(-len(losses) // LOSSES_IN_A_BLOCK)
    per_block = -(-len(losses) // num_blocks)
    blocks = [losses[at : at + per_block] for at in range(0, len(losses), per_block)]
    cell = _LETTER * max(8, *(frame[loss].map(len).max() for loss in losses), *_name_widths(losses))
    names = _LETTER * max(len(f"{metric}, train") for metric in frame["metric"])
    width = max(_LEAST_WIDTH, 0.3 + max(names, 1.6) + cell * per_block)
    header = 0.17 * max(textwrap.fill(loss, _NAME_LETTERS).count("\n") + 1 for loss in losses)
    block = header + 0.2 + _ROW * (len(frame) + frame["noise"].nunique())
    height = 0.35 + num_blocks * (block + 0.15)
    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)  # inches from the top
    axis.text(0.12, 0.2, f"{caption(table)}.", fontsize=8, color="0.3", va="center")
    for place, of_block in enumerate(blocks):
        top = 0.35 + place * (block + 0.15)
        columns = [max(names, 1.6) + 0.15 + cell * (i + 0.5) for i in range(len(of_block))]
        _draw_block(axis, table, of_block, columns=columns, top=top, header=header)
    return figure


def _name_widths(losses: list[str]) -> list[int]:
    """Letters in the longest line of each name, and one of air."""
    return [max(map(len, textwrap.wrap(loss, _NAME_LETTERS))) + 1 for loss in losses]


def _draw_block(
    axis: Axes,
    table: Table,
    losses: list[str],
    *,
    columns: list[float],
    top: float,
    header: float,
) -> None:
    """Draw the columns of some losses under their names; places in inches."""
    right = axis.get_xlim()[1] - 0.1
    for x, loss in zip(columns, losses, strict=True):
        text = textwrap.fill(loss, _NAME_LETTERS)
        axis.text(x, top + header, text, fontsize=8.5, ha="center", va="bottom", linespacing=0.95)
    y = top + header + 0.08
    _rule(axis, y, right, 1.2)
    rows = list(enumerate(display_frame(table).to_dict("records")))
    for noise, of_noise in groupby(rows, key=lambda row: row[1]["noise"]):
        axis.text(0.12, y + _ROW / 2, noise, fontsize=9, style="italic", va="center")
        y += _ROW
        for place, row in of_noise:
            if row["data"] == "test":
                axis.axhspan(y, y + _ROW, 0.1 / right, 1 - 0.1 / right, color=_SHADE, lw=0)
            name = f"{row['metric']}, {row['data']}"
            axis.text(0.22, y + _ROW / 2, name, fontsize=8.5, va="center")
            marks = table.is_best.iloc[place]
            for x, loss in zip(columns, losses, strict=True):
                weight = "bold" if marks[loss] else "normal"
                axis.text(
                    x, y + _ROW / 2, row[loss], fontsize=8.5, weight=weight, ha="center",
                    va="center",
                )  # fmt: skip
            y += _ROW
        _rule(axis, y, right, 0.6)


def _rule(axis: Axes, y: float, right: float, width: float) -> None:
    """A line across the table."""
    axis.plot([0.1, right], [y, y], color="0.2", linewidth=width)
