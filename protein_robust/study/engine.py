"""Carry out runs, one after the other or several side by side, each in a process of its own.

A training uses as many threads as its study says, alone or beside others, so its numbers do not
depend on how many run at a time.
"""

from __future__ import annotations

import os
import queue as queues
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

from protein_robust.study.one_run import RunReport, carry_out
from protein_robust.study.plan import PlannedRun
from protein_robust.tracking import Experiment
from protein_robust.training import StepReport

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end, and why."""

    run: PlannedRun
    message: str


OnReport = Callable[[RunReport], None]


def run_all(
    runs: Sequence[PlannedRun],
    *,
    jobs: int = 1,
    experiment: Experiment | None = None,
    on_report: OnReport | None = None,
    evaluate: bool = True,
) -> list[Failure]:
    """Train and evaluate runs; those that fail do not stop the others.

    A run that learns from another of these comes after it.

    Args:
        runs: what to carry out; their noise is there already.
        jobs: how many at a time; 1 stays in this process.
        experiment: where MLflow keeps them; None for nowhere.
        on_report: called in this process as they go on and end.
        evaluate: whether a trained run is evaluated, and so done.

    Returns:
        The runs that failed.

    Raises:
        KeyboardInterrupt: once the running trainings have stopped at their last checkpoints.
    """
    on_report = on_report or _ignore
    failures = []
    for wave in _waves(runs):
        if jobs > 1 and len(wave) > 1:
            failures += _run_side_by_side(wave, jobs, experiment, on_report, evaluate)
        else:
            failures += _run_in_turn(wave, experiment, on_report, evaluate)
    return failures


def _waves(runs: Sequence[PlannedRun]) -> Iterator[list[PlannedRun]]:
    """Runs whose teachers are not waiting themselves, then those that learn from them, ..."""
    waiting = list(runs)
    while waiting:
        untrained = {run.folder for run in waiting}
        ready = [run for run in waiting if run.teacher not in untrained]
        # A teacher stands before its pupils in a study, so there is always one that is ready.
        yield ready
        waiting = [run for run in waiting if run.teacher in untrained]


def _run_in_turn(
    runs: Sequence[PlannedRun],
    experiment: Experiment | None,
    on_report: OnReport,
    evaluate: bool,
) -> list[Failure]:
    failures = []
    for run in runs:

        def on_step(step: StepReport, run: PlannedRun = run) -> None:
            on_report(RunReport(run, step))

        ended = carry_out(run, experiment, on_step=on_step, evaluate=evaluate)
        on_report(ended)
        failures += _failure_of(ended)
    return failures


def _failure_of(ended: RunReport) -> list[Failure]:
    return [] if ended.failure is None else [Failure(ended.run, ended.failure)]


def _ignore(report: RunReport) -> None:
    """Stand for a caller who does not want to know."""


def _run_side_by_side(
    runs: Sequence[PlannedRun],
    jobs: int,
    experiment: Experiment | None,
    on_report: OnReport,
    evaluate: bool,
) -> list[Failure]:
    context = get_context("spawn")  # a forked copy of a process with threads may hang
    steps: Queue[tuple[int, StepReport]] = context.Queue()
    stop = context.Event()
    failures = []
    with ProcessPoolExecutor(
        min(jobs, len(runs)), context, initializer=_start_worker, initargs=(steps, stop)
    ) as pool:
        with _workers_ignore_interrupts():
            pending: dict[Future[RunReport], int] = {
                pool.submit(_work, number, run, experiment, evaluate): number
                for number, run in enumerate(runs)
            }
        try:
            while pending:
                finished, _ = wait(pending, timeout=POLL_SECONDS)
                for number, step in _waiting(steps):
                    if number in pending.values():  # else it has ended, and this came late
                        on_report(RunReport(runs[number], step))
                for future in finished:
                    ended = _ended(future, runs[pending.pop(future)])
                    on_report(ended)
                    failures += _failure_of(ended)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def _ended(future: Future[RunReport], run: PlannedRun) -> RunReport:
    """How a run ended, be it that its process was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        message = "a worker process was killed (out of memory?); the same command goes on"
        return RunReport(run, failure=message)


def _waiting(steps: Queue[tuple[int, StepReport]]) -> Iterator[tuple[int, StepReport]]:
    """What lies in the queue."""
    while True:
        try:
            yield steps.get_nowait()
        except queues.Empty:
            return


_worker: dict[str, Any] = {}
"""The queue and the stop event of a worker process; empty in the main process."""


def _start_worker(steps: Queue[tuple[int, StepReport]], stop: Event) -> None:
    # Running figures may be lost. A process that waited at its end until somebody had read them
    # all would wait for ever where the main one has stopped reading.
    steps.cancel_join_thread()
    _worker.update(steps=steps, stop=stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave as soon as the main process has been killed, be it idle or in a training.

    What is half-written then has a temporary name, and the lock of the run ends with the process.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(number: int, run: PlannedRun, experiment: Experiment | None, evaluate: bool) -> RunReport:
    def on_step(step: StepReport) -> None:
        _stop_if_told()
        _worker["steps"].put((number, step))

    _stop_if_told()
    return carry_out(run, experiment, on_step=on_step, evaluate=evaluate)


def _stop_if_told() -> None:
    if _worker["stop"].is_set():
        raise KeyboardInterrupt


@contextmanager
def _workers_ignore_interrupts() -> Iterator[None]:
    """Processes begun in here leave Ctrl-C to the main one, which tells them to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change what a signal does
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
