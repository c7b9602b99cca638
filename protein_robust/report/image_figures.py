"""What a data set of images looks like, and which images got wrong labels."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein_robust.ingest import read_families, read_manifest
from protein_robust.ingest.images import read_image_table, read_images
from protein_robust.noise import LabelNoise
from protein_robust.report.drawing import add_caption

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES = 20
PER_CLASS = 10
"""The figure of a data set shows so many classes at most, and so many images of each."""
NUM_WRONG = 24
"""Images with wrong labels that are shown."""
_IN_A_ROW = 8
_NAME_LETTERS = 19
"""Longer names of classes are broken above an image."""


def image_samples(folder: Path) -> Figure:
    """Draw the first training images of each class.

    Args:
        folder: the dataset folder.

    Returns:
        The figure: a row of `PER_CLASS` images for each of at most `MAX_CLASSES` classes, which are
        spread evenly over all.

    Raises:
        InputError: if the folder is no whole data set of images.
    """
    from matplotlib.figure import Figure

    images, label = _train(folder)
    names = read_families(folder)["family_accession"].to_pylist()
    shown = np.unique(np.linspace(0, len(names) - 1, MAX_CLASSES).astype(int)).tolist()
    height, width = images.shape[1:3]
    sheet = np.full((len(shown) * (height + 1), PER_CLASS * (width + 1), 3), 255, np.uint8)
    for row, number in enumerate(shown):
        for column, place in enumerate(np.flatnonzero(label == number)[:PER_CLASS]):
            top, left = row * (height + 1), column * (width + 1)
            sheet[top : top + height, left : left + width] = images[place]
    figure = Figure(figsize=(5.2, 0.4 * len(shown) + 0.7), layout="constrained")
    axis = figure.subplots()
    axis.imshow(sheet, interpolation="nearest")
    axis.set_anchor("W")  # beside the names, for which the layout keeps room on the left
    axis.set_xticks([])
    middles = (np.arange(len(shown)) + 0.5) * (height + 1) - 1
    axis.set_yticks(middles, [str(names[number]) for number in shown], fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    part = "" if len(shown) == len(names) else f", {len(shown)} of {len(names)} classes"
    about = f"{read_manifest(folder)['name']}: the first training images of each class{part}."
    add_caption(figure, [about])
    return figure


def wrong_label_samples(folder: Path, noise: LabelNoise, title: str) -> Figure | None:
    """Draw some images with the wrong label that they were given, and the right one.

    Args:
        folder: the dataset folder.
        noise: labels of its training images.
        title: what the noise is called.

    Returns:
        The figure, of `NUM_WRONG` images at most, spread evenly over all wrong ones; None where no
        label is wrong.

    Raises:
        InputError: if the folder is no whole data set of images.
    """
    from matplotlib.figure import Figure

    wrong = np.flatnonzero(noise.is_changed)
    if not len(wrong):
        return None
    chosen = np.unique(wrong[np.linspace(0, len(wrong) - 1, NUM_WRONG).astype(int)])
    images, _ = _train(folder)
    names = read_families(folder)["family_accession"].to_pylist()
    num_rows = -(-len(chosen) // _IN_A_ROW)
    figure = Figure(figsize=(8.8, 1.55 * num_rows + 0.4), layout="constrained")
    axes = figure.subplots(num_rows, _IN_A_ROW, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, place in zip(axes, chosen, strict=False):
        given, clean = names[noise.label[place]], names[noise.clean_label[place]]
        _show(axis, images[place], f"{given}\n(was {clean})")
    about = f"{title}: {len(chosen)} of {len(wrong):,} training images with a wrong label."
    add_caption(figure, [f"{about} Above: the given class, and the right one."])
    return figure


def _show(axis: Axes, image: NDArray[np.uint8], title: str) -> None:
    axis.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation="nearest")
    lines = [textwrap.fill(line, _NAME_LETTERS) for line in title.split("\n")]
    axis.set_title("\n".join(lines), fontsize=7)


def _train(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, H, W, C) of the training split, and their clean classes."""
    table = read_image_table(folder, "train", columns=["label"])
    return read_images(folder, "train"), table["label"].to_numpy().astype(np.int64)
