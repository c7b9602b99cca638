"""Every noise process as a study asks for it, from the YAML to the predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from protein_robust.config import dump_yaml, load_study
from protein_robust.datasets import Share
from protein_robust.errors import ConfigError, InputError
from protein_robust.ingest import read_sequences
from protein_robust.noise import read_noise
from protein_robust.pipeline import main
from protein_robust.study import (
    PlannedRun,
    evaluate_run,
    load_data,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
)
from protein_robust.study.sequence_data import read_split

WriteStudy = Callable[..., Path]
FAMILIES = {"PF1": "CL1", "PF2": "CL1", "PF3": "", "PF4": "CL2", "PF5": "CL2"}


@pytest.fixture
def families(tmp_path: Path) -> Path:
    """A table of five families, two clans of two, and rows of unknown family."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(150):
        family = [*FAMILIES, "?"][number % 6]
        residues = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size=30))
        rows.append(f"{family},{FAMILIES.get(family, '')},W{'CDEFGH'[number % 6] * 4}{residues}\n")
    path = tmp_path / "families.csv"
    path.write_text("family,clan,sequence\n" + "".join(rows))
    return path


def prepared(path: Path, *overrides: str) -> PlannedRun:
    study = load_study(path, overrides)
    manifest, _ = prepare_data(study)
    run = plan_runs(study, manifest["digest"])[0]
    prepare_noise(run)
    return run


def study_of(write_study: WriteStudy, table: Path, label: str, *, data: str = "") -> Path:
    output = table.parent / "dataset"
    return write_study(
        data=f"{{source: {table}, output: {output}, unknown: '?', test_fraction: 0.2{data}}}",
        noise=f"[{{name: noisy, label: {label}}}]",
    )


def manifest_of(run: PlannedRun) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.noise_folder / "manifest.json").read_text())
    return content


@pytest.mark.parametrize(
    ("label", "rate"),
    [
        ("{kind: symmetric, rate: 0.4}", 0.4),
        ("{kind: pair, rate: 0.3}", 0.3),
        ("{kind: clan, rate: 0.4, in_clan_share: 1.0}", 0.4),
        ("{kind: asymmetric, rate: 0.5, class_map: {PF1: PF2, PF3: PF4}}", 0.2),
        ("{kind: matrix, transitions: {PF1: {PF3: 0.25, PF4: 0.25}}}", 0.1),
        # Two clans of two families each, of five families.
        ("{kind: clan_pair, rate: 0.5}", 0.4),
        ("{kind: id_block, rate: 0.3}", 0.3),
    ],
)
def test_a_process_has_the_rate_that_was_asked_for(
    write_study: WriteStudy, families: Path, label: str, rate: float
) -> None:
    run = prepared(study_of(write_study, families, label))
    assert manifest_of(run)["actual_rate"] == pytest.approx(rate, abs=0.03)


def test_all_in_clan_labels_stay_in_the_clan_or_go_to_the_nearest_family(
    write_study: WriteStudy, families: Path
) -> None:
    run = prepared(study_of(write_study, families, "{kind: clan, rate: 0.5, in_clan_share: 1}"))
    noise = read_noise(run.noise_folder).labels
    accessions = np.array(sorted(FAMILIES))
    wrong = noise.is_corrupted
    pairs = set(
        zip(accessions[noise.clean_label[wrong]], accessions[noise.label[wrong]], strict=True)
    )
    mates = {("PF1", "PF2"), ("PF2", "PF1"), ("PF4", "PF5"), ("PF5", "PF4")}
    assert mates < pairs
    assert all(clean == "PF3" for clean, _ in pairs - mates)
    assert manifest_of(run)["in_clan"]["share"] == 1


def test_a_matrix_may_stand_in_a_table(
    write_study: WriteStudy, families: Path, tmp_path: Path
) -> None:
    matrix = tmp_path / "matrix.csv"
    matrix.write_text("clean,given,probability\nPF1,PF3,0.5\n")
    path = study_of(write_study, families, f"{{kind: matrix, transitions: {matrix}}}")
    assert load_study(path).noise[0].label.transitions == {"PF1": {"PF3": 0.5}}
    matrix.write_text("clean,given,probability\nPF1,PF3,1.5\n")
    with pytest.raises(ConfigError, match=r"Expected a probability .* in .*matrix\.csv:2, got "):
        load_study(path)


