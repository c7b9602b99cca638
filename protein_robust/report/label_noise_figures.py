"""What label noise did, as figures: how many labels changed, and what they became."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein_robust.noise import Classes, Noise
from protein_robust.report.drawing import add_caption, finish_axis
from protein_robust.report.figures import PALETTE, loss_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_CLASSES = 20
"""Classes whose confusion is shown, the largest ones."""
_DIAGONAL = "0.88"
_FATES = ("same clan", "another clan", "clean class has no clan")


def noise_rates(noises: Mapping[str, Noise]) -> Figure:
    """Draw the requested and the actual rate of wrong labels, overall and by class.

    Args:
        noises: by the name of their setting.

    Returns:
        The figure: on the left the rates of each setting, on the right the actual rate of each
        class, in descending order.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    styles = loss_styles(noises)
    figure = Figure(figsize=(10.2, 1.9 + 0.36 * max(len(noises), 4)), layout="constrained")
    overall, by_class = figure.subplots(1, 2)
    _draw_rates(overall, noises)
    for place, (name, noise) in enumerate(noises.items()):
        rates = sorted(noise.manifest["actual_rate_by_class"].values(), reverse=True)
        colour, line = styles[name]
        # Steps over the classes, so that two of them make a picture too.
        edges = np.linspace(0, 1, len(rates) + 1)
        width = max(1.2, 2.8 - 0.35 * place)  # a thinner line shows the one it covers
        by_class.stairs(rates, edges, baseline=None, color=colour, ls=line, lw=width, label=name)
    by_class.set_xlim(0, 1)
    for axis in (overall.xaxis, by_class.xaxis, by_class.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    finish_axis(overall, title="Changed labels", x="of the training labels", y="", grid="x")
    title, x = "Changed labels by class", "classes, the most changed first"
    finish_axis(by_class, title=title, x=x, y="of the labels of a class")
    by_class.set_ylim(bottom=0)
    look = {"frameon": False, "fontsize": 8}
    handles, labels = overall.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, **look)
    handles, labels = by_class.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", **look)
    _describe_requests(figure, noises)
    return figure


def noise_targets(noise: Noise, classes: Classes, *, title: str) -> Figure | None:
    """Draw what wrong labels become: the confusion of the largest classes, and their clans.

    Args:
        noise: of a data set with these classes.
        classes: what is known of them.
        title: name of the setting.

    Returns:
        The figure: on the left, for the `NUM_CLASSES` largest classes by clan, the share of the
        labels of a clean class that became each given one; frames are clans. On the right, where
        any clan is known, the shares of wrong labels that stay in their clan or leave it. None
        where no training label changed.
    """
    from matplotlib.figure import Figure

    changed = noise.labels.is_changed
    if not changed.any():
        return None
    clean, given = noise.labels.clean_label, noise.labels.label
    has_clans = any(clan is not None for clan in classes.clans)
    width = 9.6 if has_clans else 5.8
    figure = Figure(figsize=(width, 4.9), layout="constrained")
    axes = figure.subplots(1, 1 + has_clans, squeeze=False, width_ratios=(5, 3)[: 1 + has_clans])[0]
    train = clean >= 0
    _draw_confusion(axes[0], clean[train], given[train], classes)
    if has_clans:
        _draw_fates(axes[1], clean[changed], given[changed], classes)
    _describe_targets(figure, noise, title)
    return figure


def _draw_rates(axis: Axes, noises: Mapping[str, Noise]) -> None:
    """Draw three rates of each setting, one setting under the other."""
    rates = {
        key: [noise.manifest[f"{key}_rate"] for noise in noises.values()]
        for key in ("requested", "expected", "actual")
    }
    places = range(len(noises))
    there = [(rate, place) for place, rate in enumerate(rates["requested"]) if rate is not None]
    requested = [rate for rate, _ in there], [place for _, place in there]
    axis.scatter(*requested, s=220, marker="|", color=PALETTE[1], label="requested")
    blue = PALETTE[0]
    axis.scatter(
        rates["expected"], places, s=60, facecolors="none", edgecolors=blue, label="expected"
    )
    axis.scatter(rates["actual"], places, s=14, color=PALETTE[6], label="actual")
    for place, values in enumerate(zip(*rates.values(), strict=True)):
        last = max(value for value in values if value is not None)
        text = f"{values[-1]:.1%}"
        offset, points = (8, 0), "offset points"
        axis.annotate(text, (last, place), offset, textcoords=points, fontsize=8, va="center")
    names = [textwrap.fill(name, 24) for name in noises]
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    largest = max(rate for values in rates.values() for rate in values if rate is not None)
    axis.set_xlim(-0.02 * max(largest, 0.01), 1.2 * max(largest, 0.01))
    axis.locator_params(axis="x", nbins=6)


