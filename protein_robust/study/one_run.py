"""Carry out one run in this process: train, evaluate, log, and note that it is done."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from filelock import FileLock, Timeout

from protein_robust import ranks
from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.noise import read_noise
from protein_robust.study.data import load_data
from protein_robust.study.evaluating import Metrics, evaluate_run, mark_done
from protein_robust.study.objective import run_loss
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_tables import run_tables
from protein_robust.study.training import OnStep, log_record, train_run
from protein_robust.tracking import Experiment, TrainingRun, is_recorded, send_rest, start_run
from protein_robust.training import StepReport, TrainingDiverged

SECTIONS = ("loss", "model", "training", "augmentation")
"""Inputs of a run that are logged as they are, where it has them."""
OF_BEST = (
    "accuracy",
    "entropy_confidence",
    "max_probability",
    "expected_calibration_error",
    "correct_fitting",
    "wrong_fitting",
    "correction",
)
"""Metrics of the best-validation network that MLflow shows beside those of the final one."""


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


def carry_out(
    run: PlannedRun, experiment: Experiment | None, *, on_step: OnStep, evaluate: bool
) -> RunReport:
    """Train a run, and evaluate it.

    Args:
        run: what to carry out; its noise is there already.
        experiment: where MLflow keeps it; None for nowhere.
        on_step: told the running figures.
        evaluate: whether the trained run is evaluated, and so done.

    Returns:
        How it ended. Whatever goes wrong in one run is reported there and not raised; but where
        several processes train together and not all of them see it, all must end.
    """
    torch.set_num_threads(run.threads)
    started = time.perf_counter()
    failure = None
    try:
        with _written_and_locked(run):
            _train_and_evaluate(run, experiment, on_step, evaluate)
    except TrainingDiverged as error:
        failure = str(error)
    except ProteinRobustError as error:
        if ranks.are_several():
            raise
        failure = str(error)
    except Exception as error:  # a full disk or a bug in one run must not end the others
        if ranks.are_several():
            raise
        trace = run.folder / "error.txt"
        with suppress(OSError):
            trace.write_text(traceback.format_exc(), encoding="utf-8")
        failure = f"{type(error).__name__}: {error} (traceback in {trace})"
    return RunReport(run, None, failure, time.perf_counter() - started)


@contextmanager
def _written_and_locked(run: PlannedRun) -> Iterator[None]:
    """Keep other trainings out of a run's folder; the lock ends with this process."""
    if ranks.rank() != 0:
        yield
        return
    run.write()
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
    run: PlannedRun, experiment: Experiment | None, on_step: OnStep, evaluate: bool
) -> None:
    data = load_data(run)
    with _tracked(run, experiment) as tracked:
        train_run(run, data, tracked=tracked, on_step=on_step)
        if not evaluate:
            return
        ranks.wait_for_all()  # until the first process has written the last checkpoint
        metrics = evaluate_run(run, data)
        if tracked is not None:
            _log_outcome(run, metrics, tracked)
    if ranks.rank() == 0:
        mark_done(run)


def track_done(run: PlannedRun, experiment: Experiment) -> bool:
    """Give the store what it does not have yet of a finished run.

    Tracking may have been off, or the store away, while the run was trained; its files have
    everything.

    Args:
        run: a finished run.
        experiment: where it shall be.

    Returns:
        Whether everything is there now.
    """
    if not is_recorded(run.folder):
        with _tracked(run, experiment) as tracked:
            assert tracked is not None  # there is an experiment
            for line in (run.folder / "history.jsonl").read_text(encoding="utf-8").splitlines():
                log_record(tracked, json.loads(line))
            metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
            _log_outcome(run, metrics, tracked)
    return send_rest(experiment, run.folder)


@contextmanager
def _tracked(run: PlannedRun, experiment: Experiment | None) -> Iterator[TrainingRun | None]:
    """The MLflow run of a run, the same one again where it was interrupted."""
    if experiment is None or ranks.rank() != 0:
        yield None
        return
    with start_run(
        experiment,
        run.title,
        params=_params(run),
        tags={"study": run.study, "run_key": run.key},
        folder=run.folder,
    ) as tracked:
        source = str(run.dataset_folder)
        digest = run.inputs["dataset_digest"]
        tracked.log_dataset(
            run.dataset_folder.name, digest=digest, source=source, context="training"
        )
        # Labels and crops as the network saw them: the data set's digest does not see noise.
        noise = read_noise(run.noise_folder).manifest["digest"]
        tracked.log_dataset(run.noise, digest=noise, source=str(run.noise_folder), context="noise")
        yield tracked


def _params(run: PlannedRun) -> dict[str, Any]:
    """Every input of the run, flat, with the names that one filters by."""
    noise = run.inputs["noise"]
    flat = {
        "seed": run.seed,
        "loss.label": run.loss_label,
        "noise.name": run.noise,
        **{f"noise.{name}": _short(value) for name, value in noise["label"].items()},
    }
    emphasis = getattr(run_loss(run), "emphasis", None)
    if emphasis is not None:
        flat["loss.emphasis_mode"] = emphasis.mode  # psi, which the parameters imply
    if run.teacher_name is not None:
        flat["loss.teacher"] = run.teacher_name
    sections = {} if run.is_of_images else {"noise.crop": noise["crop"]}
    sections |= {name: run.inputs[name] for name in SECTIONS if name in run.inputs}
    for section, values in sections.items():
        flat |= {f"{section}.{name}": value for name, value in values.items()}
    return flat


def _short(value: Any) -> Any:
    """A value as a parameter: a long mapping is cut, since the run's files have it whole."""
    return json.dumps(value)[:500] if isinstance(value, dict) else value


def _log_outcome(run: PlannedRun, metrics: Metrics, tracked: TrainingRun) -> None:
    """The values that a run has once, and its files.

    A list of hundreds is read by nobody: of the best network only what the talk's table and the
    details show are values, and the ends of intervals and whole sequences of other data than test
    are not; the tables have everything.
    """
    values = {
        f"{network}/{kind}_{name}": value
        for network in ("final", "best")
        for kind, summary in metrics.get(network, {}).items()
        if kind not in ("train_whole", "valid_whole")
        for name, value in summary.items()
        if value is not None
        and (name in OF_BEST or (network == "final" and not name.endswith(("_low", "_high"))))
    }
    tracked.log_metrics(values)
    names = ("run.json", "metrics.json", "history.jsonl", "predictions.parquet")
    tracked.log_files([run.folder / name for name in names])
    tracked.log_files([run.noise_folder / "manifest.json"], "noise")
    tracked.log_files([run.dataset_folder / "manifest.json"], "dataset")
    # Not the checkpoints: what an optimiser remembers is of use in the run's folder only.
    for name in ("evaluation", "model"):
        if (run.folder / name).is_dir():
            tracked.log_files([run.folder / name], name)
    for name, frame in run_tables(run.folder, metrics).items():
        tracked.log_table(name, frame)
