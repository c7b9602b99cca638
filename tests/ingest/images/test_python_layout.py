"""Python batches and tarballs that are broken, and their official sums."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest.images import ImageOptions, ingest_images
from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100, CIFARS
from protein_robust.ingest.images.content import Part
from protein_robust.ingest.images.meter import Meter
from protein_robust.ingest.images.python_layout import read_folder, read_tarball
from protein_robust.ingest.images.sources import find_layout, identify


def read(folder: Path, cifar: Any = CIFAR10) -> tuple[Part, Part]:
    return read_folder(folder, cifar, Meter(None, 1))


def test_the_planes_of_a_row_become_channels(tiny10: Any, tmp_path: Path) -> None:
    row = np.arange(3072) % 251
    tiny10.pixels["test"][0] = row.reshape(3, 32, 32).transpose(1, 2, 0)
    batch = tiny10.batch("test")
    assert_array_equal(batch[b"data"][0], row)
    _, test = read(tiny10.write_python(tmp_path))
    # Red, green and blue of the pixel in row 2, column 5 are 2 * 32 + 5 values into each plane.
    assert test.images[0, 2, 5].tolist() == [(69 + plane * 1024) % 251 for plane in range(3)]


def test_batches_stand_behind_each_other(tiny10: Any, tmp_path: Path) -> None:
    train, test = read(tiny10.write_python(tmp_path))
    assert_array_equal(train.images, tiny10.pixels["train"])
    assert train.labels.tolist() == tiny10.labels["train"]
    assert (train.names, test.names) == (tiny10.names("train"), tiny10.names("test"))
    assert train.coarse is None


def test_superclasses_are_read(tiny100: Any, tmp_path: Path) -> None:
    train, _ = read(tiny100.write_python(tmp_path), CIFAR100)
    assert train.coarse is not None
    assert train.coarse.tolist() == tiny100.coarse("train")


def test_images_without_names_are_numbered(tiny10: Any, tmp_path: Path) -> None:
    changes = {name: content for name, content in tiny10.files().items() if name != "batches.meta"}
    for content in changes.values():
        del content[b"filenames"]
    train, test = read(tiny10.write_python(tmp_path, changes))
    assert (train.names[49], test.names[3]) == ("train/00049", "test/00003")


def test_a_folder_without_names_of_classes_is_read(tiny10: Any, tmp_path: Path) -> None:
    assert len(read(tiny10.write_python(tmp_path, {"batches.meta": None}))[1].labels) == 10


def changed(content: dict[bytes, Any], **changes: Any) -> dict[bytes, Any]:
    return {**content, **{key.encode(): value for key, value in changes.items()}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": np.zeros((10, 3071), np.uint8)},
            r"`data` of bytes, 3072 .*of shape \(10, 3071\)",
        ),
        ({"data": np.zeros((10, 3072), np.int64)}, "`data` of bytes, .*an array of int64 of"),
        ({"data": b"abc"}, "`data` of bytes, .*got a bytes"),
        ({"data": None}, "`data` of bytes, .*got none"),
        ({"labels": list(range(1, 11))}, r"`labels` in \[0, 10\), got 10 \(row 9\)"),
        ({"labels": [0] * 9 + [-1]}, r"`labels` in \[0, 10\), got -1 \(row 9\)"),
        ({"labels": [0] * 9}, "10 `labels`, one for each image, got 9"),
        (
            {"labels": [0.0] * 10},
            "`labels`, a list or one-dimensional array of integers, got a lis",
        ),
        ({"labels": [True] * 10}, "`labels`, a list or .*got a list"),
        ({"labels": [1 << 70] * 10}, "`labels` of 64 bits, got larger integers"),
        (
            {"labels": np.zeros((10, 1), int)},
            r"`labels`, .*got an array of int64 of shape \(10, 1\)",
        ),
        ({"labels": None}, "`labels`, a list or .*got none"),
        ({"filenames": [b"a"]}, "10 `filenames`, one for each image, got 1"),
        ({"filenames": b"a"}, "10 `filenames`, one for each image, got 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_batch_that_is_not_one_is_refused(
    change: dict[str, Any], message: str, tiny10: Any, tmp_path: Path
) -> None:
    content = changed(tiny10.files()["data_batch_4"], **change)
    folder = tiny10.write_python(tmp_path, {"data_batch_4": content})
    with pytest.raises(InputError, match=f"data_batch_4: Expected {message}"):
        read(folder)


def test_labels_may_be_an_array(tiny10: Any, tmp_path: Path) -> None:
    content = tiny10.files()["test_batch"]
    content[b"labels"] = np.array(content[b"labels"], dtype=np.uint8)
    _, test = read(tiny10.write_python(tmp_path, {"test_batch": content}))
    assert test.labels.tolist() == tiny10.labels["test"]
    assert test.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([b"airplane", b"car"], r"got 'car' for automobile"),
        ([], "got 0 names"),
        (b"airplane", "got 0 names"),
    ],
)
def test_other_classes_are_refused(names: Any, message: str, tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_python(tmp_path, {"batches.meta": {b"label_names": names}})
    expected = r"batches\.meta: Expected the names of 10 classes in label_names, "
    with pytest.raises(InputError, match=expected + message):
        read(folder)


def test_other_superclasses_are_refused(tiny100: Any, tmp_path: Path) -> None:
    meta = tiny100.files()["meta"]
    meta[b"coarse_label_names"] = meta[b"coarse_label_names"][::-1]
    folder = tiny100.write_python(tmp_path, {"meta": meta})
    with pytest.raises(InputError, match=r"in coarse_label_names, got 'vehicles_2' for aquatic_m"):
        read(folder, CIFAR100)


@pytest.mark.parametrize("word", ["train", "test"])
def test_a_class_of_another_superclass_is_refused(word: str, tiny100: Any, tmp_path: Path) -> None:
    content = tiny100.files()[word]
    row = content[b"fine_labels"].index(0)  # an apple is of "fruit and vegetables", number 4
    content[b"coarse_labels"][row] = 7
    folder = tiny100.write_python(tmp_path, {word: content})
    part = {"train": "training", "test": "test"}[word]
    with pytest.raises(
        InputError, match=f"superclass 4 for apple, got 7 in row {row} of the {part}"
    ):
        ingest_images(ImageOptions("cifar100", str(folder), checksums="skip"), tmp_path / "out")


def test_a_batch_that_runs_something_is_refused(tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_python(tmp_path)
    (folder / "data_batch_5").write_bytes(b"cos\nsystem\n(S'touch made'\ntR.")
    with pytest.raises(InputError, match=r"data_batch_5: .*got one that names os\.system"):
        read(folder)


def test_a_cut_batch_is_refused(tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_python(tmp_path)
    whole = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="test_batch: Expected a whole pickle of arrays"):
        read(folder)


# Tarballs.


def test_a_tarball_is_read_in_any_order(tiny10: Any, tmp_path: Path) -> None:
    tarball = tiny10.write_tarball(tmp_path / "cifar-10-python.tar.gz")
    train, test = read_tarball(tarball, CIFAR10, Meter(None, 1))
    assert_array_equal(train.images, tiny10.pixels["train"])
    assert_array_equal(test.images, tiny10.pixels["test"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [tarball.name]


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member, raw in members:
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def members_of(tiny: Any, prefix: str = "") -> list[tuple[tarfile.TarInfo, bytes]]:
    return [
        (tarfile.TarInfo(f"{prefix}{tiny.cifar.folder}/{name}"), pickle.dumps(content, protocol=2))
        for name, content in tiny.files().items()
    ]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tarball_may_be_compressed_otherwise(mode: str, tiny10: Any, tmp_path: Path) -> None:
    tarball = write_tar(tmp_path / "x.tar", members_of(tiny10, "./"), mode)
    assert len(read_tarball(tarball, CIFAR10, Meter(None, 1))[0].labels) == 50


def test_members_of_other_names_are_left_alone(tiny10: Any, tmp_path: Path) -> None:
    others = [
        (tarfile.TarInfo(name), b"cos\nsystem\n(S'true'\ntR.")
        for name in ("../data_batch_1", "/etc/data_batch_1", "data_batch_1", "x/data_batch_1")
    ]
    tarball = write_tar(tmp_path / "x.tar.gz", others + members_of(tiny10))
    assert len(read_tarball(tarball, CIFAR10, Meter(None, 1))[0].labels) == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_none(kind: bytes, tiny10: Any, tmp_path: Path) -> None:
    members = members_of(tiny10)
    link = members[2][0]
    link.type, link.linkname = kind, "/etc/passwd"
    tarball = write_tar(tmp_path / "x.tar.gz", [*members[:2], (link, b""), *members[3:]])
    with pytest.raises(InputError, match="a file data_batch_3 of cifar-10-batches-py, got none"):
        read_tarball(tarball, CIFAR10, Meter(None, 1))


def test_a_member_that_is_there_twice_is_refused(tiny10: Any, tmp_path: Path) -> None:
    members = members_of(tiny10)
    tarball = write_tar(tmp_path / "x.tar.gz", [*members, members[0]])
    with pytest.raises(InputError, match=r"x\.tar\.gz: Expected one member data_batch_1, got anot"):
        read_tarball(tarball, CIFAR10, Meter(None, 1))


def test_a_member_of_absurd_size_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo(f"{CIFAR10.folder}/data_batch_1")
    member.size = 2**30 + 1
    (tmp_path / "x.tar").write_bytes(member.tobuf() + bytes(1024))
    with pytest.raises(InputError, match=r"data_batch_1 of at most 1,073,741,824 bytes, got 1,07"):
        read_tarball(tmp_path / "x.tar", CIFAR10, Meter(None, 1))


def test_a_cut_tarball_is_refused(tiny10: Any, tmp_path: Path) -> None:
    tarball = tiny10.write_tarball(tmp_path / "x.tar.gz")
    whole = tarball.read_bytes()
    for end in (10, 1000, len(whole) // 2, len(whole) * 9 // 10):
        tarball.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"x\.tar\.gz"):
            read_tarball(tarball, CIFAR10, Meter(None, 1))


def test_a_tarball_with_a_changed_byte_is_refused(tiny10: Any, tmp_path: Path) -> None:
    tarball = tiny10.write_tarball(tmp_path / "x.tar.gz")
    whole = bytearray(tarball.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 50] = bytes(50)
    tarball.write_bytes(whole)
    with pytest.raises(InputError, match=r"x\.tar\.gz"):
        read_tarball(tarball, CIFAR10, Meter(None, 1))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"not an archive" * 100)
    with pytest.raises(InputError, match=r"x\.tar\.gz: Expected a whole tar archive, got "):
        read_tarball(tmp_path / "x.tar.gz", CIFAR10, Meter(None, 1))


# Official sums.


def test_a_batch_with_another_sum_is_refused(tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_python(tmp_path)
    actual = hashlib.md5((folder / "data_batch_1").read_bytes()).hexdigest()
    with pytest.raises(InputError) as caught:
        ingest_images(ImageOptions("cifar10", str(folder)), tmp_path / "out")
    assert str(caught.value) == (
        f"{folder}/data_batch_1: Expected the official file, MD5 c99cafc152244af753f735de768cd75f "
        f"(with `checksums: skip` any is read), got MD5 {actual}."
    )
    assert not (tmp_path / "out").exists()


def test_a_tarball_with_another_sum_is_refused(tiny100: Any, tmp_path: Path) -> None:
    tarball = tiny100.write_tarball(tmp_path / "x.tar.gz")
    with pytest.raises(InputError, match=r"x\.tar\.gz: .*MD5 eb9058c3a382ffc7106e4002c42a8d85 "):
        ingest_images(ImageOptions("cifar100", str(tarball)), tmp_path / "out")


@pytest.mark.parametrize("broken", [None, "data_batch_2", "test_batch", "batches.meta"])
def test_every_file_is_held_against_its_own_sum(
    broken: str | None, tiny10: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny10.write_python(tmp_path)
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    if broken:
        sums[broken] = "0" * 32
    monkeypatch.setitem(CIFARS, "cifar10", dataclasses.replace(CIFAR10, md5=sums))  # type: ignore[arg-type]
    options = ImageOptions("cifar10", str(folder))
    if broken is None:
        assert len(identify(find_layout(options), options)) == 7
    else:
        with pytest.raises(InputError, match=f"{broken}: Expected the official file, MD5 0{{32}} "):
            identify(find_layout(options), options)


def test_a_batch_without_images_is_refused(tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_python(tmp_path)
    empty = {b"data": np.zeros((0, 3072), np.uint8), b"labels": []}
    (folder / "data_batch_4").write_bytes(pickle.dumps(empty, protocol=4))
    with pytest.raises(InputError, match=r"data_batch_4: Expected `data` .*of shape \(0, 3072\)"):
        read(folder)
