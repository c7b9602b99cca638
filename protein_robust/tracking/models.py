"""Networks in MLflow's model registry: the two best of a study, to load, to serve, to predict with.

Only a client of the store is used. `mlflow.pyfunc.log_model` would need the store and the run to be
those of the whole process, while other threads may be sending values elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from protein_robust.tracking.outbox import Outbox
from protein_robust.tracking.stores import Experiment, connect

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Metric
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

ALIASES = ("champion", "challenger")
"""Of the best network and the next one. Others are in their runs only, as a folder: to log one as a
model takes half a second, and its weights are kept once more."""
ARTIFACT = "model"
"""What the classifier's folder is called in an MLflow model."""
REQUIREMENTS = (
    "mlflow",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "einops",
    "safetensors",
    "filelock",
)
"""What is imported where sequences are classified."""

_DIGEST = "model_sha256"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A finished training whose final network may be registered.

    Attributes:
        folder: of the run; its ``model/`` is the classifier.
        title: what the run is called.
        validation_accuracy: of its final network, by which the best is chosen.
        tags: what the version is tagged with, such as the run's key, loss, noise and seed.
        example: some sequences that show what the model takes.
    """

    folder: Path
    title: str
    validation_accuracy: float
    tags: Mapping[str, str]
    example: Sequence[str]


def register_models(
    experiment: Experiment, study: str, candidates: Sequence[Candidate]
) -> dict[str, str]:
    """Make the best final networks of a study versions of the registered model of its name.

    A network that is a version already is not logged again, so repeating this changes nothing; a
    better one that came later takes the alias. For one process at a time.

    Args:
        experiment: where the study's trainings are.
        study: its name, and that of the registered model.
        candidates: the finished trainings; of equal ones the earlier is better.

    Returns:
        The version that each alias names now: ``champion``, and ``challenger`` where there are two
        networks. Nothing where there is no candidate, or where the store failed, which is logged
        as a warning.
    """
    best = sorted(candidates, key=lambda candidate: -candidate.validation_accuracy)
    if not best:
        return {}
    try:
        client = connect(experiment.uri)
        registered = _find_or_create(client, study)
        known = _versions(client, study)
        named = {}
        for alias, candidate in zip(ALIASES, best, strict=False):
            digest = _digest(candidate.folder)
            if digest not in known:
                known[digest] = _add_version(client, experiment, study, candidate)
            named[alias] = known[digest]
        for alias in ALIASES:
            _name(client, registered, alias, named.get(alias))
    except Exception as error:  # noqa: BLE001  the networks lie in the folders of their runs
        _log.warning("tracking stopped: the models of %s are not in MLflow: %s", study, error)
        return {}
    return named


def _find_or_create(client: MlflowClient, name: str) -> RegisteredModel:
    found = client.search_registered_models(f"name = '{name}'")
    if found:
        return client.get_registered_model(name)  # a search may leave the aliases out
    about = f"The final networks of study {name} with the highest validation accuracy."
    return client.create_registered_model(name, description=about)


def _versions(client: MlflowClient, name: str) -> dict[str, str]:
    """The versions that are there, by the digest of their network."""
    found = client.search_model_versions(f"name = '{name}'")
    return {each.tags[_DIGEST]: str(each.version) for each in found if _DIGEST in each.tags}


def _name(
    client: MlflowClient, registered: RegisteredModel, alias: str, number: str | None
) -> None:
    """Give an alias to a version, or to none, where it is not so yet."""
    now = registered.aliases.get(alias)
    if number is None and now is not None:
        client.delete_registered_model_alias(registered.name, alias)
    elif number is not None and now != number:
        client.set_registered_model_alias(registered.name, alias, number)


def _add_version(
    client: MlflowClient, experiment: Experiment, name: str, candidate: Candidate
) -> str:
    """Log a network as a model and register it; half a model is removed."""
    sent = Outbox(candidate.folder).read_sent()
    run_id = sent.run_id if sent is not None and sent.is_in(experiment) else None
    if run_id is None:
        raise ValueError(f"the run in {candidate.folder} is not there yet")
    tags = {
        "validation_accuracy": f"{candidate.validation_accuracy:.4f}",
        **candidate.tags,
        "study": name,
        _DIGEST: _digest(candidate.folder),
    }
    model = client.create_logged_model(
        experiment.experiment_id,
        name=name.replace(".", "-"),  # MLflow wants no full stop there
        source_run_id=run_id,
        tags=tags,
        params=client.get_run(run_id).data.params,
        model_type="classifier",
    )
    try:
        with tempfile.TemporaryDirectory(prefix="protein-robust-") as place:
            _save(Path(place) / "saved", model, candidate, run_id)
            client.log_model_artifacts(model.model_id, str(Path(place) / "saved"))
        client.finalize_logged_model(model.model_id, "READY")
        _link(client, run_id, model.model_id, candidate.folder)
        # By its place: `models:/ID` would be looked up in the store of the process.
        source = model.artifact_location
        made = client.create_model_version(
            name,
            source,
            run_id,
            tags=tags,
            description=candidate.title,
            model_id=model.model_id,
        )
    except BaseException:
        client.delete_logged_model(model.model_id)
        raise
    return str(made.version)


def _save(folder: Path, model: LoggedModel, candidate: Candidate, run_id: str) -> None:
    """Write an MLflow model: the classifier's folder, this package, what it needs, an example."""
    from mlflow.models import Model
    from mlflow.types.schema import ColSpec, Schema

    from protein_robust.classifier import Classifier

    # MLflow only warns where the example gives no answer.
    Classifier.load(candidate.folder / "model")
    place = Path(__file__).resolve()
    with warnings.catch_warnings():
        # MLflow says so of type hints of its own.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)
        from mlflow.pyfunc import save_model

        from protein_robust.tracking.serving import Answer

        about = Model(
            artifact_path=model.artifact_location,
            run_id=run_id,
            model_id=model.model_id,
            model_uuid=model.model_id,
        )
        save_model(
            str(folder),
            mlflow_model=about,
            python_model=str(place.with_name("serving.py")),
            artifacts={ARTIFACT: str(candidate.folder / "model")},
            code_paths=[str(place.parent.parent)],
            input_example=list(candidate.example),
            # Given in full: to find them out, MLflow would load the model elsewhere for 18 seconds.
            pip_requirements=list(requirements()),
        )
    # Of what comes out, MLflow reads no more than that it is a list.
    about.signature.outputs = Schema(
        [
            ColSpec(
                "double" if kind in (float, float | None) else "string",
                name,
                required=kind in (float, str),
            )
            for name, kind in Answer.__annotations__.items()
        ]
    )
    about.save(str(folder / "MLmodel"))


def requirements() -> Iterator[str]:
    """Name the packages that a served model needs, as they are in this environment."""
    for name in REQUIREMENTS:
        # A build for one kind of machine (2.13.0+cpu) is no version that others could install.
        yield f"{name}=={version(name).partition('+')[0]}"


def _link(client: MlflowClient, run_id: str, model_id: str, folder: Path) -> None:
    """Show the model on the page of its run, and the run's single values on that of the model."""
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    client.log_batch(run_id, metrics=list(_values(folder, model_id)))


def _values(folder: Path, model_id: str) -> Iterator[Metric]:
    """The values of the final network, just as they were logged, so the run keeps each once."""
    from mlflow.entities import Metric

    for entry, _ in Outbox(folder).read(0):
        for key, value in entry.get("metrics", {}).items():
            if key.startswith("final/") and entry["step"] == 0:
                yield Metric(key, value, entry["time"], 0, model_id=model_id)


def _digest(folder: Path) -> str:
    """Of the classifier in a run's folder: `model.json` has the digests of its other files."""
    return hashlib.sha256((folder / "model" / "model.json").read_bytes()).hexdigest()
