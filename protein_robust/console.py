"""What a person at the terminal sees while something runs; nothing moves where there is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from protein_robust.study import RunReport

PLAIN_WIDTH = 120
"""Columns of a file or pipe, which has no width of its own."""

errors = Console(stderr=True, highlight=False)
"""Progress and messages; standard output is for results."""

output = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


class _Shown:
    """A bar that is there from the beginning of a block to its end."""

    _progress: Progress

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._progress.stop()


class ReadingProgress(_Shown):
    """A bar over the bytes of the files that are read.

    Args:
        what: what is done with them.
    """

    def __init__(self, what: str = "reading") -> None:
        """Start with an empty bar, shown only on a terminal."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[records]:,} records"),
            TimeElapsedColumn(),
            console=errors,
            disable=not errors.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(what, total=None, records=0)

    def __call__(self, num_records: int, num_bytes_done: int, num_bytes_total: int) -> None:
        """Take note of how far reading is."""
        self._progress.update(
            self._task, completed=num_bytes_done, total=num_bytes_total or None, records=num_records
        )


class DownloadProgress(_Shown):
    """A bar over the bytes of a file that is fetched, with speed and remaining time."""

    def __init__(self, name: str) -> None:
        """Start with an empty bar, shown only on a terminal."""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=errors,
            disable=not errors.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=None, start=False)
        self._has_begun = False

    def __call__(self, num_bytes_done: int, num_bytes_total: int | None) -> None:
        """Take note of how much is there; the first call tells what was there before."""
        if not self._has_begun:  # what an earlier call fetched says nothing of the speed of this
            self._has_begun = True
            self._progress.reset(self._task, total=num_bytes_total, completed=num_bytes_done)
        self._progress.update(self._task, completed=num_bytes_done, total=num_bytes_total)


class StudyProgress:
    """A bar for each running training, with loss, accuracy and speed, and one for the study.

    Where there is no terminal: one line for each training that ends.

    Args:
        num_runs: how many will be carried out.
    """

    def __init__(self, num_runs: int) -> None:
        """Start with nothing done."""
        self._num_runs = num_runs
        self._num_ended = 0
        self._overall = Progress(
            TextColumn("{task.description}"),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            BarColumn(bar_width=None),  # whatever width is left
            console=errors,
            disable=not errors.is_terminal,
            transient=True,
            expand=True,
        )
        detail = f"0 of {num_runs} done"
        self._study = self._overall.add_task("trainings", total=num_runs, detail=detail)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, report: RunReport) -> None:
        """Take note of how a run goes."""
        name = report.run.name
        if report.step is None:
            self._end(report)
            return
        if name not in self._tasks:
            self._tasks[name] = self._overall.add_task(name, total=1.0, detail="")
        step = report.step
        speed = f"{step.speed:,.0f} {step.unit}/s"
        detail = f"loss {step.loss:.3f}, accuracy {100 * step.accuracy:.1f} %, {speed}"
        self._overall.update(self._tasks[name], completed=step.progress, detail=detail)

    def _end(self, report: RunReport) -> None:
        name = report.run.name
        if name in self._tasks:
            self._overall.remove_task(self._tasks.pop(name))
        self._num_ended += 1
        detail = f"{self._num_ended} of {self._num_runs} done"
        self._overall.update(self._study, completed=self._num_ended, detail=detail)
        how = f"failed: {report.failure}" if report.failure else "done"
        if report.seconds is not None:
            how = f"{report.seconds:.0f} s, {how}"
        line = f"[{self._num_ended}/{self._num_runs}] {name}: {how}"
        errors.print(line, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        """Show the bars."""
        self._overall.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bars away."""
        self._overall.stop()


class BaselineProgress(_Shown):
    """A bar over the families of the baseline at work; without a terminal, a line for each end.

    Args:
        num_baselines: how many will be carried out.
    """

    def __init__(self, num_baselines: int) -> None:
        """Start with nothing done."""
        self._num_baselines = num_baselines
        self._num_ended = 0
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            console=errors,
            disable=not errors.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("baselines", total=None, what="")

    def begin(self, title: str) -> None:
        """Name the baseline that is at work now."""
        self._progress.reset(self._task, total=None, description=title, what="")

    def __call__(self, what: str, num_done: int, num_families: int) -> None:
        """Take note of how far it is."""
        self._progress.update(self._task, completed=num_done, total=num_families, what=what)

    def end(self, title: str, seconds: float, failure: str | None) -> None:
        """Say how a baseline ended."""
        self._num_ended += 1
        how = f"failed: {failure}" if failure else "done"
        line = f"[{self._num_ended}/{self._num_baselines}] {title}: {seconds:.0f} s, {how}"
        errors.print(line, markup=False, soft_wrap=True)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        output.print(f"  {name:<{width}}  {value}", markup=False)
