"""The thread that sends an outbox, so that a training never waits for its store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator

from protein_robust.tracking import store_run
from protein_robust.tracking.outbox import Entry, Outbox, Sent
from protein_robust.tracking.store_run import METRICS_PER_BATCH, StoreRun, is_refusal
from protein_robust.tracking.stores import Experiment, load_mlflow, store_problem

FIRST_PAUSE_SECONDS = 1.0
"""Before a store that is lost is tried again; each pause is twice the one before."""
LONGEST_PAUSE_SECONDS = 30.0
FINISH_SECONDS = 10.0
"""How long the end of a run waits for what is left. Files that are being copied are waited for:
a hundred megabytes take their time, and MLflow gives up after ten seconds without a byte."""

_log = logging.getLogger(__name__)


class Sender:
    """Sends the lines of an outbox in order, and samples the machine while the store answers.

    Args:
        outbox: what to send.
        experiment: where to.
    """

    def __init__(self, outbox: Outbox, experiment: Experiment) -> None:
        """Begin at once, with what is left of the last time."""
        load_mlflow(experiment.uri)
        self._outbox = outbox
        self._experiment = experiment
        sent = outbox.read_sent()
        if sent is None or not sent.is_in(experiment):
            sent = Sent(experiment.uri, experiment.experiment_id)
        self._sent = sent.size
        self._run = StoreRun(experiment, outbox.token, sent.run_id)
        self._is_found = self._is_copying = self._is_reported = self._is_abandoned = False
        self._deadline = 0.0
        self._next_sample = time.monotonic() + store_run.SAMPLING_SECONDS
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """MLflow's identifier of the run; None before the store has told it."""
        return self._run.run_id

    def wake(self) -> None:
        """Tell that there is a new line."""
        self._news.set()

    def close(self) -> bool:
        """Wait for the rest while the store answers, then stop; tells whether it has everything."""
        self._deadline = time.monotonic() + FINISH_SECONDS
        self._closing.set()
        self._news.set()
        while self._thread.is_alive() and (self._is_copying or time.monotonic() < self._deadline):
            self._thread.join(0.1)
        self._is_abandoned = True  # where it hangs in a request, that is its last
        is_complete = self._sent >= self._outbox.size
        if not is_complete:
            self._report("waits", "the store takes too long")
        return is_complete

    def _work(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._is_over():
            try:
                self._send_waiting()
            except Exception as error:  # noqa: BLE001  whatever a store raises, a training goes on
                if is_refusal(error):
                    self._report("stopped", _reason(error))
                    return
                self._report("waits", _reason(error))
                if self._closing.is_set() and isinstance(error, ConnectionError):
                    return
                self._is_found = False
                self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
                if self._is_reported:
                    # A warning as well: who has read that it waits should read this.
                    _log.warning("tracking goes on: the store answers again")
                    self._is_reported = False
                if not self._closing.is_set():
                    self._news.wait(store_run.SAMPLING_SECONDS)
                    self._news.clear()

    def _is_over(self) -> bool:
        has_all = self._is_found and self._sent >= self._outbox.size
        return self._is_abandoned or (has_all and self._closing.is_set())

    def _pause(self, seconds: float) -> None:
        if self._closing.is_set():
            time.sleep(FIRST_PAUSE_SECONDS)
        else:
            self._closing.wait(seconds)

    def _send_waiting(self) -> None:
        """Send what is there now, and a sample when it is time."""
        if not self._is_found:
            problem = store_problem(self._experiment.uri)
            if problem is not None:
                raise ConnectionError(problem)
            if not self._run.find():
                self._sent = 0  # another run than the one that has the rest
            self._is_found = True
        size = self._outbox.sync()
        for entries, end in _groups(self._outbox.read(self._sent, size)):
            if self._is_abandoned:
                return
            self._send(entries)
            self._note(end)
        if time.monotonic() >= self._next_sample and not self._closing.is_set():
            self._run.sample()
            self._next_sample = time.monotonic() + store_run.SAMPLING_SECONDS

    def _send(self, entries: list[Entry]) -> None:
        """Send lines together; where the store refuses them, each for itself."""
        self._is_copying = "files" in entries[0] or "table" in entries[0]
        try:
            self._run.send(entries)
            if self._is_copying:
                self._deadline = time.monotonic() + FINISH_SECONDS
        except Exception as error:
            if not is_refusal(error) or not self._run.is_there():
                raise
            if len(entries) == 1:
                self._run.leave_out(_name(entries[0]), _reason(error))
            else:
                for entry in entries:
                    self._send([entry])
        finally:
            self._is_copying = False

    def _note(self, end: int) -> None:
        if not self._is_abandoned:
            self._sent = end
            place = self._experiment
            self._outbox.write_sent(Sent(place.uri, place.experiment_id, self.run_id, end))

    def _report(self, how: str, reason: str) -> None:
        """Say it once, until the store answers again."""
        if not self._is_reported:
            self._is_reported = True
            _log.warning("tracking %s: %s; %s keeps what is left", how, reason, self._outbox.path)


def _groups(lines: Iterable[tuple[Entry, int]]) -> Iterator[tuple[list[Entry], int]]:
    """Put lines of metrics together, up to what MLflow takes at once."""
    group: list[Entry] = []
    num_points = group_end = 0
    for entry, end in lines:
        num_more = len(entry.get("metrics", ()))
        fits = num_points and num_more and num_points + num_more <= METRICS_PER_BATCH
        if group and not fits:
            yield group, group_end
            group, num_points = [], 0
        group.append(entry)
        num_points += num_more
        group_end = end
    if group:
        yield group, group_end


def _name(entry: Entry) -> str:
    """What a line is about, in few letters."""
    return ", ".join(f"{kind} {value}" for kind, value in entry.items() if kind != "time")[:200]


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