@pytest.mark.slow
def test_sequences_of_unknown_family_are_trained_on_with_random_labels(
    write_study: WriteStudy, families: Path
) -> None:
    run = prepared(study_of(write_study, families, "{unlabelled: random}"))
    data = load_data(run)
    num_known = len(read_sequences(run.dataset_folder, "train"))
    assert len(data.datasets["train"]) == num_known + 25
    assert (data.clean_label["train"][num_known:] == -1).all()
    assert run_all([run], jobs=1, experiment=None, on_report=lambda _: None) == []
    metrics = evaluate_run(run, data)["final"]["train"]
    assert 0 <= metrics["outside_fitting"] <= 1
    assert "wrong_fitting" not in metrics  # no label of a known family is wrong
    table = pd.read_parquet(run.folder / "predictions.parquet")
    train = table[(table["checkpoint"] == "final") & (table["data"] == "train")]
    unknown = train[train["clean_label"].isna()]
    assert len(unknown) == 25
    assert unknown["is_corrupted"].isna().all()
    assert set(unknown["label"]) <= set(FAMILIES)
    assert not train["is_corrupted"].fillna(value=False).any()


def test_sequences_of_unknown_family_are_left_out_otherwise(
    write_study: WriteStudy, families: Path
) -> None:
    run = prepared(study_of(write_study, families, "{kind: none}"))
    assert len(load_data(run).datasets["train"]) == len(read_sequences(run.dataset_folder, "train"))


@pytest.mark.slow
def test_open_set_noise_adds_sequences_of_held_out_families(
    write_study: WriteStudy, families: Path
) -> None:
    label = "{kind: symmetric, rate: 0.25, open_set_rate: 0.2}"
    path = study_of(write_study, families, label, data=", hold_out_families: [PF3]")
    run = prepared(path)
    data = load_data(run)
    assert "PF3" not in data.families
    outside = data.clean_label["train"] == -1
    assert outside.mean() == pytest.approx(0.2, abs=0.01)
    table = read_split(run, "train", data.added, columns=["sequence_name"])
    names = np.array(table["sequence_name"].to_pylist())
    held_out = set(read_sequences(run.dataset_folder, "heldout")["sequence_name"].to_pylist())
    assert set(names[outside]) <= held_out
    assert run_all([run], jobs=1, experiment=None, on_report=lambda _: None) == []
    train = pd.read_parquet(run.folder / "predictions.parquet").query("data == 'train'")
    added = train[train["clean_label"].isna()]
    assert added["is_corrupted"].all()
    assert len(added) == 2 * outside.sum()  # of both networks
    metrics = json.loads((run.folder / "metrics.json").read_text())["final"]["train"]
    assert {"outside_fitting", "outside_max_probability", "wrong_fitting"} <= set(metrics)


def test_more_open_set_noise_than_there_are_sequences_is_refused(
    write_study: WriteStudy, families: Path
) -> None:
    path = study_of(write_study, families, "{open_set_rate: 0.5}", data=", hold_out_clans: [CL1]")
    with pytest.raises(InputError, match=r"`open_set_rate` of at most 0\.\d+, or \d+ held-out"):
        prepared(path)


def test_random_labels_need_sequences_of_unknown_family(
    write_study: WriteStudy, table: Path, tmp_path: Path
) -> None:
    path = write_study(
        data=f"{{source: {table}, output: {tmp_path / 'dataset'}}}",
        noise="[{name: noisy, label: {unlabelled: random}}]",
    )
    message = "^noise 'noisy' of study 'tiny': Expected sequences of unknown family"
    with pytest.raises(InputError, match=message):
        prepared(path)


