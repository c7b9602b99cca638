"""Ingestion of real CIFAR images, which are not part of this repository."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest import read_families
from protein_robust.ingest.images import (
    ImageOptions,
    human_labels_of,
    ingest_images,
    read_image_table,
    read_images,
)
from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data not there: {path}")
    return path


def unpickled(path: Path) -> dict[bytes, Any]:
    """What pickle itself reads, without any restriction."""
    content = pickle.loads(path.read_bytes(), encoding="bytes")
    assert isinstance(content, dict)
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def test_batches_are_read_as_pickle_reads_them(tmp_path: Path) -> None:
    source = real("cifar10-mini")
    ingest_images(ImageOptions("cifar10", str(source), checksums="skip"), tmp_path / "out")
    batches = [unpickled(source / CIFAR10.folder / name) for name in CIFAR10.files]
    for split, some in (("train", batches[:5]), ("test", batches[5:])):
        rows = np.concatenate([batch[b"data"] for batch in some])
        images = read_images(tmp_path / "out", split)
        for channel in range(3):
            plane = rows[:, channel * 1024 : (channel + 1) * 1024].reshape(-1, 32, 32)
            assert_array_equal(images[..., channel], plane)
        table = read_image_table(tmp_path / "out", split)
        assert table["label"].to_pylist() == [y for batch in some for y in batch[b"labels"]]
        names = [name.decode() for batch in some for name in batch[b"filenames"]]
        assert table["image_name"].to_pylist() == names


def test_constants_are_those_of_the_files_of_names() -> None:
    names = unpickled(real("cifar10-mini") / CIFAR10.folder / CIFAR10.meta)
    assert [name.decode() for name in names[b"label_names"]] == list(CIFAR10.classes)
    names = unpickled(real("cifar100-mini") / CIFAR100.folder / CIFAR100.meta)
    assert [name.decode() for name in names[b"fine_label_names"]] == list(CIFAR100.classes)
    assert [name.decode() for name in names[b"coarse_label_names"]] == list(CIFAR100.superclasses)


def test_superclasses_are_those_of_the_images() -> None:
    train = unpickled(real("cifar100-mini") / CIFAR100.folder / "train")
    pairs = {*zip(train[b"fine_labels"], train[b"coarse_labels"], strict=True)}
    assert pairs == {*enumerate(CIFAR100.superclass_of)}  # every class is there


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_part_of_the_official_files_has_other_sums(name: Any, tmp_path: Path) -> None:
    source = real(f"{name}-mini")
    with pytest.raises(InputError, match=r"Expected the official file, MD5 .*checksums: skip"):
        ingest_images(ImageOptions(name, str(source)), tmp_path / "out")


def test_cifar_100_with_human_labels(tmp_path: Path) -> None:
    human = real("cifar100-mini/cifar100n_labels_for_mini.npz")
    options = ImageOptions("cifar100", str(real("cifar100-mini")), str(human), "skip")
    manifest = ingest_images(options, tmp_path / "out")
    counts = manifest["counts"]
    assert (counts["train"], counts["test"], counts["families"], counts["clans"]) == (
        *(1500, 500),
        *(100, 20),
    )
    labels = human_labels_of(tmp_path / "out")["noisy"]
    assert_array_equal(labels, np.load(human)["noisy_label"])
    clean = np.load(human)["clean_label"]
    assert manifest["human_labels"]["noisy"] == pytest.approx((labels != clean).mean())


def test_human_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    human = real("cifar10-mini/cifar10n_labels_for_mini.npz")
    options = ImageOptions("cifar100", str(real("cifar100-mini")), str(human), "skip")
    with pytest.raises(InputError, match="`clean_label` of the 1,500 training images of the sourc"):
        ingest_images(options, tmp_path / "out")


def test_a_tarball_of_real_batches_has_the_digest_of_its_folder(tmp_path: Path) -> None:
    source = real("cifar10-mini")
    tarball = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(tarball, "w:gz", compresslevel=1) as archive:
        for path in sorted((source / CIFAR10.folder).iterdir(), reverse=True):
            member = tarfile.TarInfo(f"{CIFAR10.folder}/{path.name}")
            member.size = path.stat().st_size
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    digests = {
        ingest_images(ImageOptions("cifar10", str(place), checksums="skip"), tmp_path / "out")[
            "digest"
        ]
        for place in (source, tarball)
    }
    assert len(digests) == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All of CIFAR-10, from Parquet."""
    source, human = real("cifar10-full"), real("cifar10-full/cifar10n_labels.npz")
    folder = tmp_path_factory.mktemp("whole")
    return folder, ingest_images(ImageOptions("cifar10", str(source), str(human)), folder)


@pytest.mark.slow
def test_all_of_cifar_10_has_its_known_figures(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, manifest = whole
    assert (manifest["counts"]["train"], manifest["counts"]["test"]) == (50_000, 10_000)
    families = read_families(folder)
    assert families["num_train"].to_pylist() == [5000] * 10
    assert families["num_test"].to_pylist() == [1000] * 10
    # The figures that most training recipes have, of 50,000 images.
    assert_allclose(manifest["channel_mean"], [0.4914, 0.4822, 0.4465], atol=5e-5)
    assert_allclose(manifest["channel_std"], [0.2470, 0.2435, 0.2616], atol=5e-5)
    # Wei et al. 2022, table 1, in percent.
    expected = {"aggre": 9.03, "random1": 17.23, "random2": 18.12, "random3": 17.64, "worse": 40.21}
    found = {name: 100 * rate for name, rate in manifest["human_labels"].items()}
    assert found == pytest.approx(expected, abs=0.025)


@pytest.mark.slow
def test_both_layouts_of_cifar_10_have_the_same_images(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = whole[0]
    source = real("cifar10-mini")
    ingest_images(ImageOptions("cifar10", str(source), checksums="skip"), tmp_path / "mini")
    # The small set has the first 200 images of each batch of 10,000, and the first 400 for testing.
    rows = [*(np.arange(200) + begin for begin in range(0, 50_000, 10_000))]
    for split, places in (("train", np.concatenate(rows)), ("test", np.arange(400))):
        images = read_images(folder, split)[places]
        assert_array_equal(images, read_images(tmp_path / "mini", split))
        some = read_image_table(folder, split).take(places)
        mini = read_image_table(tmp_path / "mini", split)
        for column in ("label", "image_name"):
            assert some[column].to_pylist() == mini[column].to_pylist()
