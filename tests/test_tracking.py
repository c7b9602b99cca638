"""Tracking against real SQLite stores; nothing here is a mock."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pandas as pd
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import Source, ingest
from protein_robust.report import flat_tables
from protein_robust.tracking import (
    Experiment,
    TrainingRun,
    colour_runs,
    find_run_ids,
    is_recorded,
    list_studies,
    log_summary,
    prepare,
    resolve_uri,
    save_view,
    send_rest,
    serve_ui,
    start_run,
    study_links,
)
from protein_robust.tracking.data import MAX_NOTE, log_data_card
from protein_robust.tracking.outbox import Outbox, Sent
from protein_robust.tracking.server import data_link
from protein_robust.tracking.source import source_tags
from protein_robust.tracking.stores import connect
from protein_robust.tracking.views import CURVES, view_key, view_state

COLUMNS = ["noise", "loss", "seed", "checkpoint", "data", "metric", "value"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated store, because a new one takes five seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare(f"sqlite:///{path}", "template")
    return path


@pytest.fixture
def experiment(template: Path, tmp_path: Path) -> Experiment:
    folder = tmp_path / "a store"
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    return prepare(f"sqlite:///{folder}/mlflow.db", "proteins", note="# Proteins")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "curves.png"
    Image.new("RGB", (4, 3), "red").save(path)
    return path


def open_run(experiment: Experiment, folder: Path, **params: object) -> TrainingRun:
    return start_run(
        experiment,
        "CE | crop | seed 0",
        params={"loss.name": "CE", "seed": 0, **params},
        tags={"study": "demo", "run_key": "abc"},
        folder=folder,
    )


def values(experiment: Experiment, run: TrainingRun, key: str) -> list[tuple[int, float]]:
    history = connect(experiment.uri).get_metric_history(run.run_id, key)
    return [(point.step, point.value) for point in history]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestUri:
    def test_configured_uri_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:1")
        assert resolve_uri("http://here:5000/") == "http://here:5000"

    def test_environment_comes_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:1")
        assert resolve_uri(None) == "http://elsewhere:1"

    def test_without_either_it_is_a_file_here(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.chdir(tmp_path)
        assert resolve_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"

    def test_relative_sqlite_path_is_made_absolute(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert resolve_uri("sqlite:///a/b.db?timeout=9") == f"sqlite:///{tmp_path}/a/b.db?timeout=9"

    @pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
    def test_folder_of_run_files_is_refused(self, uri: str) -> None:
        with pytest.raises(InputError, match=r"sqlite:///.*http://.*no longer writes folders"):
            resolve_uri(uri)

    @pytest.mark.parametrize("uri", ["databricks://x", "postgresql://u@h/d", "http://"])
    def test_other_schemes_are_refused(self, uri: str) -> None:
        with pytest.raises(InputError, match=r"Expected a tracking URI .*got '"):
            resolve_uri(uri)

    @pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
    def test_sqlite_without_a_file_is_refused(self, uri: str) -> None:
        with pytest.raises(InputError, match="a file that several processes share"):
            resolve_uri(uri)


class TestPrepare:
    @pytest.mark.slow
    def test_artifacts_lie_beside_the_database(self, experiment: Experiment) -> None:
        found = connect(experiment.uri).get_experiment(experiment.experiment_id)
        assert found.artifact_location.endswith("/a%20store/mlruns")
        assert found.tags["mlflow.note.content"] == "# Proteins"

    @pytest.mark.slow
    def test_again_gives_the_same_experiment(self, experiment: Experiment) -> None:
        assert prepare(experiment.uri, "proteins") == experiment

    @pytest.mark.slow
    def test_deleted_experiment_is_an_input_error(self, experiment: Experiment) -> None:
        connect(experiment.uri).delete_experiment(experiment.experiment_id)
        with pytest.raises(InputError, match=r"experiments restore.*deleted 'proteins'"):
            prepare(experiment.uri, "proteins")

    def test_folder_that_cannot_be_made_is_an_input_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"mlflow.db: Expected a tracking database .*written"):
            prepare(f"sqlite:///{tmp_path}/file/deeper/mlflow.db", "x")

    def test_other_file_in_its_place_is_an_input_error(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_text("noise, loss\n")
        with pytest.raises(InputError, match="Expected an SQLite database, got another kind"):
            prepare(f"sqlite:///{tmp_path}/mlflow.db", "x")

    @pytest.mark.slow
    def test_database_of_something_else_is_an_input_error(self, tmp_path: Path) -> None:
        import sqlite3

        connection = sqlite3.connect(tmp_path / "mlflow.db")
        connection.execute("create table experiments (name text)")
        connection.close()
        with pytest.raises(InputError, match="a tracking store that MLflow can use"):
            prepare(f"sqlite:///{tmp_path}/mlflow.db", "x")

    def test_unreachable_server_is_an_input_error_at_once(self) -> None:
        started = time.monotonic()
        with pytest.raises(InputError, match=r"Expected a running MLflow server, got .*refused"):
            prepare(f"http://127.0.0.1:{free_port()}", "x")
        assert time.monotonic() - started < 5

    def test_silent_server_is_an_input_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("protein_robust.tracking.stores.REACH_SECONDS", 0.1)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            with pytest.raises(InputError, match="timed out"):
                prepare(f"http://127.0.0.1:{listening.getsockname()[1]}", "x")


@pytest.mark.slow
class TestTrainingRun:
    def test_settings_and_tags_are_there(self, experiment: Experiment, tmp_path: Path) -> None:
        with open_run(experiment, tmp_path, **{"model.width": 64}) as run:
            pass
        found = connect(experiment.uri).get_run(run.run_id)
        assert found.info.run_name == "CE | crop | seed 0"
        assert found.data.params == {"loss.name": "CE", "seed": "0", "model.width": "64"}
        token = Outbox(tmp_path).token
        tags = {"study": "demo", "run_key": "abc", "stage": "train", "outbox": token}
        tags |= source_tags()
        assert tags.items() <= found.data.tags.items()

    def test_more_parameters_than_a_batch_takes(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        with open_run(experiment, tmp_path, **{f"p{i}": i for i in range(150)}) as run:
            pass
        assert len(connect(experiment.uri).get_run(run.run_id).data.params) == 152

    def test_epochs_are_steps(self, experiment: Experiment, tmp_path: Path) -> None:
        with open_run(experiment, tmp_path) as run:
            run.log_epoch(1, {"test/accuracy": 0.5, "train/loss": 2.0})
            run.log_epoch(2, {"test/accuracy": 0.75, "train/loss": 1.0})
        assert values(experiment, run, "test/accuracy") == [(1, 0.5), (2, 0.75)]

    def test_infinite_value_is_logged_as_nan(self, experiment: Experiment, tmp_path: Path) -> None:
        with open_run(experiment, tmp_path) as run:
            run.log_epoch(1, {"train/loss": math.inf})
        assert math.isnan(values(experiment, run, "train/loss")[0][1])

    def test_final_values_have_one_point(self, experiment: Experiment, tmp_path: Path) -> None:
        with open_run(experiment, tmp_path) as run:
            run.log_metrics({"final/test_accuracy": 0.9})
        assert values(experiment, run, "final/test_accuracy") == [(0, 0.9)]

    def test_dataset_carries_our_digest(self, experiment: Experiment, tmp_path: Path) -> None:
        with open_run(experiment, tmp_path) as run:
            run.log_dataset("pfam", digest="f" * 64, source="/data/pfam", context="training")
        [used] = connect(experiment.uri).get_run(run.run_id).inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("pfam", "f" * 16)
        assert json.loads(used.dataset.source) == {"uri": "/data/pfam"}
        assert used.tags[0].value == "training"

    def test_files_and_folders_are_copied(self, experiment: Experiment, tmp_path: Path) -> None:
        folder = tmp_path / "best"
        folder.mkdir()
        (folder / "weights.bin").write_bytes(b"1")
        (tmp_path / "config.yaml").write_text("a: 1\n")
        with open_run(experiment, tmp_path) as run:
            run.log_files([tmp_path / "config.yaml"])
            run.log_files([folder], "checkpoints/best")
        client = connect(experiment.uri)
        assert [f.path for f in client.list_artifacts(run.run_id)] == [
            "checkpoints",
            "config.yaml",
        ]
        [weights] = client.list_artifacts(run.run_id, "checkpoints/best")
        assert weights.path == "checkpoints/best/weights.bin"

    @pytest.mark.parametrize(
        ("error", "status"),
        [(None, "FINISHED"), (RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")],
        ids=["end", "error", "ctrl-c"],
    )
    def test_run_ends_as_its_body_ends(
        self,
        experiment: Experiment,
        tmp_path: Path,
        error: type[BaseException] | None,
        status: str,
    ) -> None:
        run = open_run(experiment, tmp_path)
        if error is None:
            run.finish()
        else:
            with pytest.raises(error), run:
                raise error
        assert connect(experiment.uri).get_run(run.run_id).info.status == status

    def test_system_metrics_are_sampled(
        self, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("protein_robust.tracking.store_run.SAMPLING_SECONDS", 0.05)
        with open_run(experiment, tmp_path) as run:
            time.sleep(0.5)
        metrics = connect(experiment.uri).get_run(run.run_id).data.metrics
        assert "system/cpu_utilization_percentage" in metrics


@pytest.mark.slow
class TestResume:
    def test_continued_run_keeps_its_points_and_adds_new_ones(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        first = open_run(experiment, tmp_path)
        first.log_epoch(1, {"train/loss": 2.0})
        first.finish("KILLED")
        with open_run(experiment, tmp_path, seed=7, added=1) as second:
            second.log_epoch(1, {"train/loss": 9.0, "train/accuracy": 0.5})
            second.log_epoch(2, {"train/loss": 1.0})
        assert second.run_id == first.run_id
        assert values(experiment, second, "train/loss") == [(1, 2.0), (2, 1.0)]
        assert values(experiment, second, "train/accuracy") == [(1, 0.5)]
        found = connect(experiment.uri).get_run(first.run_id)
        assert found.info.status == "FINISHED"
        # What a parameter was at first cannot change in MLflow; new ones are added.
        assert found.data.params == {"loss.name": "CE", "seed": "0", "added": "1"}

    def test_run_is_found_again_without_the_note_of_what_was_sent(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        first = open_run(experiment, tmp_path)
        first.log_epoch(1, {"train/loss": 2.0})
        first.finish("KILLED")
        (tmp_path / "tracking.json").write_text("{")
        with open_run(experiment, tmp_path) as second:
            second.log_epoch(2, {"train/loss": 1.0})
        assert second.run_id == first.run_id
        assert values(experiment, second, "train/loss") == [(1, 2.0), (2, 1.0)]

    def test_deleted_run_is_made_anew_with_everything(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        with open_run(experiment, tmp_path) as first:
            first.log_epoch(1, {"train/loss": 2.0})
        connect(experiment.uri).delete_run(first.run_id)
        with open_run(experiment, tmp_path) as second:
            second.log_epoch(2, {"train/loss": 1.0})
        assert second.run_id != first.run_id
        assert values(experiment, second, "train/loss") == [(1, 2.0), (2, 1.0)]

    def test_another_experiment_gets_everything(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        with open_run(experiment, tmp_path) as first:
            first.log_epoch(1, {"train/loss": 2.0})
            first.log_metrics({"final/test_accuracy": 0.5})
        other = prepare(experiment.uri, "other")
        assert send_rest(other, tmp_path)
        [found] = connect(other.uri).search_runs([other.experiment_id])
        assert found.info.status == "FINISHED"
        assert found.data.metrics == {"train/loss": 2.0, "final/test_accuracy": 0.5}
        [before] = connect(other.uri).search_runs([experiment.experiment_id])
        assert before.info.run_id == first.run_id

    def test_second_run_that_a_lost_answer_left_is_removed_at_the_end(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        client = connect(experiment.uri)
        with open_run(experiment, tmp_path) as run:
            tags = {"outbox": Outbox(tmp_path).token}
            wait_until(lambda: run.run_id is not None)
            client.create_run(experiment.experiment_id, tags=tags)
        [found] = client.search_runs([experiment.experiment_id])
        assert found.info.run_id == run.run_id


class TestRecorded:
    def test_whole_run_has_single_values_and_an_end(self, tmp_path: Path) -> None:
        outbox = Outbox(tmp_path)
        outbox.append_points({"train/loss": 1.0}, step=1)
        outbox.append("end", "FINISHED")
        assert not is_recorded(tmp_path)
        outbox.append_points({"final/test_accuracy": 0.5}, step=0)
        assert not is_recorded(tmp_path)
        outbox.append("end", "FINISHED")
        assert is_recorded(tmp_path)

    def test_folder_without_an_outbox_has_no_run(self, tmp_path: Path) -> None:
        assert not is_recorded(tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestFailure:
    def test_lost_database_is_one_warning_and_the_outbox_stays(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        lost = Experiment(f"sqlite:///{tmp_path}/mlflow.db", "1")
        with open_run(lost, tmp_path) as run:
            run.log_epoch(1, {"train/loss": 1.0})
        [warning] = caplog.messages
        assert warning.startswith("tracking waits: no tracking database at ")
        assert warning.endswith(f"; {tmp_path}/outbox.jsonl keeps what is left")
        assert not (tmp_path / "mlflow.db").exists()
        kinds = [list(entry)[1] for entry, _ in Outbox(tmp_path).read(0)]
        assert kinds == ["open", "metrics", "end"]

    @pytest.mark.slow
    def test_file_that_is_gone_is_left_out_with_a_warning(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "there.csv").write_text("a\n")
        with open_run(experiment, tmp_path) as run:
            run.log_files([tmp_path / "nowhere.csv", tmp_path / "there.csv"])
            run.log_epoch(1, {"train/loss": 1.0})
        [warning] = caplog.messages
        assert warning.startswith("tracking leaves out /")
        assert warning.endswith("nowhere.csv: it is not there any more")
        client = connect(experiment.uri)
        found = client.get_run(run.run_id)
        assert found.data.tags["tracking"] == "incomplete"
        assert found.info.status == "FINISHED"
        assert [file.path for file in client.list_artifacts(run.run_id)] == ["there.csv"]

    @pytest.mark.slow
    def test_line_that_the_store_refuses_is_left_out_with_a_warning(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_run(experiment, tmp_path) as run:
            for epoch in (1, 2, 3):
                run.log_epoch(epoch, {"what?" if epoch == 2 else "train/loss": 1.0})
        [warning] = caplog.messages
        assert warning.startswith("tracking leaves out metrics {'what?': 1.0}, step 2: Invalid val")
        assert values(experiment, run, "train/loss") == [(1, 1.0), (3, 1.0)]

    @pytest.mark.slow
    def test_experiment_that_is_gone_stops_tracking_with_one_warning(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_run(Experiment(experiment.uri, "99"), tmp_path) as run:
            run.log_epoch(1, {"train/loss": 1.0})
        [warning] = caplog.messages
        assert warning.startswith("tracking stopped: No Experiment with id=99 exists; ")

    @pytest.mark.slow
    def test_run_that_is_deleted_meanwhile_stays_deleted(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_run(experiment, tmp_path) as run:
            wait_until(lambda: run.run_id is not None)
            connect(experiment.uri).delete_run(run.run_id)
            run.log_epoch(1, {"train/loss": 1.0})
        [warning] = caplog.messages
        assert "must be in the 'active' state" in warning
        assert connect(experiment.uri).search_runs([experiment.experiment_id]) == []

    @pytest.mark.slow
    def test_outbox_that_cannot_be_written_stops_tracking_not_training(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "run"
        folder.mkdir()
        with open_run(experiment, folder) as run:
            shutil.rmtree(folder)
            for epoch in (1, 2):
                run.log_epoch(epoch, {"train/loss": 1.0})
        stopped = [text for text in caplog.messages if text.startswith("tracking stopped: ")]
        assert stopped == [f"tracking stopped: {folder}/outbox.jsonl: No such file or directory"]


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def wait_for(uri: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.slow
class TestSummary:
    def summary(self, experiment: Experiment, image: Path, tmp_path: Path) -> str | None:
        rows = [("crop", "GCE (0.7)", 0, "final", "test", "accuracy", 0.5)]
        (tmp_path / "table.csv").write_text("noise\ncrop\n")
        return log_summary(
            experiment,
            "it's a study",
            tables=flat_tables(pd.DataFrame(rows, columns=COLUMNS)),
            figures=[image],
            files=[tmp_path / "table.csv"],
            note="# Result",
        )

    def test_there_is_one_after_two_calls(
        self, experiment: Experiment, image: Path, tmp_path: Path
    ) -> None:
        self.summary(experiment, image, tmp_path)
        second = self.summary(experiment, image, tmp_path)
        found = connect(experiment.uri).search_runs([experiment.experiment_id])
        assert [run.info.run_id for run in found] == [second]
        tags = {"kind": "summary", "study": "it's a study", "mlflow.note.content": "# Result"}
        assert tags.items() <= found[0].data.tags.items()

    def test_another_study_keeps_its_own(
        self, experiment: Experiment, image: Path, tmp_path: Path
    ) -> None:
        other = log_summary(experiment, "other", tables={})
        self.summary(experiment, image, tmp_path)
        assert connect(experiment.uri).get_run(str(other)).info.lifecycle_stage == "active"

    def test_everything_is_at_the_root(
        self, experiment: Experiment, image: Path, tmp_path: Path
    ) -> None:
        run_id = self.summary(experiment, image, tmp_path)
        client = connect(experiment.uri)
        paths = [file.path for file in client.list_artifacts(run_id)]
        assert paths == ["curves.png", "details.json", "images", "table.csv", "table.json"]
        table = json.loads(Path(client.download_artifacts(run_id, "table.json")).read_text())
        # A full stop in a column's name would leave its cells empty in MLflow's table.
        assert table["columns"] == ["noise | metric | data", "GCE (0\u20247)"]
        assert table["data"] == [["crop | accuracy | test", "50.0"]]

    def test_a_folder_is_kept_under_its_name(
        self, experiment: Experiment, image: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "data_card.md").write_text("# Data card")
        run_id = log_summary(experiment, "demo", tables={}, figures=[image], files=[folder])
        client = connect(experiment.uri)
        assert [f.path for f in client.list_artifacts(run_id)] == ["curves.png", "data", "images"]
        assert [f.path for f in client.list_artifacts(run_id, "data")] == ["data/data_card.md"]

    def test_half_a_summary_is_removed(
        self, experiment: Experiment, image: Path, tmp_path: Path
    ) -> None:
        first = self.summary(experiment, image, tmp_path)
        lost = [tmp_path / "nowhere.csv"]
        assert log_summary(experiment, "it's a study", tables={}, files=lost) is None
        found = connect(experiment.uri).search_runs([experiment.experiment_id])
        assert [run.info.run_id for run in found] == [first]

    def test_failure_is_a_warning(
        self, experiment: Experiment, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert log_summary(Experiment(experiment.uri, "99"), "demo", tables={}) is None
        assert "the summary of demo is not in MLflow" in caplog.text


@pytest.mark.slow
class TestDataCard:
    @pytest.fixture
    def manifest(self, table: Path, tmp_path: Path) -> dict[str, Any]:
        return ingest([Source(table)], tmp_path / "mine")

    def log(self, experiment: Experiment, manifest: dict[str, Any], **more: Any) -> str:
        options = {"card": "# Data card: mine", **more}
        run_id = log_data_card(experiment, Path("data/mine"), manifest=manifest, **options)
        assert run_id is not None
        return run_id

    def test_counts_are_metrics_and_options_are_parameters(
        self, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        found = connect(experiment.uri).get_run(self.log(experiment, manifest))
        counts = {f"counts/{name}": float(n) for name, n in manifest["counts"].items()}
        assert counts.items() <= found.data.metrics.items()
        assert found.data.metrics["counts/families"] == 3
        assert found.data.metrics["lengths/max"] == manifest["lengths"]["max"]
        assert found.data.metrics["family_sizes/201 or more"] == 0
        assert found.data.metrics["removed/duplicates_within_family"] == 0
        params = {"split_rule": "random", "verified": "True", "sources": "table.csv"}
        params |= {"options.seed": "0", "options.test_fraction": "0.1"}
        assert params.items() <= found.data.params.items()
        assert "options.clans" not in found.data.params  # None

    def test_run_is_tagged_and_named_after_the_data(
        self, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        found = connect(experiment.uri).get_run(self.log(experiment, manifest))
        assert (found.info.run_name, found.info.status) == ("data: mine", "FINISHED")
        tags = {"kind": "data", "data": "mine", "digest": manifest["digest"], **source_tags()}
        assert tags.items() <= found.data.tags.items()
        assert found.data.tags["mlflow.note.content"] == "# Data card: mine"

    def test_data_set_carries_our_digest(
        self, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        run_id = self.log(experiment, manifest)
        [used] = connect(experiment.uri).get_run(run_id).inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("mine", manifest["digest"][:16])
        assert json.loads(used.dataset.source) == {"uri": "data/mine"}

    def test_card_and_figures_are_at_the_root(
        self, experiment: Experiment, manifest: dict[str, Any], image: Path, tmp_path: Path
    ) -> None:
        files = [tmp_path / "mine" / "manifest.json"]
        card = "# Data card: m\u00fcne"
        run_id = self.log(experiment, manifest, card=card, figures=[image], files=files)
        client = connect(experiment.uri)
        paths = [file.path for file in client.list_artifacts(run_id)]
        assert paths == ["curves.png", "data_card.md", "images", "manifest.json"]
        text = Path(client.download_artifacts(run_id, "data_card.md")).read_text("utf-8")
        assert text == card

    def test_long_card_is_whole_as_a_file_and_cut_at_a_line_as_a_note(
        self, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        card = "".join(f"- line {number}\n" for number in range(2000))
        client = connect(experiment.uri)
        run_id = self.log(experiment, manifest, card=card)
        note = client.get_run(run_id).data.tags["mlflow.note.content"]
        whole_lines, _, last = note.partition("\n\n")
        assert last == "... The whole card is in `data_card.md`.\n"
        assert len(whole_lines) <= MAX_NOTE
        assert card.startswith(whole_lines + "\n")
        assert Path(client.download_artifacts(run_id, "data_card.md")).read_text() == card

    def test_same_content_has_one_run_and_other_content_another(
        self, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        other = self.log(experiment, {**manifest, "digest": "0" * 64})
        third = self.log(experiment, {**manifest, "name": "it's another"})
        self.log(experiment, manifest)
        last = self.log(experiment, manifest)
        found = connect(experiment.uri).search_runs([experiment.experiment_id])
        assert {run.info.run_id for run in found} == {other, third, last}

    def test_failure_is_a_warning_and_leaves_the_run_before(
        self, experiment: Experiment, manifest: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        first = self.log(experiment, manifest)
        lost = {"card": "", "figures": [Path("nowhere.png")]}
        assert log_data_card(experiment, Path("mine"), manifest=manifest, **lost) is None
        assert "the data card of mine is not in MLflow" in caplog.text
        found = connect(experiment.uri).search_runs([experiment.experiment_id])
        assert [run.info.run_id for run in found] == [first]

    def test_it_is_no_training_of_a_study(
        self, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        self.log(experiment, manifest)
        assert list_studies(experiment.uri) == []


class TestViews:
    def test_view_has_the_six_panels_first_and_every_run(self) -> None:
        state = view_state("demo")
        charts = state["compareRunCharts"]
        assert isinstance(charts, list)
        assert [chart["metricKey"] for chart in charts[:6]] == [key for key, _ in CURVES]
        assert state["runsHiddenMode"] == "SHOW_ALL"
        assert state["searchFilter"] == "tags.study = 'demo' and tags.stage = 'train'"

    def test_quote_in_a_study_is_searched_for_in_double_quotes(self) -> None:
        assert view_state("it's")["searchFilter"].startswith('tags.study = "it\'s" and')  # type: ignore[attr-defined]

    @pytest.mark.slow
    def test_view_is_a_tag_that_mlflow_reads(self, experiment: Experiment) -> None:
        save_view(experiment, "demo")
        tags = connect(experiment.uri).get_experiment(experiment.experiment_id).tags
        view = json.loads(tags[f"mlflow.sharedViewState.{view_key('demo')}"])
        assert view["name"] == "Training dynamics of demo"
        assert view["state"].startswith("deflate;")

    @pytest.mark.slow
    def test_view_that_was_changed_by_hand_stays(self, experiment: Experiment) -> None:
        key = f"mlflow.sharedViewState.{view_key('demo')}"
        client = connect(experiment.uri)
        client.set_experiment_tag(experiment.experiment_id, key, "mine")
        save_view(experiment, "demo")
        assert client.get_experiment(experiment.experiment_id).tags[key] == "mine"

    @pytest.mark.slow
    def test_colours_are_those_given_unless_one_was_chosen_by_hand(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        folders = [tmp_path / name for name in "ab"]
        for folder in folders:
            folder.mkdir()
            open_run(experiment, folder).finish()
        first, second = find_run_ids(experiment, folders)
        client = connect(experiment.uri)
        client.set_tag(first, "mlflow.runColor", "#000000")
        colour_runs(experiment, {first: "#D55E00", second: "#009E73"})
        tags = [client.get_run(run_id).data.tags["mlflow.runColor"] for run_id in (first, second)]
        assert tags == ["#000000", "#009E73"]

    @pytest.mark.slow
    def test_run_without_colour_is_a_warning(
        self, experiment: Experiment, caplog: pytest.LogCaptureFixture
    ) -> None:
        colour_runs(experiment, {"nobody": "#009E73"})
        assert caplog.messages == ["runs have MLflow's own colours: Run with id=nobody not found"]

    def test_runs_that_the_store_does_not_have_have_no_identifier(self, tmp_path: Path) -> None:
        there = Experiment("sqlite:////there.db", "1")
        for name, place in (("a", there), ("b", Experiment("sqlite:////elsewhere.db", "1"))):
            (tmp_path / name).mkdir()
            sent = Sent(place.uri, place.experiment_id, f"id-{name}", 3)
            Outbox(tmp_path / name).write_sent(sent)
        assert find_run_ids(there, [tmp_path / name for name in "abc"]) == ["id-a"]

    @pytest.mark.slow
    def test_failure_is_a_warning(
        self, experiment: Experiment, caplog: pytest.LogCaptureFixture
    ) -> None:
        save_view(Experiment(experiment.uri, "99"), "demo")
        assert "the view of study demo is not saved" in caplog.text


class TestPages:
    def test_links_lead_to_the_view_and_the_summary(self) -> None:
        links = study_links("3", "demo", summary_id="abc", pages="http://127.0.0.1:1/")
        page = "http://127.0.0.1:1/#/experiments/3/runs"
        view = f"{page}?workflowType=machine_learning&viewStateShareKey={view_key('demo')}"
        assert links["charts"] == f"{view}&compareRunsMode=CHART"
        assert links["runs"] == view
        assert links["tables"] == f"{view}&compareRunsMode=ARTIFACT"
        assert links["report"].startswith(f"{page}/abc/artifacts/report.html")
        assert links["table"].startswith(f"{page}/abc/artifacts/table.html")
        assert links["figures"].startswith(f"{page}/abc/artifacts/method_comparison.png")
        assert links["data"].startswith(f"{page}/abc/artifacts/data/data_card.md")

    def test_link_of_a_data_set_leads_to_its_card(self) -> None:
        link = data_link("3", "abc", pages="http://127.0.0.1:1/")
        page = "http://127.0.0.1:1/#/experiments/3/runs/abc/artifacts/data_card.md"
        assert link == f"{page}?workflowType=machine_learning"

    def test_links_without_a_summary_are_those_of_the_view(self) -> None:
        assert list(study_links("3", "demo")) == ["charts", "tables", "runs"]

    def test_runs_come_first_where_they_are_compared(self) -> None:
        link = study_links("3", "demo", run_ids=["a", "b"])["compare"]
        page, _, query = link.partition("/#/compare-runs?")
        assert page == "http://127.0.0.1:5000"
        # MLflow 3.17 fails where another parameter stands before the runs.
        assert parse_qsl(query) == [
            ("runs", '["a", "b"]'),
            ("experiments", '["3"]'),
            ("workflowType", "machine_learning"),
        ]

    def test_one_run_is_not_compared(self) -> None:
        assert "compare" not in study_links("3", "demo", run_ids=["a"])

    def test_link_of_a_model_leads_to_the_registry(self) -> None:
        link = study_links("3", "demo", model="demo")["model"]
        assert link == "http://127.0.0.1:5000/#/models/demo?workflowType=machine_learning"

    @pytest.mark.slow
    def test_studies_of_a_store_are_found(self, experiment: Experiment, tmp_path: Path) -> None:
        connect(experiment.uri).create_run(experiment.experiment_id, tags={"stage": "train"})
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            open_run(experiment, tmp_path / name).finish()
        log_summary(experiment, "demo", tables={})
        assert list_studies(experiment.uri) == [(experiment.experiment_id, "demo")]

    def test_busy_port_is_an_input_error(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_bytes(b"")
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            with pytest.raises(InputError, match=f"free address, got 127.0.0.1:{port} .*in use"):
                serve_ui(f"sqlite:///{tmp_path}/mlflow.db", port=port)

    def test_store_that_is_missing_is_an_input_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Expected a tracking database, got no file"):
            serve_ui(f"sqlite:///{tmp_path}/mlflow.db")

    def test_server_shows_its_own_pages(self) -> None:
        with pytest.raises(InputError, match="which shows its own pages"):
            serve_ui("http://127.0.0.1:5000")

    @pytest.mark.slow
    def test_pages_come_up_over_a_store(self, experiment: Experiment) -> None:
        port = free_port()
        process = serve_ui(experiment.uri, port=port)
        try:
            wait_for(f"http://127.0.0.1:{port}")
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_tracking_and_report_import_without_mlflow_matplotlib_and_rich() -> None:
    program = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"mlflow", "matplotlib", "rich", "PIL"}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
import protein_robust.report, protein_robust.tracking
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_missing_git_leaves_the_commit_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "mlflow.source.git.commit" not in source_tags()
