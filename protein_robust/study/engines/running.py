"""Carry out the runs of a study: in waves, teachers before pupils, each heard of to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from protein_robust.study.engines.apart import Request, forget_progress, read_progress
from protein_robust.study.engines.engine import Engine, Job, Pool
from protein_robust.study.engines.local import LocalEngine
from protein_robust.study.one_run import RunReport, carry_out
from protein_robust.study.plan import PlannedRun
from protein_robust.tracking import Experiment
from protein_robust.training import StepReport


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end, and why.

    Attributes:
        run: which one.
        message: the reason.
    """

    run: PlannedRun
    message: str


OnReport = Callable[[RunReport], None]


@dataclass(frozen=True)
class _Asked:
    """What is done with each run, and who hears of it."""

    experiment: Experiment | None
    evaluate: bool
    on_report: OnReport


def run_all(
    runs: Sequence[PlannedRun],
    *,
    engine: Engine | None = None,
    jobs: int | None = 1,
    experiment: Experiment | None = None,
    on_report: OnReport | None = None,
    evaluate: bool = True,
) -> list[Failure]:
    """Train and evaluate runs; those that fail do not stop the others.

    A run that learns from another of these comes after it. Whichever the engine, a run gives the
    same result.

    Args:
        runs: what to carry out; their noise is there already.
        engine: what carries them out; this machine if not given.
        jobs: how many at a time; None for as many as the engine has room for. On this machine 1
            stays in this process.
        experiment: where MLflow keeps them; None for nowhere.
        on_report: called in this process as they go on and end.
        evaluate: whether a trained run is evaluated, and so done.

    Returns:
        The runs that failed.

    Raises:
        KeyboardInterrupt: once the running trainings have stopped at their last checkpoints.
        InputError: if the engine cannot begin.
    """
    asked = _Asked(experiment, evaluate, on_report or _ignore)
    engine = engine or LocalEngine()
    failures = []
    for wave in _waves(runs):
        if engine.is_here(wave, jobs):
            failures += _run_in_turn(wave, asked)
        else:
            with engine.open(wave, jobs) as pool:
                failures += _run_apart(wave, pool, asked)
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


def _run_in_turn(runs: Sequence[PlannedRun], asked: _Asked) -> list[Failure]:
    failures = []
    for run in runs:

        def on_step(step: StepReport, run: PlannedRun = run) -> None:
            asked.on_report(RunReport(run, step))

        ended = carry_out(run, asked.experiment, on_step=on_step, evaluate=asked.evaluate)
        asked.on_report(ended)
        failures += _failure_of(ended)
    return failures


def _run_apart(runs: Sequence[PlannedRun], pool: Pool, asked: _Asked) -> list[Failure]:
    """Carry out runs in other processes, and pass on what they note."""
    waiting, failures = list(runs), []
    jobs: list[tuple[PlannedRun, Job]] = []
    heard: dict[str, StepReport] = {}
    while waiting or jobs:
        room = len(waiting) if pool.room is None else pool.room - len(jobs)
        new, waiting = waiting[:room], waiting[room:]
        if new:
            requests = [Request.of(run, asked.experiment, evaluate=asked.evaluate) for run in new]
            jobs += zip(new, pool.start(requests), strict=True)
        time.sleep(pool.poll_seconds)
        running = []
        for run, job in jobs:
            is_over = job.is_over()  # asked first, so that the last note is read
            step = read_progress(run)
            if step is not None and step != heard.get(run.name):
                heard[run.name] = step
                asked.on_report(RunReport(run, step))
            if is_over:
                forget_progress(run)
                ended = replace(job.report(), run=run)
                asked.on_report(ended)
                failures += _failure_of(ended)
            else:
                running.append((run, job))
        jobs = running
    return failures


def _failure_of(ended: RunReport) -> list[Failure]:
    return [] if ended.failure is None else [Failure(ended.run, ended.failure)]


def _ignore(report: RunReport) -> None:
    """Stand for a caller who does not want to know."""
