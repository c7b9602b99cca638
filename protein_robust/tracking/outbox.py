"""What a run tells its store, kept in the run's folder: written by the training, sent by a thread.

``outbox.jsonl`` has one JSON object on each line, in the order and with the time of what happened,
and is only ever added to. ``tracking.json`` says how many of its bytes which store has. So whatever
is interrupted goes on from there, and what is sent twice is the same twice: a store keeps one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protein_robust.atomic import replace_file
from protein_robust.tracking.stores import Experiment

Entry = Mapping[str, Any]
"""One line: ``time`` in milliseconds since 1970, and what happened, by the name of its kind."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sent:
    """How much of an outbox a store has.

    Attributes:
        uri: which store.
        experiment_id: which experiment there.
        run_id: which run there; None before there is one.
        size: bytes of the outbox, from its beginning.
    """

    uri: str
    experiment_id: str
    run_id: str | None = None
    size: int = 0

    def is_in(self, experiment: Experiment) -> bool:
        """Tell whether it was sent there."""
        return (self.uri, self.experiment_id) == (experiment.uri, experiment.experiment_id)


class Outbox:
    """The outbox of one run; one process adds to it at a time.

    Args:
        folder: the run's folder.

    Attributes:
        path: the file ``outbox.jsonl``; it need not exist yet.
        token: names this outbox in the store, so that its run is found again.
        is_whole: whether it has the run to its end: single values, and FINISHED at last.

    Raises:
        OSError: if the file cannot be read, or its torn last line not be cut off.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there."""
        self.path = folder / "outbox.jsonl"
        self.token = uuid.uuid4().hex
        self.is_whole = False
        self._note = folder / "tracking.json"
        self._points: dict[tuple[int, str], float] = {}
        self._cut_torn_line()
        for entry, end in self.read(0):
            if not entry:
                _log.warning("%s: the line that ends at byte %d is damaged", self.path, end)
            self._remember(entry)

    @property
    def size(self) -> int:
        """Bytes of the file, 0 where there is none."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, kind: str, content: object, **more: object) -> None:
        """Add a line.

        It is there when this returns, be the process killed then. A power failure may take it,
        which is as if it had not been logged: nothing is sent that is not safely on the disk.

        Args:
            kind: what happened.
            content: what belongs to it.
            more: further parts of the line.

        Raises:
            OSError: if it cannot be written.
        """
        entry = {"time": int(time.time() * 1000), kind: content, **more}
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
        except OSError:
            self._cut_torn_line()  # of a full disk
            raise
        self._remember(entry)

    def append_points(self, values: Mapping[str, float], *, step: int) -> None:
        """Add the values that it does not have yet for this step.

        A single value (step 0) that is another one now, as after an evaluation that was repeated,
        is added too: MLflow shows the last. A point of a curve stays what it was.
        """
        new = {name: v for name, v in values.items() if self._is_new((step, name), v)}
        if new:
            self.append("metrics", new, step=step)

    def read(self, start: int, stop: int | None = None) -> Iterator[tuple[Entry, int]]:
        """Give the lines between two places, each with where it ends; a damaged one is empty."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                if not line.endswith(b"\n") or (stop is not None and start > stop):
                    return  # torn, or being written just now
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = {}
                yield entry, start

    def sync(self) -> int:
        """Have the disk hold what is there, and give the size of that."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
        return size

    def read_sent(self) -> Sent | None:
        """Say what was sent where; None where nothing is noted, or not in this form."""
        try:
            return Sent(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_sent(self, sent: Sent) -> None:
        """Note what was sent where."""
        text = json.dumps(asdict(sent)) + "\n"
        replace_file(self._note, lambda partial: partial.write_text(text, encoding="utf-8"))

    def _remember(self, entry: Entry) -> None:
        if "open" in entry:
            self.token = entry["open"]["tags"]["outbox"]
        elif "metrics" in entry:
            self._points |= {(entry["step"], name): v for name, v in entry["metrics"].items()}
        # Single values have the step 0; epochs begin with 1.
        self.is_whole = entry.get("end") == "FINISHED" and any(not step for step, _ in self._points)

    def _is_new(self, point: tuple[int, str], value: float) -> bool:
        if point not in self._points:
            return True
        known = self._points[point]
        is_same = value == known or (math.isnan(value) and math.isnan(known))
        return not is_same and point[0] == 0

    def _cut_torn_line(self) -> None:
        """Remove what a process that was killed, or a full disk, left of a line."""
        if self.path.exists():
            content = self.path.read_bytes()
            if not content.endswith(b"\n") and content:
                os.truncate(self.path, content.rfind(b"\n") + 1)
