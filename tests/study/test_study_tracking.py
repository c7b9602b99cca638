"""A study as MLflow shows it, read back from a real SQLite store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from protein_robust.pipeline import main

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_each_training_is_a_flat_run_and_the_study_has_one_summary(
    write_study: WriteStudy, store: str, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    path = str(write_study(tracking=f"{{uri: '{store}'}}"))
    assert main(["run", path, "--jobs", "1"]) == 0
    assert main(["run", path, "--jobs", "1"]) == 0  # nothing left to do: no new runs
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    trainings = client.search_runs([experiment], "tags.stage = 'train'")
    summaries = client.search_runs([experiment], "tags.kind = 'summary'")
    assert len(summaries) == 1
    by_loss = {run.data.params["loss.label"]: run for run in trainings}
    assert set(by_loss) == {"CCE", "PSLC"}
    run = by_loss["PSLC"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "PSLC | crop + label | seed 0"
    assert "mlflow.parentRunId" not in run.data.tags
    params = run.data.params
    assert (params["loss.name"], params["noise.rate"], params["seed"]) == ("proselflc", "0.2", "0")
    assert params["loss.exp_base"] == "12.0"
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "test/accuracy")]
    assert steps == [1, 2]
    folder = next((tmp_path / "results" / "runs").glob("crop-label-PSLC-*"))
    metrics = json.loads((folder / "metrics.json").read_text())["final"]
    final = metrics["test"]["accuracy"]
    assert run.data.metrics["final/test_accuracy"] == pytest.approx(final)
    whole = metrics["test_whole"]["max_probability"]
    assert run.data.metrics["final/test_whole_max_probability"] == pytest.approx(whole)


def test_a_run_names_its_data_by_our_digest_and_keeps_its_files(
    write_study: WriteStudy, store: str, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    path = write_study(tracking=f"{{uri: '{store}'}}", losses="[cross_entropy]")
    assert main(["run", str(path), "--jobs", "1"]) == 0
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    (run,) = client.search_runs([experiment], "tags.stage = 'train'")
    digest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())["digest"]
    data, noise = sorted(
        (inputs.dataset for inputs in run.inputs.dataset_inputs), key=lambda d: d.name != "dataset"
    )
    assert digest.startswith(data.digest)
    manifest = next((tmp_path / "results" / "noise").glob("*/manifest.json"))
    assert json.loads(manifest.read_text())["digest"].startswith(noise.digest)
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"run.json", "predictions.parquet", "noise", "dataset", "all_metrics.json"} <= names
    assert "checkpoint" not in names  # with its optimiser it is of use in the run's folder only
    table = json.loads(
        Path(client.download_artifacts(run.info.run_id, "all_metrics.json")).read_text()
    )
    accuracy = run.data.metrics["final/test_accuracy"]
    assert ["test | accuracy | final", pytest.approx(accuracy, abs=5e-5)] in table["data"]
    assert {"path": "all_metrics.json", "type": "table"} in json.loads(
        run.data.tags["mlflow.loggedArtifacts"]
    )


def test_a_study_goes_on_in_the_same_mlflow_run(
    write_study: WriteStudy, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    path = write_study(
        tracking=f"{{uri: '{store}'}}",
        losses="[cross_entropy]",
        training="{epochs: 3, batch_size: 16}",
    )

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("protein_robust.study.one_run.evaluate_run", interrupted)
        assert main(["run", str(path), "--jobs", "1"]) == 130
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    (before,) = client.search_runs([experiment], "tags.stage = 'train'")
    assert before.info.status == "KILLED"
    assert main(["run", str(path), "--jobs", "1"]) == 0
    (after,) = client.search_runs([experiment], "tags.stage = 'train'")
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    history = client.get_metric_history(after.info.run_id, "test/accuracy")
    assert [metric.step for metric in history] == [1, 2, 3]


def test_a_study_that_was_finished_without_tracking_is_logged_later(
    write_study: WriteStudy, store: str, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    assert main(["run", str(write_study()), "--jobs", "1"]) == 0
    path = write_study(tracking=f"{{uri: '{store}'}}")
    for _ in range(2):  # the second time there is nothing to add
        assert main(["run", str(path), "--jobs", "1"]) == 0
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment], "tags.stage = 'train'")
    assert {run.data.params["loss.label"] for run in runs} == {"CCE", "PSLC"}
    steps = [m.step for m in client.get_metric_history(runs[0].info.run_id, "test/accuracy")]
    assert steps == [1, 2]


def test_the_embedded_example_is_called_synthetic_wherever_it_appears(
    write_study: WriteStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"{{source: example, output: {tmp_path / 'dataset'}}}"
    training = "{epochs: 1, batch_size: 64}"
    path = write_study(data=data, training=training, losses="[cross_entropy]")
    assert main(["run", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("synthetic data (")
    assert "tiny (synthetic data)" in printed
    assert "tiny (synthetic data): " in (tmp_path / "results" / "table.md").read_text()
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert manifest["is_synthetic"] is True
