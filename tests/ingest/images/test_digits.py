"""The digits of scikit-learn as an image dataset."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from protein_robust.ingest import read_families
from protein_robust.ingest.images import (
    ImageOptions,
    are_current,
    ingest_images,
    read_image_table,
    read_images,
)
from protein_robust.ingest.images.digits import read_digits


def test_dots_become_the_values_of_a_byte() -> None:
    digits = load_digits()
    part = read_digits()
    assert part.images.shape == (1797, 8, 8, 1)
    assert part.labels.tolist() == digits.target.tolist()
    pairs = {*zip(digits.images.ravel().tolist(), part.images.ravel().tolist(), strict=True)}
    # 0 and 16 are the ends, 1 is 15.94, 8 is 127.5 and rounds to the even 128.
    assert {(0.0, 0), (1.0, 16), (8.0, 128), (16.0, 255)} < pairs
    assert len(pairs) == len({value for _, value in pairs}) == 17  # nothing is lost


@pytest.fixture
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("digits")
    return {**ingest_images(ImageOptions("digits"), folder), "folder": str(folder)}


def test_a_quarter_of_each_class_is_for_testing(manifest: dict[str, object]) -> None:
    folder = str(manifest["folder"])
    families = read_families(folder)
    assert families["family_accession"].to_pylist() == list("0123456789")
    sizes = np.bincount(load_digits().target)
    num_test = families["num_test"].to_numpy()
    assert num_test.sum() == 449  # floor(1797 / 4)
    assert (np.abs(num_test - sizes / 4) < 1).all()
    assert_array_equal(families["num_train"].to_numpy() + num_test, sizes)


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_those_of_their_row(split: str, manifest: dict[str, object]) -> None:
    folder, whole = str(manifest["folder"]), read_digits()
    table = read_image_table(folder, split)
    rows = table["source_index"].to_numpy()
    assert_array_equal(read_images(folder, split), whole.images[rows])
    assert_array_equal(table["label"].to_numpy(), whole.labels[rows])
    assert table["image_name"][0].as_py() == f"digits/{rows[0]:05d}"


def test_digits_are_identified_by_their_content(manifest: dict[str, object]) -> None:
    (source,) = manifest["sources"]  # type: ignore[misc]
    assert source["path"] == "sklearn.datasets.load_digits"
    assert source["num_bytes"] == 1797 * 65
    assert are_current(str(manifest["folder"]), ImageOptions("digits"))
    assert not are_current(str(manifest["folder"]), ImageOptions("digits", seed=1))
