"""Write the images, their table and the families of an image dataset folder, and sum them up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from protein_robust.ingest.digest import ContentDigest
from protein_robust.ingest.images.content import Content, Labels, Part, Pixels, Rows
from protein_robust.ingest.options import SPLITS
from protein_robust.ingest.store import (
    FAMILIES,
    FAMILIES_SCHEMA,
    IMAGE_TABLE,
    IMAGES,
    write_table,
)

HUMAN = "human_"
"""How the columns of human labels begin."""
_CHUNK = 2048


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        image_shape: [H, W, C].
        pixels_sha256: SHA-256 of the pixels as they stand in the file.
        channel_mean: of the training pixels divided by 255, of each channel.
        channel_std: their standard deviation about it (divided by their number).
        human_labels: of each annotation, the share of training images with a wrong label.
        digest: SHA-256 of all content but the names of images and their rows in the source.
    """

    image_shape: list[int]
    pixels_sha256: str
    channel_mean: list[float]
    channel_std: list[float]
    human_labels: dict[str, float]
    digest: str


def write_images(
    folder: Path, content: Content, chosen: Mapping[str, Rows], human: Mapping[str, Labels]
) -> Written:
    """Write all but the data card and the manifest.

    Args:
        folder: where.
        content: of the source.
        chosen: rows of each split, as `choose` gives them.
        human: by annotation, a label of each training image of the source.

    Returns:
        What was written.

    Raises:
        OSError: if it cannot be written.
    """
    table = _image_table(content, chosen, human)
    families = _family_table(content, chosen)
    write_table(folder, IMAGE_TABLE, table)
    write_table(folder, FAMILIES, families)
    shape = list(content.train.images.shape[1:])
    num_rows = sum(len(rows) for rows in chosen.values())
    histogram = np.zeros((shape[-1], 256), dtype=np.int64)
    pixels = hashlib.sha256()
    header = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, *shape)}
    with (folder / IMAGES).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for split in SPLITS:
            for chunk in _chunks(part_of(content, split).images, chosen[split]):
                file.write(chunk.data)
                pixels.update(chunk.data)
                if split == "train":
                    histogram += _histogram(chunk)
    mean, std = _mean_and_std(histogram)
    digest = _digest(pixels.hexdigest(), shape, table, families)
    rates = _wrong_rates(content.train.labels[chosen["train"]], chosen["train"], human)
    return Written(shape, pixels.hexdigest(), mean, std, rates, digest)


def part_of(content: Content, split: str) -> Part:
    """The images of which a split's rows are.

    Args:
        content: of the source.
        split: train, valid or test.

    Returns:
        The source's test images for test, if it has any; else its training images.
    """
    return content.train if split != "test" or content.test is None else content.test


def _image_table(
    content: Content, chosen: Mapping[str, Rows], human: Mapping[str, Labels]
) -> pa.Table:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("image_name", "source_index", "label", "split")
    }
    for split in SPLITS:
        part, rows = part_of(content, split), chosen[split]
        columns["image_name"] += [part.names[row] for row in rows.tolist()]
        columns["source_index"] += rows.tolist()
        columns["label"] += part.labels[rows].tolist()
        columns["split"] += [split] * len(rows)
    for name, labels in human.items():
        rows = np.concatenate([chosen["train"], chosen["valid"]])
        columns[HUMAN + name] = [*labels[rows].tolist(), *[None] * len(chosen["test"])]
    texts = ("image_name", "split")
    fields = [(name, pa.string() if name in texts else pa.int32()) for name in columns]
    return pa.table(columns, schema=pa.schema(fields))


def _family_table(content: Content, chosen: Mapping[str, Rows]) -> pa.Table:
    num_classes = len(content.classes)
    columns: dict[str, Any] = {name: [None] * num_classes for name in FAMILIES_SCHEMA.names}
    columns |= {"family_accession": content.classes, "clan": content.clans}
    for split in SPLITS:
        labels = part_of(content, split).labels[chosen[split]]
        columns[f"num_{split}"] = np.bincount(labels, minlength=num_classes).tolist()
    return pa.table(columns, schema=FAMILIES_SCHEMA)


def _chunks(images: Pixels, rows: Rows) -> Iterator[Pixels]:
    """Some images at a time."""
    for begin in range(0, len(rows), _CHUNK):
        yield np.ascontiguousarray(images[rows[begin : begin + _CHUNK]])


def _histogram(chunk: Pixels) -> NDArray[np.int64]:
    """How often each value is in each channel, shape (C, 256)."""
    return np.stack(
        [
            np.bincount(chunk[..., channel].ravel(), minlength=256)
            for channel in range(chunk.shape[-1])
        ]
    )


def _mean_and_std(histogram: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Of each channel, exact but for the last rounding."""
    values = np.arange(256) / 255
    weights = histogram / histogram.sum(axis=1, keepdims=True)  # (C, 256)
    mean = weights @ values
    variance = (weights * (values - mean[:, np.newaxis]) ** 2).sum(axis=1)
    return mean.tolist(), np.sqrt(variance).tolist()


def _wrong_rates(clean: Labels, rows: Rows, human: Mapping[str, Labels]) -> dict[str, float]:
    return {name: float((labels[rows] != clean).mean()) for name, labels in human.items()}


def _digest(pixels: str, shape: list[int], table: pa.Table, families: pa.Table) -> str:
    """The digest of the content, which no layout of a source changes."""
    named = table.drop_columns(["image_name", "source_index"])
    whole = hashlib.sha256(f"images {shape} {pixels}\n".encode())
    for part in (named, families):
        content = ContentDigest()
        content.add(part)
        whole.update(f"{content.hexdigest()}\n".encode())
    return whole.hexdigest()
