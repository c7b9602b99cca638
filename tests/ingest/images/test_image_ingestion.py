"""From tiny sources to image dataset folders."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest import describe, read_families, read_manifest
from protein_robust.ingest.images import (
    MODALITY,
    ImageOptions,
    are_current,
    describe_images,
    human_labels_of,
    ingest_images,
    read_image_table,
    read_images,
)
from protein_robust.ingest.store import is_complete


def options_of(tiny: Any, source: Path, **changes: Any) -> ImageOptions:
    name = "cifar100" if tiny.cifar.superclasses else "cifar10"
    return dataclasses.replace(
        ImageOptions(name, str(source), checksums="skip"),  # type: ignore[arg-type]
        **changes,
    )


def write_human(path: Path, tiny: Any, **annotations: Any) -> str:
    np.savez(path, clean_label=np.array(tiny.labels["train"], dtype=np.uint8), **annotations)
    return str(path)


def test_images_labels_and_names_are_those_of_the_source(tiny10: Any, tmp_path: Path) -> None:
    manifest = ingest_images(options_of(tiny10, tiny10.write_python(tmp_path)), tmp_path / "out")
    for split in ("train", "test"):
        assert_array_equal(read_images(tmp_path / "out", split), tiny10.pixels[split])
        table = read_image_table(tmp_path / "out", split)
        assert table.to_pydict() == {
            "image_name": tiny10.names(split),
            "source_index": list(range(len(tiny10.labels[split]))),
            "label": tiny10.labels[split],
            "split": [split] * len(tiny10.labels[split]),
        }
    assert read_images(tmp_path / "out", "valid").shape == (0, 32, 32, 3)
    assert manifest == read_manifest(tmp_path / "out")


def test_the_manifest_says_what_the_images_are(tiny10: Any, tmp_path: Path) -> None:
    source = tiny10.write_python(tmp_path)
    manifest = ingest_images(options_of(tiny10, source), tmp_path / "out")
    assert (manifest["kind"], manifest["modality"]) == ("dataset", MODALITY)
    assert manifest["is_synthetic"] is False
    assert manifest["counts"] == {
        "records": 60,
        "families": 10,
        "clans": 0,
        "train": 50,
        "valid": 0,
        "test": 10,
    }
    assert manifest["removed"] == {"train_not_drawn": 0, "test_not_drawn": 0}
    assert manifest["image_shape"] == [32, 32, 3]
    assert manifest["verification"]["passed"]
    assert [Path(source["path"]).name for source in manifest["sources"]] == [
        *(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
        "batches.meta",
    ]
    assert sorted(manifest["sources"][0]) == ["num_bytes", "path", "sha256"]
    assert manifest["helpers"] == {}
    assert is_complete(tmp_path / "out", manifest)


def test_mean_and_deviation_are_of_the_training_pixels(tiny10: Any, tmp_path: Path) -> None:
    source = tiny10.write_python(tmp_path)
    options = options_of(tiny10, source, valid_fraction=0.2)
    manifest = ingest_images(options, tmp_path / "out")
    scaled = np.asarray(read_images(tmp_path / "out", "train"), dtype=np.float64) / 255
    assert_allclose(manifest["channel_mean"], scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert_allclose(manifest["channel_std"], scaled.std(axis=(0, 1, 2)), rtol=1e-12)


def test_a_valid_split_takes_the_same_share_of_each_class(tiny10: Any, tmp_path: Path) -> None:
    options = options_of(tiny10, tiny10.write_python(tmp_path), valid_fraction=0.2)
    ingest_images(options, tmp_path / "out")
    families = read_families(tmp_path / "out")
    assert families["num_train"].to_pylist() == [4] * 10
    assert families["num_valid"].to_pylist() == [1] * 10  # floor(5 * 0.2)
    tables = {s: read_image_table(tmp_path / "out", s) for s in ("train", "valid")}
    rows = {split: table["source_index"].to_pylist() for split, table in tables.items()}
    assert sorted(rows["train"] + rows["valid"]) == list(range(50))
    for split in rows:
        assert rows[split] == sorted(rows[split])
        expected = tiny10.pixels["train"][rows[split]]
        assert_array_equal(read_images(tmp_path / "out", split), expected)


def test_what_is_not_drawn_is_counted(tiny10: Any, tmp_path: Path) -> None:
    source = tiny10.write_python(tmp_path)
    options = options_of(tiny10, source, num_train=20, num_test=4)
    manifest = ingest_images(options, tmp_path / "out")
    assert manifest["counts"]["train"] == 20
    assert manifest["removed"] == {"train_not_drawn": 30, "test_not_drawn": 6}
    assert read_families(tmp_path / "out")["num_train"].to_pylist() == [2] * 10


@pytest.mark.slow
def test_the_layout_does_not_change_the_digest(tiny100: Any, tmp_path: Path) -> None:
    sources = [
        tiny100.write_python(tmp_path / "python"),
        tmp_path / "python",
        tiny100.write_tarball(tmp_path / "cifar-100-python.tar.gz"),
        tiny100.write_parquet(tmp_path / "parquet"),
        tiny100.write_parquet(tmp_path / "hub" / "data", image="image").parent,
    ]
    human = write_human(tmp_path / "h.npz", tiny100, noisy_label=np.arange(200) % 100)
    manifests = [
        ingest_images(
            options_of(tiny100, source, human_labels=human, num_train=150, valid_fraction=0.5),
            tmp_path / f"out{number}",
        )
        for number, source in enumerate(sources)
    ]
    assert len({manifest["digest"] for manifest in manifests}) == 1
    for number in range(len(sources)):
        table = read_image_table(tmp_path / f"out{number}", "test")
        assert table["image_name"].to_pylist() == tiny100.names("test")


@pytest.mark.parametrize(
    "change",
    [
        {"num_train": 49},
        {"num_test": 9},
        {"valid_fraction": 0.3},
        {"human_labels": "h.npz"},
        {"human_labels": "other.npz"},
    ],
    ids=lambda change: "".join(f"{key} {value}" for key, value in change.items()),
)
def test_the_digest_sees_what_is_kept(
    change: dict[str, Any], tiny10: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_human(tmp_path / "h.npz", tiny10, aggre_label=np.zeros(50, dtype=int))
    write_human(tmp_path / "other.npz", tiny10, aggre_label=np.arange(50) % 2)
    source = tiny10.write_python(tmp_path)
    first = ingest_images(options_of(tiny10, source), tmp_path / "one")
    other = ingest_images(options_of(tiny10, source, **change), tmp_path / "two")
    assert first["digest"] != other["digest"]
    human = options_of(tiny10, source, human_labels="h.npz")
    if change != {"human_labels": "h.npz"}:
        assert ingest_images(human, tmp_path / "three")["digest"] != other["digest"]


def test_the_digest_sees_a_pixel(tiny10: Any, tmp_path: Path) -> None:
    options = options_of(tiny10, tiny10.write_python(tmp_path / "one"))
    first = ingest_images(options, tmp_path / "out")
    tiny10.pixels["train"][7, 3, 4, 1] ^= 1
    options = options_of(tiny10, tiny10.write_python(tmp_path / "two"))
    assert ingest_images(options, tmp_path / "out")["digest"] != first["digest"]


def test_classes_have_their_superclasses_as_clans(tiny100: Any, tmp_path: Path) -> None:
    source = tiny100.write_python(tmp_path)
    manifest = ingest_images(options_of(tiny100, source), tmp_path / "out")
    families = read_families(tmp_path / "out").to_pylist()
    # On https://www.cs.toronto.edu/~kriz/cifar.html beaver and dolphin are aquatic mammals.
    assert [families[label]["family_accession"] for label in (4, 30)] == ["beaver", "dolphin"]
    assert {families[label]["clan"] for label in (4, 30)} == {"aquatic_mammals"}
    assert (manifest["counts"]["families"], manifest["counts"]["clans"]) == (100, 20)


def test_superclasses_can_be_the_classes(tiny100: Any, tmp_path: Path) -> None:
    options = options_of(tiny100, tiny100.write_python(tmp_path), classes="coarse")
    manifest = ingest_images(options, tmp_path / "out")
    table = read_image_table(tmp_path / "out", "train", ["label"])
    assert table["label"].to_pylist() == tiny100.coarse("train")
    families = read_families(tmp_path / "out")
    assert families["family_accession"].to_pylist() == list(tiny100.cifar.superclasses)
    assert families["clan"].null_count == 20
    assert (manifest["counts"]["families"], manifest["counts"]["clans"]) == (20, 0)


def test_human_labels_follow_the_images(tiny10: Any, tmp_path: Path) -> None:
    worse = np.random.default_rng(1).integers(0, 10, 50)
    right = np.array(tiny10.labels["train"])
    human = write_human(tmp_path / "h.npz", tiny10, worse_label=worse, aggre_label=right)
    options = options_of(
        tiny10,
        tiny10.write_python(tmp_path),
        human_labels=human,
        num_train=40,
        valid_fraction=0.25,
    )
    manifest = ingest_images(options, tmp_path / "out")
    rows = {
        split: read_image_table(tmp_path / "out", split).to_pydict()
        for split in ("train", "valid", "test")
    }
    for split in ("train", "valid"):
        assert rows[split]["human_worse"] == worse[rows[split]["source_index"]].tolist()
    assert rows["test"]["human_worse"] == [None] * 10
    found = human_labels_of(tmp_path / "out")
    assert sorted(found) == ["aggre", "worse"]
    assert found["worse"].dtype == np.int64
    assert_array_equal(found["worse"], worse[rows["train"]["source_index"]])
    kept = rows["train"]["source_index"]
    assert manifest["human_labels"] == {
        "worse": pytest.approx((worse[kept] != right[kept]).mean()),
        "aggre": 0.0,
    }
    assert list(manifest["helpers"]) == ["human_labels"]


def test_a_dataset_without_human_labels_has_none(tiny10: Any, tmp_path: Path) -> None:
    manifest = ingest_images(options_of(tiny10, tiny10.write_python(tmp_path)), tmp_path / "out")
    assert human_labels_of(tmp_path / "out") == manifest["human_labels"] == {}


def test_the_seed_decides_what_is_drawn(tiny10: Any, tmp_path: Path) -> None:
    source = tiny10.write_python(tmp_path)
    digests = [
        ingest_images(options_of(tiny10, source, num_train=20, seed=seed), tmp_path / "o")["digest"]
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_progress_ends_with_all_records_and_bytes(tiny10: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def tell(records: int, done: int, total: int) -> None:
        seen.append((records, done, total))

    source = tiny10.write_parquet(tmp_path / "source")
    ingest_images(options_of(tiny10, source), tmp_path / "out", on_progress=tell)
    size = sum(path.stat().st_size for path in source.iterdir())
    assert seen == sorted(seen)
    assert seen[-1] == (60, size, size)


@pytest.mark.parametrize("layout", ["python", "tarball"])
def test_progress_of_pickles_counts_their_images(layout: str, tiny10: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def tell(records: int, done: int, total: int) -> None:
        seen.append((records, done, total))

    write = {"python": tiny10.write_python, "tarball": tiny10.write_tarball}[layout]
    options = options_of(tiny10, write(tmp_path / "source"))
    ingest_images(options, tmp_path / "out", on_progress=tell)
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert seen[-1][0] == 60
    assert seen[-1][1] == seen[-1][2]


# Whether a folder is current.


@pytest.fixture
def made(tiny10: Any, tmp_path: Path) -> tuple[Path, ImageOptions]:
    human = write_human(tmp_path / "h.npz", tiny10, worse_label=np.zeros(50, dtype=int))
    source = tiny10.write_python(tmp_path / "source")
    options = options_of(tiny10, source, human_labels=human)
    ingest_images(options, tmp_path / "out")
    return tmp_path / "out", options


def test_a_folder_is_current_until_something_changes(made: tuple[Path, ImageOptions]) -> None:
    assert are_current(*made)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"num_test": 10},
        {"valid_fraction": 0.1},
        {"human_labels": None},
        {"checksums": "official"},
        {"source": "elsewhere"},
        {"name": "digits", "source": None},
        {"seed": -1},
    ],
    ids=lambda change: "".join(f"{key} {value}" for key, value in change.items()),
)
def test_a_folder_is_not_current_with_other_options(
    change: dict[str, Any], made: tuple[Path, ImageOptions]
) -> None:
    folder, options = made
    assert not are_current(folder, dataclasses.replace(options, **change))


@pytest.mark.parametrize("name", ["source/cifar-10-batches-py/data_batch_3", "h.npz"])
def test_a_folder_is_not_current_with_another_file(
    name: str, made: tuple[Path, ImageOptions]
) -> None:
    folder, options = made
    with (folder.parent / name).open("ab") as file:
        file.write(b"x")
    assert not are_current(folder, options)


def test_files_may_be_moved(made: tuple[Path, ImageOptions], tmp_path: Path) -> None:
    folder, options = made
    shutil.move(tmp_path / "source", tmp_path / "moved")
    assert not are_current(folder, options)
    moved = str(tmp_path / "moved")
    assert are_current(folder, dataclasses.replace(options, source=moved))


@pytest.mark.parametrize("name", ["images.npy", "images.parquet", "families.parquet"])
def test_a_folder_without_one_of_its_files_is_not_current(
    name: str, made: tuple[Path, ImageOptions]
) -> None:
    folder, options = made
    (folder / name).unlink()
    assert not are_current(folder, options)


def test_no_folder_is_not_current(made: tuple[Path, ImageOptions], tmp_path: Path) -> None:
    assert not are_current(tmp_path / "nothing", made[1])


def test_a_folder_of_sequences_is_not_current(made: tuple[Path, ImageOptions]) -> None:
    folder, options = made
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["modality"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert not are_current(folder, options)


# Failures leave nothing.


def test_a_failure_leaves_what_was_there(tiny10: Any, tmp_path: Path) -> None:
    good = options_of(tiny10, tiny10.write_python(tmp_path / "good"))
    first = ingest_images(good, tmp_path / "out")
    bad = tiny10.write_python(tmp_path / "bad", {"data_batch_2": None})
    with pytest.raises(InputError, match="Expected a file data_batch_2 of cifar-10-batches-py"):
        ingest_images(options_of(tiny10, bad), tmp_path / "out")
    assert read_manifest(tmp_path / "out") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good", "out"]


def test_a_source_inside_the_output_is_refused(tiny10: Any, tmp_path: Path) -> None:
    source = tiny10.write_python(tmp_path / "in")
    with pytest.raises(InputError, match=r"in: Expected a new, an empty or a dataset folder"):
        ingest_images(options_of(tiny10, source), tmp_path / "in")


def test_human_labels_inside_the_output_are_refused(
    made: tuple[Path, ImageOptions], tiny10: Any
) -> None:
    folder, options = made
    shutil.copy(str(options.human_labels), folder / "data_card.md")
    inside = dataclasses.replace(options, human_labels=str(folder / "data_card.md"))
    with pytest.raises(InputError, match="Expected a source outside the output folder"):
        ingest_images(inside, folder)


def test_a_folder_with_something_else_is_not_replaced(tiny10: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"a dataset folder, got a folder with 'notes\.txt'"):
        ingest_images(options_of(tiny10, tiny10.write_python(tmp_path)), tmp_path / "out")


# What is said of it.


def test_a_dataset_is_described(made: tuple[Path, ImageOptions], tiny10: Any) -> None:
    manifest = read_manifest(made[0])
    lines = dict(describe_images(manifest))
    assert lines["dataset"] == "out (images)"
    assert lines["images read"] == "60"
    assert lines["train images"] == "50"
    assert lines["height, width, channels"] == "32 x 32 x 3"
    assert lines["human labels worse"] == "90.00% wrong"  # all are 0, as 5 of 50 images are
    assert lines["verified"] == "passed"
    assert "training images not drawn" not in lines
    assert describe(manifest) == describe_images(manifest)


def test_superclasses_and_what_is_not_drawn_are_described(tiny100: Any, tmp_path: Path) -> None:
    options = options_of(tiny100, tiny100.write_python(tmp_path), num_train=150)
    lines = dict(describe_images(ingest_images(options, tmp_path / "out")))
    assert lines["classes"] == "100 (20 superclasses)"
    assert lines["training images not drawn"] == "50"


def test_the_data_card_says_it_too(made: tuple[Path, ImageOptions]) -> None:
    manifest, card = read_manifest(made[0]), (made[0] / "data_card.md").read_text()
    assert card.startswith("# Data card: out\n")
    for text in (
        manifest["digest"],
        manifest["sources"][0]["sha256"],
        manifest["helpers"]["human_labels"]["sha256"],
        "| airplane |  | 5 | 0 | 1 |",
        "| worse | 90.0000% |",
        "- `checksums`: skip",
        "Test images are the official ones",
    ):
        assert text in card
