"""Noise as a folder: what is drawn, what the manifest says, and that it can be read back."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise import (
    Classes,
    CropRule,
    LabelRule,
    Noise,
    NoiseInputs,
    NoiseSetting,
    draw_crops,
    make_noise,
    read_noise,
)

Arrays = dict[str, NDArray[np.int64]]
SETTING = NoiseSetting(LabelRule("symmetric", 0.3), CropRule("random"), seed=5)
CLASSES = Classes(("PF3", "PF1", "PF2"), ("CL1", None, "CL1"), lambda: np.array([1, 0, 0]))


def splits(**sizes: int) -> tuple[Arrays, Arrays]:
    """Labels 0, 1, 2, 0, ... and lengths 10, 11, ... of each split."""
    labels = {split: np.arange(size) % 3 for split, size in sizes.items()}
    return labels, {split: np.arange(size) + 10 for split, size in sizes.items()}


def inputs(**sizes: int) -> NoiseInputs:
    labels, lengths = splits(**(sizes or {"train": 40, "valid": 8, "test": 9}))
    others = {split: lengths[split] for split in ("unlabelled", "heldout") if split in lengths}
    return NoiseInputs(
        {split: label for split, label in labels.items() if split not in others},
        lengths,
        CLASSES,
        dataset_digest="abc",
        annotations={"second": 2 - labels["train"]},
    )


def made(folder: Path, setting: NoiseSetting = SETTING, **sizes: int) -> Noise:
    return make_noise(folder, setting, inputs=inputs(**sizes))


def with_rule(**values: Any) -> NoiseSetting:
    return NoiseSetting(LabelRule(**values), CropRule("random"), seed=5)


def content(noise: Noise) -> dict[str, Any]:
    """Everything that noise holds, comparable."""
    crops = {
        split: [part.tolist() for part in vars(crop).values()]
        for split, crop in noise.crops.items()
    }
    labels = noise.labels
    arrays = [part.tolist() for part in (labels.label, labels.clean_label, labels.origin)]
    added = {origin: rows.tolist() for origin, rows in noise.added.items()}
    manifest = json.loads(json.dumps(dict(noise.manifest)))
    return {
        "labels": (labels.rule, labels.pairs, arrays),
        "crops": crops,
        "added": added,
        "manifest": manifest,
    }


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
    two = NoiseInputs(
        {"train": np.array([0, 1, 1])},
        {"train": np.array([4, 5, 6])},
        Classes(("A", "B"), (None, None)),
        dataset_digest="abc",
    )
    setting = NoiseSetting(LabelRule("symmetric", 1.0), CropRule(), seed=0)
    noise = make_noise(tmp_path / "noise", setting, inputs=two)
    assert noise.labels.label.tolist() == [1, 0, 0]


def test_only_training_labels_are_corrupted(tmp_path: Path) -> None:
    given = inputs(train=40, valid=8, test=9)
    make_noise(tmp_path / "noise", SETTING, inputs=given)
    untouched, _ = splits(train=40, valid=8, test=9)
    assert {k: v.tolist() for k, v in given.labels.items()} == {
        k: v.tolist() for k, v in untouched.items()
    }
    # The folder's labels are those of the training split and of no other.
    assert len(read_noise(tmp_path / "noise").labels.label) == 40


def test_the_manifest_says_what_was_asked_and_what_was_done(tmp_path: Path) -> None:
    manifest = made(tmp_path / "noise").manifest
    said = {k: manifest[k] for k in ("schema_version", "kind", "dataset_digest", "seed")}
    assert said == {"schema_version": 3, "kind": "noise", "dataset_digest": "abc", "seed": 5}
    assert manifest["label_rule"] == asdict(SETTING.label)
    assert (manifest["own_class"], manifest["count"]) == ("excluded", "exact")
    assert (manifest["requested_rate"], manifest["actual_rate"]) == (0.3, 12 / 40)
    assert manifest["expected_rate"] == pytest.approx(0.3)
    assert manifest["crop_rule"]["kind"] == "random"
    assert manifest["num_sequences"] == {"train": 40, "valid": 8, "test": 9}


def test_the_manifest_names_the_changed_positions(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    clean, label = noise.labels.clean_label.tolist(), noise.labels.label.tolist()
    changed = [i for i in range(40) if clean[i] != label[i]]
    assert noise.manifest["changed_indices"] == changed


def test_the_manifest_gives_the_rate_of_each_class(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    clean, changed = noise.labels.clean_label.tolist(), noise.manifest["changed_indices"]
    rates = {
        CLASSES.accessions[c]: sum(clean[i] == c for i in changed) / clean.count(c)
        for c in sorted(set(clean))
    }
    assert noise.manifest["actual_rate_by_class"] == pytest.approx(rates)


def test_the_hashes_are_of_little_endian_64_bit_integers(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    assert noise.manifest["clean_labels_sha256"] == sha256_of(noise.labels.clean_label.tolist())
    assert noise.manifest["labels_sha256"] == sha256_of(noise.labels.label.tolist())
    crop = noise.crops["valid"]
    parts = [crop.start, crop.length, crop.gap_start, crop.gap_length]
    expected = sha256_of([value for part in parts for value in part.tolist()])
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


def changed_table(folder: Path, name: str, **columns: list[Any]) -> None:
    table = pq.read_table(folder / name)
    for column, values in columns.items():
        table = table.set_column(table.schema.get_field_index(column), column, [values])
    pq.write_table(table, folder / name)


def test_a_folder_of_an_older_version_is_not_read(tmp_path: Path) -> None:
    made(tmp_path / "noise")
    path = tmp_path / "noise" / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 2'))
    with pytest.raises(InputError, match=r"complete noise folder, .*schema version 2, not 3"):
        read_noise(tmp_path / "noise")


def test_a_manifest_that_was_changed_is_not_read(tmp_path: Path) -> None:
    made(tmp_path / "noise")
    path = tmp_path / "noise" / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 5', '"seed": 6'))
    with pytest.raises(InputError, match=r"complete noise folder, .*manifest\.json was changed"):
        read_noise(tmp_path / "noise")


@pytest.mark.parametrize(
    ("name", "columns", "reason"),
    [
        ("labels.parquet", {"label": [1] * 40}, "labels_sha256 of the manifest does not agree"),
        ("labels.parquet", {"label": [1] * 39 + [None]}, "1 values that are null or not known"),
        ("labels.parquet", {"origin": ["x"] * 40}, "40 values that are null or not known"),
        ("crops.parquet", {"gap_length": [1] * 57}, "crops_sha256 of the manifest does not agree"),
    ],
    ids=["labels", "null", "origin", "crops"],
)
def test_a_table_that_was_changed_is_not_read(
    tmp_path: Path, name: str, columns: dict[str, list[Any]], reason: str
) -> None:
    made(tmp_path / "noise")
    changed_table(tmp_path / "noise", name, **columns)
    with pytest.raises(InputError, match=f"Expected a complete noise folder, got .*{reason}"):
        read_noise(tmp_path / "noise")


@pytest.mark.parametrize("name", ["labels.parquet", "crops.parquet"])
def test_a_file_that_is_no_table_is_not_read(tmp_path: Path, name: str) -> None:
    made(tmp_path / "noise")
    (tmp_path / "noise" / name).write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="Expected a complete noise folder"):
        read_noise(tmp_path / "noise")


RULES: dict[str, dict[str, Any]] = {
    "pair": {"kind": "pair", "rate": 0.3},
    "asymmetric": {"kind": "asymmetric", "rate": 0.3, "class_map": {"PF1": "PF2"}},
    "matrix": {"kind": "matrix", "transitions": {"PF1": {"PF2": 0.4}}, "count": "bernoulli"},
    "clan": {"kind": "clan", "rate": 0.3, "in_clan_share": 0.5, "rate_spread": 0.1},
    "clan pair": {"kind": "clan_pair", "rate": 0.5},
    "human": {"kind": "human", "annotation": "second", "open_set_rate": 0.2},
    "open set": {"open_set_rate": 0.2},
    "all": {"kind": "pair", "rate": 0.3, "open_set_rate": 0.2, "unlabelled": "random"},
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("crop", ["none", "internal_deletion"])
def test_noise_of_every_kind_is_read_as_it_was_made(
    tmp_path: Path, rule: dict[str, Any], crop: Any
) -> None:
    setting = NoiseSetting(LabelRule(**rule), CropRule(crop), seed=5)
    sizes = {"train": 40, "valid": 8, "test": 9, "unlabelled": 7, "heldout": 30}
    noise = made(tmp_path / "noise", setting, **sizes)
    assert content(read_noise(tmp_path / "noise")) == content(noise)
    assert read_noise(tmp_path / "noise").labels.label.flags.writeable


def added_noise(folder: Path) -> Noise:
    setting = with_rule(kind="symmetric", rate=0.3, open_set_rate=0.2, unlabelled="random")
    return made(folder, setting, train=40, valid=8, test=9, unlabelled=8, heldout=30)


def test_added_rows_follow_those_of_train(tmp_path: Path) -> None:
    noise = added_noise(tmp_path / "noise")
    # 12 held-out sequences are a fifth of 40 + 8 + 12.
    assert {k: len(v) for k, v in noise.added.items()} == {"unlabelled": 8, "heldout": 12}
    assert noise.labels.clean_label.tolist() == [i % 3 for i in range(40)] + [-1] * 20
    assert noise.labels.origin.tolist() == [0] * 40 + [1] * 8 + [2] * 12
    lengths = [int(i) + 10 for part in noise.added.values() for i in part]
    assert (noise.crops["train"].length[40:] <= lengths).all()
    assert list(noise.crops) == ["train", "valid", "test"]


def test_the_table_of_labels_tells_where_each_comes_from(tmp_path: Path) -> None:
    noise = added_noise(tmp_path / "noise")
    table = pq.read_table(tmp_path / "noise" / "labels.parquet").to_pydict()
    assert table["origin"] == ["train"] * 40 + ["unlabelled"] * 8 + ["heldout"] * 12
    assert table["row"] == [*range(40), *range(8), *noise.added["heldout"].tolist()]
    clean, label = table["clean_label"][:40], table["label"][:40]
    changed = [c != given for c, given in zip(clean, label, strict=True)]
    assert table["is_corrupted"] == changed + [None] * 8 + [True] * 12


def test_what_is_added_changes_nothing_for_the_rows_of_train(tmp_path: Path) -> None:
    plain, more = made(tmp_path / "plain"), added_noise(tmp_path / "more")
    assert plain.labels.label.tolist() == more.labels.label[:40].tolist()
    for name in ("start", "length"):
        whole = getattr(plain.crops["train"], name)
        assert whole.tolist() == getattr(more.crops["train"], name)[:40].tolist()
    assert plain.manifest["actual_rate_by_class"] == more.manifest["actual_rate_by_class"]
    assert plain.manifest["changed_indices"] == more.manifest["changed_indices"]


def test_crops_of_a_seed_come_from_a_stream_for_each_split(tmp_path: Path) -> None:
    crops = made(tmp_path / "noise").crops
    for number, (split, size) in enumerate({"train": 40, "valid": 8, "test": 9}.items()):
        rng = np.random.default_rng([5, 1, number])
        expected = draw_crops(np.arange(size) + 10, rule=SETTING.crop, rng=rng)
        assert crops[split].start.tolist() == expected.start.tolist()
        assert crops[split].length.tolist() == expected.length.tolist()


def test_the_manifest_counts_what_was_added(tmp_path: Path) -> None:
    noise = added_noise(tmp_path / "noise")
    said = noise.manifest["added"]
    for origin, available in {"unlabelled": 8, "heldout": 30}.items():
        rows = noise.added[origin].tolist()
        code = ["train", "unlabelled", "heldout"].index(origin)
        labels = noise.labels.label[noise.labels.origin == code]
        assert said[origin] == {
            "rows": len(rows),
            "available": available,
            "classes": len(set(labels.tolist())),
            "rows_sha256": sha256_of(rows),
        }
    # 12 of 40 changed; all 12 of other families are wrong; of 8 nothing is known.
    assert noise.manifest["actual_rate"] == 12 / 40
    assert noise.manifest["wrong_rate"] == 24 / 52
    assert noise.manifest["num_sequences"] == {"train": 60, "valid": 8, "test": 9}


def test_a_matrix_has_no_requested_rate_but_an_expected_one(tmp_path: Path) -> None:
    rule = {"kind": "matrix", "transitions": {"PF3": {"PF1": 0.5}}}
    manifest = made(tmp_path / "noise", with_rule(**rule), train=30).manifest
    assert manifest["requested_rate"] is None
    assert manifest["expected_rate"] == pytest.approx(0.5 / 3)
    assert manifest["actual_rate"] == pytest.approx(5 / 30)
    assert manifest["actual_rate_by_class"] == {"PF3": 0.5, "PF1": 0.0, "PF2": 0.0}


def test_the_manifest_names_the_drawn_pairs_and_what_the_rate_is_of(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise", with_rule(kind="clan_pair", rate=0.4), train=30)
    # PF3 and PF2, classes 0 and 2, are the only two of one clan; ten of each, so four change.
    assert noise.manifest["drawn_pairs"] == [["PF3", "PF2"]]
    assert read_noise(tmp_path / "noise").labels.pairs == (("PF3", "PF2"),)
    assert noise.manifest["requested_rate"] == 0.4
    assert noise.manifest["requested_of"] == "each drawn class"
    assert noise.manifest["expected_rate"] == pytest.approx(8 / 30)
    assert noise.manifest["actual_rate"] == pytest.approx(8 / 30)
    assert noise.manifest["actual_rate_by_class"] == {"PF3": 0.4, "PF1": 0.0, "PF2": 0.4}
    assert noise.manifest["in_clan"] == {"could": 8, "did": 8, "share": 1.0}


def test_drawn_pairs_are_kept_where_sequences_are_added(tmp_path: Path) -> None:
    setting = with_rule(kind="clan_pair", rate=0.4, open_set_rate=0.2)
    noise = made(tmp_path / "noise", setting, train=30, heldout=20)
    assert noise.labels.pairs == (("PF3", "PF2"),)


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({"kind": "pair", "rate": 0.1}, "all labels"),
        ({"kind": "asymmetric", "rate": 0.1, "class_map": {"PF1": "PF2"}}, "each source class"),
    ],
    ids=["pair", "asymmetric"],
)
def test_without_drawn_pairs_the_manifest_lists_none(
    tmp_path: Path, rule: dict[str, Any], part: str
) -> None:
    manifest = made(tmp_path / "noise", with_rule(**rule)).manifest
    assert (manifest["drawn_pairs"], manifest["requested_of"]) == ([], part)


def test_labels_that_people_gave_are_taken_as_they_are(tmp_path: Path) -> None:
    setting = with_rule(kind="human", annotation="second")
    noise = made(tmp_path / "noise", setting, train=40)
    clean = [i % 3 for i in range(40)]
    assert noise.labels.label.tolist() == [2 - c for c in clean]
    # Classes 0 and 2 are exchanged, 14 and 13 of 40 labels; class 1 is as it was.
    assert noise.manifest["requested_rate"] is None
    assert noise.manifest["requested_of"] == "all labels"
    assert noise.manifest["expected_rate"] == noise.manifest["actual_rate"] == 27 / 40
    other_seed = NoiseSetting(setting.label, setting.crop, seed=6)
    assert made(tmp_path / "b", other_seed).labels.label.tolist() == noise.labels.label.tolist()


def test_an_annotation_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    setting = with_rule(kind="human", annotation="worse")
    with pytest.raises(InputError, match=r"Expected `annotation` one of second, got 'worse'\."):
        made(tmp_path / "noise", setting)
    assert not (tmp_path / "noise").exists()


def test_without_annotations_it_is_said_what_gives_them(tmp_path: Path) -> None:
    setting = with_rule(kind="human", annotation="worse")
    expected = r"labels 'worse' that people gave, got none .* \(see `human_labels` of `data`\)\."
    with pytest.raises(InputError, match=expected):
        make_noise(tmp_path / "noise", setting, inputs=without_clans())


def test_annotations_have_a_class_for_each_row_of_train() -> None:
    expected = r"`annotations\['worse'\]` in arrays of one shape, got \(7,\) and \(6,\)\."
    with pytest.raises(ValueError, match=expected):
        without_clans(annotations={"worse": np.zeros(6, np.int64)})


def test_the_manifest_counts_wrong_labels_that_stay_in_the_clan(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise", with_rule(kind="clan", rate=0.5, in_clan_share=0.5))
    clean, label = noise.labels.clean_label.tolist(), noise.labels.label.tolist()
    # PF3 and PF2, classes 0 and 2, are of one clan.
    wrong = [(c, y) for c, y in zip(clean, label, strict=True) if c != y and c in (0, 2)]
    did = sum(y in (0, 2) for _, y in wrong)
    expected = {"could": len(wrong), "did": did, "share": did / len(wrong)}
    assert noise.manifest["in_clan"] == expected


def test_without_wrong_labels_no_share_stays_in_the_clan(tmp_path: Path) -> None:
    manifest = made(tmp_path / "noise", with_rule()).manifest
    assert manifest["in_clan"] == {"could": 0, "did": 0, "share": None}


def without_clans(**values: Any) -> NoiseInputs:
    return NoiseInputs(
        {"train": np.array([0, 1, 0, 1, 0, 0, 1])},
        {"train": np.full(7, 9)},
        Classes(("A", "B"), (None, None)),
        dataset_digest="abc",
        **values,
    )


def test_where_no_clan_is_known_the_manifest_says_nothing_of_clans(tmp_path: Path) -> None:
    manifest = make_noise(tmp_path / "noise", SETTING, inputs=without_clans()).manifest
    assert manifest["in_clan"] is None
    assert manifest["natural_conflicts"] is None


def test_of_rows_with_one_sequence_at_most_one_class_is_right(tmp_path: Path) -> None:
    # Sequence 4 in classes A and B: one is wrong. Sequence 9 in A, A, B: B is, or both of A.
    conflicts = np.array([4, 4, -1, 9, 9, 9, -1])
    given = without_clans(conflicts=conflicts)
    manifest = make_noise(tmp_path / "noise", SETTING, inputs=given).manifest
    assert manifest["natural_conflicts"] == {
        "sequences": 2,
        "rows": 5,
        "least_wrong": 2,
        "row_indices": [0, 1, 3, 4, 5],
    }


def test_without_conflicts_none_are_counted(tmp_path: Path) -> None:
    given = without_clans(conflicts=np.full(7, -1))
    manifest = make_noise(tmp_path / "noise", SETTING, inputs=given).manifest
    expected = {"sequences": 0, "rows": 0, "least_wrong": 0, "row_indices": []}
    assert manifest["natural_conflicts"] == expected


def test_the_manifest_is_readable_line_by_line(tmp_path: Path) -> None:
    noise = made(tmp_path / "noise")
    lines = (tmp_path / "noise" / "manifest.json").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(noise.manifest) + 2
    assert ' "seed": 5,' in lines


ARRAY = np.zeros(3, np.int64)


@pytest.mark.parametrize(
    ("labels", "lengths", "conflicts", "message"),
    [
        ({"test": ARRAY}, {"test": ARRAY}, None, r"`labels` of train and no others .*, got test\."),
        (
            {"train": ARRAY, "heldout": ARRAY},
            {"train": ARRAY},
            None,
            r"`labels` of train and no others than train, valid, test, got train, heldout\.",
        ),
        ({"train": ARRAY}, {"heldout": ARRAY}, None, r"`lengths` of train, .*, got heldout\."),
        (
            {"train": ARRAY},
            {"train": ARRAY, "odd": ARRAY},
            None,
            r"`lengths` of train, and no others than unlabelled, heldout, got train, odd\.",
        ),
        (
            {"train": ARRAY},
            {"train": ARRAY[1:]},
            None,
            r"`train` in arrays of one shape, got \(2,\) and \(3,\)\.",
        ),
        (
            {"train": ARRAY},
            {"train": ARRAY},
            ARRAY[1:],
            r"`conflicts` in arrays of one shape, got \(3,\) and \(2,\)\.",
        ),
    ],
    ids=["no train", "other labels", "no lengths", "other lengths", "shapes", "conflicts"],
)
def test_inputs_that_do_not_fit_together_are_refused(
    labels: Arrays, lengths: Arrays, conflicts: NDArray[np.int64] | None, message: str
) -> None:
    with pytest.raises(ValueError, match="Expected " + message):
        NoiseInputs(labels, lengths, CLASSES, dataset_digest="", conflicts=conflicts)
