"""Trainings side by side on this machine, also when something dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from protein_robust.config import load_study
from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.study import (
    PlannedRun,
    RunReport,
    make_engine,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
)
from protein_robust.study.engines import local
from protein_robust.study.engines.apart import Request, carry_out_apart

WriteStudy = Callable[..., Path]
PATIENCE_SECONDS = 60


def prepared(path: Path, *overrides: str) -> list[PlannedRun]:
    study = load_study(path, overrides)
    manifest, _ = prepare_data(study)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    return runs


@pytest.fixture
def long_run(write_study: WriteStudy, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Two trainings that would take long, both under way."""
    path = write_study(training="{epochs: 5000, batch_size: 16}")
    command = [sys.executable, "-m", "protein_robust.pipeline", "run", str(path), "--jobs", "2"]
    # A shell's background jobs ignore Ctrl-C, and so would what they start, these tests included.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        runs = tmp_path / "results" / "runs"
        wait_until(lambda: len(list(runs.glob("*/checkpoints/last"))) == 2)
        yield process
        process.kill()


def wait_until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.1)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def is_free(folder: Path) -> bool:
    """Whether no process works on a run."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except TimeoutError:
        return False
    lock.release()
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -9),
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGUSR1, 138),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_workers_end_with_the_process_that_began_them(
    long_run: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folders = list((tmp_path / "results" / "runs").iterdir())
    assert not any(is_free(folder) for folder in folders)
    workers = workers_of(long_run)
    assert len(workers) == 2
    long_run.send_signal(number)
    assert long_run.wait(timeout=PATIENCE_SECONDS) == code
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    assert all(is_free(folder) for folder in folders)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_failure_and_no_traceback(
    long_run: subprocess.Popen[str],
) -> None:
    workers_of(long_run)[0].kill()
    _, message = long_run.communicate(timeout=PATIENCE_SECONDS)
    assert long_run.returncode == 1
    assert "a worker process was killed" in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_trainings_side_by_side_write_a_checkpoint_as_they_stop(write_study: WriteStudy) -> None:
    training = "{epochs: 5000, batch_size: 16}"
    runs = prepared(write_study(training=training, checkpoints="{every: 5000}"))
    begun = set()

    def interrupt(report: RunReport) -> None:
        begun.add(report.run.name)
        if len(begun) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(runs, jobs=2, on_report=interrupt)
    for run in runs:
        assert (run.folder / "checkpoints" / "last").exists()
        assert is_free(run.folder)


def test_a_worker_that_does_not_see_the_folder_of_a_run_says_so(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run = prepared(write_study(), "output=here")[0]
    asked = Request.of(run, None, evaluate=True)
    assert asked.run.folder == tmp_path / run.folder
    (run.folder / "run.json").unlink()
    report = carry_out_apart(asked)
    expected = "Expected the folder of a run, on a file system that every worker sees"
    assert report.failure == f"{asked.run.folder}: {expected}, got none on this machine."


def test_a_folder_that_cannot_be_written_is_an_error(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    run = prepared(write_study())[0]
    run.folder.parent.write_text("no folder")
    with pytest.raises(ProteinRobustError, match=f"{run.folder}: cannot be written: "):
        Request.of(run, None, evaluate=True)


def test_each_gpu_has_a_name_and_a_cpu_run_takes_none(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    on_gpu, on_cpu = prepared(write_study(), "device=auto"), prepared(write_study(), "device=cpu")
    assert local._gpus(on_gpu) == ["0", "1"]
    assert local._num_workers(on_gpu, None) == 2
    assert local._num_workers(on_gpu, 1) == 1
    assert local._num_workers(on_gpu, 9) == 2  # no more than there are runs
    assert local._gpus(on_cpu) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5e")
    assert local._gpus(on_gpu) == ["3", "GPU-5e"]


@pytest.mark.slow
def test_a_worker_sees_the_gpu_that_it_is_given() -> None:
    context = get_context("spawn")
    gpus = context.SimpleQueue()
    gpus.put("5")
    started = (context.Event(), gpus)
    with ProcessPoolExecutor(
        1, context, initializer=local._start_worker, initargs=started
    ) as workers:
        assert workers.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "5"


@pytest.mark.slow
def test_the_libraries_of_a_worker_take_as_many_threads_as_its_run(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = set()

    def look(report: RunReport) -> None:
        if report.step is not None:
            workers = workers_of(psutil.Process())
            seen.update(worker.environ()["OMP_NUM_THREADS"] for worker in workers)

    assert run_all(prepared(write_study()), jobs=2, on_report=look) == []
    assert seen == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_an_engine_is_local_slurm_or_ray(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected `name` local, slurm or ray, got 'cloud'"):
        make_engine("cloud", [], tmp_path)


def test_the_local_engine_has_no_options(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected no engine options for local .* got gpus\."):
        make_engine("local", ["gpus=1"], tmp_path)
