"""All pictures of a study in their order, each with what to read in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from protein_robust.losses import Loss
from protein_robust.report.calibration_figures import reliability_diagrams, risk_coverage_curves
from protein_robust.report.confusion_figures import clan_confusion
from protein_robust.report.drawing import new_stem
from protein_robust.report.figures import method_comparison, training_dynamics, trust_and_emphasis
from protein_robust.report.frames import StudyFrames
from protein_robust.report.group_figures import accuracy_by_group
from protein_robust.report.loss_curves import needs_more
from protein_robust.report.loss_figures import label_probability_histogram, loss_shapes
from protein_robust.report.robustness_figures import (
    robustness_by_kept_fraction,
    robustness_by_rate,
)
from protein_robust.report.styles import Styles, loss_styles
from protein_robust.report.table_figure import protein_table_figure
from protein_robust.report.unknown_figures import unknown_detection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HISTOGRAMS = {"train/clean_histogram": False, "train/noisy_histogram": True}
"""Columns of a history with counts of p_y over equal bins of [0, 1]; whether of wrong labels."""

CAPTIONS: Mapping[str, tuple[str, str]] = {
    "protein_table": (
        "The talk's table",
        "Accuracy on training data is against the labels that were given, wrong ones included: a "
        "value near the share of right labels means that wrong ones were not learnt.",
    ),
    "method_comparison": (
        "Methods side by side",
        "Bars are means over seeds, lines on them sample standard deviations. Higher is better but "
        "for the calibration error; high confidence is only good where accuracy is as high.",
    ),
    "robustness_by_rate": (
        "Robustness against wrong labels",
        "From left to right more training labels are wrong; test labels are right. A flat line is "
        "a method that bears it. Points of several methods are moved apart a little.",
    ),
    "robustness_by_kept_fraction": (
        "Robustness against cropping",
        "From left to right less of each test sequence is left. Where accuracy falls and "
        "confidence does not, the network does not notice that it lacks a part.",
    ),
    "accuracy_by_group": (
        "Where the networks are right",
        "Groups of few test examples have wide intervals; compare methods where these are small.",
    ),
    "clan_confusion": (
        "What is confused",
        "Errors between clans, or between classes where no clans are known; clans of images are "
        "their superclasses. An error within a clan is a relative taken for the right class, and "
        "costs less than one between clans.",
    ),
    "reliability": (
        "Reliability",
        "Points above the grey line: right more often than the network claims; below it: too sure. "
        "The steps below show how many predictions are in each bin, on a logarithmic axis.",
    ),
    "risk_coverage": (
        "Risk and coverage",
        "From right to left the least certain answers are withheld. The lower and the further to "
        "the right a curve stays low, the more can be answered at the same risk.",
    ),
    "unknown_detection": (
        "Knowing the unknown",
        "The higher a bar, the better this score of this network tells unknown sequences apart.",
    ),
    "training_dynamics": (
        "Training dynamics",
        "A method resists wrong labels where wrong fitting stays low while correct fitting is "
        "high; correction is the share of wrong labels that the network predicts as they were.",
    ),
    "label_probability": (
        "Probability of the given label",
        "Of right and of wrong training labels, each as shares of its own number. Where the two "
        "lie apart, the network tells them apart.",
    ),
    "trust_and_emphasis": (
        "Trust and emphasis",
        "What the losses themselves say of the training examples.",
    ),
    "loss_shapes": (
        "Shapes of the losses",
        "Value and weight of an example by the probability of its label, as each loss defines it.",
    ),
}
"""By kind of picture: its title, and how to read it; the order is that of a study's page."""


@dataclass(frozen=True)
class Picture:
    """One figure of a study.

    Attributes:
        kind: one of `CAPTIONS`.
        subject: the noise setting, or the group of them; empty where it is all of the study.
        figure: what is drawn.
    """

    kind: str
    subject: str
    figure: Figure


def draw_pictures(
    frames: StudyFrames, losses: Mapping[str, Loss] | None = None
) -> dict[str, Picture]:
    """Draw everything there are values for, each loss in one look throughout.

    Args:
        frames: of a study.
        losses: by label, for the picture of their shapes; None for no such picture.

    Returns:
        The pictures by the stem of their files.

    Raises:
        ValueError: if a frame that is not empty lacks a column.
    """
    styles = loss_styles(_losses(frames))
    made: dict[str, Picture] = {}
    for kind, subject, figure in _all_figures(frames, styles):
        made[new_stem(f"{kind} {subject}", made)] = Picture(kind, subject, figure)
    if losses and not all(needs_more(loss) for loss in losses.values()):
        # A loss without a finished run keeps the others' looks as they are.
        all_styles = loss_styles([*styles, *losses])
        made["loss_shapes"] = Picture("loss_shapes", "", loss_shapes(losses, styles=all_styles))
    return made


