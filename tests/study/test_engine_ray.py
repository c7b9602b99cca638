"""Trainings as tasks of a real Ray of this machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from protein_robust.config import load_study
from protein_robust.errors import InputError
from protein_robust.pipeline import main
from protein_robust.study import (
    PlannedRun,
    RunReport,
    make_engine,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
)

WriteStudy = Callable[..., Path]
PATIENCE_SECONDS = 180


def prepared(path: Path, *overrides: str) -> list[PlannedRun]:
    study = load_study(path, overrides)
    manifest, _ = prepare_data(study)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    return runs


def weights_of(run: PlannedRun) -> bytes:
    return (run.folder / "checkpoints" / "last" / "weights.safetensors").read_bytes()


def workers_below(process: psutil.Process) -> list[psutil.Process]:
    """Processes of Ray that train."""
    below = []
    for child in process.children(recursive=True):
        try:
            below += [child] if "train_on_ray" in " ".join(child.cmdline()) else []
        except psutil.Error:  # it has ended meanwhile
            continue
    return below


def is_free(folder: Path) -> bool:
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except TimeoutError:
        return False
    lock.release()
    return True


@pytest.mark.slow
def test_tasks_give_what_runs_in_a_row_give_also_where_a_node_is_lost_and_one_fails(
    write_study: WriteStudy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_study(training="{epochs: 40, batch_size: 16}")
    serial = prepared(path, f"output={tmp_path / 'serial'}")
    assert run_all(serial, jobs=1) == []
    runs = prepared(path)
    settings = ("optimizer=sgd", "learning_rate=1e30", "clip_norm=null", "warmup=0")
    bad = prepared(path, *(f"training.{setting}" for setting in settings))[0]
    reports: list[RunReport] = []
    killed: list[int] = []

    def lose_a_worker(report: RunReport) -> None:
        reports.append(report)
        if report.step is not None and report.run in runs and not killed:
            (worker, *_) = workers_below(psutil.Process())
            killed.append(worker.pid)
            worker.kill()

    capfd.readouterr()
    engine = make_engine("ray", [], tmp_path)
    failures = run_all([bad, *runs], engine=engine, jobs=2, on_report=lose_a_worker)
    assert [failure.run for failure in failures] == [bad]
    assert "Expected a finite loss" in failures[0].message
    assert killed
    assert [weights_of(run) for run in runs] == [weights_of(run) for run in serial]
    ended = [report.run.name for report in reports if report.step is None]
    assert sorted(ended) == sorted(run.name for run in [bad, *runs])
    assert capfd.readouterr().out == ""  # Ray's own words are not among the results


@pytest.mark.slow
def test_ctrl_c_ends_the_tasks_at_a_checkpoint(write_study: WriteStudy, tmp_path: Path) -> None:
    training = "{epochs: 5000, batch_size: 16}"
    path = write_study(training=training, checkpoints="{every: 5000}")
    command = [sys.executable, "-m", "protein_robust.pipeline", "run", str(path)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [*command, "--engine", "ray"], stderr=subprocess.PIPE, text=True, preexec_fn=heed
    ) as process:
        runs = tmp_path / "results" / "runs"
        end = time.monotonic() + PATIENCE_SECONDS
        while len(list(runs.glob("*/progress.json"))) < 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    assert len(list(runs.glob("*/checkpoints/last"))) == 2
    assert all(is_free(folder) for folder in runs.iterdir())
    psutil.wait_procs(below, timeout=PATIENCE_SECONDS)
    assert not any(child.is_running() for child in below)


@pytest.fixture
def closed_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def test_a_cluster_that_does_not_answer_is_one_message(
    write_study: WriteStudy, closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    option = f"address=ray://127.0.0.1:{closed_port}"
    words = ["--engine", "ray", "--engine-option", option]
    assert main(["run", str(write_study()), *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: ray://127.0.0.1:{closed_port}: Expected a Ray that can be")
    assert message.count("\n") == 1


@pytest.mark.slow
def test_an_address_that_ray_does_not_know_is_refused(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    engine = make_engine("ray", ["address=nowhere"], tmp_path)
    with pytest.raises(InputError, match=r"Expected a Ray that can be joined, got .*nowhere"):
        run_all(prepared(write_study()), engine=engine)


def test_another_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected engine option address for ray, got gpus\."):
        make_engine("ray", ["gpus=1"], tmp_path)


def test_without_ray_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'protein-robust\[ray\]'.*got none"):
        make_engine("ray", [], tmp_path)
