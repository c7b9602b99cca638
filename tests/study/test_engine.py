"""Trainings side by side when something dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 60


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


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)],
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


def test_a_worker_that_is_killed_is_a_failure_and_no_traceback(
    long_run: subprocess.Popen[str],
) -> None:
    workers_of(long_run)[0].kill()
    _, message = long_run.communicate(timeout=PATIENCE_SECONDS)
    assert long_run.returncode == 1
    assert "a worker process was killed" in message
    assert "Traceback" not in message
