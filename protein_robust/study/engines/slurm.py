"""Runs as jobs of a SLURM cluster, one job each, through submitit.

A job that is pre-empted, or whose time is over, gets a signal before its end: it writes a
checkpoint, is requeued, and goes on from there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from protein_robust.errors import InputError
from protein_robust.study.engines.apart import Request, carry_out_apart, stop_at_checkpoint
from protein_robust.study.engines.engine import Pool
from protein_robust.study.one_run import RunReport
from protein_robust.study.plan import PlannedRun
from protein_robust.training import Stopped

if TYPE_CHECKING:
    import submitit

CLUSTERS = ("slurm", "local")
SHORT_NAMES = {
    "time": "timeout_min",
    "cpus": "cpus_per_task",
    "gpus": "gpus_per_node",
    "memory": "mem_gb",
}
"""Options that submitit knows by a longer name; time is in minutes, memory in GB."""

MANY_PROCESSES = {"nodes", "ntasks_per_node", "tasks_per_node"}
TIME_MINUTES = 60
"""The limit of a job's time where the user names none; submitit's own is 5."""

MAX_TIMEOUTS = 1000
"""How often a job goes on in another stretch of its time limit."""

GRACE_SECONDS = 600
"""How long a job that got SIGTERM waits for what its cluster does with it."""


@dataclass(frozen=True)
class SlurmEngine:
    """Jobs of a cluster.

    Attributes:
        folder: for submitit's files: what was submitted, what it gave, the logs of each job.
        cluster: ``slurm``, or ``local``: the same jobs as processes of this machine.
        parameters: of every job, as submitit's `update_parameters` takes them.
    """

    folder: Path
    cluster: str
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any], folder: Path) -> SlurmEngine:
        """Check options before anything is submitted.

        Args:
            options: ``cluster``, ``time`` (minutes), ``cpus``, ``gpus``, ``memory`` (GB), or any
                parameter of submitit, such as ``partition``.
            folder: where submitit writes; every node sees it.

        Raises:
            InputError: if submitit is not there, has no such cluster, or refuses a parameter.
        """
        chosen = {SHORT_NAMES.get(name, name): value for name, value in options.items()}
        cluster = chosen.pop("cluster", CLUSTERS[0])
        if cluster not in CLUSTERS:
            raise InputError(f"engine option cluster={'|'.join(CLUSTERS)}", repr(cluster))
        try:
            import submitit  # noqa: F401
        except ModuleNotFoundError as error:
            expected = "submitit (`pip install 'protein-robust[slurm]'`) for `--engine slurm`"
            raise InputError(expected, "none") from error
        many = ", ".join(sorted(MANY_PROCESSES & set(chosen)))
        if many:
            raise InputError("engine options of jobs of one process", f"{many}; see `torchrun`")
        shared = set(SHORT_NAMES.values())
        parameters = {
            name if name in shared else f"slurm_{name}": value for name, value in chosen.items()
        }
        engine = cls(folder, cluster, {"timeout_min": TIME_MINUTES, **parameters})
        engine.executor({})
        return engine

    def executor(self, needs: Mapping[str, Any]) -> submitit.Executor:
        """What jobs are given to; `needs` are parameters that the options did not set."""
        from submitit import AutoExecutor

        try:
            executor = AutoExecutor(
                self.folder, self.cluster, **{f"{self.cluster}_max_num_timeout": MAX_TIMEOUTS}
            )
            executor.update_parameters(**{**needs, **self.parameters})
        except RuntimeError as error:
            raise InputError("`--engine slurm` on a machine of SLURM", str(error)) from error
        except (NameError, AssertionError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise InputError("engine options that submitit takes", reason) from error
        return executor

    def is_here(self, wave: Sequence[PlannedRun], jobs: int | None) -> bool:
        """Never: this may be a machine that only submits."""
        return False

    @contextmanager
    def open(self, wave: Sequence[PlannedRun], jobs: int | None) -> Iterator[Pool]:
        """Begin a wave; an exception inside cancels its jobs."""
        needs: dict[str, Any] = {
            "name": wave[0].study,
            "cpus_per_task": max(run.threads for run in wave),
            "gpus_per_node": 1 if any(run.device == "cuda" for run in wave) else None,
            "slurm_array_parallelism": jobs,
        }
        executor = self.executor(needs)
        started: list[SlurmJob] = []

        def start(requests: Sequence[Request]) -> list[SlurmJob]:
            with _refusals(), executor.batch():
                given = [executor.submit(Training(), asked) for asked in requests]
            new = [SlurmJob(asked.run, job) for asked, job in zip(requests, given, strict=True)]
            started.extend(new)
            return new

        try:
            # A cluster keeps the limit of a job array by itself; processes of this machine do not.
            yield Pool(start, room=jobs if self.cluster == "local" else None)
        except BaseException:
            for job in started:
                if not job.is_over():
                    job.job.cancel(check=False)
            raise


@dataclass(frozen=True)
class SlurmJob:
    """A run as a job of a cluster.

    Attributes:
        run: which one.
        job: as submitit knows it.
    """

    run: PlannedRun
    job: submitit.Job[RunReport]

    def is_over(self) -> bool:
        """Whether it has ended; a requeued job has not."""
        return self.job.done()

    def report(self) -> RunReport:
        """How it ended, be it that its node was lost."""
        from submitit.core.utils import UncompletedJobError

        try:
            return self.job.result()
        except UncompletedJobError:
            where = f"its log is {self.job.paths.stderr}"
            message = f"job {self.job.job_id} ended without a result ({where})"
            return RunReport(self.run, failure=f"{message}; the same command goes on")


class Training:
    """What a job does; submitit pickles it, and calls it on the node."""

    def __call__(self, asked: Request) -> RunReport:
        """Carry out a run; where the job is to be requeued, leave it at a checkpoint."""
        from submitit import JobEnvironment

        preemption = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        requeue = signal.getsignal(preemption)
        came: list[int] = []

        def stop(number: int, _: FrameType | None) -> None:
            came.append(number)
            stop_at_checkpoint(number)

        for number in (signal.SIGINT, signal.SIGTERM, preemption):
            signal.signal(number, stop)
        try:
            return carry_out_apart(asked)
        except Stopped:
            # The checkpoint is there; now submitit may requeue the job, and end this process.
            signal.signal(preemption, requeue)
            if preemption in came:
                signal.raise_signal(preemption)
            if signal.SIGTERM in came:
                # Pre-emption goes on to the other signal, `scancel` to SIGKILL. A job that ended
                # before would not be requeued.
                time.sleep(GRACE_SECONDS)
            raise

    def checkpoint(self, asked: Request) -> submitit.helpers.DelayedSubmission:
        """What is requeued: the same, which goes on from the run's checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, asked)


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell the user in one message what `sbatch` refuses."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (FailedJobError, FailedSubmissionError) as error:
        raise InputError("jobs that the cluster takes", " ".join(str(error).split())) from error
