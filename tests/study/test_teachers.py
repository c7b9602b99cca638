"""Runs that learn from other runs: distillation, and labels that another loss arrived at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from protein_robust.config import load_study
from protein_robust.errors import InputError
from protein_robust.study import (
    Failure,
    PlannedRun,
    RunReport,
    check_teachers,
    collect_results,
    losses_of,
    plan_runs,
    prepare_data,
    prepare_noise,
    read_run,
    run_all,
)
from protein_robust.study.data import load_data
from protein_robust.study.objective import make_objective
from protein_robust.training import read_memory
from protein_robust.training.checkpoint_files import write_content

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.slow
DISTILLED = "[{name: cross_entropy, label: CCE}, {name: distillation, label: KD, teacher: CCE}]"
TWO_STEPS = (
    "[{name: joint_optimization, label: step 1, update_start: 0.5}, "
    "{name: corrected_labels, label: step 2, teacher: step 1}]"
)


def planned(path: Path, *overrides: str) -> list[PlannedRun]:
    study = load_study(path, overrides)
    runs = plan_runs(study, prepare_data(study)[0]["digest"])
    for run in runs:
        prepare_noise(run)
    return runs


def messages(failures: list[Failure]) -> list[str]:
    return [failure.message for failure in failures]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("losses", [DISTILLED, TWO_STEPS], ids=["network", "labels"])
def test_a_teacher_is_trained_before_its_pupils(
    write_study: WriteStudy, losses: str, jobs: int
) -> None:
    runs = planned(write_study(losses=losses, seeds="[0, 1]"))
    ended: list[str] = []

    def note(report: RunReport) -> None:
        if report.step is None:
            ended.append(report.run.loss_label)

    pupils_first = runs[1::2] + runs[::2]
    assert run_all(pupils_first, jobs=jobs, on_report=note) == []
    teacher, pupil = runs[0].loss_label, runs[1].loss_label
    assert ended == [teacher] * 2 + [pupil] * 2
    # Over seeds the teachers differ, and yet it is one cell of the table.
    means = collect_results(runs).groupby("loss")["seed"].nunique()
    assert means.to_dict() == {teacher: 2, pupil: 2}


def test_the_teacher_is_the_final_network_of_the_same_noise_and_seed(
    write_study: WriteStudy,
) -> None:
    runs = planned(write_study(losses=DISTILLED))
    run_all(runs[:1])
    data = load_data(runs[1])
    objective = make_objective(runs[1], data)
    assert objective.teacher is not None
    assert not objective.teacher.training
    assert not any(p.requires_grad for p in objective.teacher.parameters())
    from safetensors.torch import load_file

    weights = load_file(runs[0].folder / "checkpoints" / "last" / "weights.safetensors")
    torch.testing.assert_close(dict(objective.teacher.state_dict()), weights, rtol=0, atol=0)


def test_the_second_step_has_the_labels_of_the_first(write_study: WriteStudy) -> None:
    runs = planned(write_study(losses=TWO_STEPS))
    run_all(runs[:1])
    kept = read_memory(runs[0].folder / "checkpoints" / "last")
    assert kept["shares"].shape == (len(load_data(runs[0]).clean_label["train"]), 3)
    # Two passes with momentum 9/11 leave 1 - (9/11)^2 of a probability.
    torch.testing.assert_close(
        kept["shares"].sum(dim=1), torch.full_like(kept["shares"][:, 0], 40 / 121)
    )
    objective = make_objective(runs[1], load_data(runs[1]))
    torch.testing.assert_close(dict(objective.memory or {}), kept)


def test_the_folder_of_a_run_may_be_the_teacher(write_study: WriteStudy, tmp_path: Path) -> None:
    (teacher,) = planned(write_study(losses="[cross_entropy]"))
    run_all([teacher])
    elsewhere = shutil.copytree(teacher.folder, tmp_path / "elsewhere")
    losses = f"[{{name: distillation, teacher: {elsewhere}}}]"
    (pupil,) = planned(write_study(losses=losses))
    assert run_all([pupil]) == []
    # The pupil is a function of the teacher's weights, not of its place.
    moved = elsewhere.rename(tmp_path / "moved") / "checkpoints" / "last"
    (again,) = planned(write_study(losses=f"[{{name: distillation, teacher: {moved}}}]"))
    assert again.key == pupil.key


def test_another_teacher_is_another_run(write_study: WriteStudy) -> None:
    pupils = [
        planned(write_study(losses=losses))[-1]
        for losses in (DISTILLED, DISTILLED.replace("cross_entropy", "label_smoothing"))
    ]
    assert pupils[0].key != pupils[1].key


def test_a_run_read_from_its_folder_still_knows_its_teacher(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    runs = planned(write_study(losses=DISTILLED))
    for run in runs:
        run.write()
    again = read_run(runs[1].folder)
    assert again.teacher == runs[0].folder
    assert read_run(runs[0].folder).teacher is None
    moved = tmp_path / "results" / "runs"
    target = tmp_path / "moved" / "runs"
    target.parent.mkdir()
    moved.rename(target)
    assert read_run(target / runs[1].folder.name).teacher == target / runs[0].folder.name


def test_a_pupil_without_a_trained_teacher_says_so(write_study: WriteStudy) -> None:
    runs = planned(write_study(losses=DISTILLED))
    (message,) = messages(run_all(runs[1:]))
    assert "Expected a trained teacher, CCE, got none yet" in message


def test_a_teacher_that_is_not_at_its_end_is_refused(write_study: WriteStudy) -> None:
    runs = planned(write_study(losses=DISTILLED))
    run_all(runs[:1])
    path = runs[0].folder / "checkpoints" / "last" / "checkpoint.json"
    write_content(path.parent, {**json.loads(path.read_text()), "epoch": 1})
    (message,) = messages(run_all(runs[1:]))
    assert "Expected a teacher trained to its end, epoch 2, got one at epoch 1" in message


@pytest.mark.parametrize(
    ("losses", "change", "expected"),
    [
        (
            DISTILLED,
            {"families": ["PF1"]},
            "a teacher that knows the families of this run, got oth",
        ),
        (
            TWO_STEPS,
            {"inputs": {"dataset_digest": "0", "training": {"epochs": 2}, "seed": 0, "noise": {}}},
            "a teacher that had the data of this run, got others",
        ),
    ],
    ids=["network", "labels"],
)
def test_a_teacher_of_other_data_is_refused(
    write_study: WriteStudy, losses: str, change: dict[str, Any], expected: str
) -> None:
    runs = planned(write_study(losses=losses))
    run_all(runs[:1])
    path = runs[0].folder / "checkpoints" / "last" / "checkpoint.json"
    content = json.loads(path.read_text())
    content["metadata"] |= change
    write_content(path.parent, content)
    (message,) = messages(run_all(runs[1:]))
    assert f"Expected {expected}" in message


def test_the_best_checkpoint_may_be_a_teacher_too(write_study: WriteStudy) -> None:
    (teacher,) = planned(write_study(losses="[joint_optimization]"))
    run_all([teacher])
    best = teacher.folder / "checkpoints" / "best"
    path = best / "checkpoint.json"
    write_content(path.parent, {**json.loads(path.read_text()), "epoch": 1})
    assert read_memory(best)["shares"].shape == (len(load_data(teacher).clean_label["train"]), 3)
    runs = planned(
        write_study(
            losses=f"[{{name: distillation, teacher: {best}}}, "
            f"{{name: corrected_labels, teacher: {best}}}]"
        )
    )
    check_teachers(runs)
    assert run_all(runs) == []


def test_labels_of_other_noise_would_give_away_what_is_hidden(write_study: WriteStudy) -> None:
    (teacher,) = planned(write_study(losses="[joint_optimization]"))
    run_all([teacher])
    (pupil,) = planned(
        write_study(losses=f"[{{name: corrected_labels, teacher: {teacher.folder}}}]", seeds="[1]")
    )
    message = "Expected a teacher that had the given labels of crop-label-corrected-labels-seed1"
    with pytest.raises(InputError, match=message):
        check_teachers([pupil])


def test_a_network_that_had_other_labels_is_warned_about(write_study: WriteStudy) -> None:
    (teacher,) = planned(write_study(losses="[cross_entropy]"))
    run_all([teacher])
    (pupil,) = planned(
        write_study(losses=f"[{{name: distillation, teacher: {teacher.folder}}}]", seeds="[1]")
    )
    with pytest.warns(UserWarning, match="may have learned what the label noise hides here"):
        check_teachers([pupil])


def test_a_teacher_without_labels_of_its_own_is_refused_before_anything_is_trained(
    write_study: WriteStudy,
) -> None:
    (teacher,) = planned(write_study(losses="[cross_entropy]"))
    run_all([teacher])
    (pupil,) = planned(
        write_study(losses=f"[{{name: corrected_labels, teacher: {teacher.folder}}}]")
    )
    message = "Expected a teacher whose loss arrives at labels, got cross_entropy"
    with pytest.raises(InputError, match=message):
        check_teachers([pupil])


def test_a_folder_without_a_trained_run_is_refused(write_study: WriteStudy, tmp_path: Path) -> None:
    path = write_study(losses=f"[{{name: distillation, teacher: {tmp_path}}}]")
    with pytest.raises(InputError, match="the folder of a trained run, got no weights in it"):
        planned(path)


def test_the_losses_of_runs_are_given_by_label(write_study: WriteStudy) -> None:
    runs = planned(write_study(seeds="[0, 1]"))
    assert {label: type(loss).__name__ for label, loss in losses_of(runs).items()} == {
        "CCE": "CrossEntropy",
        "PSLC": "ProSelfLC",
    }