def _losses(frames: StudyFrames) -> Iterator[str]:
    """Every loss of every frame, those of the results first."""
    for frame in (frames.results, frames.history, frames.predictions, frames.groups):
        if "loss" in frame:
            yield from map(str, frame["loss"].unique())


def _all_figures(frames: StudyFrames, styles: Styles) -> Iterator[tuple[str, str, Figure]]:
    """Draw kind after kind, in the order of `CAPTIONS`; frames without rows are passed over."""
    single: dict[str, Callable[[], Figure | None]] = {
        "protein_table": lambda: protein_table_figure(frames.results),
        "method_comparison": lambda: method_comparison(frames.results, styles=styles),
    }
    for kind, draw_one in single.items():
        figure = draw_one() if len(frames.results) else None
        if figure is not None:
            yield kind, "", figure
    by_subject: dict[str, tuple[pd.DataFrame, Callable[[], dict[str, Figure]]]] = {
        "robustness_by_rate": (
            frames.rates,
            lambda: robustness_by_rate(frames.results, frames.rates, styles),
        ),
        "robustness_by_kept_fraction": (
            frames.kept_fractions,
            lambda: robustness_by_kept_fraction(frames.kept_fractions, styles),
        ),
        "accuracy_by_group": (frames.groups, lambda: accuracy_by_group(frames.groups, styles)),
        "clan_confusion": (frames.predictions, lambda: _confusion(frames, styles)),
        "reliability": (
            frames.reliability,
            lambda: reliability_diagrams(frames.reliability, styles),
        ),
        "risk_coverage": (
            frames.risk_coverage,
            lambda: risk_coverage_curves(frames.risk_coverage, styles),
        ),
        "unknown_detection": (frames.unknown, lambda: unknown_detection(frames.unknown, styles)),
        "training_dynamics": (frames.history, lambda: training_dynamics(frames.history, styles)),
        "label_probability": (frames.history, lambda: label_histograms(frames.history)),
        "trust_and_emphasis": (frames.history, lambda: trust_and_emphasis(frames.history, styles)),
    }
    for kind, (frame, draw_all) in by_subject.items():
        if len(frame):
            for subject, figure in draw_all().items():
                yield kind, subject, figure


def _confusion(frames: StudyFrames, styles: Styles) -> dict[str, Figure]:
    """The method with the highest validation accuracy is that of the final networks."""
    results = frames.results
    of_valid = results[
        (results["metric"] == "accuracy")
        & (results["data"] == "valid")
        & (results["checkpoint"] == "final")
    ]
    mean = of_valid.groupby(["noise", "loss"], sort=False)["value"].mean().dropna()
    accuracy: dict[tuple[str, str], float] = dict(zip(mean.index, mean, strict=True))
    return clan_confusion(frames.predictions, frames.clans, accuracy, list(styles))


def label_histograms(history: pd.DataFrame) -> dict[str, Figure]:
    """Draw how p_y is distributed after the last measured epoch, where wrong labels are known.

    Args:
        history: one row an epoch, with the columns of `HISTOGRAMS`.

    Returns:
        A figure for each noise setting that has them.
    """
    figures = {}
    if not set(HISTOGRAMS) <= set(history.columns):
        return {}
    # Not every epoch need be measured, nor the last one of a training that was stopped.
    measured = history.dropna(subset=list(HISTOGRAMS))
    for noise, part in measured.groupby("noise", sort=False):
        last = part[part["epoch"] == part.groupby(["loss", "seed"])["epoch"].transform("max")]
        rows = [
            (row["loss"], is_corrupted, (place + 0.5) / len(row[column]), count)
            for _, row in last.iterrows()
            for column, is_corrupted in HISTOGRAMS.items()
            for place, count in enumerate(row[column])
        ]
        columns = ["loss", "is_corrupted", "label_probability", "count"]
        frame = pd.DataFrame(rows, columns=columns)
        title = f"{noise}: training labels, after the last epoch that was measured."
        figures[str(noise)] = label_probability_histogram(frame, title=title)
    return figures
