"""Trainings as jobs: submitit's executor of this machine, and commands that stand for SLURM's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from filelock import FileLock, Timeout

from protein_robust.config import load_study
from protein_robust.errors import InputError
from protein_robust.pipeline import main
from protein_robust.study import (
    Engine,
    PlannedRun,
    RunReport,
    make_engine,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
    track_done,
)
from protein_robust.tracking import prepare

WriteStudy = Callable[..., Path]
PATIENCE_SECONDS = 120
TASK = "submitit.core._submit"
"""In the command of a process that trains, and in that of the one that watches it."""


def prepared(path: Path, *overrides: str) -> list[PlannedRun]:
    study = load_study(path, overrides)
    manifest, _ = prepare_data(study)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    return runs


def jobs_here(folder: Path, *options: str) -> Engine:
    return make_engine("slurm", ["cluster=local", *options], folder)


def weights_of(run: PlannedRun) -> bytes:
    return (run.folder / "checkpoints" / "last" / "weights.safetensors").read_bytes()


def serial_weights(path: Path, folder: Path) -> list[bytes]:
    runs = prepared(path, f"output={folder}")
    assert run_all(runs, jobs=1) == []
    return [weights_of(run) for run in runs]


def logs(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / "jobs").glob("*_log.*"))


def wait_until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.1)


def tasks_below(process: psutil.Process) -> list[psutil.Process]:
    below = []
    for child in process.children(recursive=True):
        try:
            below += [child] if TASK in child.cmdline() else []
        except psutil.Error:  # it has ended meanwhile
            continue
    return below


@pytest.mark.slow
def test_jobs_give_what_runs_in_a_row_give_and_share_a_store(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    path = write_study()
    runs = prepared(path)
    experiment = prepare(f"sqlite:///{tmp_path / 'mlflow.db'}", "tiny")
    reports: list[RunReport] = []
    engine = jobs_here(tmp_path / "results")
    assert (
        run_all(runs, engine=engine, jobs=2, experiment=experiment, on_report=reports.append) == []
    )
    assert [weights_of(run) for run in runs] == serial_weights(path, tmp_path / "serial")
    assert all(run.is_done for run in runs)
    ended = [report.run.name for report in reports if report.step is None]
    assert sorted(ended) == sorted(run.name for run in runs)
    assert any(report.step is not None for report in reports)
    assert not list(tmp_path.glob("results/runs/*/progress.json"))
    for run in runs:
        track_done(run, experiment)  # as the command does: a store may have been busy
    client = MlflowClient(experiment.uri)
    tracked = client.search_runs([experiment.experiment_id])
    assert [kept.info.status for kept in tracked] == ["FINISHED", "FINISHED"]
    for kept in tracked:
        points = client.get_metric_history(kept.info.run_id, "valid/accuracy")
        assert [point.step for point in points] == [1, 2]


@pytest.mark.slow
def test_a_job_that_fails_is_reported_and_the_next_one_begins(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    path = write_study(
        training="{epochs: 1, batch_size: 16, learning_rate: 1e30, clip_norm: null, warmup: 0}",
        losses="[cross_entropy]",
        noise="[{name: a}]",
    )
    (good,) = prepared(path, "training.learning_rate=1e-3")
    (bad,) = prepared(path, "training.optimizer=sgd")
    reports: list[RunReport] = []
    engine = jobs_here(tmp_path / "results")
    failures = run_all([bad, good], engine=engine, jobs=1, on_report=reports.append)
    assert [failure.run for failure in failures] == [bad]
    assert "Expected a finite loss" in failures[0].message
    assert [report.run for report in reports if report.step is None] == [bad, good]
    assert good.is_done


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGUSR2], [signal.SIGTERM, signal.SIGUSR2], [signal.SIGKILL]],
    ids=["time over", "pre-empted", "killed"],
)
def test_a_job_that_is_stopped_goes_on_from_its_checkpoint_and_a_killed_one_is_a_failure(
    write_study: WriteStudy, tmp_path: Path, numbers: list[signal.Signals]
) -> None:
    path = write_study(training="{epochs: 60, batch_size: 16}", losses="[cross_entropy]")
    runs = prepared(path, "checkpoints.every=60")
    told: list[int] = []
    starts = [0]

    def end_the_job(report: RunReport) -> None:
        if report.step is None or report.step.epoch < 3:
            return
        if told:
            starts.append(report.step.epoch)
            return
        for task in tasks_below(psutil.Process()):
            told.append(task.pid)
            for number in numbers:
                task.send_signal(number)

    engine = jobs_here(tmp_path / "results")
    failures = run_all(runs, engine=engine, jobs=None, on_report=end_the_job)
    assert told
    if signal.SIGKILL in numbers:
        assert "ended without a result" in failures[0].message
        assert "_log.err; the same command goes on" in failures[0].message.replace(")", "")
        failures = run_all(runs, engine=engine, jobs=None)
    else:
        assert "Requeued job" in logs(tmp_path / "results")
        assert max(starts) > 3  # after the signal it did not begin from the beginning
    assert failures == []
    assert [weights_of(run) for run in runs] == serial_weights(path, tmp_path / "serial")


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs(write_study: WriteStudy, tmp_path: Path) -> None:
    path = write_study(training="{epochs: 5000, batch_size: 16}")
    command = [sys.executable, "-m", "protein_robust.pipeline", "run", str(path)]
    command += ["--engine", "slurm", "--engine-option", "cluster=local"]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        runs = tmp_path / "results" / "runs"
        wait_until(lambda: len(list(runs.glob("*/checkpoints/last"))) == 2)
        tasks = tasks_below(psutil.Process(process.pid))
        assert len(tasks) == 2
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, message
    assert "interrupted; the same command goes on where it stopped" in message
    wait_until(lambda: not any(task.is_running() for task in tasks))
    for folder in runs.iterdir():
        try:
            FileLock(folder / ".lock", timeout=0).acquire().lock.release()
        except Timeout:
            pytest.fail(f"{folder} is still worked on")


SBATCH = """#!/bin/sh
cp "$1" "$CLUSTER/script"
for task in 0 1; do
  SLURM_JOB_ID=10$task SLURM_ARRAY_JOB_ID=100 SLURM_ARRAY_TASK_ID=$task \\
    sh "$CLUSTER/script" > /dev/null 2>&1 &
