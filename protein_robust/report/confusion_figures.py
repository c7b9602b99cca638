"""Which clans are taken for each other, and how many errors stay within a clan."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
NO_ANSWER = "no answer"
"""Stands for a missing prediction, as of a search without a hit."""
_MAX_NAME = 18
_ERRORS = ("within a clan", "between clans")


@dataclass(frozen=True)
class Confusion:
    """Predictions by clan, of one method.

    Attributes:
        clans: names, of length G; a family without a clan is one of its own.
        totals: predictions for each true clan, shape (G,), int64.
        true: true clan of each kind of error between clans, shape (P,), int64.
        predicted: the clan that was predicted, shape (P,), int64.
        numbers: how often, shape (P,), int64, above 0.
        num_within: wrong predictions of another family of the true clan.
    """

    clans: Sequence[str]
    totals: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    numbers: NDArray[np.int64]
    num_within: int

    @property
    def num_between(self) -> int:
        """Wrong predictions of another clan."""
        return int(self.numbers.sum())

    @property
    def num_predictions(self) -> int:
        """All of them."""
        return int(self.totals.sum())

    @property
    def num_wrong(self) -> int:
        """Both kinds."""
        return self.num_within + self.num_between


def known_clan(clans: Mapping[str, str | None], family: str) -> str | None:
    """Look up the clan of a family; a missing value of a table is none."""
    clan = clans.get(family)
    return clan if isinstance(clan, str) and clan else None


def confuse(predictions: pd.DataFrame, clans: Mapping[str, str | None]) -> Confusion:
    """Count predictions by true and predicted clan.

    Only pairs that occur are kept, so that thousands of clans need no square matrix.

    Args:
        predictions: columns ``clean_label`` and ``prediction``, accessions of families; a missing
            prediction is an error between clans, with `NO_ANSWER` in the place of the other clan.
        clans: clan of each family; None, or none listed, makes the family a clan of its own.

    Returns:
        The counts; clans are in the order of their names.
    """
    pair = predictions[["clean_label", "prediction"]].astype(object).fillna(NO_ANSWER)
    families = pd.unique(pair.to_numpy().ravel())
    clan_of = {family: known_clan(clans, family) or family for family in families}
    names = sorted(set(clan_of.values()))
    number = {name: place for place, name in enumerate(names)}
    true, predicted = (pair[name].map(clan_of).map(number).to_numpy(np.int64) for name in pair)
    is_between = true != predicted
    codes, numbers = np.unique((true * len(names) + predicted)[is_between], return_counts=True)
    is_wrong = (pair["clean_label"] != pair["prediction"]).to_numpy(np.bool_)
    return Confusion(
        clans=names,
        totals=np.bincount(true, minlength=len(names)),
        true=codes // len(names),
        predicted=codes % len(names),
        numbers=numbers,
        num_within=int((is_wrong & ~is_between).sum()),
    )


def confused_pairs(confusion: Confusion) -> list[tuple[str, str, int]]:
    """List the pairs of clans that are taken for each other, both directions together.

    Args:
        confusion: of one method.

    Returns:
        Two names and the number of errors, the most first.
    """
    size = len(confusion.clans)
    low = np.minimum(confusion.true, confusion.predicted)
    high = np.maximum(confusion.true, confusion.predicted)
    codes, places = np.unique(low * size + high, return_inverse=True)
    sums = np.bincount(places, weights=confusion.numbers, minlength=len(codes)).astype(np.int64)
    order = np.argsort(-sums, kind="stable")
    return [
        (confusion.clans[codes[i] // size], confusion.clans[codes[i] % size], int(sums[i]))
        for i in order
    ]


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
        clans: clan of each family; None makes the family a clan of its own.
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
        has_clans = any(known_clan(clans, family) for family in part["clean_label"].unique())
        figures[str(noise)] = _draw(str(noise), shown, by_loss, has_clans=has_clans)
    return figures


def _draw(noise: str, shown: str, by_loss: Mapping[str, Confusion], *, has_clans: bool) -> Figure:
    """Draw matrix, named pairs and the errors of all methods."""
    from matplotlib.figure import Figure

    confusion = by_loss[shown]
    chosen = _most_confused(confusion)
    side = max(3.2, 1.6 + 0.24 * len(chosen))
    lower = 0.9 + 0.27 * len(by_loss)
    figure = Figure(figsize=(side + 6.4, max(side + 1.2, 3.6 + lower)), layout="constrained")
    parts = figure.subfigures(1, 2, squeeze=False, width_ratios=(side + 1.2, 5.2))
    matrix, rest = parts[0]
    what = "clan" if has_clans else "family"
    if len(chosen):
        _draw_matrix(matrix.subplots(), confusion, chosen, what)
    pairs, bars = rest.subplots(2, 1, height_ratios=(3.4, lower))
    _draw_pairs(pairs, confusion, what)
    _draw_errors(bars, by_loss)
    left_out = len(confusion.clans) - len(chosen)
    notes = [
        f"{noise}: test data, final networks. Left and top: {shown}, the method with the highest "
        f"validation accuracy; {confusion.num_wrong:,} of "
        f"{confusion.num_predictions:,} predictions are wrong.",
        f"{left_out:,} of {len(confusion.clans):,} {_plural(what)} are not in the matrix: "
        + ("no" if not left_out or not _is_cut(confusion) else "fewer or no")
        + f" errors between {_plural(what)}.",
    ]
    if not left_out:
        notes.pop()
    add_caption(figure, notes, width=int(13 * (side + 6.4)))
    return figure


def _plural(what: str) -> str:
    return "families" if what == "family" else f"{what}s"


def _errors_by_clan(confusion: Confusion) -> NDArray[np.int64]:
    """How many errors between clans each clan takes part in, shape (G,)."""
    both = np.concatenate((confusion.true, confusion.predicted))
    numbers = np.concatenate((confusion.numbers, confusion.numbers))
    return np.bincount(both, weights=numbers, minlength=len(confusion.clans)).astype(np.int64)


def _is_cut(confusion: Confusion) -> bool:
    """Whether clans with errors are left out of the matrix."""
    return int((_errors_by_clan(confusion) > 0).sum()) > NUM_CLANS


def _most_confused(confusion: Confusion) -> NDArray[np.int64]:
    """The clans with the most errors between clans, in either direction, in the order of names."""
    total = _errors_by_clan(confusion)
    ranked = np.argsort(-total, kind="stable")[:NUM_CLANS]
    return np.sort(ranked[total[ranked] > 0])


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
    """Draw which shares of the sequences of a clan are predicted as others."""
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
    bar.set_label(f"of the sequences of the true {what}", fontsize=8)
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


def _draw_errors(axis: Axes, by_loss: Mapping[str, Confusion]) -> None:
    """Draw for each method which share of its predictions errs within and between clans."""
    from matplotlib.ticker import PercentFormatter

    totals = np.array([made.num_predictions for made in by_loss.values()])
    within = np.array([made.num_within for made in by_loss.values()]) / totals
    between = np.array([made.num_between for made in by_loss.values()]) / totals
    names = [textwrap.shorten(loss, 26, placeholder="…") for loss in by_loss]
    places = range(len(names))
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
    finish_axis(axis, title="Errors of all methods", x="of the test predictions", y="", grid="x")
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
