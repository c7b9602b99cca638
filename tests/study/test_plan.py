"""Which runs a study has, and what makes two runs different."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from protein_robust.config import load_study
from protein_robust.errors import InputError
from protein_robust.noise import read_noise
from protein_robust.study import (
    PlannedRun,
    plan_runs,
    prepare_data,
    prepare_noise,
    read_run,
    select_runs,
)

WriteStudy = Callable[..., Path]


def keys_of(path: Path, *overrides: str, digest: str = "d") -> list[str]:
    return [run.key for run in plan_runs(load_study(path, overrides), digest)]


def planned(path: Path) -> list[PlannedRun]:
    study = load_study(path)
    manifest, _ = prepare_data(study)
    return plan_runs(study, manifest["digest"])


def test_there_is_a_run_for_each_noise_seed_and_loss(write_study: WriteStudy) -> None:
    path = write_study(noise="[{name: a}, {name: b}]", seeds="[0, 1]")
    runs = plan_runs(load_study(path), "d")
    assert [(run.noise, run.seed, run.loss_label) for run in runs] == [
        (noise, seed, loss) for noise in "ab" for seed in (0, 1) for loss in ("CCE", "PSLC")
    ]


def test_runs_of_a_study_have_names_and_folders_of_their_own(write_study: WriteStudy) -> None:
    runs = plan_runs(load_study(write_study(seeds="[0, 1]")), "d")
    assert len({run.name for run in runs}) == len({run.folder for run in runs}) == 4


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=3",
        "model.width=9",
        "noise.0.label.rate=0.3",
        "noise.0.crop.min_fraction=0.7",
        "losses.1.exp_base=8",
        "seeds=[5]",
    ],
)
def test_what_the_result_depends_on_is_in_the_key(write_study: WriteStudy, override: str) -> None:
    path = write_study()
    assert keys_of(path, override)[1] != keys_of(path)[1]


@pytest.mark.parametrize(
    "override",
    ["threads=2", "description=x", "losses.1.label=other", "noise.0.name=x", "output=elsewhere"],
)
def test_what_the_result_does_not_depend_on_is_not(write_study: WriteStudy, override: str) -> None:
    path = write_study()
    assert keys_of(path, override) == keys_of(path)


def test_other_data_are_another_run(write_study: WriteStudy) -> None:
    path = write_study()
    assert keys_of(path, digest="e") != keys_of(path, digest="d")


def test_a_default_written_out_is_the_same_run(write_study: WriteStudy) -> None:
    path = write_study()
    assert keys_of(path, "losses.1.exp_base=12") == keys_of(path)


def test_a_run_is_read_back_as_it_was_written(write_study: WriteStudy) -> None:
    run = plan_runs(load_study(write_study()), "d")[0]
    run.write()
    again = read_run(run.folder)
    # Through JSON, tuples come back as lists.
    assert json.dumps(again.inputs) == json.dumps(run.inputs)
    assert (again.name, again.key, again.folder) == (run.name, run.key, run.folder)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected the folder of a run, got none that has a read"):
        read_run(tmp_path)


def test_data_are_ingested_once(write_study: WriteStudy) -> None:
    study = load_study(write_study())
    first, is_new = prepare_data(study)
    second, is_new_again = prepare_data(study)
    assert (is_new, is_new_again) == (True, False)
    assert first["digest"] == second["digest"]


def test_noise_is_drawn_once_and_shared_by_the_losses(write_study: WriteStudy) -> None:
    runs = planned(write_study())
    assert runs[0].noise_folder == runs[1].noise_folder
    prepare_noise(runs[0])
    manifest = runs[0].noise_folder / "manifest.json"
    before = manifest.stat().st_mtime_ns
    prepare_noise(runs[1])
    assert manifest.stat().st_mtime_ns == before


def test_noise_has_the_rate_of_the_study_and_names_its_data(write_study: WriteStudy) -> None:
    run = planned(write_study())[0]
    prepare_noise(run)
    noise = read_noise(run.noise_folder)
    train = len(noise.labels.label)
    assert noise.labels.is_corrupted.sum() == int(0.2 * train)
    assert noise.manifest["dataset_digest"] == run.inputs["dataset_digest"]
    assert set(noise.crops) == {"train", "valid", "test"}


def test_seeds_have_different_noise(write_study: WriteStudy) -> None:
    runs = planned(write_study(seeds="[0, 1]"))
    for run in (runs[0], runs[2]):
        prepare_noise(run)
    first, second = (read_noise(run.noise_folder).labels.label for run in (runs[0], runs[2]))
    assert (first != second).any()


def test_runs_are_selected_by_what_tells_them_apart(write_study: WriteStudy) -> None:
    runs = plan_runs(load_study(write_study(seeds="[0, 1]")), "d")
    assert select_runs(runs) == runs
    assert [run.name for run in select_runs(runs, loss=["CCE"], seed=[1])] == [
        "crop-label-CCE-seed1"
    ]
    assert select_runs(runs, noise=["absent"]) == []