done
echo "Submitted batch job 100"
"""
SRUN = """#!/bin/sh
shift  # --unbuffered
exec > "$(echo "$2" | sed "s/%A_%a_%t/100_${SLURM_ARRAY_TASK_ID}_0/")" 2>&1
shift 4  # --output FILE --error FILE
exec "$@"
"""
SACCT = """#!/bin/sh
echo "JobID|State|NodeList"
echo "100_0|RUNNING|here"
echo "100_1|RUNNING|here"
"""


@pytest.mark.slow
def test_a_cluster_gets_one_array_of_jobs_with_the_options(
    write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (cluster / name).write_text(text)
        (cluster / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{cluster}:{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER", str(cluster))
    path = write_study()
    runs = prepared(path)
    options = ["partition=fast", "time=30", "cpus=2", "memory=1.5", "gpus=1", "account=lab"]
    engine = make_engine("slurm", options, tmp_path / "results")
    assert run_all(runs, engine=engine, jobs=1) == []
    script = (cluster / "script").read_text()
    wanted = {"partition=fast", "time=30", "cpus-per-task=2", "mem=1536MB", "gpus-per-node=1"}
    wanted |= {"account=lab", "array=0-1%1", "job-name=tiny", "signal=USR2@90"}
    assert {f"#SBATCH --{option}" for option in wanted} <= set(script.splitlines())
    assert [weights_of(run) for run in runs] == serial_weights(path, tmp_path / "serial")


@pytest.mark.slow
def test_jobs_that_the_cluster_refuses_are_a_mistake_in_the_request(
    write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engine = make_engine("slurm", ["partition=none"], tmp_path / "results")
    with pytest.raises(InputError, match=r"jobs that the cluster takes, got .*invalid part"):
        run_all(prepared(write_study()), engine=engine)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("partition", "Expected an engine option KEY=VALUE, got 'partition'"),
        ("cluster=moon", r"Expected engine option cluster=slurm\|local, got 'moon'"),
        ("nonsense=1", "Expected engine options that submitit takes, got.*'nonsense'"),
        ("nodes=2", "Expected engine options of jobs of one process, got nodes; see `torchrun`"),
        ("time=long", "Expected engine options that submitit takes, got .*timeout_min.*long"),
    ],
)
def test_an_option_that_submitit_does_not_take_is_one_message(
    write_study: WriteStudy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        jobs_here(tmp_path, option)
    before = sorted(tmp_path.rglob("*"))
    words = ["--engine", "slurm", "--engine-option", option]
    assert main(["run", str(write_study()), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "tiny.yaml"])


def test_slurm_is_asked_for_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError,
        match='Expected `--engine slurm` on a machine of SLURM, got Could not detect "srun"',
    ):
        make_engine("slurm", [], tmp_path)


def test_without_submitit_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"pip install 'protein-robust\[slurm\]'.*got none"):
        make_engine("slurm", [], tmp_path)
