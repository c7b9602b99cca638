"""Read an image dataset folder again and check it; nothing here wrote it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.images.reading import open_images
from protein_robust.ingest.store import FAMILIES, IMAGE_TABLE, IMAGES

_ORDER = {"train": 0, "valid": 1, "test": 2}
_UNKNOWN = -1


def verify_images(folder: Path, *, pixels_sha256: str, divides: bool) -> dict[str, Any]:
    """Check an image dataset folder; a manifest is not needed.

    ``checks`` counts violations, 0 is right: images without a row or the reverse; whether the
    pixels are not those that were written; rows of an unknown split, out of order (split, then row
    in the source), or of an image that another row has too; labels out of range; families named
    twice, whose numbers are wrong, or without training images; human labels out of range, absent
    from a training or validation image, or given to a test image.

    Args:
        folder: the folder, with ``images.npy``, ``images.parquet`` and ``families.parquet``.
        pixels_sha256: SHA-256 of the pixels.
        divides: whether the source itself divides into training and test images, each counted from
            0; if not, no row of it may be in two splits.

    Returns:
        For JSON: ``passed``, ``num_rows`` and ``checks`` (number by name).

    Raises:
        InputError: if a file cannot be read.
    """
    table, families = _read(folder / IMAGE_TABLE), _read(folder / FAMILIES)
    images = open_images(folder / IMAGES)
    labels = _numbers(table["label"])
    words = table["split"].to_pylist()
    splits = np.array([_ORDER.get(word, _UNKNOWN) for word in words], dtype=np.int64)
    rows = _numbers(table["source_index"])
    sources = np.where(splits == _ORDER["test"], 1, 0) if divides else np.zeros_like(splits)
    places = np.stack([sources, rows], axis=1)
    keys = splits * (int(rows.max(initial=0)) + 1) + rows
    checks = {
        "images_without_row": abs(len(images) - len(labels)),
        "other_pixels": int(_sha256(folder / IMAGES) != pixels_sha256),
        "unknown_splits": int((splits == _UNKNOWN).sum()),
        "rows_out_of_order": int((np.diff(keys) <= 0).sum()),
        "repeated_images": len(places) - len(np.unique(places, axis=0)),
        "wrong_labels": int(_is_outside(labels, families.num_rows).sum()),
        **_check_families(families, labels, splits),
        "wrong_human_labels": _check_human(table, splits, families.num_rows),
    }
    return {"passed": not any(checks.values()), "num_rows": len(labels), "checks": checks}


def _check_families(
    families: pa.Table, labels: NDArray[np.int64], splits: NDArray[np.int64]
) -> dict[str, int]:
    names = families["family_accession"].to_pylist()
    is_wrong = np.zeros(len(names), dtype=np.bool_)
    is_inside = ~_is_outside(labels, len(names))
    for word, code in _ORDER.items():
        counts = np.bincount(labels[is_inside & (splits == code)], minlength=len(names))
        is_wrong |= _numbers(families[f"num_{word}"]) != counts
    return {
        "repeated_families": len(names) - len({*names}),
        "families_with_wrong_counts": int(is_wrong.sum()),
        "families_without_train": int((_numbers(families["num_train"]) < 1).sum()),
    }


def _check_human(table: pa.Table, splits: NDArray[np.int64], num_classes: int) -> int:
    """Human labels that are wrong, of all annotations together."""
    is_test = splits == _ORDER["test"]
    number = 0
    for name in table.column_names:
        if name.startswith("human_"):
            labels = _numbers(table[name])
            number += int(np.where(is_test, labels != -1, _is_outside(labels, num_classes)).sum())
    return number


def _is_outside(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    return (labels < 0) | (labels >= num_classes)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A column of integers; -1 for a missing one."""
    numbers: NDArray[np.int64] = column.cast(pa.int64()).fill_null(-1).to_numpy()
    return numbers


def _sha256(path: Path) -> str:
    """Of all that stands behind the header, read without keeping it in memory."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError("a Parquet file", str(error).splitlines()[0], path=path) from error
