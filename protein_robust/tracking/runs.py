"""One training as one flat MLflow run: its parameters, curves, data, files.

What is logged goes to the outbox in the run's folder, and a thread sends it from there. So a
training neither waits for the store nor ends with it: while the store is gone or slow the lines
stay, and they are sent when it answers again, by this process or a later one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from protein_robust.tracking.outbox import Outbox
from protein_robust.tracking.sender import Sender
from protein_robust.tracking.source import source_tags
from protein_robust.tracking.store_run import DIGEST_LENGTH
from protein_robust.tracking.stores import Experiment
from protein_robust.tracking.tables import table_content

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["FINISHED", "FAILED", "KILLED"]

_log = logging.getLogger(__name__)


class TrainingRun:
    """One training in MLflow; made by `start_run`.

    As a context manager it ends as FINISHED, as KILLED by Ctrl-C, as FAILED by any other exception.
    Its methods return at once, but for `finish`. Readings of processor, memory and accelerator are
    sent beside what is logged; those of a time in which the store does not answer are not taken.

    Args:
        outbox: where lines go.
        experiment: where they are sent.
    """

    def __init__(self, outbox: Outbox, experiment: Experiment) -> None:
        """Begin to send what is left of the last time."""
        self._outbox = outbox
        self._sender = Sender(outbox, experiment)
        self._is_open = True

    @property
    def run_id(self) -> str | None:
        """MLflow's identifier of the run; None until the store has told it."""
        return self._sender.run_id

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add one point to each curve.

        A point that the run already has is left as it is. An infinite value is logged as NaN, which
        leaves the scale of the chart readable.

        Args:
            epoch: the step of the curves, 1 for the first.
            metrics: values by name; the part before ``/`` groups charts, as in ``test/accuracy``.
        """
        self._write(lambda: self._outbox.append_points(_finite(metrics), step=epoch))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log values that the run has once, shown as bars across runs; the last one counts."""
        self._write(lambda: self._outbox.append_points(_finite(metrics), step=0))

    def log_dataset(self, name: str, *, digest: str, source: str, context: str) -> None:
        """Name the data of this training.

        Args:
            name: shown in the list of runs.
            digest: our digest of the whole content, cut to 16 characters; MLflow's own looks only
                at the head of a table, so it would not see corrupted labels.
            source: the dataset folder.
            context: what it was used for, such as ``training``.
        """
        short = digest[:DIGEST_LENGTH]
        dataset = {"name": name, "digest": short, "source": source, "context": context}
        self._write(lambda: self._outbox.append("dataset", dataset))

    def log_files(self, paths: Iterable[Path], artifact_path: str | None = None) -> None:
        """Copy files and whole folders to the run, as they are when the store takes them.

        Args:
            paths: files, or folders whose content is copied; one that is gone by then is a warning.
            artifact_path: folder of the run to put them in; None for its root.
        """
        files = [str(path.absolute()) for path in paths]
        self._write(lambda: self._outbox.append("files", files, to=artifact_path))

    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Give the run a table that MLflow's table view shows beside those of other runs.

        Args:
            name: of the table, the same in every run; a later one replaces it.
            frame: flat columns; the first one should name the rows, since runs are matched by it.
        """
        self._write(lambda: self._outbox.append("table", name, cells=table_content(frame)))

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run, and wait some seconds for what is left to be sent, if the store answers."""
        if self._is_open:
            self._write(lambda: self._outbox.append("end", status))
            self._is_open = False
            self._sender.close()

    def __enter__(self) -> Self:
        """Give the run itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the run as its body ended; the exception goes on."""
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def _write(self, append: Callable[[], None]) -> None:
        """Write a line; after one that cannot be written there are no others, and no end."""
        if not self._is_open:
            return
        try:
            append()
        except OSError as error:
            self._is_open = False
            reason = error.strerror or type(error).__name__
            _log.warning("tracking stopped: %s: %s", self._outbox.path, reason)
            self._sender.close()
        else:
            self._sender.wake()


def start_run(
    experiment: Experiment,
    name: str,
    *,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    folder: Path,
) -> TrainingRun:
    """Open the run of one training, or continue the one of this folder.

    A run that the store does not have any more is made anew, with everything that was logged.

    Args:
        experiment: where `prepare` said; another one than the last time gets everything.
        name: shown in the list of runs.
        params: flat settings by dotted name; a continued run keeps those it already has.
        tags: ``study`` and whatever finds the run again; ``stage=train``, the commit of the code
            and the name of the outbox are added.
        folder: the run's folder; it gets ``outbox.jsonl`` and ``tracking.json``.

    Returns:
        The open run.

    Raises:
        OSError: if the outbox of the last time cannot be read.
    """
    outbox = Outbox(folder)
    run = TrainingRun(outbox, experiment)
    opened = {
        "name": name,
        "params": {key: str(value) for key, value in params.items()},
        "tags": {**source_tags(), "stage": "train", **tags, "outbox": outbox.token},
    }
    run._write(lambda: outbox.append("open", opened))
    return run


def is_recorded(folder: Path) -> bool:
    """Tell whether the outbox in a run's folder has the run to its end, single values and all."""
    return Outbox(folder).is_whole


def reopen(folder: Path) -> None:
    """Have the next `run` of a study log a finished run again: it was evaluated anew.

    Args:
        folder: the folder of a run that nobody is working on; nothing happens where it was never
            logged to its end.
    """
    outbox = Outbox(folder)
    if outbox.is_whole:
        outbox.append("end", "RUNNING")


def send_rest(experiment: Experiment, folder: Path) -> bool:
    """Send what the outbox in a run's folder still holds, waiting some seconds at most.

    Args:
        experiment: where `prepare` said.
        folder: the folder of a run that nobody is working on.

    Returns:
        Whether the store has everything now.
    """
    outbox = Outbox(folder)
    sent = outbox.read_sent()
    if sent is not None and sent.is_in(experiment) and sent.size == outbox.size:
        return True
    return Sender(outbox, experiment).close()


def find_run_ids(experiment: Experiment, folders: Iterable[Path]) -> list[str]:
    """Give MLflow's identifiers of those runs that the store has, without asking it.

    Args:
        experiment: where `prepare` said.
        folders: of the runs.

    Returns:
        The identifiers, in the order of the folders.
    """
    notes = (Outbox(folder).read_sent() for folder in folders)
    return [note.run_id for note in notes if note and note.run_id and note.is_in(experiment)]


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: math.nan if math.isinf(value) else float(value) for key, value in metrics.items()}
