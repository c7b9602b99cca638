"""What a data set holds, as figures; made without pyplot, as all figures here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from protein_robust.ingest import (
    OTHER_SPLITS,
    SPLITS,
    read_conflicts,
    read_families,
    read_manifest,
    read_sequences,
)
from protein_robust.ingest.images import MODALITY
from protein_robust.report.drawing import add_caption, finish_axis, save_figures
from protein_robust.report.figures import PALETTE
from protein_robust.report.image_figures import image_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL_SPLITS = (*SPLITS, *OTHER_SPLITS)
SPLIT_COLOURS: Mapping[str, str] = dict(zip(ALL_SPLITS, PALETTE, strict=False))
LOG_RATIO = 20
"""A longest sequence of more times the shortest is shown on a logarithmic axis."""
NUM_PAIRS = 20
"""Pairs of families that are named."""

_MAX_NAME = 24
_WORDS = ("family", "families", "sequences")
_KINDS = ("one clan", "two clans", "a family without a known clan")


def write_data_figures(folder: Path, output: Path) -> list[Path]:
    """Draw what a data set holds.

    Args:
        folder: the dataset folder.
        output: where to write; made where it is missing.

    Returns:
        The files, each figure as ``.png`` and ``.svg``: ``data_lengths``, ``data_families`` and,
        where sequences stand in several families, ``data_conflicts``; of images ``data_images`` and
        ``data_families``.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    if read_manifest(folder).get("modality") == MODALITY:
        figures = {"data_images": image_samples(folder), "data_families": family_sizes(folder)}
        return save_figures(figures, output)
    figures = {"data_lengths": sequence_lengths(folder), "data_families": family_sizes(folder)}
    conflicts = conflict_pairs(folder)
    if conflicts is not None:
        figures["data_conflicts"] = conflicts
    return save_figures(figures, output)


def sequence_lengths(folder: Path) -> Figure:
    """Draw how long the sequences of each split are, as shares of their split.

    Args:
        folder: the dataset folder.

    Returns:
        The figure; the lengths are on a logarithmic axis where the longest is more than `LOG_RATIO`
        times the shortest.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, PercentFormatter

    manifest = read_manifest(folder)
    lengths = {name: _lengths(folder, name) for name in ALL_SPLITS if manifest["counts"][name]}
    everything = np.concatenate(list(lengths.values()))
    is_log = everything.max() > LOG_RATIO * everything.min()
    edges = _length_edges(everything, is_log)
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    axis = figure.subplots()
    for place, (name, of_split) in enumerate(lengths.items()):
        shares = np.histogram(of_split, edges)[0] / len(of_split)
        colour = SPLIT_COLOURS[name]
        if place == 0:
            axis.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
        label = f"{name}: {len(of_split):,}, median {np.median(of_split):g}"
        axis.stairs(shares, edges, color=colour, linewidth=1.4, label=label)
    if is_log:
        axis.set_xscale("log")
        axis.set_xlim(0.8 * everything.min(), 1.2 * everything.max())  # no tick below 1
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    finish_axis(axis, title="Sequence length", x="residues", y="share of the sequences of a split")
    axis.legend(frameon=False, fontsize=8)
    _describe(figure, manifest)
    return figure


def family_sizes(folder: Path) -> Figure:
    """Draw families by their number of training sequences, and the sizes of the splits.

    Args:
        folder: the dataset folder.

    Returns:
        The figure: on the left the families in descending order, on the right the splits.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    manifest = read_manifest(folder)
    sizes = np.sort(read_families(folder)["num_train"].to_numpy())[::-1]
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    ranks, splits = figure.subplots(1, 2, width_ratios=(3, 2))
    marker = {"marker": "o", "markersize": 3} if len(sizes) <= 200 else {}
    ranks.plot(np.arange(1, len(sizes) + 1), sizes, color=PALETTE[0], linewidth=1.4, **marker)
    if sizes[0] > LOG_RATIO * max(sizes[-1], 1):
        ranks.set_yscale("log")
        ranks.yaxis.set_major_formatter("{x:,.0f}")
    else:
        ranks.set_ylim(0, 1.1 * max(sizes[0], 1))  # room for the marks at the top
    median = float(np.median(sizes))
    ranks.axhline(median, color="0.5", linewidth=1, linestyle="--")
    ranks.annotate(
        f"median {median:g}", (1, median), xycoords=("axes fraction", "data"), ha="right",
        va="bottom", fontsize=8, color="0.3",
    )  # fmt: skip
    ranks.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ranks.xaxis.set_major_formatter("{x:,.0f}")
    is_images = manifest.get("modality") == MODALITY
    one, several, examples = ("class", "classes", "images") if is_images else _WORDS
    title = f"{len(sizes):,} {several} by size"
    finish_axis(ranks, title=title, x=f"{one}, largest first", y=f"training {examples}")
    _draw_splits(splits, manifest["counts"], examples)
    _describe(figure, manifest)
    return figure