def test_natural_conflicts_are_in_the_manifest(write_study: WriteStudy, families: Path) -> None:
    shared = "PF1,CL1,MKVLAAGIVGLLLAQPSWA\nPF3,,MKVLAAGIVGLLLAQPSWA\n"
    families.write_text(families.read_text() + shared)
    found = manifest_of(prepared(study_of(write_study, families, "{kind: none}")))
    natural = found["natural_conflicts"]
    assert (natural["sequences"], natural["rows"], natural["least_wrong"]) == (1, 2, 1)
    assert len(natural["row_indices"]) == 2


@pytest.mark.parametrize(
    "crop",
    [
        "{kind: n_terminal, min_fraction: 0.5}",
        "{kind: c_terminal, min_fraction: 0.5}",
        "{kind: internal_deletion, min_fraction: 0.5}",
        "{kind: fragment, mean_length: 12, sd_length: 3, min_residues: 5}",
        "{kind: first, num_residues: 9}",
    ],
)
def test_a_crop_is_cut_as_it_is_stored(write_study: WriteStudy, families: Path, crop: str) -> None:
    path = study_of(write_study, families, "{kind: none}")
    run = prepared(path, f"noise.0.crop={crop}")
    data = load_data(run)
    texts = read_sequences(run.dataset_folder, "test")["sequence"].to_pylist()
    stored = pq.read_table(run.noise_folder / "crops.parquet").to_pandas().query("split == 'test'")
    seen = {}
    epoch = data.evaluation_batches("test", run).epoch(0)
    for cut in (part for number in range(len(epoch)) for part in epoch.parts(number, Share())):
        batch = cut()
        assert batch.mask is not None
        lengths = batch.mask.sum(dim=1).tolist()
        seen |= dict(zip(batch.index.tolist(), lengths, strict=True))
    for row, (text, part) in enumerate(zip(texts, stored.itertuples(), strict=True)):
        assert seen[row] == part.length <= len(text)
        assert part.start + part.length + part.gap_length <= len(text)


def test_a_dataset_folder_is_a_source_as_it_is(write_study: WriteStudy, families: Path) -> None:
    before = prepared(study_of(write_study, families, "{kind: none}"))
    path = write_study(data=f"{{source: {before.dataset_folder}}}", noise="[{name: clean}]")
    run = prepared(path)
    assert run.dataset_folder == before.dataset_folder
    assert run.inputs["dataset_digest"] == before.inputs["dataset_digest"]
    with pytest.raises(ConfigError, match="a dataset folder as `source` without further options"):
        load_study(path, ["data.seed=3"])
    (before.dataset_folder / "families.parquet").unlink()
    with pytest.raises(InputError, match="a whole dataset folder, got one that lacks a file"):
        prepare_data(load_study(path))


