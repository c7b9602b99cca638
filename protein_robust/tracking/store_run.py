"""One run in a store: the lines of an outbox as calls of MLflow.

Each call may come twice, after an answer that was lost: the second time changes nothing.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protein_robust.tracking.artifacts import copy_files
from protein_robust.tracking.outbox import Entry
from protein_robust.tracking.stores import Experiment, connect
from protein_robust.tracking.tables import put_table

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    from mlflow.tracking import MlflowClient

DIGEST_LENGTH = 16
"""As many characters of a digest as the list of runs shows; MLflow takes up to 36."""
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000
SAMPLING_SECONDS = 5.0
"""Time between two readings of processor, memory and accelerator."""

_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
_CONTENT_TOO_LARGE = 413
_log = logging.getLogger(__name__)


class StoreRun:
    """The run of one outbox.

    Args:
        experiment: where `prepare` said.
        token: names the outbox.
        run_id: the run that was there before, if there was one.

    Attributes:
        run_id: MLflow's identifier; None before `find` or `send` has one.
    """

    def __init__(self, experiment: Experiment, token: str, run_id: str | None) -> None:
        """Hold nothing yet."""
        self.run_id = run_id
        self._experiment = experiment
        self._token = token
        self._open_client: MlflowClient | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._started = 0

    def find(self) -> bool:
        """Look for the run; tells whether it is still the one that was known."""
        known, found = self.run_id, self._same_run()
        self.run_id = known if known in found else min(found, default=None)
        return self.run_id == known

    def is_there(self) -> bool:
        """Tell whether the run is there and not deleted."""
        return self.run_id in self._same_run()

    def send(self, entries: Sequence[Entry]) -> None:
        """Do what lines say: one of any kind, or several of metrics."""
        first = entries[0]
        if "metrics" in first:
            self._log_points([point for entry in entries for point in _points(entry)])
        elif "open" in first:
            self._open(first["open"], first["time"])
        elif "dataset" in first:
            self._client.log_inputs(self._id, dataset_inputs(**first["dataset"]))
        elif "files" in first:
            self._copy([Path(path) for path in first["files"]], first["to"])
        elif "table" in first:
            put_table(self._client, self._id, first["table"], first["cells"])
        elif "end" in first:
            self._client.set_terminated(self._id, first["end"], end_time=first["time"])
            # A request that got no answer may have made a second run later.
            for twin in self._same_run() - {self.run_id}:
                self._client.delete_run(twin)

    def leave_out(self, what: str, reason: str) -> None:
        """Say, here and in the run, that it lacks something."""
        self._client.set_tag(self._id, "tracking", "incomplete")
        _log.warning("tracking leaves out %s: %s", what, reason)

    def sample(self) -> None:
        """Log processor, memory and accelerator; where that fails, this reading is lost."""
        if self.run_id is None:
            return
        if self._monitor is None:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._started = self._client.get_run(self.run_id).info.start_time
            self._monitor = SystemMetricsMonitor(self.run_id, tracking_uri=self._experiment.uri)
        self._monitor.collect_metrics()
        values = {f"system/{name}": v for name, v in self._monitor.aggregate_metrics().items()}
        for part in self._monitor.monitors:
            part.clear_metrics()
        now = int(time.time() * 1000)
        step = int((now - self._started) / (SAMPLING_SECONDS * 1000))
        self._log_points(list(_points({"metrics": values, "time": now, "step": step})))

    @property
    def _client(self) -> MlflowClient:
        if self._open_client is None:
            self._open_client = connect(self._experiment.uri)
        return self._open_client

    @property
    def _id(self) -> str:
        assert self.run_id is not None  # every outbox begins with the opening of the run
        return self.run_id

    def _same_run(self) -> set[str]:
        """The runs of this outbox: one, but for those that a lost answer has left."""
        runs = self._client.search_runs(
            [self._experiment.experiment_id], f"tags.outbox = '{self._token}'"
        )
        return {str(run.info.run_id) for run in runs}

    def _open(self, opened: Entry, now: int) -> None:
        from mlflow.entities import Param

        if self.run_id is None:
            made = self._client.create_run(
                self._experiment.experiment_id,
                start_time=now,
                tags=opened["tags"],
                run_name=opened["name"],
            )
            self.run_id = str(made.info.run_id)
        else:
            self._client.update_run(self.run_id, status="RUNNING")
        known = self._client.get_run(self.run_id).data.params
        new = [Param(key, text) for key, text in opened["params"].items() if key not in known]
        for start in range(0, len(new), PARAMS_PER_BATCH):
            self._client.log_batch(self.run_id, params=new[start : start + PARAMS_PER_BATCH])

    def _log_points(self, points: list[Metric]) -> None:
        for start in range(0, len(points), METRICS_PER_BATCH):
            self._client.log_batch(self._id, metrics=points[start : start + METRICS_PER_BATCH])

    def _copy(self, paths: list[Path], artifact_path: str | None) -> None:
        for path in paths:
            if path.exists():
                copy_files(self._client, self._id, [path], artifact_path)
            else:
                self.leave_out(str(path), "it is not there any more")


def is_refusal(error: Exception) -> bool:
    """Tell an answer that will always be the same from a store that is away."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    answer = error.response if isinstance(error, HTTPError) else None
    return answer is not None and answer.status_code == _CONTENT_TOO_LARGE


def dataset_inputs(name: str, digest: str, source: str, context: str) -> list[DatasetInput]:
    """Describe a data set as MLflow's inputs of a run.

    Args:
        name: shown in the list of runs.
        digest: up to 36 characters.
        source: the dataset folder.
        context: what it was used for.

    Returns:
        One input.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name, digest, source_type="local", source=json.dumps({"uri": source}))
    return [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]


def _points(entry: Entry) -> Iterator[Metric]:
    """Make MLflow's points of one moment."""
    from mlflow.entities import Metric

    for key, value in entry["metrics"].items():
        yield Metric(key, value, entry["time"], entry["step"])
