"""Finding the files of a set of images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.images import ImageOptions
from protein_robust.ingest.images.sources import find_layout, identify, identify_helpers


def find(source: Path, name: str = "cifar10") -> tuple[str, Path, list[str]]:
    layout = find_layout(ImageOptions(name, str(source), checksums="skip"))  # type: ignore[arg-type]
    return layout.kind, layout.place, [path.name for path in layout.files]


def test_a_folder_of_batches_is_found_and_its_parent(tiny100: Any, tmp_path: Path) -> None:
    folder = tiny100.write_python(tmp_path)
    expected = ("python", folder, ["train", "test", "meta"])
    assert find(folder, "cifar100") == find(tmp_path, "cifar100") == expected


def test_shards_are_found_in_the_order_of_their_names(tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_parquet(tmp_path / "hub" / "data")
    names = [f"train-0000{number}-of-00002.parquet" for number in range(2)]
    expected = ("parquet", folder, [*names, "test-00000-of-00001.parquet"])
    assert find(folder) == find(folder.parent) == expected


def test_a_file_is_a_tarball(tiny10: Any, tmp_path: Path) -> None:
    tarball = tiny10.write_tarball(tmp_path / "x.tar.gz")
    assert find(tarball) == ("tarball", tarball, ["x.tar.gz"])


def test_two_layouts_in_one_folder_are_refused(tiny10: Any, tmp_path: Path) -> None:
    tiny10.write_parquet(tmp_path / "both")
    tiny10.write_python(tmp_path / "both")
    with pytest.raises(InputError, match=r"both: Expected a tarball, or a folder .*got both kinds"):
        find(tmp_path / "both")


def test_a_folder_of_the_other_set_is_refused(tiny10: Any, tmp_path: Path) -> None:
    tiny10.write_python(tmp_path)
    message = "of cifar100, got a folder without cifar-100-python or such files"
    with pytest.raises(InputError, match=message):
        find(tmp_path, "cifar100")


@pytest.mark.parametrize("word", ["train", "test"])
def test_parquet_files_of_one_split_alone_are_refused(
    word: str, tiny10: Any, tmp_path: Path
) -> None:
    folder = tiny10.write_parquet(tmp_path / "source")
    for path in folder.glob(f"{word}*"):
        path.unlink()
    with pytest.raises(InputError, match="got a folder without"):
        find(folder)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: Expected an existing file, got none there"):
        find(tmp_path / "nothing")


def test_an_empty_batch_is_refused(tiny10: Any, tmp_path: Path) -> None:
    folder = tiny10.write_python(tmp_path)
    (folder / "test_batch").write_bytes(b"")
    with pytest.raises(InputError, match="test_batch: Expected a file with records, got an empty"):
        find(folder)


def test_files_are_identified_by_content(tiny10: Any, tmp_path: Path) -> None:
    source = tiny10.write_parquet(tmp_path / "one")
    shutil.copytree(source, tmp_path / "two")
    found = []
    for name in ("one", "two"):
        options = ImageOptions("cifar10", str(tmp_path / name))
        found.append(identify(find_layout(options), options))
    assert [file["sha256"] for file in found[0]] == [file["sha256"] for file in found[1]]
    assert len({file["sha256"] for file in found[0]}) == 3
    assert found[1][0]["path"] == str(tmp_path / "two" / "train-00000-of-00002.parquet")


def test_human_labels_that_are_not_there_are_refused(tmp_path: Path) -> None:
    options = ImageOptions("cifar10", "x", human_labels=str(tmp_path / "h.npz"))
    with pytest.raises(InputError, match=r"h\.npz: Expected an existing file, got none there"):
        identify_helpers(options)
