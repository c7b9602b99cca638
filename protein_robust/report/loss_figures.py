"""What each loss does to the gradient, as figures; made without pyplot, as all figures here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from protein_robust.losses import Loss, ProSelfLC
from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.figures import PALETTE, loss_styles
from protein_robust.report.loss_curves import logits_at, loss_curves, needs_more
from protein_robust.report.styles import Styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from protein_robust.losses.emphasis import EmphasisDensity

P_LABEL = "probability of the given label, $p_y$"
FACTOR_LIMITS = (-1.5, 3.0)
"""Where the axis of the weight factor is cut: some go to infinity as p_y goes to 1."""

_SHAPES = (
    ("value", "Loss", "value"),
    ("magnitude", "Derivative magnitude", r"L1 norm of $\partial L/\partial z$"),
    ("factor", "Weight of the direction $p - q$", "factor; 1 is cross entropy"),
)
_HISTOGRAM_COLUMNS = ("loss", "is_corrupted", "label_probability")


def loss_shapes(
    losses: Mapping[str, Loss],
    *,
    num_classes: int = 10,
    progress: float = 0.5,
    styles: Styles | None = None,
) -> Figure:
    """Draw each loss against p_y: its value, how hard it pulls, and its weight on p - q.

    Standard practice designs the left panel and takes the middle one as it comes; derivative
    manipulation designs the middle one. The lines are those of `loss_curves`; which losses were
    scaled and which left out is said above the panels.

    Args:
        losses: by the name to show; see `loss_curves` for those left out.
        num_classes: K, at least 2.
        progress: of the training, in [0, 1].
        styles: colour and line of each loss; by default `loss_styles` of these losses.

    Returns:
        The figure.

    Raises:
        ValueError: if no loss is left to draw.
    """
    from matplotlib.figure import Figure

    curves = loss_curves(losses, num_classes=num_classes, progress=progress)
    styles = styles or loss_styles(losses)
    figure = Figure(figsize=(10.8, 3.7 + 0.06 * len(losses)), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (column, title, label) in zip(axes, _SHAPES, strict=True):
        _draw_shapes(axis, curves, column, styles)
        finish_axis(axis, title=title, x=P_LABEL, y=label)
    shown = curves["factor"].clip(*FACTOR_LIMITS)
    axes[2].set_ylim(shown.min() - 0.1, shown.max() + 0.1)
    notes = [
        f"{num_classes} classes, the rest spread evenly; progress {progress:g} of the training."
    ]
    if curves["is_scaled"].any():
        notes.append("* divided by a sum over the batch: scaled to area 1 in the middle panel.")
    left_out = [name for name, loss in losses.items() if needs_more(loss)]
    if left_out:
        notes.append(f"Left out, as they need a memory or a teacher: {', '.join(left_out)}.")
    add_caption(figure, notes)
    _legend(figure, axes[0])
    return figure


def emphasis_densities(
    densities: Mapping[str, EmphasisDensity], *, num_points: int = 400
) -> Figure:
    """Draw emphasis densities: how strongly an example pulls, by the probability of its label.

    Each is divided by its integral over (0, 1), as a batch divides its weights by their sum. A dot
    marks the emphasis mode, the p_y of the hardest pull. The variance in the legend is that of the
    line as drawn, for p_y uniform: 0 where all examples count alike, 1/3 for cross entropy.

    Args:
        densities: by the name to show.
        num_points: how many.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    points = (np.arange(num_points) + 0.5) / num_points
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, (colour, line) in loss_styles(densities).items():
        density = densities[name]
        variance = density.variance() / density.integral() ** 2
        label = f"{name}: mode {density.mode:.3g}, variance {variance:.3g}"
        axis.plot(points, _normalised(density, points), color=colour, linestyle=line, label=label)
        mode = np.array([density.mode])
        axis.plot(mode, _normalised(density, mode), "o", color=colour, clip_on=False)
    finish_axis(axis, title="Emphasis density", x=P_LABEL, y="weight / integral of the weight")
    axis.set_xlim(0, 1)
    axis.set_ylim(bottom=0)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    return figure


