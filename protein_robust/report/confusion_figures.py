"""Which clans, or classes without one, are taken for each other, and what stays in a clan."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protein_robust.report.confusion import Confusion, confuse, confused_pairs, known_clan
from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.styles import PALETTE
from protein_robust.report.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_CLANS = 20
"""Clans in the matrix, those with the most errors between clans."""
NUM_PAIRS = 10
"""Pairs of clans that are named."""
_MAX_NAME = 18
_ERRORS = ("within a clan", "between clans")


def clan_confusion(
    predictions: pd.DataFrame,
    clans: Mapping[str, str | None],
    valid_accuracy: Mapping[tuple[str, str], float],
    losses: Sequence[str] = (),
) -> dict[str, Figure]:
    """Draw which clans the best method confuses, and how the errors of all methods divide.

    Args:
        predictions: of test data by final networks; columns ``noise, loss, clean_label,
            prediction``.
        clans: clan of each class; None makes the class a clan of its own.
        valid_accuracy: mean over seeds by noise and loss; the method with the highest one is shown
            in the matrix, with the predictions of all its seeds. Without any, the first one.
        losses: the order of the methods; by default that of the predictions.

    Returns:
        A figure for each noise setting with a wrong prediction.

    Raises:
        ValueError: if a column is missing.
    """
    names = ("noise", "loss", "clean_label", "prediction")
    require_columns(predictions, names, "predictions")
    figures = {}
    for noise, part in predictions.groupby("noise", sort=False, observed=True):
        order = [str(loss) for loss in dict.fromkeys([*losses, *part["loss"]])]
        by_loss = {
            loss: confuse(of_loss, clans)
            for loss in order
            if len(of_loss := part[part["loss"] == loss])
        }
        if not any(made.num_wrong for made in by_loss.values()):
            continue
        shown = max(by_loss, key=lambda loss: valid_accuracy.get((str(noise), loss), -1.0))
        has_clans = any(known_clan(clans, name) for name in part["clean_label"].unique())
        is_best = (str(noise), shown) in valid_accuracy and len(by_loss) > 1
        why = ", the method with the highest validation accuracy" if is_best else ""
        figures[str(noise)] = _draw(str(noise), (shown, why), by_loss, has_clans=has_clans)
    return figures


def _draw(
    noise: str, choice: tuple[str, str], by_loss: Mapping[str, Confusion], *, has_clans: bool
) -> Figure:
    """Draw matrix, named pairs and the errors of all methods."""
    from matplotlib.figure import Figure

    shown, why = choice
    confusion = by_loss[shown]
    chosen = _most_confused(confusion)
    side = max(3.2, 1.6 + 0.24 * len(chosen))
    lower = 0.9 + 0.27 * len(by_loss)
    figure = Figure(figsize=(side + 6.4, max(side + 1.2, 3.6 + lower)), layout="constrained")
    parts = figure.subfigures(1, 2, squeeze=False, width_ratios=(side + 1.2, 5.2))
    matrix, rest = parts[0]
    what = "clan" if has_clans else "class"
    if len(chosen):
        _draw_matrix(matrix.subplots(), confusion, chosen, what)
    pairs, bars = rest.subplots(2, 1, height_ratios=(3.4, lower))
    _draw_pairs(pairs, confusion, what)
    _draw_errors(bars, by_loss, has_clans=has_clans)
    notes = _notes(noise, shown + why, confusion, num_shown=len(chosen), what=what)
    add_caption(figure, notes)
    return figure


def _notes(noise: str, shown: str, confusion: Confusion, *, num_shown: int, what: str) -> list[str]:
    """Say what is shown, and how much is left out."""
    notes = [
        f"{noise}: test data, final networks. Left and top: {shown}; {confusion.num_wrong:,} of "
        f"{confusion.num_predictions:,} predictions are wrong."
    ]
    left_out = len(confusion.clans) - num_shown
    if left_out:
        many = _plural(what)
        kept = (
            "of the most confused pairs"
            if num_shown == NUM_CLANS
            else f"with errors between {many}"
        )
        total = len(confusion.clans)
        notes.append(f"The matrix has the {many} {kept}; {left_out:,} of {total:,} are left out.")
    return notes


def _plural(what: str) -> str:
    return "classes" if what == "class" else f"{what}s"


def _most_confused(confusion: Confusion) -> NDArray[np.int64]:
    """The clans of the most confused pairs, as many as there is room for, by name."""
    pairs = confused_pairs(confusion)
    names = dict.fromkeys(name for first, second, _ in pairs for name in (first, second))
    return np.sort([confusion.clans.index(name) for name in list(names)[:NUM_CLANS]]).astype(
        np.int64
    )


def _errors_among(confusion: Confusion, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Errors between some clans as a matrix, true ones as rows, 0 on the diagonal."""
    place = np.full(len(confusion.clans), -1)
    place[chosen] = np.arange(len(chosen))
    rows, columns = place[confusion.true], place[confusion.predicted]
    is_there = (rows >= 0) & (columns >= 0)
    made = np.zeros((len(chosen), len(chosen)), np.int64)
    made[rows[is_there], columns[is_there]] = confusion.numbers[is_there]
    return made


