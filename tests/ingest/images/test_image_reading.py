"""Reading image dataset folders, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import read_families, read_sequences
from protein_robust.ingest.images import (
    ImageOptions,
    human_labels_of,
    ingest_images,
    read_image_table,
    read_images,
)


@pytest.fixture
def folder(tiny10: Any, tmp_path: Path) -> Path:
    source = tiny10.write_python(tmp_path)
    options = ImageOptions("cifar10", str(source), checksums="skip", valid_fraction=0.2)
    ingest_images(options, tmp_path / "out")
    return tmp_path / "out"


def test_images_are_mapped_and_cannot_be_changed(folder: Path) -> None:
    images = read_images(folder, "valid")
    assert isinstance(images, np.memmap)
    assert (images.shape, images.dtype) == ((10, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_splits_are_slices_of_one_file(folder: Path) -> None:
    whole = np.load(folder / "images.npy")
    parts = [read_images(folder, split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [40, 10, 10]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_some_columns_are_read_alone(folder: Path) -> None:
    assert read_image_table(folder, "test", ["label"]).column_names == ["label"]


def test_the_schema_is_the_documented_one(folder: Path) -> None:
    schema = pq.read_schema(folder / "images.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("image_name", "string"),
        ("source_index", "int32"),
        ("label", "int32"),
        ("split", "string"),
    ]


def test_an_unknown_column_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="a column 'human_worse', got only image_name, source_i"):
        read_image_table(folder, "test", ["human_worse"])


@pytest.mark.parametrize("read", [read_images, read_image_table])
def test_an_unknown_split_is_refused(read: Any, folder: Path) -> None:
    message = "Expected `split` one of train, valid, test, got 'heldout'"
    with pytest.raises(ValueError, match=message):
        read(folder, "heldout")


def change_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: read_images(folder, "train"),
        lambda folder: read_image_table(folder, "train"),
        human_labels_of,
    ],
)
def test_a_folder_of_sequences_is_refused(read: Any, folder: Path) -> None:
    change_manifest(folder, modality="sequences")
    with pytest.raises(InputError, match="Expected a dataset folder of images, got one of sequen"):
        read(folder)


def test_a_folder_of_images_has_no_sequences(folder: Path) -> None:
    with pytest.raises(InputError, match=r"Expected sequences\.parquet of a dataset, got "):
        read_sequences(folder)
    assert read_families(folder).num_rows == 10


def test_a_cut_file_of_images_is_refused(folder: Path) -> None:
    whole = (folder / "images.npy").read_bytes()
    for end in (0, 5, 100, len(whole) - 1):
        (folder / "images.npy").write_bytes(whole[:end])
        with pytest.raises(
            InputError, match=r"images\.npy: Expected images\.npy of a dataset, got"
        ):
            read_images(folder, "train")


@pytest.mark.parametrize(
    "array",
    [np.zeros((60, 32, 32, 3)), np.zeros((60, 3072), np.uint8), np.array([None])],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_another_array_is_refused(array: Any, folder: Path) -> None:
    np.save(folder / "images.npy", array)
    with pytest.raises(InputError, match=r"images\.npy: Expected images\.npy of a dataset, got "):
        read_images(folder, "train")


def test_another_number_of_images_is_refused(folder: Path) -> None:
    np.save(folder / "images.npy", np.zeros((59, 32, 32, 3), np.uint8))
    with pytest.raises(
        InputError, match=r"images of shape \(60, 32, 32, 3\), got \(59, 32, 32, 3\)"
    ):
        read_images(folder, "train")


def test_a_table_that_is_none_is_refused(folder: Path) -> None:
    (folder / "images.parquet").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"images\.parquet: Expected images\.parquet of a dataset"):
        read_image_table(folder, "train")


def test_a_table_without_splits_is_refused(folder: Path) -> None:
    pq.write_table(pa.table({"label": [1]}), folder / "images.parquet")
    with pytest.raises(InputError, match=r"images\.parquet: Expected images\.parquet of a dataset"):
        read_image_table(folder, "train")