def _describe_requests(figure: Figure, noises: Mapping[str, Noise]) -> None:
    """Say which requested rates are not of all labels: the actual one may be far from them."""
    settings: dict[str, list[str]] = {}
    for name, noise in noises.items():
        settings.setdefault(noise.manifest["requested_of"], []).append(name)
    settings.pop("all labels", None)
    if settings:
        notes = [f"Requested of {part}: {', '.join(names)}." for part, names in settings.items()]
        add_caption(figure, notes)


def _draw_confusion(
    axis: Axes, clean: NDArray[np.int64], given: NDArray[np.int64], classes: Classes
) -> None:
    """Draw the shares of clean classes that became others, right ones left out."""
    from matplotlib.ticker import PercentFormatter

    size = len(classes.accessions)
    total = np.bincount(clean, minlength=size)
    largest = np.argsort(-total, kind="stable")[: min(NUM_CLASSES, int((total > 0).sum()))]
    # Clans together; those without one last.
    shown = sorted(
        largest.tolist(), key=lambda c: (classes.clans[c] is None, classes.clans[c] or "", c)
    )
    counts = np.array(
        [np.bincount(given[clean == c], minlength=size)[shown] for c in shown], np.float64
    )
    shares = counts / total[shown][:, None]
    np.fill_diagonal(shares, np.nan)
    axis.set_facecolor(_DIAGONAL)
    top = np.nanmax(shares) if len(shown) > 1 else 1.0
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=max(top, 1e-9))
    _frame_clans(axis, [classes.clans[c] for c in shown])
    names = [classes.accessions[c] for c in shown]
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), names)
    which = "" if len(shown) == size else f", the {len(shown)} largest of {size:,} classes"
    lost = 1 - counts.sum() / total[shown].sum()
    x = "given class" if len(shown) == size else f"given class ({lost:.1%} became others)"
    finish_axis(axis, title=f"What labels become{which}", x=x, y="clean class")
    axis.grid(visible=False)
    axis.tick_params(labelsize=7)
    bar = axis.figure.colorbar(image, ax=axis, shrink=0.8, format=PercentFormatter(1.0))
    bar.ax.tick_params(labelsize=8)


def _frame_clans(axis: Axes, clans: list[str | None]) -> None:
    """Draw a frame around neighbours of one clan."""
    from matplotlib.patches import Rectangle

    for clan in dict.fromkeys(clan for clan in clans if clan is not None):
        first, number = clans.index(clan) - 0.5, clans.count(clan)
        if number > 1:
            corner = (first, first)
            axis.add_patch(Rectangle(corner, number, number, fill=False, ec=PALETTE[1], lw=1.4))


def _draw_fates(
    axis: Axes, clean: NDArray[np.int64], given: NDArray[np.int64], classes: Classes
) -> None:
    """Draw the shares of wrong labels that stay in their clan, that leave it, or have none."""
    from matplotlib.ticker import PercentFormatter

    groups = classes.clan_groups()
    has_clan = np.array([clan is not None for clan in classes.clans])[clean]
    stays = has_clan & (groups[clean] == groups[given])
    shares = [kind.mean() for kind in (stays, has_clan & ~stays, ~has_clan)]
    bars = axis.barh(_FATES, shares, height=0.6, color=[PALETTE[1], PALETTE[0], "0.6"])
    axis.bar_label(bars, labels=[f"{share:.1%}" for share in shares], padding=3, fontsize=8)
    axis.set_xlim(0, 1.18 * max(shares))
    axis.locator_params(axis="x", nbins=5)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    finish_axis(axis, title="Where they go", x=f"of {len(clean):,} wrong labels", y="", grid="x")


def _describe_targets(figure: Figure, noise: Noise, title: str) -> None:
    """Say which noise it is, and what was added."""
    manifest = noise.manifest
    notes = [f"{title}: {manifest['actual_rate']:.1%} of the labels changed."]
    in_clan = manifest["in_clan"]
    if in_clan is not None and in_clan["could"]:
        could = f"of {in_clan['could']:,} wrong labels of classes with others in their clan"
        notes.append(f"{in_clan['share']:.1%} {could} stayed in the clan (frames).")
    for origin, added in manifest["added"].items():
        if added["rows"]:
            notes.append(f"{added['rows']:,} {origin} sequences were added, not shown here.")
    add_caption(figure, notes)
