"""Runs as tasks of Ray, one each, on this machine or on a cluster that is there already."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protein_robust.errors import InputError
from protein_robust.study.engines.apart import Request, carry_out_apart, stop_at_checkpoint
from protein_robust.study.engines.engine import Pool
from protein_robust.study.one_run import RunReport
from protein_robust.study.plan import PlannedRun

if TYPE_CHECKING:
    import ray

MAX_RETRIES = 3
"""How often a run goes on elsewhere after its node was lost."""

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray of this machine, which by itself takes a third of the memory; we only send settings."""

REACH_SECONDS = 5.0
STOP_SECONDS = 60.0
"""How long trainings have for their last checkpoints."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayEngine:
    """Tasks of Ray.

    Attributes:
        address: of a cluster: ``auto``, ``ray://host:10001`` or ``host:6379``; None starts a Ray on
            this machine, for as long as it is needed.
    """

    address: str | None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> RayEngine:
        """Check options before anything is begun.

        Args:
            options: ``address``, or nothing.

        Raises:
            InputError: if Ray is not there, or cannot be reached.
        """
        unknown = set(options) - {"address"}
        if unknown:
            raise InputError("engine option address for ray", ", ".join(sorted(unknown)))
        # Before Ray is imported: it sends no usage data.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray  # noqa: F401
        except ModuleNotFoundError as error:
            expected = "Ray (`pip install 'protein-robust[ray]'`) for `--engine ray`"
            raise InputError(expected, "none") from error
        address = options.get("address")
        if address is not None:
            _reach(str(address))
        return cls(address)

    def is_here(self, wave: Sequence[PlannedRun], jobs: int | None) -> bool:
        """Never: even one run may want a machine of the cluster."""
        return False

    @contextmanager
    def open(self, wave: Sequence[PlannedRun], jobs: int | None) -> Iterator[Pool]:
        """Begin a wave; an exception inside stops its trainings at a checkpoint."""
        import ray

        tasks: list[RayJob] = []
        # What Ray says of processes that died belongs to the messages, not to the results.
        with redirect_stdout(sys.stderr), _connected(self.address):
            needs = _needs(wave)
            train = ray.remote(**needs, max_retries=MAX_RETRIES)(train_on_ray)

            def start(requests: Sequence[Request]) -> list[RayJob]:
                new = [RayJob(asked.run, train.remote(asked)) for asked in requests]
                tasks.extend(new)
                return new

            try:
                yield Pool(start, room=jobs)
            except BaseException:
                under_way = [task.reference for task in tasks if not task.is_over()]
                for reference in under_way:
                    ray.cancel(reference)
                if under_way:
                    ray.wait(under_way, num_returns=len(under_way), timeout=STOP_SECONDS)
                raise


@dataclass(frozen=True)
class RayJob:
    """A run as a task of Ray.

    Attributes:
        run: which one.
        reference: to the report that it will give.
    """

    run: PlannedRun
    reference: ray.ObjectRef[RunReport]

    def is_over(self) -> bool:
        """Whether it has ended."""
        import ray

        return bool(ray.wait([self.reference], timeout=0)[0])

    def report(self) -> RunReport:
        """How it ended, be it that its node was lost."""
        import ray

        try:
            report: RunReport = ray.get(self.reference)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            return RunReport(self.run, failure=f"Ray: {reason}; the same command goes on")
        return report


def train_on_ray(asked: Request) -> RunReport:
    """Carry out a run as a task; one that is cancelled ends at a checkpoint."""
    before = signal.signal(signal.SIGINT, stop_at_checkpoint)
    try:
        return carry_out_apart(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def _needs(wave: Sequence[PlannedRun]) -> dict[str, Any]:
    """What each task of a wave gets for itself."""
    import ray

    there = ray.cluster_resources()
    device = wave[0].device
    on_gpu = device == "cuda" or (device == "auto" and there.get("GPU", 0) >= 1)
    needs = {"num_cpus": max(run.threads for run in wave), "num_gpus": int(on_gpu)}
    if needs["num_cpus"] > there.get("CPU", 0) or needs["num_gpus"] > there.get("GPU", 0):
        _log.warning("Ray has no %(num_cpus)s CPUs and %(num_gpus)s GPUs yet: waiting", needs)
    return needs


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray without its own messages, for as long as it is needed."""
    import ray

    own: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else own),
        )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise InputError("a Ray that can be joined", " ".join(str(error).split())) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Knock at an address, since Ray itself would wait for minutes."""
    host, has_port, port = address.removeprefix("ray://").rpartition(":")
    if not has_port or not port.isdigit():
        return  # `auto` and the like, which Ray answers at once
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError("a Ray that can be joined", str(error), path=address) from error
