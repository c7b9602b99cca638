"""Carry out runs, one after the other or several side by side, each in a process of its own.

A training uses as many threads as its study says, alone or beside others, so its numbers do not
depend on how many run at a time.
"""

from __future__ import annotations

import json
import queue as queues
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

import torch
from filelock import FileLock, Timeout

from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.noise import read_noise
from protein_robust.study.data import load_data
from protein_robust.study.evaluating import Metrics, evaluate_run, mark_done
from protein_robust.study.plan import PlannedRun, write_json
from protein_robust.study.training import log_record, train_run
from protein_robust.tracking import Experiment, TrainingRun, start_run
from protein_robust.training import StepReport

POLL_SECONDS = 0.1
SECTIONS = ("loss", "model", "training")
"""Inputs of a run that are logged as they are."""


@dataclass(frozen=True)
class RunReport:
    """How a run goes.

    Attributes:
        run: which one.
        step: its running figures; None once it has ended.
        failure: why it ended, where it failed.
        seconds: from its start to its end; None before, and where its process was killed.
    """

    run: PlannedRun
    step: StepReport | None = None
    failure: str | None = None
    seconds: float | None = None


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
    if jobs == 1 or len(runs) <= 1:
        return [
            Failure(run, message)
            for run in runs
            if (message := _carry_out(run, experiment, on_report, evaluate)) is not None
        ]
    return _run_side_by_side(runs, jobs, experiment, on_report, evaluate)


def _ignore(report: RunReport) -> None:
    """Stand for a caller who does not want to know."""


def _carry_out(
    run: PlannedRun, experiment: Experiment | None, on_report: OnReport, evaluate: bool
) -> str | None:
    """One run in this process; returns why it failed, if it did."""
    torch.set_num_threads(run.threads)
    started = time.perf_counter()
    failure = None
    try:
        run.write()
        with _locked(run):
            _train_and_evaluate(run, experiment, on_report, evaluate)
    except ProteinRobustError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001  a full disk or a bug in one run must not end the others
        trace = run.folder / "error.txt"
        with suppress(OSError):
            trace.write_text(traceback.format_exc(), encoding="utf-8")
        failure = f"{type(error).__name__}: {error} (traceback in {trace})"
    on_report(RunReport(run, None, failure, time.perf_counter() - started))
    return failure


