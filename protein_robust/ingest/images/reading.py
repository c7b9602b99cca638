"""Read an image dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.images.options import MODALITY
from protein_robust.ingest.images.writing import HUMAN
from protein_robust.ingest.options import SPLITS
from protein_robust.ingest.store import IMAGE_TABLE, IMAGES, read_manifest


def read_images(folder: str | Path, split: str) -> NDArray[np.uint8]:
    """Take the images of a split, without reading them yet.

    Args:
        folder: the dataset folder.
        split: train, valid or test.

    Returns:
        A slice of ``images.npy`` mapped to memory, shape (N, H, W, C), uint8, in the order of
        `read_image_table`; not writable.

    Raises:
        ValueError: if the split is unknown.
        InputError: if the folder is no whole image dataset.
    """
    _check_split(split)
    manifest = read_image_manifest(folder)
    counts = [int(manifest["counts"][name]) for name in SPLITS]
    images = open_images(Path(folder, IMAGES))
    expected = (sum(counts), *manifest["image_shape"])
    if images.shape != expected:
        raise InputError(
            f"images of shape {expected}", str(images.shape), path=Path(folder, IMAGES)
        )
    begin = sum(counts[: SPLITS.index(split)])
    return images[begin : begin + counts[SPLITS.index(split)]]


def read_image_table(folder: str | Path, split: str, columns: list[str] | None = None) -> pa.Table:
    """Read what is known of the images of a split.

    Args:
        folder: the dataset folder.
        split: train, valid or test.
        columns: names of the wanted columns; None for all: ``image_name``, ``source_index``,
            ``label``, ``split``, and ``human_NAME`` for each annotation.

    Returns:
        A row for each image, in the order of `read_images`.

    Raises:
        ValueError: if the split is unknown.
        InputError: if the folder is no whole image dataset, or has no such column.
    """
    _check_split(split)
    read_image_manifest(folder)
    path = Path(folder, IMAGE_TABLE)
    try:
        names = pq.read_schema(path).names
        for name in columns or ():
            if name not in names:
                raise InputError(f"a column {name!r}", f"only {', '.join(names)}", path=path)
        return pq.read_table(path, columns=columns, filters=pc.field("split") == split)
    except (OSError, pa.ArrowException) as error:
        actual = str(error).splitlines()[0]
        raise InputError(f"{IMAGE_TABLE} of a dataset", actual, path=path) from error


def human_labels_of(folder: str | Path) -> dict[str, NDArray[np.int64]]:
    """Read the labels that people gave to the training images.

    Args:
        folder: the dataset folder.

    Returns:
        By annotation, such as ``worse``, the label of each row of split train, shape (N,), int64;
        empty if there are none.

    Raises:
        InputError: if the folder is no whole image dataset.
    """
    table = read_image_table(folder, "train")
    return {
        name.removeprefix(HUMAN): table[name].to_numpy().astype(np.int64)
        for name in table.column_names
        if name.startswith(HUMAN)
    }


def read_image_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the manifest of an image dataset folder.

    Args:
        folder: the dataset folder.

    Returns:
        The manifest.

    Raises:
        InputError: if there is none, or it is of another schema version, or of no images.
    """
    manifest = read_manifest(folder)
    modality = manifest.get("modality", "sequences")
    if modality != MODALITY:
        raise InputError("a dataset folder of images", f"one of {modality}", path=folder)
    return manifest


def open_images(path: Path) -> NDArray[np.uint8]:
    """Map a file of images to memory.

    Args:
        path: the ``.npy`` file.

    Returns:
        Shape (N, H, W, C), uint8, not writable.

    Raises:
        InputError: if it is missing, cut, or of something else.
    """
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        actual = str(error).splitlines()[0] if str(error) else "its end"
        raise InputError(f"{IMAGES} of a dataset", actual, path=path) from error
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(f"{IMAGES} of a dataset", "another array", path=path)
    return images


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"Expected `split` one of {', '.join(SPLITS)}, got {split!r}.")