def trust_over_time(
    loss: ProSelfLC,
    *,
    num_classes: int = 10,
    confidences: Sequence[float] = (0.5, 0.8, 0.95, 0.999),
) -> Figure:
    """Draw the trust of ProSelfLC: in the model over time, in a prediction, and their product.

    Args:
        loss: which parameters.
        num_classes: K of the second curve in the middle, and of the right panel; the first is of
            two classes.
        confidences: largest probabilities, each in [1/K, 1); the rest is spread evenly.

    Returns:
        The figure.

    Raises:
        ValueError: if a confidence is not as described.
    """
    from matplotlib.figure import Figure

    wrong = [confidence for confidence in confidences if not 1 / num_classes <= confidence < 1]
    if wrong:
        raise ValueError(f"Expected `confidences` in [1/{num_classes}, 1), got {wrong[0]!r}")
    times = np.linspace(0, 1, 201)
    figure = Figure(figsize=(10.8, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    in_model = [loss.global_trust(time) for time in times]
    axes[0].plot(times, in_model, color=PALETTE[0])
    finish_axis(axes[0], title="Trust in the model", x="progress of the training", y="g(t)")
    for classes, colour in zip(dict.fromkeys((2, num_classes)), PALETTE, strict=False):
        points = np.linspace(1 / classes, 1 - 1e-9, 201)
        local = _trust(loss, points, classes, progress=0.5)["local_trust"]
        axes[1].plot(points, local, color=colour, label=f"{classes} classes")
    finish_axis(axes[1], title="Trust in a prediction", x="largest probability, max p", y="l(p)")
    labels = {f"max p = {confidence:g}": confidence for confidence in confidences}
    for place, (label, (colour, line)) in enumerate(loss_styles(labels).items()):
        trust = [_trust(loss, [labels[label]], num_classes, progress=t)["trust"][0] for t in times]
        look = {"color": colour, "linestyle": line, "linewidth": _width(place)}
        axes[2].plot(times, trust, label=label, **look)
    title = f"Trust over time, {num_classes} classes"
    finish_axis(axes[2], title=title, x="progress of the training", y="eps = g(t) l(p)")
    for axis in axes:
        axis.set_ylim(-0.03, 1.03)
    for axis in axes[1:]:
        axis.legend(frameon=False, fontsize=8)
    return figure


def label_probability_histogram(
    frame: pd.DataFrame, *, num_bins: int = 20, title: str = ""
) -> Figure:
    """Draw how probable the network finds the given labels, right and wrong ones apart.

    Args:
        frame: columns ``loss``, ``is_corrupted`` and ``label_probability`` (of the given label, in
            [0, 1]), one row an example; or one row a bin, with its middle and a ``count``.
        num_bins: equal parts of [0, 1].
        title: what to say above the panels; empty for nothing.

    Returns:
        A panel for each loss, with the same axes: percent of the right and of the wrong labels.

    Raises:
        ValueError: if a column is missing, or a probability is not in [0, 1].
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    missing = [name for name in _HISTOGRAM_COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(
            f"Expected `frame` to have columns {', '.join(_HISTOGRAM_COLUMNS)}, "
            f"got none named {', '.join(missing)}"
        )
    is_allowed = frame["label_probability"].between(0, 1)
    if not is_allowed.all():
        value = frame["label_probability"][~is_allowed].iloc[0]
        raise ValueError(f"Expected `label_probability` in [0, 1], got {value!r}")
    groups = list(frame.groupby("loss", sort=False))
    num_rows = -(-len(groups) // (3 if len(groups) <= 9 else 5))
    num_columns = -(-len(groups) // num_rows)
    figure = Figure(figsize=(3.6 * num_columns, 2.6 * num_rows + 0.4), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (axis, (loss, part)) in enumerate(zip(axes, groups, strict=False)):
        _draw_histogram(axis, part, num_bins)
        is_lowest, is_leftmost = place + num_columns >= len(groups), place % num_columns == 0
        x = P_LABEL if is_lowest else ""
        y = "share of the labels of its kind" if is_leftmost else ""
        finish_axis(axis, title=str(loss), x=x, y=y)
        axis.tick_params(labelbottom=True)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axis in axes[len(groups) :]:
        axis.remove()
    if title:
        add_caption(figure, [title])
    _legend(figure, axes[0])
    return figure


def _draw_shapes(
    axis: Axes, curves: pd.DataFrame, column: str, styles: Mapping[str, tuple[str, str]]
) -> None:
    """Draw one column of `loss_curves`; a thinner line shows the one it covers."""
    for place, (name, part) in enumerate(curves.groupby("loss", sort=False)):
        colour, line = styles[str(name)]
        axis.plot(
            part["label_probability"],
            part[column],
            color=colour,
            linestyle=line,
            linewidth=_width(place),
            label=f"{name} *" if part["is_scaled"].any() else str(name),
        )


def _width(place: int) -> float:
    return max(1.3, 2.8 - 0.35 * place)


def _normalised(density: EmphasisDensity, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """An emphasis density of integral 1 over (0, 1)."""
    log_odds_against = -torch.special.logit(torch.from_numpy(points))
    return np.asarray(density.log_density(log_odds_against).exp()) / density.integral()


def _trust(
    loss: ProSelfLC, confidences: ArrayLike, num_classes: int, *, progress: float
) -> dict[str, NDArray[np.float32]]:
    """What `ProSelfLC.describe` says of predictions with these largest probabilities."""
    logits = logits_at(np.asarray(confidences, dtype=np.float64), num_classes)
    labels = torch.zeros(len(logits), dtype=torch.int64)
    described = loss.describe(logits, labels, progress)
    return {name: values.numpy() for name, values in described.items()}


def _draw_histogram(axis: Axes, part: pd.DataFrame, num_bins: int) -> None:
    """Draw right and wrong labels of one loss, each as shares of its own number."""
    edges = np.linspace(0, 1, num_bins + 1)
    is_corrupted = part["is_corrupted"].to_numpy(dtype=bool)
    counts = part["count"] if "count" in part else pd.Series(1.0, index=part.index)
    kinds = (
        (~is_corrupted, "right labels", PALETTE[0]),
        (is_corrupted, "wrong labels", PALETTE[1]),
    )
    for chosen, name, colour in kinds:
        heights, _ = np.histogram(part["label_probability"][chosen], edges, weights=counts[chosen])
        shares = heights / max(heights.sum(), 1.0)
        axis.stairs(shares, edges, color=colour, fill=True, alpha=0.4, label=name)
        axis.stairs(shares, edges, color=colour)


def _legend(figure: Figure, axis: Axes) -> None:
    """Put one legend under all panels."""
    handles, labels = axis.get_legend_handles_labels()
    fitting = max(1, min(6, 150 // (6 + max(map(len, labels)))))
    columns = -(-len(labels) // -(-len(labels) // fitting))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
