"""A store that is gone, slow or restarted while a run is logged: real servers, real signals."""

from __future__ import annotations

import http.server
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from protein_robust.pipeline import main
from protein_robust.study import evaluate_run
from protein_robust.tracking import Experiment, TrainingRun, prepare, send_rest, start_run
from protein_robust.tracking.outbox import Outbox
from protein_robust.tracking.stores import connect

AT_ONCE_SECONDS = 0.25
"""More than a call of the training may take, on a machine that has other work too."""

Points = list[tuple[int, float, int]]


class Server:
    """MLflow's server in one process, so that killing it leaves none behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": "/usr/bin:/bin",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self.folder}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self.folder / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "error"]
        command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", *address]
        self.process = subprocess.Popen(command, env=environment, cwd=self.folder)
        wait_until(self.answers)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return True
        except OSError:
            return False


class Forgetful(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a server, and loses answers: the first to each kind, half of others."""

    target = ""
    chance = random.Random(0)
    kinds: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kind = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        url = self.target + self.path
        request = urllib.request.Request(url, body, kind, method=self.command)
        with urllib.request.urlopen(request) as answer:
            content = answer.read()
        is_first = self.path not in self.kinds
        self.kinds.add(self.path)
        if self.command == "GET" or (not is_first and self.chance.random() < 0.5):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        self.close_connection = True

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated store, because a new one takes five seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare(f"sqlite:///{path}", "proteins")
    return path


