"""What an engine is: something that carries out runs in other processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from protein_robust.study.engines.apart import Request
from protein_robust.study.one_run import RunReport
from protein_robust.study.plan import PlannedRun

POLL_SECONDS = 1.0
"""Time between two looks at jobs on other machines, and at the files that they share."""


class Job(Protocol):
    """A run that another process carries out."""

    def is_over(self) -> bool:
        """Whether it has ended; asked again and again."""

    def report(self) -> RunReport:
        """How it ended; a process that was killed is a failure, never an exception."""


@dataclass(frozen=True)
class Pool:
    """Where the runs of a wave go.

    Attributes:
        start: begins runs in other processes, and comes back at once.
        room: how many may be on their way at a time; None where `start` takes all at once.
        poll_seconds: time between two looks at them.
    """

    start: Callable[[Sequence[Request]], Sequence[Job]]
    room: int | None = None
    poll_seconds: float = POLL_SECONDS


class Engine(Protocol):
    """Carries out runs in other processes."""

    def is_here(self, wave: Sequence[PlannedRun], jobs: int | None) -> bool:
        """Whether there is nothing side by side in a wave, so that this process carries it out."""

    def open(self, wave: Sequence[PlannedRun], jobs: int | None) -> AbstractContextManager[Pool]:
        """Begin a wave of at most `jobs` runs at a time; an exception inside stops them.

        What is trained then writes a checkpoint, where the engine has a way to tell it.
        """
