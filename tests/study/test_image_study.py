"""A study on images from files to tables, on scikit-learn's digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from protein_robust.config import load_study
from protein_robust.ingest import read_families
from protein_robust.models import ResNet
from protein_robust.noise import read_noise
from protein_robust.pipeline import main
from protein_robust.study import (
    PlannedRun,
    find_candidates,
    load_data,
    plan_runs,
    prepare_data,
    prepare_noise,
)
from protein_robust.study.data import make_model
from protein_robust.study.image_data import ImageData
from protein_robust.study.objective import make_objective
from protein_robust.training import load_weights

STUDY = """\
name: tiny
output: {output}
data: {{images: digits, num_train: 300, num_test: 100, valid_fraction: 0.1, output: {dataset}}}
noise:
  - name: wrong
    label: {{kind: symmetric, rate: 0.4}}
model: resnet8
augmentation: {{pad: 1, rotate: 5}}
training: {{epochs: 2, batch_size: 50, optimizer: sgd, learning_rate: 0.05}}
losses:
  - {{name: cross_entropy, label: CCE}}
  - {{name: distillation, label: KD, teacher: CCE}}
tracking: {{enabled: false}}
presets:
  quick:
    data: {{num_train: 200}}
    training: {{epochs: 1}}
    losses: [cross_entropy]
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, carried out."""
    place = tmp_path_factory.mktemp("images")
    text = STUDY.format(output=place / "results", dataset=place / "dataset")
    (place / "tiny.yaml").write_text(text)
    assert main(["run", str(place / "tiny.yaml"), "--jobs", "1"]) == 0
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> PlannedRun:
    """Its first run, by cross entropy."""
    return runs_of(folder)[0]


def runs_of(folder: Path) -> list[PlannedRun]:
    study = load_study(folder / "tiny.yaml")
    manifest, is_new = prepare_data(study)
    assert not is_new
    return plan_runs(study, manifest["digest"])


def test_every_run_is_done_and_has_no_classifier_of_sequences(folder: Path) -> None:
    for run in runs_of(folder):
        assert run.is_of_images
        assert run.is_done
        assert not (run.folder / "model").exists()
        assert (run.folder / "evaluation" / "reliability.parquet").exists()
        assert not (run.folder / "evaluation" / "kept_fractions.parquet").exists()
    assert find_candidates(runs_of(folder)) == []


def test_predictions_are_those_of_the_last_network_on_the_digits(run: PlannedRun) -> None:
    data = load_data(run)
    assert isinstance(data, ImageData)
    model = make_model(run, data)
    assert isinstance(model, ResNet)
    load_weights(run.folder / "checkpoints" / "last", model)
    frame = pd.read_parquet(run.folder / "predictions.parquet")
    test = frame[(frame["checkpoint"] == "final") & (frame["data"] == "test")]
    assert len(test) == 100
    assert "sequence_length" not in frame.columns
    # By hand from scikit-learn's pixels, whose rows are in the names.
    rows = test["image_name"].str.extract(r"(\d+)$")[0].astype(int).to_numpy()
    digits = load_digits()
    assert (digits.target[rows].astype(str) == test["clean_label"]).all()
    manifest = json.loads((run.dataset_folder / "manifest.json").read_text())
    values = np.rint(digits.images[rows] * 255 / 16) / 255
    values = (values - manifest["channel_mean"][0]) / manifest["channel_std"][0]
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(values[:, None]).float())
    classes = np.array(read_families(run.dataset_folder)["family_accession"].to_pylist())
    assert (classes[logits.argmax(dim=1).numpy()] == test["prediction"]).all()
    np.testing.assert_allclose(
        logits.softmax(dim=1).amax(dim=1), test["max_probability"], atol=1e-4
    )


def test_metrics_are_those_of_the_predictions(run: PlannedRun) -> None:
    frame = pd.read_parquet(run.folder / "predictions.parquet")
    metrics = json.loads((run.folder / "metrics.json").read_text())
    for (network, kind), part in frame.groupby(["checkpoint", "data"]):
        is_right = part["prediction"] == part["label"]
        assert metrics[network][kind]["accuracy"] == pytest.approx(is_right.mean())
    train = frame[(frame["checkpoint"] == "final") & (frame["data"] == "train")]
    wrong = train[train["is_corrupted"]]
    noisy = metrics["final"]["train"]
    assert noisy["wrong_fitting"] == pytest.approx((wrong["prediction"] == wrong["label"]).mean())
    correction = (wrong["prediction"] == wrong["clean_label"]).mean()
    assert noisy["correction"] == pytest.approx(correction)


def test_only_training_labels_are_wrong_at_the_rate_of_the_study(run: PlannedRun) -> None:
    noise = read_noise(run.noise_folder)
    num_train = len(noise.labels.label)
    assert noise.labels.is_corrupted.sum() == int(0.4 * num_train)
    assert num_train + len(load_data(run).label["valid"]) == 300
    data = load_data(run)
    assert (data.label["train"] == noise.labels.label).all()
    for split in ("valid", "test"):
        assert (data.label[split] == data.clean_label[split]).all()


def test_training_images_are_augmented_and_others_are_not(run: PlannedRun) -> None:
    data = load_data(run)
    training = data.training_batches(run)
    assert training.epoch(0).poses is not None
    assert np.abs(training.epoch(0).poses.shift).max() == 1
    assert data.evaluation_batches("train", run).epoch(0).poses is None


def test_the_same_study_in_another_folder_gives_the_same_numbers(
    folder: Path, run: PlannedRun, tmp_path: Path
) -> None:
    text = STUDY.format(output=tmp_path / "results", dataset=tmp_path / "dataset")
    (tmp_path / "tiny.yaml").write_text(text)
    assert main(["run", str(tmp_path / "tiny.yaml"), "--jobs", "2"]) == 0
    again = runs_of(tmp_path)[0]
    assert again.key == run.key
    first, second = (r.folder / "metrics.json" for r in (run, again))
    assert first.read_text() == second.read_text()


def test_other_augmentation_or_another_network_is_another_run(folder: Path) -> None:
    keys = set()
    for override in ("augmentation.pad=1", "augmentation.flip=true", "model=resnet14"):
        study = load_study(folder / "tiny.yaml", [override])
        keys.add(plan_runs(study, "digest")[0].key)
    assert len(keys) == 3


def test_a_teacher_is_a_network_of_the_same_kind(folder: Path) -> None:
    student = runs_of(folder)[1]
    objective = make_objective(student, load_data(student))
    assert isinstance(objective.teacher, ResNet)


def test_the_page_and_the_figures_of_data_speak_of_images(folder: Path) -> None:
    for name in ("report.html", "table.md", "study.yaml"):
        assert (folder / "results" / name).exists()
    assert "digits" in (folder / "dataset" / "data_card.md").read_text()
    text = (folder / "results" / "report.md").read_text()
    assert "sequence" not in text.lower()
    assert "famil" not in text.lower()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("{kind: human, annotation: worse}", "human_labels"),
        ("{kind: clan, rate: 0.2, in_clan_share: 0.5}", "a superclass with another class for each"),
        ("{kind: clan_pair, rate: 0.2}", "a clan with two classes"),
        ("{kind: symmetric, rate: 0.2, open_set_rate: 0.1}", "open_set_rate"),
    ],
)
def test_noise_that_is_not_there_is_refused_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str, message: str
) -> None:
    changes = (f"noise=[{{name: a, label: {label}}}]", f"output={tmp_path / 'results'}")
    options = [part for change in changes for part in ("--set", change)]
    assert main(["run", str(folder / "tiny.yaml"), *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_preset_counts_for_every_command_and_stands_on_the_page(
    folder: Path, tmp_path: Path
) -> None:
    changes = (f"output={tmp_path / 'results'}", f"data.output={tmp_path / 'dataset'}")
    options = ["--preset", "quick", *(part for change in changes for part in ("--set", change))]
    study = [str(folder / "tiny.yaml"), *options]
    assert main(["ingest", *study]) == 0
    counts = json.loads((tmp_path / "dataset" / "manifest.json").read_text())["counts"]
    assert counts["train"] + counts["valid"] == 200
    assert main(["run", *study, "--jobs", "1"]) == 0
    (run,) = (tmp_path / "results" / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["inputs"]["training"]["epochs"] == 1
    assert (tmp_path / "results" / "study.yaml").read_text().startswith("name: tiny_quick\n")
    assert "tiny.yaml --preset quick --set" in (tmp_path / "results" / "report.md").read_text()


def test_noise_is_prepared_once(run: PlannedRun) -> None:
    before = (run.noise_folder / "manifest.json").stat().st_mtime_ns
    prepare_noise(run)
    assert (run.noise_folder / "manifest.json").stat().st_mtime_ns == before
