"""What noise did to a data set, as figures, drawn and written; made without pyplot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest import SPLITS, read_families, read_manifest, read_sequences
from protein_robust.ingest.images import MODALITY
from protein_robust.noise import Classes, Noise, read_noise
from protein_robust.report.drawing import finish_axis, new_stem, save_figures
from protein_robust.report.figures import PALETTE
from protein_robust.report.image_figures import wrong_label_samples
from protein_robust.report.label_noise_figures import noise_rates, noise_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUM_BINS = 40


def write_noise_figures(noises: Mapping[str, Path], dataset: Path, output: Path) -> list[Path]:
    """Draw what noise did.

    Args:
        noises: noise folders by the name of their setting.
        dataset: the dataset folder that all of them belong to.
        output: where to write; made where it is missing.

    Returns:
        The files, each figure as ``.png`` and ``.svg``: ``noise_rates``; for each setting with
        wrong labels ``noise_targets_SETTING``; where sequences are cropped, ``noise_crops``; and of
        images ``noise_images_SETTING``.

    Raises:
        InputError: if a folder is not whole, or a noise is of another data set.
        ValueError: if there is no noise folder.
    """
    return save_figures(noise_figures(noises, dataset), output)


def noise_figures(noises: Mapping[str, Path], dataset: Path) -> dict[str, Figure]:
    """Draw what noise did, without writing it.

    Args:
        noises: noise folders by the name of their setting.
        dataset: the dataset folder that all of them belong to.

    Returns:
        Figures by the stem of their files, as `write_noise_figures` says.

    Raises:
        InputError: if a folder is not whole, or a noise is of another data set.
        ValueError: if there is no noise folder.
    """
    if not noises:
        raise ValueError("Expected `noises` with at least one folder, got none.")
    manifest = read_manifest(dataset)
    digest = manifest["digest"]
    found = {name: read_noise(folder) for name, folder in noises.items()}
    for name, noise in found.items():
        if noise.manifest["dataset_digest"] != digest:
            raise InputError(
                f"noise of the data set with digest {digest[:12]}",
                f"of {noise.manifest['dataset_digest'][:12]}",
                path=noises[name],
            )
    table = read_families(dataset)
    accessions, clans = table["family_accession"].to_pylist(), table["clan"].to_pylist()
    classes = Classes(tuple(accessions), tuple(clans))
    figures = {"noise_rates": noise_rates(found)}
    for name, noise in found.items():
        targets = noise_targets(noise, classes, title=name)
        if targets is not None:
            figures[new_stem(f"noise_targets_{name}", figures)] = targets
    if manifest.get("modality") == MODALITY:
        return figures | _samples(found, dataset)
    crops = kept_fractions(_fractions_by_rule(found, dataset))
    return figures if crops is None else {**figures, "noise_crops": crops}


def _samples(noises: Mapping[str, Noise], dataset: Path) -> dict[str, Figure]:
    """Images with wrong labels, of each setting that has any."""
    drawn = {
        f"noise_images_{name}": wrong_label_samples(dataset, noise.labels, name)
        for name, noise in noises.items()
    }
    figures: dict[str, Figure] = {}
    for name, figure in drawn.items():
        if figure is not None:
            figures[new_stem(name, figures)] = figure
    return figures


def kept_fractions(fractions: Mapping[str, NDArray[np.float64]]) -> Figure | None:
    """Draw how much of their sequences crops keep.

    Args:
        fractions: by what crops are called, kept residues over all residues of each sequence, in
            (0, 1], shape (N,), float64.

    Returns:
        A panel for each, with the same axes; None where there is nothing to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    if not fractions:
        return None
    figure = Figure(figsize=(7.2, 0.9 + 1.25 * len(fractions)), layout="constrained")
    axes = figure.subplots(len(fractions), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    for axis, (name, kept) in zip(axes, fractions.items(), strict=True):
        shares = np.histogram(kept, edges)[0] / len(kept)
        axis.stairs(shares, edges, color=PALETTE[0], fill=True, alpha=0.3)
        axis.stairs(shares, edges, color=PALETTE[0])
        axis.axvline(kept.mean(), color=PALETTE[1], linewidth=1.4)
        title = f"{name}: mean {kept.mean():.1%}, whole {(kept == 1).mean():.1%}"
        finish_axis(axis, title=title, x="", y="")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[-1].set_xlabel("kept part of the sequence (line: mean)", fontsize=9)
    axes[-1].set_xlim(0, 1)
    axes[-1].xaxis.set_major_formatter(PercentFormatter(1.0))
    figure.supylabel("share of the sequences", fontsize=9)
    return figure


def _fractions_by_rule(
    noises: Mapping[str, Noise], dataset: Path
) -> dict[str, NDArray[np.float64]]:
    """Kept fractions of train, valid and test by crop rule, named after its settings."""
    settings: dict[str, list[str]] = {}
    for name, noise in noises.items():
        if noise.manifest["crop_rule"]["kind"] != "none":
            settings.setdefault(repr(noise.manifest["crop_rule"]), []).append(name)
    if not settings:
        return {}
    lengths = {}
    for split in SPLITS:
        sequences = read_sequences(dataset, split, columns=["sequence"])["sequence"]
        lengths[split] = pc.binary_length(sequences).to_numpy()
    found = {}
    for names in settings.values():
        noise = noises[names[0]]
        kind = noise.manifest["crop_rule"]["kind"]
        parts = [
            # Of train, the sequences that noise added follow the split's own.
            noise.crops[split].length[: len(lengths[split])] / lengths[split]
            for split in SPLITS
            if split in noise.crops
        ]
        title = kind if names == [kind] else f"{kind} ({', '.join(names)})"
        found[title] = np.concatenate(parts)
    return found