def test_families_may_be_named_without_their_version(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    lines = [
        f"PF0000{i % 3}.{i % 3 + 4},{''.join(rng.choice(list('ACDEFGHIK'), size=20))}\n"
        for i in range(60)
    ]
    table = tmp_path / "versions.csv"
    table.write_text("family,sequence\n" + "".join(lines))
    label = "{kind: asymmetric, rate: 0.5, class_map: {PF00000: PF00001.5}}"
    noise = read_noise(prepared(study_of_plain(write_study, table, label)).noise_folder).labels
    assert set(noise.label[noise.is_corrupted]) == {1}
    label = "{kind: asymmetric, rate: 0.5, class_map: {PF00009: PF00001}}"
    with pytest.raises(InputError, match=r"noise 'noisy' of study 'tiny': .*got 'PF00009'"):
        prepared(study_of_plain(write_study, table, label))


def study_of_plain(write_study: WriteStudy, table: Path, label: str) -> Path:
    return write_study(
        data=f"{{source: {table}, output: {table.parent / 'dataset'}}}",
        noise=f"[{{name: noisy, label: {label}}}]",
    )


def test_open_set_noise_without_held_out_families_says_where_to_hold_out(
    write_study: WriteStudy, families: Path
) -> None:
    with pytest.raises(InputError, match=r"got none in the data set .see `hold_out_families`"):
        prepared(study_of(write_study, families, "{open_set_rate: 0.1}"))


def test_the_manifest_says_how_many_labels_went_to_the_nearest_family(
    write_study: WriteStudy, families: Path
) -> None:
    run = prepared(study_of(write_study, families, "{kind: clan, rate: 0.5, in_clan_share: 1}"))
    found = manifest_of(run)
    wrong = read_noise(run.noise_folder).labels
    alone = wrong.is_corrupted & (wrong.clean_label == 2)  # PF3 has no clan
    assert found["to_nearest"] == {"could": alone.sum(), "did": alone.sum()}
    assert found["in_clan"]["could"] + alone.sum() == wrong.is_corrupted.sum()
    assert found["open_set"] == {"requested_rate": 0.0, "actual_rate": 0.0}
    assert found["requested_of"] == "all labels"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("{kind: asymmetric, rate: 0.5, class_map: {PF00001: PF00002, PF00001.1: PF00003}}",
         r"each family once in `class_map`, got PF00001\.1 twice"),
        ("{kind: matrix, transitions: {PF00001: {PF00002: 0.6, PF00002.1: 0.3}}}",
         r"each family once in `transitions`, got PF00002\.1 twice"),
        ("{kind: matrix, transitions: {PF00001: {PF00002: 0.6}, PF00001.1: {PF00003: 0.3}}}",
         r"each family once in `transitions`, got PF00001\.1 twice"),
        ("{kind: asymmetric, rate: 0.5, class_map: {PF00001: PF00001.1}}",
         r"noise 'noisy' of study 'tiny': Expected `class_map` onto other classes, got "),
        ("{kind: asymmetric, rate: 0.5, class_map: {PF00001: PF00004}}",
         r"family PF00004 of `class_map` with its version, got PF00004\.1, PF00004\.2 in the data"),
    ],
)  # fmt: skip
def test_names_without_version_are_never_mixed_up(
    write_study: WriteStudy, tmp_path: Path, label: str, message: str
) -> None:
    names = ["PF00001.1", "PF00002.1", "PF00003.1", "PF00004.1", "PF00004.2"]
    rng = np.random.default_rng(1)
    lines = [
        f"{names[i % 5]},{''.join(rng.choice(list('ACDEFGHIK'), size=20))}\n" for i in range(100)
    ]
    table = tmp_path / "versions.csv"
    table.write_text("family,sequence\n" + "".join(lines))
    with pytest.raises(InputError, match=message):
        prepared(study_of_plain(write_study, table, label))


def test_a_study_on_a_dataset_folder_can_be_written_and_read_again(
    write_study: WriteStudy, families: Path, tmp_path: Path
) -> None:
    before = prepared(study_of(write_study, families, "{kind: none}"))
    study = load_study(write_study(data=f"{{source: {before.dataset_folder}}}"))
    again = tmp_path / "again.yaml"
    again.write_text(dump_yaml(study))
    assert load_study(again) == study


def test_the_studys_own_data_folder_is_no_place_for_a_dataset(
    write_study: WriteStudy, tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results" / "data"
    path = write_study(data=f"{{source: {table}, output: {output}}}")
    assert main(["run", str(path)]) == 2
    assert "Expected a dataset folder that is not 'data' in the study's own" in (
        capsys.readouterr().err.replace("\n", " ")
    )


@pytest.mark.slow
@pytest.mark.parametrize("label", ["{unlabelled: random}", "{open_set_rate: 0.2}"])
def test_losses_that_remember_or_learn_from_others_see_the_added_sequences(
    write_study: WriteStudy, families: Path, label: str
) -> None:
    held = ", hold_out_families: [PF3]" if "open" in label else ""
    path = study_of(write_study, families, label, data=held)
    losses = (
        "[{name: joint_optimization, label: JO1}, {name: early_learning_regularization},"
        "{name: corrected_labels, label: JO2, teacher: JO1},"
        "{name: distillation, label: KD, teacher: JO1}]"
    )
    study = load_study(path, [f"losses={losses}"])
    manifest, _ = prepare_data(study)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    assert run_all(runs, jobs=1, experiment=None, on_report=lambda _: None) == []
