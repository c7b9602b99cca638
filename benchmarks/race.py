"""Time contestants in turns of a fraction of a second, so that a busy machine hits all alike.

Each has a process of its own: in one process they would push each other's kernels out of oneDNN's
cache, which holds 1,024 of them, and compile them again and again. Turns are long enough that the
processor's caches, which the one before has filled, do not matter.
"""

from __future__ import annotations

import multiprocessing
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Protocol

import torch
from turns import Seconds  # from this folder, where a script finds its neighbours

Contestant = Callable[[int], Iterator[object]]
"""Prepares the pass of a number; each item of the iterator is the work on one batch."""
Build = Callable[[Namespace, str], Contestant]
"""Makes the contestant of a name, as the command line asks for it."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""``cpu``: seconds of the process itself, which others do not lengthen."""


class Runner(Protocol):
    """Runs a contestant."""

    def begin(self, number: int) -> None:
        """Prepare a pass."""

    def turn(self) -> tuple[float, bool]:
        """Work for a while: the seconds it took, and whether the pass is over."""


class Local:
    """Runs a contestant in this process.

    Args:
        contestant: what is run.
        options: ``turn`` (seconds), ``clock`` and ``device``; ``cuda`` is waited for before the
            clock is started and before it is stopped.
    """

    def __init__(self, contestant: Contestant, options: Namespace) -> None:
        """Keep both."""
        self.contestant = contestant
        self.options = options
        self.work: Iterator[object] = iter(())

    def begin(self, number: int) -> None:
        """Prepare a pass."""
        self.work = self.contestant(number)

    def turn(self) -> tuple[float, bool]:
        """Work for a while."""
        wait = torch.cuda.synchronize if self.options.device == "cuda" else torch.cpu.synchronize
        clock = CLOCKS[self.options.clock]
        wait()
        started, is_over = clock(), True
        for _ in self.work:
            if clock() - started >= self.options.turn:
                is_over = False
                break
        wait()
        return clock() - started, is_over


class Remote:
    """Runs a contestant in the process at the other end of a connection."""

    def __init__(self, connection: Connection) -> None:
        """Keep it."""
        self.connection = connection

    def begin(self, number: int) -> None:
        """Prepare a pass."""
        self.connection.send(number)
        self.connection.recv()

    def turn(self) -> tuple[float, bool]:
        """Work for a while."""
        self.connection.send("turn")
        seconds, is_over = self.connection.recv()
        return seconds, is_over


def race(runners: Mapping[str, Runner], *, rounds: int, warmup: int) -> Seconds:
    """Time whole passes.

    Args:
        runners: by name.
        rounds: passes that are measured, of each.
        warmup: passes before those.

    Returns:
        Seconds of each measured pass, by name.
    """
    seconds: Seconds = {name: [] for name in runners}
    for number in range(warmup + rounds):
        for runner in runners.values():
            runner.begin(number)
        spent, running = dict.fromkeys(runners, 0.0), list(runners)
        while running:
            for name in running.copy():
                taken, is_over = runners[name].turn()
                spent[name] += taken
                if is_over:
                    running.remove(name)
        for name in runners if number >= warmup else ():
            seconds[name].append(spent[name])
    return seconds


@contextmanager
def processes(
    names: Iterable[str], build: Build, options: Namespace
) -> Iterator[dict[str, Runner]]:
    """Start a process for each contestant; they end with the context."""
    context = multiprocessing.get_context("spawn")
    ends, started = {}, []
    for name in names:
        ends[name], other = context.Pipe()
        arguments = (other, build, options, name)
        started.append(context.Process(target=serve, args=arguments, daemon=True))
        started[-1].start()
        other.close()  # so that the end of the process is seen here
    try:
        for end in ends.values():
            end.recv()  # it is built
        yield {name: Remote(end) for name, end in ends.items()}
    finally:
        for end in ends.values():
            end.close()
        for process in started:
            process.join()


def serve(connection: Connection, build: Build, options: Namespace, name: str) -> None:
    """Do what comes through a connection, until it is closed."""
    runner = Local(build(options, name), options)
    connection.send("built")
    while True:
        try:
            order = connection.recv()
        except EOFError:  # the race is over
            return
        if order == "turn":
            connection.send(runner.turn())
        else:
            runner.begin(order)
            connection.send("ready")