def _draw_matrix(axis: Axes, confusion: Confusion, chosen: NDArray[np.int64], what: str) -> None:
    """Draw which shares of the examples of a clan are predicted as others."""
    from matplotlib.ticker import PercentFormatter

    off = _errors_among(confusion, chosen)
    shares = off / np.maximum(confusion.totals[chosen], 1)[:, None]
    np.fill_diagonal(shares, np.nan)
    axis.set_facecolor("0.88")
    top = max(float(np.nanmax(shares)) if len(chosen) > 1 else 0.0, 1e-9)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=top)
    names = [textwrap.shorten(confusion.clans[i], _MAX_NAME, placeholder="…") for i in chosen]
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), names)
    for row, column in zip(*np.nonzero(off), strict=True):
        colour = "w" if shares[row, column] > 0.6 * top else "0.15"
        text = f"{off[row, column]:,}"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    title = f"Errors between {_plural(what)} (numbers: predictions)"
    finish_axis(axis, title=title, x=f"predicted {what}", y=f"true {what}")
    axis.grid(visible=False)
    axis.tick_params(labelsize=7)
    percent = PercentFormatter(1.0)
    bar = axis.figure.colorbar(image, ax=axis, shrink=0.6, format=percent, location="bottom")
    bar.set_label(f"of the examples of the true {what}", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _draw_pairs(axis: Axes, confusion: Confusion, what: str) -> None:
    """Name the pairs of clans that are confused most often."""
    pairs = confused_pairs(confusion)
    named = pairs[:NUM_PAIRS]
    texts = [f"{first} / {second}" for first, second, _ in named]
    values = [number for _, _, number in named]
    bars = axis.barh(range(len(named)), values, height=0.65, color=PALETTE[0])
    axis.bar_label(bars, padding=2, fontsize=7)
    axis.set_yticks(range(len(named)), [textwrap.shorten(t, 40, placeholder="…") for t in texts])
    axis.invert_yaxis()
    axis.set_xlim(0, 1.12 * max([*values, 1]))
    axis.locator_params(axis="x", nbins=5, integer=True)
    is_cut = len(pairs) > len(named)
    title = f"The most confused of {len(pairs):,} pairs" if is_cut else f"Confused {_plural(what)}"
    finish_axis(axis, title=title, x="wrong predictions, both directions", y="", grid="x")
    axis.tick_params(axis="y", labelsize=7)


def _draw_errors(axis: Axes, by_loss: Mapping[str, Confusion], *, has_clans: bool) -> None:
    """Draw for each method which share of its predictions errs, within and between clans."""
    from matplotlib.ticker import PercentFormatter

    totals = np.array([made.num_predictions for made in by_loss.values()])
    within = np.array([made.num_within for made in by_loss.values()]) / totals
    between = np.array([made.num_between for made in by_loss.values()]) / totals
    names = [textwrap.shorten(loss, 26, placeholder="…") for loss in by_loss]
    places = range(len(names))
    if has_clans:
        axis.barh(places, within, height=0.65, color=PALETTE[5], label=_ERRORS[0])
    axis.barh(
        places, between, left=within, height=0.65, color=PALETTE[1], edgecolor="w", lw=0,
        hatch="///", label=_ERRORS[1],
    )  # fmt: skip
    for place, total in enumerate(within + between):
        axis.text(total, place, f" {total:.1%}", va="center", fontsize=7)
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.18 * max(float((within + between).max()), 1e-9))
    axis.locator_params(axis="x", nbins=5)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    finish_axis(axis, title="All methods", x="errors, of the test predictions", y="", grid="x")
    if has_clans:  # else all errors are of one kind
        axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