def conflict_pairs(folder: Path) -> Figure | None:
    """Draw which pairs of families share the most sequences.

    Args:
        folder: the dataset folder.

    Returns:
        The figure, with the `NUM_PAIRS` largest numbers; of equal ones the first pairs by
        accession. None where no sequence stands in two families.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    counts = count_conflicts(read_conflicts(folder))
    if not counts:
        return None
    families = read_families(folder).to_pylist()
    facts = {family["family_accession"]: family for family in families}
    shown = sorted(counts, key=lambda pair: (-counts[pair], pair))[:NUM_PAIRS]
    figure = Figure(figsize=(9.0, 1.4 + 0.26 * max(len(shown), 3)), layout="constrained")
    axis = figure.subplots()
    kinds = [_kind(facts, *pair) for pair in shown]
    for kind, colour in zip(_KINDS, PALETTE, strict=False):
        at = [place for place, found in enumerate(kinds) if found == kind]
        if at:
            numbers = [counts[shown[place]] for place in at]
            bars = axis.barh(at, numbers, height=0.7, color=colour, label=kind)
            axis.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    names = [" and ".join(_name(facts[accession]) for accession in pair) for pair in shown]
    axis.set_yticks(range(len(shown)), names)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.margins(x=0.1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_axis(axis, title="Sequences in two families", x="sequences", y="", grid="x")
    figure.legend(loc="outside lower right", ncols=len(_KINDS), frameon=False, fontsize=8)
    largest = f", the {len(shown)} largest" if len(shown) < len(counts) else ""
    note = f"{len(counts):,} pairs of families share sequences{largest}."
    _describe(figure, read_manifest(folder), note)
    return figure


def count_conflicts(conflicts: pa.Table) -> Counter[tuple[str, str]]:
    """Count the sequences that each pair of families shares.

    Args:
        conflicts: rows of `protein_robust.ingest.read_conflicts`.

    Returns:
        Number of different sequences by pair, each pair in the order of accessions. A sequence of
        three families counts for three pairs.
    """
    owners: dict[str, set[str]] = {}
    columns = (conflicts["sequence"].to_pylist(), conflicts["family_accession"].to_pylist())
    for sequence, accession in zip(*columns, strict=True):
        owners.setdefault(sequence, set()).add(accession)
    return Counter(pair for of in owners.values() for pair in combinations(sorted(of), 2))


def _lengths(folder: Path, split: str) -> NDArray[np.int64]:
    """Number of residues of each sequence of a split."""
    sequences = read_sequences(folder, split, columns=["sequence"])["sequence"]
    lengths: NDArray[np.int64] = pc.binary_length(sequences).to_numpy().astype(np.int64)
    return lengths


def _length_edges(lengths: NDArray[np.int64], is_log: bool) -> NDArray[np.float64]:
    """Borders of up to 50 bins between whole numbers, so that no bin is empty by construction."""
    first, last = lengths.min() - 0.5, lengths.max() + 0.5
    if not is_log:
        width = max(1, round((last - first) / 50))
        return np.arange(first, last + width, width)
    edges = np.geomspace(first, last, 51)
    return np.unique(np.concatenate([[first], np.floor(edges[1:-1]) + 0.5, [last]]))


def _draw_splits(axis: Axes, counts: Mapping[str, int], examples: str) -> None:
    """Draw how many sequences, or images, each split has."""
    names = [name for name in ALL_SPLITS if counts.get(name) or name in SPLITS]
    numbers = [counts[name] for name in names]
    bars = axis.barh(names, numbers, height=0.7, color=[SPLIT_COLOURS[name] for name in names])
    total = sum(numbers)
    labels = [f"{number:,} ({number / total:.1%})" for number in numbers]
    axis.bar_label(bars, labels=labels, padding=3, fontsize=8)
    axis.set_xlim(0, 1.45 * max(numbers))
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.locator_params(axis="x", nbins=4)
    finish_axis(axis, title=f"{total:,} {examples} by split", x=examples, y="", grid="x")


def _kind(facts: Mapping[str, Mapping[str, Any]], first: str, second: str) -> str:
    """What the clans of two families say of each other, of `_KINDS`."""
    clans = {facts[first]["clan"], facts[second]["clan"]}
    if None in clans:
        return _KINDS[2]
    return _KINDS[0] if len(clans) == 1 else _KINDS[1]


def _name(family: Mapping[str, Any]) -> str:
    """The short name where there is one, and the accession."""
    accession, short = str(family["family_accession"]), family["family_id"]
    if short is None or short == accession:
        return accession
    return f"{short[:_MAX_NAME]} ({accession})"


def _describe(figure: Figure, manifest: Mapping[str, Any], *notes: str) -> None:
    """Say above the panels which data they show."""
    kind = "synthetic data, " if manifest["is_synthetic"] else ""
    rule, digest = manifest.get("split_rule", "of the source"), manifest["digest"][:12]
    about = f"{manifest['name']}: {kind}split rule {rule}, digest {digest}."
    add_caption(figure, [about, *notes])
