"""Every figure of a study, drawn and written to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from protein_robust.losses import Loss
from protein_robust.report.drawing import new_stem, save_figures
from protein_robust.report.figures import (
    loss_styles,
    method_comparison,
    training_dynamics,
    trust_and_emphasis,
)
from protein_robust.report.loss_curves import needs_more
from protein_robust.report.loss_figures import label_probability_histogram, loss_shapes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HISTOGRAMS = {"train/clean_histogram": False, "train/noisy_histogram": True}
"""Columns of a history with counts of p_y over equal bins of [0, 1]; whether of wrong labels."""


def write_figures(
    results: pd.DataFrame,
    history: pd.DataFrame,
    folder: Path,
    *,
    losses: Mapping[str, Loss] | None = None,
) -> list[Path]:
    """Draw everything there are values for, each loss in one colour throughout.

    Args:
        results: one row a value.
        history: one row for each noise, loss, seed and epoch.
        folder: made where it is missing.
        losses: of the study, by label, for the picture of their shapes; None for no such picture.

    Returns:
        The files: each figure as ``.png`` and ``.svg``, ``method_comparison`` first.
    """
    styles = loss_styles([*results["loss"], *history["loss"]])
    comparison = method_comparison(results, styles=styles)
    figures = {} if comparison is None else {"method_comparison": comparison}
    by_noise = {
        "training_dynamics": training_dynamics(history, styles),
        "label_probability": _histograms(history),
        "trust_and_emphasis": trust_and_emphasis(history, styles),
    }
    for name, of_name in by_noise.items():
        for noise, figure in of_name.items():
            figures[new_stem(f"{name}_{noise}", figures)] = figure
    if losses and not all(needs_more(loss) for loss in losses.values()):
        figures["loss_shapes"] = loss_shapes(losses)
    return save_figures(figures, folder)


def _histograms(history: pd.DataFrame) -> dict[str, Figure]:
    """How p_y is distributed after the last epoch; only where some labels are known to be wrong."""
    figures = {}
    if not set(HISTOGRAMS) <= set(history.columns):
        return {}
    for noise, part in history.groupby("noise", sort=False):
        last = part[part["epoch"] == part.groupby(["loss", "seed"])["epoch"].transform("max")]
        last = last.dropna(subset=list(HISTOGRAMS))
        rows = [
            (row["loss"], is_corrupted, (place + 0.5) / len(row[column]), count)
            for _, row in last.iterrows()
            for column, is_corrupted in HISTOGRAMS.items()
            for place, count in enumerate(row[column])
        ]
        if rows:
            columns = ["loss", "is_corrupted", "label_probability", "count"]
            frame = pd.DataFrame(rows, columns=columns)
            figures[str(noise)] = label_probability_histogram(frame)
    return figures
