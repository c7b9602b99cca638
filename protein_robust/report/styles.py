"""One look for each loss in all figures: a colour, a line, a marker and a hatch.

Colours alone are not enough: print is often black and white, and not everybody tells them apart. So
curves have markers, and bars have hatches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008, without the yellow, too pale for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
"""As many as make each of 25 losses differ from every other one also without its colour."""
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo", "|||", "**", "OO")
MAX_COLUMNS = 6
"""Of a legend."""

Styles = Mapping[str, tuple[str, str]]
"""(colour, line style) by loss, in the order of the study."""


def loss_styles(losses: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Give each loss a colour and a line style of its own.

    Args:
        losses: names in the study's order; more than seven repeat the colours, dashed.

    Returns:
        (colour, line style) by loss.
    """
    names = list(dict.fromkeys(losses))
    colours, lines = len(PALETTE), len(LINE_STYLES)
    return {
        name: (PALETTE[i % colours], LINE_STYLES[i // colours % lines])
        for i, name in enumerate(names)
    }


def loss_markers(styles: Styles) -> dict[str, str]:
    """Give each loss a marker, by its place among the losses."""
    return {loss: MARKERS[place % len(MARKERS)] for place, loss in enumerate(styles)}


def loss_hatches(styles: Styles) -> dict[str, str]:
    """Give each loss a hatch for its bars, by its place among the losses."""
    return {loss: HATCHES[place % len(HATCHES)] for place, loss in enumerate(styles)}


def line_look(styles: Styles, loss: str) -> dict[str, Any]:
    """Give what `Axes.plot` needs to draw the curve of a loss.

    Args:
        styles: of all losses.
        loss: one of them.

    Returns:
        Colour, line style, marker and label.
    """
    colour, line = styles[loss]
    return {
        "color": colour,
        "linestyle": line,
        "linewidth": 1.4,
        "marker": loss_markers(styles)[loss],
        "markersize": 5,
        "markeredgecolor": "w",
        "markeredgewidth": 0.3,
        "label": loss,
    }


def add_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Put one legend of all panels under them, as many entries side by side as there is room for.

    Args:
        figure: gets the legend.
        axes: its panels.
    """
    entries: dict[str, Artist] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    # Inches for a handle and its air, and for a letter of 8 points.
    widest = 0.65 + 0.075 * max(map(len, entries), default=0)
    columns = max(1, min(len(entries), MAX_COLUMNS, int(figure.get_figwidth() / widest)))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=3,  # a dashed line shows its dashes
    )