@contextmanager
def _locked(run: PlannedRun) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock ends with this process."""
    lock = FileLock(run.folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            "a run that nobody is working on", "one that another process trains", path=run.folder
        ) from error
    try:
        yield
    finally:
        lock.release()


def _train_and_evaluate(
    run: PlannedRun, experiment: Experiment | None, on_report: OnReport, evaluate: bool
) -> None:
    data = load_data(run)
    with _tracked(run, experiment) as tracked:
        train_run(run, data, tracked=tracked, on_step=lambda step: on_report(RunReport(run, step)))
        if not evaluate:
            return
        metrics = evaluate_run(run, data)
        if tracked is not None:
            _log_outcome(run, metrics, tracked)
    mark_done(run)


def track_done(run: PlannedRun, experiment: Experiment) -> None:
    """Log a finished run that the store does not have, or has only a part of.

    Tracking may have been off, elsewhere, or broken off while the run was trained; its files have
    everything.

    Args:
        run: a finished run.
        experiment: where it shall be.
    """
    note = _tracking_note(run)
    if note.get("uri") == experiment.uri and note.get("is_complete"):
        return
    with _tracked(run, experiment) as tracked:
        assert tracked is not None  # there is an experiment
        for line in (run.folder / "history.jsonl").read_text(encoding="utf-8").splitlines():
            log_record(tracked, json.loads(line))
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        _log_outcome(run, metrics, tracked)


@contextmanager
def _tracked(run: PlannedRun, experiment: Experiment | None) -> Iterator[TrainingRun | None]:
    """The MLflow run of a run, the same one again where it was interrupted."""
    if experiment is None:
        yield None
        return
    earlier = _tracking_note(run)
    same_store = earlier.get("uri") == experiment.uri
    tracked = start_run(
        experiment,
        run.title,
        params=_params(run),
        tags={"study": run.study, "run_key": run.key},
        history_path=run.folder / "history.jsonl",
        run_id=earlier.get("run_id") if same_store else None,
    )
    note = {"uri": experiment.uri, "run_id": tracked.run_id, "is_complete": False}
    write_json(run.folder / "tracking.json", note)
    with tracked:
        source = str(run.dataset_folder)
        digest = run.inputs["dataset_digest"]
        tracked.log_dataset(
            run.dataset_folder.name, digest=digest, source=source, context="training"
        )
        # Labels and crops as the network saw them: the data set's digest does not see noise.
        noise = read_noise(run.noise_folder).manifest["digest"]
        tracked.log_dataset(run.noise, digest=noise, source=str(run.noise_folder), context="noise")
        yield tracked
    note["is_complete"] = not tracked.failed
    write_json(run.folder / "tracking.json", note)


def _tracking_note(run: PlannedRun) -> dict[str, Any]:
    """Where the run was tracked before, if it was."""
    try:
        note: dict[str, Any] = json.loads((run.folder / "tracking.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return note


def _params(run: PlannedRun) -> dict[str, Any]:
    """Every input of the run, flat, with the names that one filters by."""
    noise = run.inputs["noise"]
    flat = {
        "seed": run.seed,
        "loss.label": run.loss_label,
        "noise.name": run.noise,
        "noise.kind": noise["label"]["kind"],
        "noise.rate": noise["label"]["rate"],
    }
    sections = {"noise.crop": noise["crop"]} | {k: run.inputs[k] for k in SECTIONS}
    for section, values in sections.items():
        flat |= {f"{section}.{name}": value for name, value in values.items()}
    return flat


def _log_outcome(run: PlannedRun, metrics: Metrics, tracked: TrainingRun) -> None:
    """The values that a run has once, and its files."""
    values = {
        f"{network}/{kind}_{name}": value
        for network in ("final", "best")
        for kind, summary in metrics.get(network, {}).items()
        for name, value in summary.items()
        if value is not None
    }
    tracked.log_metrics(values)
    names = ("run.json", "metrics.json", "history.jsonl", "predictions.parquet")
    tracked.log_files([run.folder / name for name in names])
    tracked.log_files([run.noise_folder / "manifest.json"], "noise")
    tracked.log_files([run.dataset_folder / "manifest.json"], "dataset")
    tracked.log_files([run.folder / "checkpoints" / "last"], "checkpoint")


def _run_side_by_side(
    runs: Sequence[PlannedRun],
    jobs: int,
    experiment: Experiment | None,
    on_report: OnReport,
    evaluate: bool,
) -> list[Failure]:
    context = get_context("spawn")  # a forked copy of a process with threads may hang
    reports: Queue[RunReport] = context.Queue()
    stop = context.Event()
    failures = []
    with ProcessPoolExecutor(
        min(jobs, len(runs)), context, initializer=_start_worker, initargs=(reports, stop)
    ) as pool:
        with _workers_ignore_interrupts():
            pending: dict[Future[str | None], PlannedRun] = {
                pool.submit(_work, run, experiment, evaluate): run for run in runs
            }
        try:
            while pending:
                finished, _ = wait(pending, timeout=POLL_SECONDS)
                _deliver(reports, on_report)
                for future in finished:
                    run = pending.pop(future)
                    message = _message_of(future, run, on_report)
                    if message is not None:
                        failures.append(Failure(run, message))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    _deliver(reports, on_report)  # the workers have ended, so nothing is on its way any more
    return failures


def _message_of(future: Future[str | None], run: PlannedRun, on_report: OnReport) -> str | None:
    """Why a run failed, if it did; of a killed process nobody else could report."""
    try:
        return future.result()
    except BrokenProcessPool:
        message = "a worker process was killed (out of memory?); the same command goes on"
        on_report(RunReport(run, failure=message))
        return message


_worker: dict[str, Any] = {}
"""The queue and the stop event of a worker process; empty in the main process."""


def _start_worker(reports: Queue[RunReport], stop: Event) -> None:
    _worker.update(reports=reports, stop=stop)


def _work(run: PlannedRun, experiment: Experiment | None, evaluate: bool) -> str | None:
    def on_report(report: RunReport) -> None:
        _worker["reports"].put(report)
        parent = parent_process()
        if _worker["stop"].is_set() or parent is None or not parent.is_alive():
            raise KeyboardInterrupt

    return _carry_out(run, experiment, on_report, evaluate)


def _deliver(reports: Queue[RunReport], on_report: OnReport) -> None:
    while True:
        try:
            on_report(reports.get_nowait())
        except queues.Empty:
            return


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
