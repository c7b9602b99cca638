"""What a study registers in MLflow, and `predict` with what it has registered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from protein_robust.pipeline import main
from protein_robust.study import find_runs
from protein_robust.study.candidates import find_candidates
from protein_robust.study.pages import show_runs
from protein_robust.tracking import prepare
from protein_robust.tracking.stores import connect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(study_folder: tuple[Path, Callable[..., Path]]) -> Path:
    """The folder of a study that was carried out twice, with its store."""
    folder, write_study = study_folder
    tracking = f"{{uri: 'sqlite:///{folder}/mlflow.db'}}"
    path = write_study(tracking=tracking, training="{epochs: 8, batch_size: 16}")
    for _ in range(2):  # the second time there is nothing to add
        assert main(["run", str(path), "--jobs", "1"]) == 0
    return folder


def accuracy(folder: Path) -> float:
    return float(json.loads((folder / "metrics.json").read_text())["final"]["valid"]["accuracy"])


def test_candidates_are_the_runs_with_their_validation_accuracy(study: Path) -> None:
    runs = find_runs([study / "results"])
    candidates = find_candidates(runs)
    assert [candidate.folder for candidate in candidates] == [run.folder for run in runs]
    for run, candidate in zip(runs, candidates, strict=True):
        assert candidate.validation_accuracy == accuracy(run.folder)
        tags = {"loss": run.loss_label, "noise": run.noise, "seed": "0", "run_key": run.key}
        assert tags.items() <= candidate.tags.items()
        assert candidate.title == run.title
    valid = pd.read_parquet(study / "dataset" / "sequences.parquet")
    valid = valid[valid["split"] == "valid"]
    assert list(candidates[0].example) == valid["sequence"].tolist()[:3]


def test_a_run_without_a_packaged_network_is_no_candidate(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "results", tmp_path / "results")
    first, second = find_runs([tmp_path / "results"])
    (first.folder / "model" / "model.json").unlink()
    assert [candidate.folder for candidate in find_candidates([first, second])] == [second.folder]


def test_a_run_without_validation_data_is_no_candidate(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "results", tmp_path / "results")
    first, second = find_runs([tmp_path / "results"])
    metrics = json.loads((first.folder / "metrics.json").read_text())
    del metrics["final"]["valid"]
    (first.folder / "metrics.json").write_text(json.dumps(metrics))
    assert [candidate.folder for candidate in find_candidates([first, second])] == [second.folder]


def test_the_best_of_the_study_is_the_champion_and_registered_once(study: Path) -> None:
    client = connect(f"sqlite:///{study}/mlflow.db")
    versions = client.search_model_versions("name = 'tiny'")
    assert len(versions) == 2
    number = client.get_registered_model("tiny").aliases["champion"]
    champion = client.get_model_version("tiny", number)
    runs = find_runs([study / "results"])
    best = max(runs, key=lambda run: accuracy(run.folder))
    assert champion.tags["run_key"] == best.key


def test_a_run_keeps_its_classifier_as_files(study: Path) -> None:
    client = connect(f"sqlite:///{study}/mlflow.db")
    [run] = client.search_runs(["1"], "params.loss.label = 'PSLC'")
    names = {file.path for file in client.list_artifacts(run.info.run_id, "model")}
    assert names == {
        "model/model.json",
        "model/reference.safetensors",
        "model/weights.safetensors",
    }
    tables = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"all_metrics.json", "by_family_size.json", "by_length.json", "reliability.json"} <= (
        tables
    )


def test_predict_takes_the_champion_from_mlflow(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{study}/mlflow.db")
    runs = find_runs([study / "results"])
    best = max(runs, key=lambda run: accuracy(run.folder))
    (tmp_path / "a.fasta").write_text(">a\nACDEFWWHCKDGHIK\n>b\nLMNPGGPYEFQRSTV\n")
    answers = []
    for model in ("models:/tiny@champion", str(best.folder)):
        output = tmp_path / f"{len(answers)}.tsv"
        fasta = str(tmp_path / "a.fasta")
        assert main(["predict", "--model", model, fasta, "--output", str(output)]) == 0
        answers.append(output.read_text())
    assert answers[0] == answers[1]
    assert answers[0].count("\n") >= 2


def test_runs_have_the_colours_of_the_figures(study: Path) -> None:
    experiment = prepare(f"sqlite:///{study}/mlflow.db", "tiny")
    ids = show_runs(experiment, find_runs([study / "results"]))
    client = connect(experiment.uri)
    tags = [client.get_run(run_id).data.tags for run_id in ids]
    colours = {tag["mlflow.runName"][:4]: tag["mlflow.runColor"] for tag in tags}
    assert colours == {"CCE ": "#0072B2", "PSLC": "#D55E00"}
