"""One training as one flat MLflow run: its parameters, curves, data, files.

The training's own files are the record; tracking is a copy for the eye. So once `prepare` has
passed, no failure here stops a training: the first one is reported through logging, with where the
values still are, and the rest of the run goes untracked.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from protein_robust.tracking.artifacts import copy_files
from protein_robust.tracking.source import source_tags
from protein_robust.tracking.stores import Experiment, connect, is_reachable, sqlite_path

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric
    from mlflow.tracking import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]

SAMPLING_SECONDS = 5.0
"""Time between two readings of processor, memory and accelerator."""
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000
DIGEST_LENGTH = 16
"""As many characters of a digest as the list of runs shows; MLflow takes up to 36."""

_log = logging.getLogger(__name__)


class TrainingRun:
    """One training in MLflow; made by `start_run`, or idle where tracking failed to start.

    As a context manager it ends as FINISHED, as KILLED by Ctrl-C, as FAILED by any other exception.

    Attributes:
        run_id: MLflow's identifier, to be kept for continuing the run; None where none was made.
        is_resumed: whether an earlier run goes on.
        failed: whether tracking has stopped before its end.
    """

    def __init__(self, experiment: Experiment, *, history_path: Path) -> None:
        """Hold nothing yet; `start_run` opens the run."""
        self.run_id: str | None = None
        self.is_resumed = False
        self.failed = False
        self._experiment = experiment
        self._history_path = history_path
        self._open_client: MlflowClient | None = None
        self._stop_monitor: Callable[[], None] = _nothing
        self._tracked_epochs: set[int] | None = None

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add one point to each curve.

        An epoch that a resumed run already holds is left as it is. An infinite value is logged as
        NaN, which leaves the scale of the chart readable.

        Args:
            epoch: the step of the curves.
            metrics: values by name; the part before ``/`` groups charts, as in ``test/accuracy``.
        """
        self._attempt(lambda: self._log_epoch(epoch, metrics))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log values that the run has once, shown as bars across runs."""
        self._attempt(lambda: self._log_batches(metrics, step=0))

    def log_dataset(self, name: str, *, digest: str, source: str, context: str) -> None:
        """Name the data of this training.

        Args:
            name: shown in the list of runs.
            digest: our digest of the whole content, cut to 16 characters; MLflow's own looks only
                at the head of a table, so it would not see corrupted labels.
            source: the dataset folder.
            context: what it was used for, such as ``training``.
        """
        self._attempt(lambda: self._log_dataset(name, digest[:DIGEST_LENGTH], source, context))

    def log_files(self, paths: Iterable[Path], artifact_path: str | None = None) -> None:
        """Copy files and whole folders to the run.

        Args:
            paths: files, or folders whose content is copied.
            artifact_path: folder of the run to put them in; None for its root.
        """
        self._attempt(lambda: copy_files(self._client, self._id, paths, artifact_path))

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run; after a failure, close it only if the store answers again."""
        if self.run_id is None:
            return
        if not self.failed:
            self._attempt(self._stop_monitor)
            self._attempt(lambda: self._client.set_terminated(self._id, status))
        elif is_reachable(self._experiment.uri):
            self.failed = False
            self._attempt(
                lambda: self._client.set_tag(self._id, "tracking", "stopped before the end")
            )
            self._attempt(lambda: self._client.set_terminated(self._id, status))
            self.failed = True

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

    @property
    def _client(self) -> MlflowClient:
        if self._open_client is None:
            path = sqlite_path(self._experiment.uri)
            if path is not None and not path.is_file():
                # MLflow would create a new store here, without the experiment.
                raise FileNotFoundError(f"no tracking database at {path}")
            self._open_client = connect(self._experiment.uri)
        return self._open_client

    @property
    def _id(self) -> str:
        assert self.run_id is not None  # `_attempt` does nothing on a run that never opened
        return self.run_id

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do it unless tracking has stopped; the first failure stops it, with one warning."""
        if self.failed:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  whatever a store raises must not end a training
            self.failed = True
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            _log.warning("tracking stopped: %s; metrics stay in %s", reason, self._history_path)

    def _open(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], run_id: str | None
    ) -> None:
        found = None if run_id is None else _find_run(self._client, run_id)
        if run_id is not None and found is not None:
            self.run_id, self.is_resumed, old_params = run_id, True, found
            self._client.update_run(run_id, status="RUNNING")
        else:
            run = self._client.create_run(
                self._experiment.experiment_id, tags=dict(tags), run_name=name
            )
            self.run_id, old_params = str(run.info.run_id), frozenset[str]()
        _log_params(self._client, self._id, params, old_params)
        self._stop_monitor = _start_monitor(self._experiment.uri, self._id, self.is_resumed)

    def _log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if self.is_resumed and self._tracked_epochs is None and metrics:
            history = self._client.get_metric_history(self._id, next(iter(metrics)))
            self._tracked_epochs = {point.step for point in history}
        if epoch not in (self._tracked_epochs or ()):
            self._log_batches(metrics, step=epoch)

    def _log_batches(self, metrics: Mapping[str, float], *, step: int) -> None:
        points = list(_points(metrics, step))
        for start in range(0, len(points), METRICS_PER_BATCH):
            self._client.log_batch(self._id, metrics=points[start : start + METRICS_PER_BATCH])

    def _log_dataset(self, name: str, digest: str, source: str, context: str) -> None:
        self._client.log_inputs(self._id, dataset_inputs(name, digest, source, context))


def start_run(
    experiment: Experiment,
    name: str,
    *,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    history_path: Path,
    run_id: str | None = None,
) -> TrainingRun:
    """Open the run of one training, or continue an interrupted one.

    Args:
        experiment: where `prepare` said.
        name: shown in the list of runs.
        params: flat settings by dotted name; a resumed run keeps those it already has.
        tags: ``study`` and whatever finds the run again; ``stage=train`` and the commit of the code
            are added.
        history_path: the file that keeps the metrics whatever happens here, named in the warning.
        run_id: the run to continue; one that is gone or deleted is replaced by a new run.

    Returns:
        The open run, or one with ``failed`` set and every method idle.
    """
    run = TrainingRun(experiment, history_path=history_path)
    all_tags = {**source_tags(), "stage": "train", **tags}
    run._attempt(lambda: run._open(name, params, all_tags, run_id))
    return run


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


def _nothing() -> None:
    """Stand for the monitor of a run that has none."""


def _find_run(client: MlflowClient, run_id: str) -> frozenset[str] | None:
    """Give the parameter names of a run that can go on, None where there is no such run."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return frozenset(run.data.params) if run.info.lifecycle_stage == "active" else None


def _log_params(
    client: MlflowClient, run_id: str, params: Mapping[str, object], known: frozenset[str]
) -> None:
    """Log the parameters that the run lacks, in batches as large as MLflow takes."""
    from mlflow.entities import Param

    new = [Param(key, str(value)) for key, value in params.items() if key not in known]
    for start in range(0, len(new), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=new[start : start + PARAMS_PER_BATCH])


def _points(metrics: Mapping[str, float], step: int) -> Iterator[Metric]:
    """Make MLflow's points of one moment."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for key, value in metrics.items():
        yield Metric(key, math.nan if math.isinf(value) else float(value), now, step)


def _start_monitor(uri: str, run_id: str, is_resumed: bool) -> Callable[[], None]:
    """Watch processor, memory and accelerator in a thread; returns what stops it."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(
        run_id,
        sampling_interval=SAMPLING_SECONDS,
        resume_logging=is_resumed,
        tracking_uri=uri,
    )
    monitor.start()

    def stop() -> None:
        monitor.finish()

    return stop
