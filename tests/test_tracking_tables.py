"""Tables of a run in MLflow's table view, in a real SQLite store and through outages."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from protein_robust.tracking import Experiment, TrainingRun, prepare, send_rest, start_run
from protein_robust.tracking.outbox import Outbox
from protein_robust.tracking.stores import connect
from protein_robust.tracking.tables import TAG, table_content

FRAME = pd.DataFrame({"length": ["test | 1-50", "test | 51-100"], "accuracy": [0.5, 2 / 3]})
CELLS = {
    "columns": ["length", "accuracy"],
    "data": [["test | 1-50", 0.5], ["test | 51-100", 0.6667]],
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated store, because a new one takes five seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare(f"sqlite:///{path}", "proteins")
    return path


@pytest.fixture
def experiment(template: Path, tmp_path: Path) -> Experiment:
    shutil.copy(template, tmp_path / "mlflow.db")
    return prepare(f"sqlite:///{tmp_path}/mlflow.db", "proteins")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run's folder."""
    path = tmp_path / "run"
    path.mkdir()
    return path


def open_run(experiment: Experiment, folder: Path) -> TrainingRun:
    return start_run(experiment, "CE", params={}, tags={"study": "demo"}, folder=folder)


def stored(experiment: Experiment, run_id: str | None, name: str) -> Any:
    path = connect(experiment.uri).download_artifacts(str(run_id), name)
    return json.loads(Path(path).read_text())


class TestContent:
    def test_cells_are_what_json_has(self) -> None:
        frame = pd.DataFrame(
            {
                "text": ["a", None],
                "missing": pd.array([True, pd.NA], dtype="boolean"),
                "number": np.array([1, 2], dtype=np.int64),
                "fraction": [1.23456, math.inf],
                "time": pd.to_datetime(["2026-01-01", None]),
            }
        )
        # 1.23456 has 1.2346 as its nearest number of four places.
        assert table_content(frame)["data"] == [
            ["a", True, 1, 1.2346, "2026-01-01 00:00:00"],
            [None, None, 2, None, None],
        ]

    def test_full_stop_in_a_name_is_one_that_mlflow_does_not_read_as_a_path(self) -> None:
        assert table_content(pd.DataFrame({"GCE (0.7)": [1]}))["columns"] == ["GCE (0\u20247)"]

    def test_no_rows_are_no_rows(self) -> None:
        assert table_content(FRAME.head(0)) == {"columns": ["length", "accuracy"], "data": []}


@pytest.mark.slow
class TestRun:
    def test_table_is_at_the_root_and_in_the_tag_that_mlflow_reads(
        self, experiment: Experiment, folder: Path
    ) -> None:
        with open_run(experiment, folder) as run:
            run.log_table("by_length", FRAME)
            run.log_table("metrics", FRAME)
        tags = connect(experiment.uri).get_run(run.run_id).data.tags
        assert json.loads(tags[TAG]) == [
            {"path": "by_length.json", "type": "table"},
            {"path": "metrics.json", "type": "table"},
        ]
        assert stored(experiment, run.run_id, "by_length.json") == CELLS

    def test_mlflow_reads_it_as_it_reads_its_own(
        self, experiment: Experiment, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # This one function of MLflow's client looks for the store of the process.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", experiment.uri)
        with open_run(experiment, folder) as run:
            run.log_table("by_length", FRAME)
        read = connect(experiment.uri).load_table(experiment.experiment_id, "by_length.json")
        assert read["length"].tolist() == FRAME["length"].tolist()
        assert read["accuracy"].tolist() == pytest.approx([0.5, 0.6667])

    def test_sent_twice_it_is_there_once(self, experiment: Experiment, folder: Path) -> None:
        with open_run(experiment, folder) as run:
            run.log_table("by_length", FRAME)
        (folder / "tracking.json").unlink()  # as where an answer was lost
        assert send_rest(experiment, folder)
        tags = connect(experiment.uri).get_run(run.run_id).data.tags
        assert json.loads(tags[TAG]) == [{"path": "by_length.json", "type": "table"}]
        assert stored(experiment, run.run_id, "by_length.json") == CELLS

    def test_a_later_table_replaces_an_earlier_one(
        self, experiment: Experiment, folder: Path
    ) -> None:
        with open_run(experiment, folder) as run:
            run.log_table("by_length", FRAME.tail(1))
            run.log_table("by_length", FRAME)
        assert stored(experiment, run.run_id, "by_length.json") == CELLS

    def test_what_waits_in_the_outbox_is_the_table_as_it_was(
        self, template: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        away = Experiment(f"sqlite:///{tmp_path}/mlflow.db", "1")
        frame = FRAME.copy()
        with open_run(away, folder) as run:
            run.log_table("by_length", frame)
            frame["accuracy"] = 0.0
        assert run.run_id is None
        assert [text[:15] for text in caplog.messages] == ["tracking waits:"]
        shutil.copy(template, tmp_path / "mlflow.db")
        experiment = prepare(away.uri, "proteins")
        assert send_rest(experiment, folder)
        sent = Outbox(folder).read_sent()
        assert sent is not None
        assert stored(experiment, sent.run_id, "by_length.json") == CELLS
