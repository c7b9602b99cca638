"""Noise as a folder: what is drawn, what the manifest says, and that it can be read back."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise import CropRule, LabelRule, NoiseSetting, make_noise, read_noise
from protein_robust.noise.store import Noise

Arrays = dict[str, NDArray[np.int64]]
SETTING = NoiseSetting(LabelRule("symmetric", 0.3), CropRule("random"), seed=5)


def splits(**sizes: int) -> tuple[Arrays, Arrays]:
    """Labels 0, 1, 2, 0, ... and lengths 10, 11, ... of each split."""
    labels = {split: np.arange(size) % 3 for split, size in sizes.items()}
    return labels, {split: np.arange(size) + 10 for split, size in sizes.items()}


def made(folder: Path, setting: NoiseSetting = SETTING, **sizes: int) -> Noise:
    labels, lengths = splits(**(sizes or {"train": 40, "valid": 8, "test": 9}))
    return make_noise(
        folder, setting, labels=labels, lengths=lengths, num_classes=3, dataset_digest="abc"
    )


def content(noise: Noise) -> dict[str, Any]:
    """Everything that noise holds, comparable."""
    crops = {
        split: (crop.start.tolist(), crop.length.tolist()) for split, crop in noise.crops.items()
    }
    labels = (noise.labels.rule, noise.labels.label.tolist(), noise.labels.clean_label.tolist())
    return {"labels": labels, "crops": crops, "manifest": dict(noise.manifest)}


def sha256_of(values: list[int]) -> str:
    """Of little-endian 64-bit integers, without NumPy."""
    return hashlib.sha256(struct.pack(f"<{len(values)}q", *values)).hexdigest()


def test_what_is_read_is_what_was_made(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    assert content(read_noise(tmp_path / "noise")) == content(noise)


def test_an_empty_split_is_read_back_as_an_empty_split(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise", train=5, valid=0, test=2)
    assert content(read_noise(tmp_path / "noise")) == content(noise)
    assert len(read_noise(tmp_path / "noise").crops["valid"].start) == 0


def test_a_data_set_without_training_sequences_has_no_label_noise(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise", train=0, test=4)
    assert content(read_noise(tmp_path / "noise")) == content(noise)
    assert noise.manifest["actual_rate_by_class"] == {}


def test_two_classes_are_enough(tmp_path: Path) -> None:
    noise = make_noise(
        tmp_path / "noise",
        NoiseSetting(LabelRule("symmetric", 1.0), CropRule(), seed=0),
        labels={"train": np.array([0, 1, 1])},
        lengths={"train": np.array([4, 5, 6])},
        num_classes=2,
        dataset_digest="abc",
    )
    assert noise.labels.label.tolist() == [1, 0, 0]


def test_only_training_labels_are_corrupted(tmp_path: Path) -> None:
    labels, lengths = splits(train=40, valid=8, test=9)
    make_noise(
        tmp_path / "noise",
        SETTING,
        labels=labels,
        lengths=lengths,
        num_classes=3,
        dataset_digest="",
    )
    untouched, _ = splits(train=40, valid=8, test=9)
    assert {k: v.tolist() for k, v in labels.items()} == {
        k: v.tolist() for k, v in untouched.items()
    }
    # The folder's labels are those of the training split and of no other.
    assert len(read_noise(tmp_path / "noise").labels.label) == 40


def test_the_manifest_says_what_was_asked_and_what_was_done(tmp_path: Path) -> None:
    manifest = made(tmp_path / "noise").manifest
    said = {k: manifest[k] for k in ("schema_version", "kind", "dataset_digest", "seed")}
    assert said == {"schema_version": 1, "kind": "noise", "dataset_digest": "abc", "seed": 5}
    assert manifest["label_rule"] == {"kind": "symmetric", "rate": 0.3}
    assert manifest["own_class"] == "excluded"
    assert (manifest["requested_rate"], manifest["actual_rate"]) == (0.3, 12 / 40)
    assert manifest["crop_rule"]["kind"] == "random"


def test_the_manifest_names_the_changed_positions(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    clean, label = noise.labels.clean_label.tolist(), noise.labels.label.tolist()
    changed = [i for i in range(40) if clean[i] != label[i]]
    assert noise.manifest["changed_indices"] == changed


def test_the_manifest_gives_the_rate_of_each_class(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    clean, changed = noise.labels.clean_label.tolist(), noise.manifest["changed_indices"]
    rates = {
        str(c): sum(clean[i] == c for i in changed) / clean.count(c) for c in sorted(set(clean))
    }
    assert noise.manifest["actual_rate_by_class"] == pytest.approx(rates)


def test_the_hashes_are_of_little_endian_64_bit_integers(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    assert noise.manifest["clean_labels_sha256"] == sha256_of(noise.labels.clean_label.tolist())
    assert noise.manifest["labels_sha256"] == sha256_of(noise.labels.label.tolist())
    crop = noise.crops["valid"]
    expected = sha256_of(crop.start.tolist() + crop.length.tolist())
    assert noise.manifest["crops_sha256"]["valid"] == expected


def test_the_digest_is_of_the_rest_of_the_manifest(tmp_path: Path) -> None:
    manifest = dict(made(tmp_path / "noise").manifest)
    digest = manifest.pop("digest")
    text = json.dumps(manifest, sort_keys=True)
    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_manifest_gives_the_mean_kept_fraction_of_each_split(tmp_path: Path) -> None:
    setting = NoiseSetting(LabelRule(), CropRule("first", num_residues=11), seed=0)
    manifest = made(tmp_path / "noise", setting, train=3, test=0).manifest
    # Lengths 10, 11, 12 keep 10, 11, 11.
    expected = (1 + 1 + 11 / 12) / 3
    assert manifest["mean_kept_fraction"] == {"train": pytest.approx(expected), "test": None}


def test_crops_of_a_split_do_not_depend_on_the_size_of_another(tmp_path: Path) -> None:
    small = made(tmp_path / "small", train=10, valid=4, test=6)
    large = made(tmp_path / "large", train=30, valid=5, test=6)
    assert small.crops["test"].start.tolist() == large.crops["test"].start.tolist()
    assert small.crops["test"].length.tolist() == large.crops["test"].length.tolist()


def test_splits_of_one_size_are_cropped_differently(tmp_path: Path) -> None:
    crops = made(tmp_path / "noise", train=50, valid=50, test=50).crops
    assert len({tuple(crop.length.tolist()) for crop in crops.values()}) == 3


def test_the_same_seed_gives_the_same_noise(tmp_path: Path) -> None:
    assert content(made(tmp_path / "a")) == content(made(tmp_path / "b"))


def test_another_seed_gives_other_noise(tmp_path: Path) -> None:
    other = NoiseSetting(SETTING.label, SETTING.crop, seed=6)
    first, second = made(tmp_path / "a"), made(tmp_path / "b", other)
    assert first.manifest["changed_indices"] != second.manifest["changed_indices"]
    assert first.manifest["crops_sha256"] != second.manifest["crops_sha256"]


def test_label_noise_does_not_depend_on_the_crop_rule(tmp_path: Path) -> None:
    whole = NoiseSetting(SETTING.label, CropRule(), seed=5)
    first, second = made(tmp_path / "a"), made(tmp_path / "b", whole)
    assert first.manifest["labels_sha256"] == second.manifest["labels_sha256"]


def test_an_older_folder_and_a_leftover_are_replaced_whole(tmp_path: Path) -> None:
    for name in ("noise", "noise.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.txt").write_text("old", encoding="utf-8")
    made(tmp_path / "noise")
    assert [path.name for path in tmp_path.iterdir()] == ["noise"]
    names = sorted(path.name for path in (tmp_path / "noise").iterdir())
    assert names == ["crops.parquet", "labels.parquet", "manifest.json"]


def test_an_interrupted_writing_leaves_the_older_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(made(tmp_path / "noise"))

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="disk full"):
        made(tmp_path / "noise", NoiseSetting(LabelRule(), CropRule(), seed=0))
    assert content(read_noise(tmp_path / "noise")) == before


def test_a_folder_without_manifest_was_not_completed(tmp_path: Path) -> None:
    made(tmp_path / "noise")
    (tmp_path / "noise" / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"Expected a complete noise folder, .*manifest\.json"):
        read_noise(tmp_path / "noise")
