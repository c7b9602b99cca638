"""A run in a process of its own, here or on another machine, and how one hears of it.

There is no queue between machines, only a file system that all of them see: the process that trains
leaves its running figures in the run's folder, and the one that waits for it reads them there.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType

from protein_robust.atomic import replace_file
from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.study.one_run import RunReport, carry_out
from protein_robust.study.plan import PlannedRun
from protein_robust.tracking import Experiment
from protein_robust.training import StepReport, stopping

PROGRESS_FILE = "progress.json"
"""In a run's folder while it is trained in a process of its own: its latest `StepReport`."""

NOTE_SECONDS = 0.2
"""The least time between two notes of a run's progress."""


@dataclass(frozen=True)
class Request:
    """What a process of its own is asked to do.

    Attributes:
        run: what to carry out; its folder has `run.json`.
        experiment: where MLflow keeps it; None for nowhere.
        evaluate: whether the trained run is evaluated, and so done.
    """

    run: PlannedRun
    experiment: Experiment | None
    evaluate: bool

    @classmethod
    def of(cls, run: PlannedRun, experiment: Experiment | None, *, evaluate: bool) -> Request:
        """Ask for a run; its folder is made, and named in a way that holds in any folder.

        Raises:
            ProteinRobustError: if nothing can be written there.
        """
        try:
            run.write()
            (run.folder / PROGRESS_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise ProteinRobustError(f"{run.folder}: cannot be written: {error}") from error
        here = replace(
            run,
            folder=run.folder.absolute(),
            dataset_folder=run.dataset_folder.absolute(),
            noise_folder=run.noise_folder.absolute(),
            teacher=run.teacher and run.teacher.absolute(),
        )
        return cls(here, experiment, evaluate)


def carry_out_apart(request: Request) -> RunReport:
    """Carry out a run in this process for another one, which reads its progress.

    Args:
        request: what to do.

    Returns:
        How it ended.
    """
    # Of a process on another machine too: no usage data leave it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    run = request.run
    if not (run.folder / "run.json").is_file():
        expected = "the folder of a run, on a file system that every worker sees"
        error = InputError(expected, "none on this machine", path=run.folder)
        return RunReport(run, failure=str(error))
    note = _Notes(run.folder / PROGRESS_FILE)
    return carry_out(run, request.experiment, on_step=note, evaluate=request.evaluate)


def read_progress(run: PlannedRun) -> StepReport | None:
    """How far a run is that another process carries out; None where nothing is known."""
    try:
        return StepReport(**json.loads((run.folder / PROGRESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there yet, or seen by a file system half-way
        return None


def forget_progress(run: PlannedRun) -> None:
    """Leave no trace of how far a run was that has ended."""
    with suppress(OSError):
        (run.folder / PROGRESS_FILE).unlink()


def stop_at_checkpoint(number: int, _: FrameType | None = None) -> None:
    """End what is trained here after a checkpoint; the handler of signals that may come twice.

    Raises:
        Stopped: at once, where nothing is being trained.
    """
    if not stopping.asked():  # a second signal does not hurry the checkpoint
        stopping.request(number)


class _Notes:
    """The latest figures of a run, written to a file now and then.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0

    def __call__(self, step: StepReport) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + NOTE_SECONDS
        text = json.dumps(asdict(step))
        with suppress(OSError):  # a bar that stands still is no reason to end a training
            replace_file(self._path, lambda partial: partial.write_text(text, encoding="utf-8"))