@pytest.fixture
def server(template: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that has not started yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    made = Server(folder)
    yield made
    made.kill()


@pytest.fixture
def local(template: Path, tmp_path: Path) -> Experiment:
    shutil.copy(template, tmp_path / "mlflow.db")
    return prepare(f"sqlite:///{tmp_path}/mlflow.db", "proteins")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run's folder."""
    path = tmp_path / "run"
    path.mkdir()
    return path


def open_run(experiment: Experiment, folder: Path) -> TrainingRun:
    tags = {"study": "demo"}
    return start_run(experiment, "CE", params={"seed": 0}, tags=tags, folder=folder)


def log_epochs(run: TrainingRun, epochs: range) -> float:
    """Logs two curves; gives the seconds of the slowest call."""
    slowest = 0.0
    for epoch in epochs:
        started = time.perf_counter()
        run.log_epoch(epoch, {"train/loss": 1 / epoch, "test/accuracy": epoch / 1000})
        slowest = max(slowest, time.perf_counter() - started)
    return slowest


def points(experiment: Experiment, run_id: str | None, key: str = "train/loss") -> Points:
    history = connect(experiment.uri).get_metric_history(run_id, key)
    return [(point.step, point.value, point.timestamp) for point in history]


def logged(folder: Path, key: str = "train/loss") -> Points:
    """The same, of the outbox."""
    entries = [entry for entry, _ in Outbox(folder).read(0) if key in entry.get("metrics", ())]
    return [(entry["step"], entry["metrics"][key], entry["time"]) for entry in entries]


def only_run(experiment: Experiment) -> str:
    [found] = connect(experiment.uri).search_runs([experiment.experiment_id])
    return str(found.info.run_id)


def sent_size(folder: Path) -> int:
    sent = Outbox(folder).read_sent()
    return 0 if sent is None else sent.size


def wait_until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


@pytest.mark.slow
class TestServer:
    def test_killed_and_started_again_has_every_point_once_and_in_order(
        self, server: Server, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.start()
        experiment = prepare(server.uri, "proteins")
        with open_run(experiment, folder) as run:
            slowest = log_epochs(run, range(1, 31))
            wait_until(lambda: sent_size(folder) > 0)  # in the middle of it
            server.kill()
            slowest = max(slowest, log_epochs(run, range(31, 61)))
            run.log_files([folder / "outbox.jsonl"])
            run.log_table("by_length", pd.DataFrame({"length": ["1-50"], "accuracy": [0.5]}))
            wait_until(lambda: caplog.messages != [])
            server.start()
            slowest = max(slowest, log_epochs(run, range(61, 91)))
            wait_until(lambda: sent_size(folder) == Outbox(folder).size)
            finishing = time.monotonic()
        assert time.monotonic() - finishing < 3  # no longer than what is left takes
        assert slowest < AT_ONCE_SECONDS
        run_id = only_run(experiment)
        for key in ("train/loss", "test/accuracy"):
            expected = logged(folder, key)
            assert [step for step, *_ in expected] == list(range(1, 91))
            assert points(experiment, run_id, key) == expected
        client = connect(experiment.uri)
        assert client.get_run(run_id).info.status == "FINISHED"
        files = [file.path for file in client.list_artifacts(run_id)]
        assert files == ["by_length.json", "outbox.jsonl"]
        lost, back = caplog.messages
        assert lost.startswith("tracking waits: ")
        assert lost.endswith(f"; {folder}/outbox.jsonl keeps what is left")
        assert back == "tracking goes on: the store answers again"

    def test_never_back_costs_no_time_and_the_next_start_sends_the_rest(
        self, server: Server, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        away = Experiment(server.uri, "1")
        started = time.monotonic()
        run = open_run(away, folder)
        assert log_epochs(run, range(1, 26)) < AT_ONCE_SECONDS
        run.log_dataset("pfam", digest="f" * 64, source="/data/pfam", context="training")
        run.finish("KILLED")
        assert time.monotonic() - started < 5
        assert [text[:15] for text in caplog.messages] == ["tracking waits:"]
        assert (run.run_id, sent_size(folder)) == (None, 0)
        server.start()
        experiment = prepare(server.uri, "proteins")
        with open_run(experiment, folder) as again:
            log_epochs(again, range(20, 31))  # some of them a second time
        found = connect(experiment.uri).get_run(only_run(experiment))
        assert points(experiment, found.info.run_id) == logged(folder)
        assert [step for step, *_ in logged(folder)] == list(range(1, 31))
        assert found.info.start_time == next(Outbox(folder).read(0))[0]["time"]
        assert (found.info.status, found.data.params) == ("FINISHED", {"seed": "0"})
        assert len(found.inputs.dataset_inputs) == 1

    def test_stopped_server_delays_nothing_and_has_everything_in_the_end(
        self,
        server: Server,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr("protein_robust.tracking.sender.FINISH_SECONDS", 1.0)
        server.start()
        experiment = prepare(server.uri, "proteins")
        run = open_run(experiment, folder)
        wait_until(lambda: run.run_id is not None)
        server.send(signal.SIGSTOP)  # takes connections, and answers none
        assert log_epochs(run, range(1, 26)) < AT_ONCE_SECONDS
        started = time.monotonic()
        run.finish()
        assert time.monotonic() - started < 2
        [waits] = caplog.messages
        assert waits.startswith("tracking waits: the store takes too long; ")
        server.send(signal.SIGCONT)
        wait_until(server.answers)
        assert send_rest(experiment, folder)
        assert points(experiment, only_run(experiment)) == logged(folder)
        assert len(logged(folder)) == 25

    def test_lost_answers_leave_one_run_and_each_point_once(
        self,
        server: Server,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from mlflow.entities import ViewType

        monkeypatch.setattr("protein_robust.tracking.sender.FIRST_PAUSE_SECONDS", 0.05)
        server.start()
        experiment = prepare(server.uri, "proteins")
        monkeypatch.setattr(Forgetful, "target", server.uri)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as proxy:
            threading.Thread(target=proxy.serve_forever).start()
            try:
                between = Experiment(f"http://127.0.0.1:{proxy.server_port}", "1")
                with open_run(between, folder) as run:
                    for epoch in range(1, 11):
                        log_epochs(run, range(epoch, epoch + 1))
                        time.sleep(0.05)
                    run.log_table("by_length", pd.DataFrame({"length": ["1-50"]}))
            finally:
                proxy.shutdown()
        assert caplog.messages != []
        found = connect(server.uri).search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)
        assert len(found) >= 1  # made twice, since the first answer was lost
        assert points(experiment, only_run(experiment)) == logged(folder)
        assert len(logged(folder)) == 10
        finished = connect(server.uri).get_run(run.run_id)
        assert finished.info.status == "FINISHED"
        tables = json.loads(finished.data.tags["mlflow.loggedArtifacts"])
        assert tables == [{"path": "by_length.json", "type": "table"}]


class TestSilence:
    def test_socket_that_never_answers_delays_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("protein_robust.tracking.stores.REACH_SECONDS", 0.2)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            silent = Experiment(f"http://127.0.0.1:{listening.getsockname()[1]}", "1")
            run = open_run(silent, folder)
            slowest = log_epochs(run, range(1, 26))
            started = time.monotonic()
            run.finish()
            assert time.monotonic() - started < 2
        assert slowest < AT_ONCE_SECONDS
        assert [text[:25] for text in caplog.messages] == ["tracking waits: timed out"]
        assert [step for step, *_ in logged(folder)] == list(range(1, 26))


class TestOutbox:
    def test_torn_last_line_is_cut_off(self, folder: Path) -> None:
        outbox = Outbox(folder)
        outbox.append_points({"train/loss": 1.0}, step=1)
        whole = outbox.path.read_bytes()
        for length in range(1, len(whole)):
            outbox.path.write_bytes(whole + whole[:length])
            again = Outbox(folder)
            assert again.path.read_bytes() == whole
        again.append_points({"train/loss": 2.0}, step=1)  # it has that one
        again.append_points({"train/loss": 2.0}, step=2)
        assert [(step, value) for step, value, _ in logged(folder)] == [(1, 1.0), (2, 2.0)]

    def test_damaged_line_is_reported_and_passed_over(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        outbox = Outbox(folder)
        outbox.append_points({"train/loss": 1.0}, step=1)
        end = outbox.size + 3
        with outbox.path.open("ab") as file:
            file.write(b"\xff{\n")
        outbox.append_points({"train/loss": 2.0}, step=2)
        again = Outbox(folder)
        assert [list(entry) for entry, _ in again.read(0)][1] == []
        assert caplog.messages == [f"{outbox.path}: the line that ends at byte {end} is damaged"]

    @pytest.mark.slow
    def test_full_disk_leaves_whole_lines(self, folder: Path) -> None:
        program = f"""
import pathlib, resource
from protein_robust.tracking.outbox import Outbox
outbox = Outbox(pathlib.Path({str(folder)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
for step in range(1, 100):
    outbox.append_points({{"train/loss": 1.0}}, step=step)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert "OSError: [Errno 27] File too large" in done.stderr
        content = (folder / "outbox.jsonl").read_bytes()
        assert 400 < len(content) < 500
        assert content.endswith(b"}\n")


@pytest.mark.slow
def test_an_outbox_that_is_sent_twice_leaves_the_same_points(
    local: Experiment, folder: Path
) -> None:
    with open_run(local, folder) as run:
        log_epochs(run, range(1, 1200))  # more than a batch
        run.log_epoch(1200, {"train/loss": float("inf")})
    before = points(local, run.run_id)
    (folder / "tracking.json").unlink()
    assert send_rest(local, folder)
    assert only_run(local) == run.run_id
    assert repr(points(local, run.run_id)) == repr(before) == repr(logged(folder))
    assert len(before) == 1200


@pytest.mark.slow
def test_killed_training_loses_and_doubles_nothing(local: Experiment, folder: Path) -> None:
    program = f"""
import pathlib, sys, time
from protein_robust.tracking import Experiment, start_run
place = Experiment({local.uri!r}, {local.experiment_id!r})
folder = pathlib.Path({str(folder)!r})
with start_run(place, "CE", params={{}}, tags={{}}, folder=folder) as run:
    print("open", flush=True)
    for epoch in range(1, 201):
        run.log_epoch(epoch, {{"train/loss": 1 / epoch}})
        time.sleep(0.005)
"""
    for wait in (0.0, 0.4, 0.8):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        time.sleep(wait)
        process.kill()
        process.communicate()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    run_id = only_run(local)
    assert points(local, run_id) == logged(folder)
    assert [step for step, *_ in logged(folder)] == list(range(1, 201))
    assert connect(local.uri).get_run(run_id).info.status == "FINISHED"
    assert sent_size(folder) == (folder / "outbox.jsonl").stat().st_size


@pytest.mark.slow
def test_study_goes_on_without_its_server_and_the_same_command_sends_the_rest(
    server: Server,
    write_study: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evaluate_without_server(*given: Any) -> Any:
        server.kill()
        return evaluate_run(*given)

    server.start()
    tracking = f"{{uri: '{server.uri}', experiment: proteins}}"
    path = str(write_study(tracking=tracking, losses="[cross_entropy]"))
    with monkeypatch.context() as patch:
        patch.setattr("protein_robust.study.one_run.evaluate_run", evaluate_without_server)
        assert main(["run", path, "--jobs", "1"]) == 0
    server.start()
    assert main(["run", path, "--jobs", "1"]) == 0
    client = connect(server.uri)
    [run] = client.search_runs(["1"], "tags.stage = 'train'")
    assert run.info.status == "FINISHED"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "test/accuracy")] == [1, 2]
    assert "final/test_accuracy" in run.data.metrics
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"run.json", "predictions.parquet", "noise", "dataset", "all_metrics.json"} <= names
    [folder] = (tmp_path / "results" / "runs").iterdir()
    ends = [entry["end"] for entry, _ in Outbox(folder).read(0) if "end" in entry]
    assert ends == ["FINISHED"]  # what was left was sent, and nothing logged anew
