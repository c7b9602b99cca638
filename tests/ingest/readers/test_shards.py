import shutil
from pathlib import Path

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.options import Source
from protein_robust.ingest.readers.shards import expand_folder


def write(folder: Path, prefix: str = "data", total: int = 3, suffix: str = "") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}-{i:05d}-of-{total:05d}{suffix}" for i in range(total)]
    for path in paths:
        path.write_text("family,sequence\n")
    return paths


def test_folders_of_the_random_split_give_their_shards_a_split(tmp_path: Path) -> None:
    test, train = write(tmp_path / "test"), write(tmp_path / "train", total=80)
    valid = write(tmp_path / "dev", total=1)
    assert expand_folder(str(tmp_path)) == [
        *(Source(path, "train") for path in train),
        *(Source(path, "valid") for path in valid),
        *(Source(path, "test") for path in test),
    ]


def test_a_flat_folder_of_shards_has_no_split(tmp_path: Path) -> None:
    paths = write(tmp_path / "a")
    assert expand_folder(tmp_path / "a") == [Source(path) for path in paths]


def test_prefixes_name_splits(tmp_path: Path) -> None:
    test = write(tmp_path, "test", 1, ".parquet")
    train = write(tmp_path, "train", 2, ".parquet")
    valid = write(tmp_path, "validation", 1, ".parquet")
    assert expand_folder(tmp_path) == [
        *(Source(path, "train") for path in train),
        Source(valid[0], "valid"),
        Source(test[0], "test"),
    ]


@pytest.mark.parametrize("suffix", ["", ".csv", ".tsv.gz", ".parquet", ".zst"])
def test_shards_may_have_the_suffix_of_a_table(tmp_path: Path, suffix: str) -> None:
    assert len(expand_folder(write(tmp_path / "a", suffix=suffix)[0].parent)) == 3


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train", total=80)[7].unlink()
    message = r"train: Expected all 80 shards, got 79: data-00007-of-00080 not there\.$"
    with pytest.raises(InputError, match=message):
        expand_folder(tmp_path)


def test_many_missing_shards_are_counted(tmp_path: Path) -> None:
    write(tmp_path, total=1)[0].rename(tmp_path / "data-00001-of-999999999")
    message = "data-00000-of-999999999, data-00002-of-.*-00005-of-999999999 and 999999993 more"
    with pytest.raises(InputError, match=message):
        expand_folder(tmp_path)


def test_what_does_not_belong_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"Expected shards only in a folder .*, got 'notes\.txt'"):
        expand_folder(tmp_path)


def test_files_beside_folders_of_splits_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train")
    for number in range(7):
        (tmp_path / f"f{number}").touch()
    with pytest.raises(InputError, match=r"folders of splits only .*, got 'f0', .*'f4' and 2 more"):
        expand_folder(tmp_path)


def test_a_folder_of_another_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "fold1")
    with pytest.raises(InputError, match=r"fold1: Expected a split, one of train, .*, got 'fold1'"):
        expand_folder(tmp_path)


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "dev")
    write(tmp_path / "valid")
    with pytest.raises(InputError, match="valid: Expected one folder of the split valid, got ano"):
        expand_folder(tmp_path)


def test_shards_of_another_split_than_their_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train", "test")
    with pytest.raises(InputError, match="Expected shards of the split train, got test-00000-of"):
        expand_folder(tmp_path)


def test_splits_for_some_shards_only_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "train")
    write(tmp_path, "data")
    with pytest.raises(InputError, match="Expected a split for all shards or for none, got"):
        expand_folder(tmp_path)


def test_two_forms_of_one_shard_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, suffix=".gz")
    with pytest.raises(InputError, match=r"Expected each shard once, got data-00000-of-00003\.gz"):
        expand_folder(tmp_path)


@pytest.mark.parametrize("name", ["data-00003-of-00003", "data-00001-of-00004"])
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="Expected numbers below 00003, all of 00003, got data-0"):
        expand_folder(tmp_path)


def test_a_folder_called_like_a_shard_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train")[1].unlink()
    (tmp_path / "train" / "data-00001-of-00003").mkdir()
    with pytest.raises(InputError, match="data-00001-of-00003: Expected shards only, got no file"):
        expand_folder(tmp_path)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, what: str) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    paths = write(inside / "train")
    if what == "folder":
        shutil.move(inside / "train", outside)
        (inside / "train").symlink_to(outside)
    else:
        paths[1].rename(tmp_path / "elsewhere")
        paths[1].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="Expected shards inside the folder, got a symbolic link"):
        expand_folder(inside)


def test_a_link_to_another_shard_is_refused(tmp_path: Path) -> None:
    paths = write(tmp_path)
    paths[2].unlink()
    paths[2].symlink_to(paths[0])
    with pytest.raises(InputError, match="00002-of-00003: Expected each shard once, got the same"):
        expand_folder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a folder of shards, got an empty folder"):
        expand_folder(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a folder of shards, got No such file"):
        expand_folder(tmp_path / "none")
