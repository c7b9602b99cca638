"""What the verification of an image dataset folder sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.images import ImageOptions, ingest_images, ingestion
from protein_robust.ingest.images.verification import verify_images


@pytest.fixture
def folder(tiny10: Any, tmp_path: Path) -> Path:
    human = tmp_path / "h.npz"
    np.savez(human, clean_label=tiny10.labels["train"], worse_label=np.arange(50) % 10)
    options = ImageOptions(
        "cifar10",
        str(tiny10.write_python(tmp_path)),
        human_labels=str(human),
        checksums="skip",
        valid_fraction=0.2,
    )
    ingest_images(options, tmp_path / "out")
    return tmp_path / "out"


def verify(folder: Path, *, pixels: bytes | None = None, divides: bool = True) -> dict[str, Any]:
    content = np.load(folder / "images.npy").tobytes() if pixels is None else pixels
    return verify_images(folder, pixels_sha256=hashlib.sha256(content).hexdigest(), divides=divides)


def test_what_was_written_passes(folder: Path) -> None:
    found = verify(folder)
    assert (found["passed"], found["num_rows"]) == (True, 60)
    assert {*found["checks"].values()} == {0}


Row = dict[str, Any]


def swap(rows: list[Row], first: int, second: int) -> None:
    rows[first], rows[second] = rows[second], rows[first]


CHANGES: dict[str, tuple[Callable[[list[Row]], object], dict[str, int]]] = {
    "a label too large": (
        lambda rows: rows[3].update(label=10),
        {"wrong_labels": 1, "families_with_wrong_counts": 1},
    ),
    "a label below 0": (
        lambda rows: rows[3].update(label=-1),
        {"wrong_labels": 1, "families_with_wrong_counts": 1},
    ),
    "no label": (
        lambda rows: rows[3].update(label=None),
        {"wrong_labels": 1, "families_with_wrong_counts": 1},
    ),
    "another label": (
        lambda rows: rows[3].update(label=(rows[3]["label"] + 1) % 10),
        {"families_with_wrong_counts": 2},
    ),
    "an unknown split": (  # so it counts as none of the test images
        lambda rows: rows[59].update(split="dev"),
        {
            "unknown_splits": 1,
            "rows_out_of_order": 1,
            "repeated_images": 1,
            "families_with_wrong_counts": 1,
            "wrong_human_labels": 1,
        },
    ),
    "rows of a split in another order": (lambda rows: swap(rows, 3, 4), {"rows_out_of_order": 1}),
    "an image twice": (
        lambda rows: rows[4].update(source_index=rows[3]["source_index"]),
        {"repeated_images": 1, "rows_out_of_order": 1},
    ),
    "a row too few": (
        lambda rows: rows.pop(),
        {"images_without_row": 1, "families_with_wrong_counts": 1},
    ),
    "a human label too large": (
        lambda rows: rows[5].update(human_worse=10),
        {"wrong_human_labels": 1},
    ),
    "a valid image without human label": (
        lambda rows: rows[45].update(human_worse=None),
        {"wrong_human_labels": 1},
    ),
    "a test image with human label": (
        lambda rows: rows[55].update(human_worse=0),
        {"wrong_human_labels": 1},
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_of_the_table_is_found(kind: str, folder: Path) -> None:
    change, expected = CHANGES[kind]
    table = pq.read_table(folder / "images.parquet")
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "images.parquet")
    found = verify(folder)
    assert not found["passed"]
    assert {name: number for name, number in found["checks"].items() if number} == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"num_valid": 2}, {"families_with_wrong_counts": 1}),
        ({"num_train": 0}, {"families_with_wrong_counts": 1, "families_without_train": 1}),
        ({"family_accession": "truck"}, {"repeated_families": 1}),
    ],
    ids=str,
)
def test_a_change_of_the_families_is_found(
    change: Row, expected: dict[str, int], folder: Path
) -> None:
    table = pq.read_table(folder / "families.parquet")
    rows = table.to_pylist()
    rows[2].update(change)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "families.parquet")
    checks = verify(folder)["checks"]
    assert {name: number for name, number in checks.items() if number} == expected


def test_other_pixels_are_found(folder: Path) -> None:
    images = np.load(folder / "images.npy")
    right = images.tobytes()
    images[17, 1, 2, 0] ^= 1
    np.save(folder / "images.npy", images)
    checks = verify(folder, pixels=right)["checks"]
    assert {name: number for name, number in checks.items() if number} == {"other_pixels": 1}


def test_a_source_without_parts_has_each_row_once(folder: Path) -> None:
    # Here the 10 test images have the rows 0 to 9, as the training images do.
    assert verify(folder, divides=False)["checks"]["repeated_images"] == 10


def test_a_file_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "families.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"families\.parquet: Expected a Parquet file, got "):
        verify(folder)


def test_a_dataset_that_fails_is_not_put(
    tiny10: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(folder: Path, **how: Any) -> dict[str, Any]:
        images = np.load(folder / "images.npy")
        images[0] ^= 1
        np.save(folder / "images.npy", images)
        return verify_images(folder, **how)

    monkeypatch.setattr(ingestion, "verify_images", damage)
    options = ImageOptions("cifar10", str(tiny10.write_python(tmp_path)), checksums="skip")
    with pytest.raises(
        InputError, match=r"passes its own verification .*got \{'other_pixels': 1\}"
    ):
        ingest_images(options, tmp_path / "out")
    assert not (tmp_path / "out").exists()
