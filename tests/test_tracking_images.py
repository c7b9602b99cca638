"""A study on images and its data set as a real SQLite store has them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from protein_robust.pipeline import main
from protein_robust.report import display_frame, talk_table
from protein_robust.study import (
    PlannedRun,
    collect_history,
    collect_results,
    collect_tables,
    find_candidates,
    find_runs,
)
from protein_robust.tracking import prepare, register_models
from protein_robust.tracking.data import log_data_card
from protein_robust.tracking.reading import read_history, read_results, read_table

STUDY = """\
name: tiny
output: {folder}/results
data:
  {{images: digits, num_train: 200, num_test: 80, valid_fraction: 0.1, output: "{folder}/dataset"}}
noise:
  - {{name: wrong, label: {{kind: symmetric, rate: 0.4}}}}
  - {{name: clean}}
model: resnet8
training: {{epochs: 3, batch_size: 50, optimizer: sgd, learning_rate: 0.05, evaluate_every: 2}}
losses:
  - {{name: proselflc, label: PSLC}}
  - {{name: cross_entropy, label: CCE}}
tracking: {{uri: 'sqlite:///{folder}/mlflow.db'}}
"""
KEYS = ["noise", "loss", "seed", "checkpoint", "data", "metric"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, carried out, its store beside it."""
    place = tmp_path_factory.mktemp("tracked")
    (place / "tiny.yaml").write_text(STUDY.format(folder=place))
    assert main(["run", str(place / "tiny.yaml"), "--jobs", "1"]) == 0
    return place


@pytest.fixture
def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def runs(folder: Path) -> list[PlannedRun]:
    return find_runs([folder / "results"])


def test_results_read_back_are_those_of_the_files(uri: str, runs: list[PlannedRun]) -> None:
    results, read = collect_results(runs), read_results(uri, "tiny")
    both = read.merge(results, on=KEYS, suffixes=("_read", ""), how="left")
    assert len(both) == len(read)
    pd.testing.assert_series_equal(both["value_read"], both["value"], check_names=False)
    pd.testing.assert_frame_equal(
        display_frame(talk_table(read)), display_frame(talk_table(results))
    )


def test_history_read_back_has_the_epochs_that_were_not_measured(
    uri: str, runs: list[PlannedRun]
) -> None:
    history, read = collect_history(runs), read_history(uri, "tiny")
    pd.testing.assert_frame_equal(read[history.columns], history, check_like=True)
    is_measured = read.groupby("epoch")["test/accuracy"].agg(lambda values: values.notna().all())
    assert is_measured.to_dict() == {1: False, 2: True, 3: True}


def test_curves_have_a_point_for_each_measured_epoch(uri: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    for run in client.search_runs([experiment], "tags.stage = 'train'"):
        points = client.get_metric_history(run.info.run_id, "test/accuracy")
        assert [point.step for point in points] == [2, 3]
        points = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in points] == [1, 2, 3]


def test_tables_of_evaluation_are_read_back(uri: str, runs: list[PlannedRun]) -> None:
    read, expected = read_table(uri, "tiny", "reliability"), collect_tables(runs, "reliability")
    pd.testing.assert_frame_equal(read[expected.columns], expected)


def test_summary_has_the_page_the_figures_and_the_data(uri: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    [summary] = client.search_runs([experiment], "tags.kind = 'summary'")
    at_root = {entry.path for entry in client.list_artifacts(summary.info.run_id)}
    figures = {"protein_table.png", "training_dynamics_wrong.png", "label_probability_wrong.png"}
    assert {"report.html", "table.csv", "results.parquet", *figures} <= at_root
    data = {entry.path for entry in client.list_artifacts(summary.info.run_id, "data")}
    named = {"data_card.md", "data_images.png", "data_families.png", "noise_images_wrong.png"}
    assert {f"data/{name}" for name in named} <= data


def test_no_network_of_images_is_a_registered_model(uri: str, runs: list[PlannedRun]) -> None:
    from mlflow.tracking import MlflowClient

    assert MlflowClient(uri).search_registered_models() == []
    candidates = find_candidates(runs)
    assert candidates == []
    assert register_models(prepare(uri, "tiny"), "tiny", candidates) == {}
    assert MlflowClient(uri).search_registered_models() == []


def test_the_data_set_has_a_run_with_its_numbers(
    folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["ingest", str(folder / "tiny.yaml"), "--track"]) == 0
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("dataset").experiment_id
    [found] = client.search_runs([experiment], "tags.kind = 'data'")
    manifest = json.loads((folder / "dataset" / "manifest.json").read_text())
    metrics = found.data.metrics
    # Ten classes, 20 drawn images of each, a tenth of them valid; and what is left of 1,797.
    assert (metrics["counts/families"], metrics["counts/test"]) == (10, 80)
    assert metrics["counts/train"] + metrics["counts/valid"] == 200
    assert metrics["removed/train_not_drawn"] + metrics["removed/test_not_drawn"] == 1797 - 280
    assert metrics["channel_mean/0"] == manifest["channel_mean"][0]
    assert metrics["channel_std/0"] == manifest["channel_std"][0]
    assert not [name for name in metrics if name.startswith(("skipped", "lengths"))]
    params = {"modality": "images", "image_shape": "8 x 8 x 1", "verified": "True"}
    params |= {"options.name": "digits", "options.num_train": "200"}
    assert params.items() <= found.data.params.items()
    assert "split_rule" not in found.data.params
    files = {entry.path for entry in client.list_artifacts(found.info.run_id)}
    names = ("data_images", "data_families")
    figures = {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    assert {"data_card.md", "manifest.json", *figures} <= files


def test_each_channel_and_each_kind_of_human_labels_has_its_numbers(
    folder: Path, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    manifest = json.loads((folder / "dataset" / "manifest.json").read_text())
    changes = {
        "image_shape": [32, 32, 3],
        "channel_mean": [0.5, 0.25, 0.125],
        "human_labels": {"worse": 0.375},
    }
    store = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = log_data_card(
        prepare(store, "dataset"), folder, manifest=manifest | changes, card="# Data card"
    )
    assert run_id is not None
    found = MlflowClient(store).get_run(run_id)
    means = [found.data.metrics[f"channel_mean/{place}"] for place in range(3)]
    assert means == [0.5, 0.25, 0.125]
    assert found.data.metrics["human_labels/worse"] == 0.375
    assert found.data.params["image_shape"] == "32 x 32 x 3"
