"""Signals that ask a process to stop: heeded at once, or, in a training, after the present update.

Ctrl-C (SIGINT), SIGTERM and SIGUSR1 (of SLURM, before it takes a machine away) all mean: keep
what there is, and leave. The exit code of the command is then 128 + the number of the signal.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from protein_robust import ranks

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class Stopped(KeyboardInterrupt):
    """The process was asked to stop; the same command goes on where it stopped.

    Args:
        signal_number: what it was asked by.
    """

    def __init__(self, signal_number: int) -> None:
        """Keep the number."""
        self.signal_number = signal_number
        super().__init__(f"signal {signal_number}")

    def __reduce__(self) -> tuple[type[Stopped], tuple[int]]:
        """Let it cross from a worker process to the main one."""
        return Stopped, (self.signal_number,)


_waiting = False
"""Whether somebody is in `deferred`."""
_asked = 0
"""The signal that came in there, until it is heeded; 0 for none."""


def install() -> None:
    """Let `SIGNALS` do what `request` does."""

    def heed(number: int, frame: FrameType | None) -> None:
        request(number)

    for number in SIGNALS:
        signal.signal(number, heed)


def request(signal_number: int) -> None:
    """Ask this process to stop.

    Where several processes train together, one that left at once would take the others with it in
    the middle of a checkpoint; and launchers send a signal twice. So there the second one is no
    other than the first.

    Args:
        signal_number: what asks.

    Raises:
        Stopped: outside of `deferred`, and the second time in it where this process is alone.
    """
    global _asked
    if not _waiting or (_asked and not ranks.are_several()):
        stop(signal_number)
    _asked = signal_number


def asked() -> int:
    """The signal that is waiting to be heeded; 0 for none."""
    return _asked


def stop(signal_number: int) -> NoReturn:
    """Heed it.

    Raises:
        Stopped: always.
    """
    global _asked
    _asked = 0
    raise Stopped(signal_number)


@contextmanager
def deferred() -> Iterator[None]:
    """In here the first request waits until somebody looks at `asked`, here or the next time."""
    global _waiting
    _waiting = True
    try:
        yield
    finally:
        _waiting = False
