"""Runs side by side on this machine, one for each GPU, or for each few of its cores.

A training uses as many threads as its study says, alone or beside others, so its numbers do not
depend on how many run at a time.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any

import torch

from protein_robust import ranks
from protein_robust.study.engines.apart import Request, carry_out_apart, stop_at_checkpoint
from protein_robust.study.engines.engine import Pool
from protein_robust.study.one_run import RunReport
from protein_robust.study.plan import PlannedRun
from protein_robust.training import Stopped

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine.

    Where `jobs` are not given there is one for each GPU, which sees no other one, or as many as the
    cores have room for. Processes end with the one that began them.
    """

    def is_here(self, wave: Sequence[PlannedRun], jobs: int | None) -> bool:
        """Whether one process is enough, which then is this one."""
        return _num_workers(wave, jobs) == 1

    @contextmanager
    def open(self, wave: Sequence[PlannedRun], jobs: int | None) -> Iterator[Pool]:
        """Begin a wave; an exception inside stops its trainings at a checkpoint."""
        context = get_context("spawn")  # a forked copy of a process with threads may hang
        num_workers = _num_workers(wave, jobs)
        stop = context.Event()
        gpus = context.SimpleQueue()
        for gpu in islice(cycle(_gpus(wave) or [None]), num_workers):
            gpus.put(gpu)
        pool = ProcessPoolExecutor(
            num_workers, context, initializer=_start_worker, initargs=(stop, gpus)
        )

        def start(requests: Sequence[Request]) -> list[LocalJob]:
            threads = max(asked.run.threads for asked in requests)
            with _interrupts_ignored(), _environment("OMP_NUM_THREADS", str(threads)):
                return [LocalJob(asked.run, pool.submit(_work, asked)) for asked in requests]

        with pool:
            try:
                yield Pool(start, poll_seconds=POLL_SECONDS)
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise


@dataclass(frozen=True)
class LocalJob:
    """A run in a process of this machine.

    Attributes:
        run: which one.
        future: of how it ends.
    """

    run: PlannedRun
    future: Future[RunReport]

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.future.done()

    def report(self) -> RunReport:
        """How it ended, be it that its process was killed."""
        try:
            return self.future.result()
        except BrokenProcessPool:
            message = "a worker process was killed (out of memory?); the same command goes on"
            return RunReport(self.run, failure=message)


def _num_workers(wave: Sequence[PlannedRun], jobs: int | None) -> int:
    if ranks.are_several():
        return 1  # these train together
    if jobs is None:
        is_linux = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if is_linux else os.cpu_count() or 1
        jobs = len(_gpus(wave)) or max(1, cores // wave[0].threads)
    return min(jobs, len(wave))


def _gpus(wave: Sequence[PlannedRun]) -> list[str]:
    """The GPUs for runs, as `CUDA_VISIBLE_DEVICES` names them; none where they train on CPU.

    Example:
        >>> _gpus([])
        []
    """
    if all(run.device == "cpu" for run in wave):
        return []
    count = torch.cuda.device_count()
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return names.split(",")[:count]


_stop: list[Event] = []
"""Of a worker process: what tells it to stop; empty in the main process."""


def _start_worker(stop: Event, gpus: SimpleQueue[str | None]) -> None:
    gpu = gpus.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # nobody has asked CUDA for anything yet
    _stop.append(stop)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_stop_training, args=(stop,), daemon=True).start()


def _leave(number: int, _: FrameType | None) -> None:
    """End: a training after its present update and a checkpoint, anything else at once.

    What is half-written then has a temporary name, and the lock of the run ends with the process.
    """
    try:
        stop_at_checkpoint(number)
    except Stopped:
        os._exit(128 + number)


def _stop_training(stop: Event) -> None:
    """Let the training write a checkpoint and end as soon as the main process says so."""
    stop.wait()
    while True:
        try:
            stop_at_checkpoint(signal.SIGINT)
            return
        except Stopped:  # none has begun yet
            time.sleep(POLL_SECONDS)


def _end_with_parent() -> None:
    """Leave as soon as the main process has been killed, be it idle or in a training."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(asked: Request) -> RunReport:
    stopped = RunReport(asked.run, failure="stopped; the same command goes on")
    if _stop[0].is_set():
        return stopped
    try:
        return carry_out_apart(asked)
    except Stopped as signalled:
        if not _stop[0].is_set():
            # Back at the queue it could wait for ever for another one that was killed there.
            os._exit(128 + signalled.signal_number)
        return stopped


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes begun in here leave Ctrl-C to the main one, which tells them to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change what a signal does
        return
    before: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Processes begun in here have another value of a variable, which some read as they start."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
