"""What all figures share: named axes, a note above the panels, and the files they become."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from protein_robust.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
LETTERS_PER_INCH = 14
"""Of a note above the panels, and a little to spare."""
ENDINGS = (".png", ".svg")


def finish_axis(
    axis: Axes, *, title: str, x: str, y: str, grid: Literal["both", "x", "y"] = "both"
) -> None:
    """Name an axis pair, and leave out what carries no information.

    Args:
        axis: what to finish.
        title: above it, on the left.
        x: what the horizontal axis shows.
        y: what the vertical axis shows.
        grid: which lines to draw.
    """
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlabel(x, fontsize=9)
    axis.set_ylabel(y, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="0.9")
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)


def add_caption(figure: Figure, notes: Sequence[str]) -> None:
    """Say above the panels what to know of them.

    Args:
        figure: what to describe.
        notes: a line or more for each, in lines as wide as the figure.
    """
    width = int(LETTERS_PER_INCH * figure.get_figwidth())
    lines = [textwrap.fill(note, width) for note in notes]
    figure.suptitle("\n".join(lines), fontsize=8, x=0.01, ha="left", color="0.3")


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as ``.png`` and ``.svg``.

    Args:
        figures: by the stem of their files.
        folder: made where it is missing.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        save_figure(figure, folder / f"{stem}{ending}")
        for stem, figure in figures.items()
        for ending in ENDINGS
    ]


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure so that the same values give the same bytes.

    Args:
        figure: what to write.
        path: the file; its ending says the format.

    Returns:
        ``path``.
    """
    import matplotlib as mpl

    metadata = {"Date": None} if path.suffix == ".svg" else None
    with mpl.rc_context({"svg.hashsalt": path.name}):
        return replace_file(
            path, lambda partial: figure.savefig(partial, dpi=DPI, metadata=metadata)
        )


def new_stem(name: str, taken: Container[str]) -> str:
    """Make the stem of a file name from words and underscores, one that is not taken yet.

    Args:
        name: any text.
        taken: stems that are in use.

    Returns:
        The stem.

    Example:
        >>> new_stem("crop + label 40%", {"crop_label_40"})
        'crop_label_40_2'
    """
    stem = re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_")
    made, number = stem, 2
    while made in taken:
        made, number = f"{stem}_{number}", number + 1
    return made
