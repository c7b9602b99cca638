"""The runs of a study: one for each loss, noise setting and seed, with all one needs to know.

A run is a function of its inputs: the data set's digest, the noise, the network, the training, the
loss with all its parameters, and the seed. Their hash is in the name of the run's folder, so a run
is never mistaken for one with other inputs, and one that is finished need not be run again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protein_robust.atomic import replace_file
from protein_robust.config import ImageDataConfig, LossConfig, NoiseConfig, StudyConfig, slug
from protein_robust.errors import InputError
from protein_robust.ingest import ingest, is_current, read_manifest
from protein_robust.ingest.images import are_current, ingest_images
from protein_robust.ingest.store import is_complete
from protein_robust.losses import complete_parameters
from protein_robust.training import checkpoint_digest

SCHEMA_VERSION = 6
"""Part of a run's inputs: raised when the meaning of a setting changes, so that runs are redone."""


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study, ready to be carried out anywhere.

    Attributes:
        study: name of the study.
        name: of the run, unique in the study.
        key: hash of all inputs, hexadecimal.
        folder: where the run writes.
        dataset_folder: what it reads.
        noise_folder: the noise that it reads.
        noise: name of the noise setting, as tables show it.
        loss_label: the loss, as tables show it.
        inputs: everything that the result depends on.
        teacher: what this one learns from: the folder of a run, or of one checkpoint; or None.
        teacher_name: the teacher as the study names it; None for none.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of the training.
        checkpoints: when they are written, and how many are kept.
    """

    study: str
    name: str
    key: str
    folder: Path
    dataset_folder: Path
    noise_folder: Path
    noise: str
    loss_label: str
    inputs: Mapping[str, Any]
    teacher: Path | None
    teacher_name: str | None
    device: str
    threads: int
    checkpoints: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of the noise, the initial weights, the order and the crops."""
        return int(self.inputs["seed"])

    @property
    def title(self) -> str:
        """The run in words, what differs most first, since lists cut long names on the right."""
        return f"{self.loss_label} | {self.noise} | seed {self.seed}"

    @property
    def is_of_images(self) -> bool:
        """Whether its examples are images, not sequences."""
        return "augmentation" in self.inputs

    @property
    def is_done(self) -> bool:
        """Whether it was trained and evaluated with these very inputs."""
        files = set(RESULT_FILES) - ({CLASSIFIER_FILE} if self.is_of_images else set())
        return all((self.folder / name).exists() for name in files)

    def write(self) -> None:
        """Write `run.json`, from which `read_run` gets the run back."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            **asdict(self),
            "folder": self.folder.name,
            "noise_folder": self.noise_folder.name,  # by name, since a study may be moved
            "teacher": self._teacher_place(),
            "dataset_folder": str(self.dataset_folder.absolute()),
        }
        write_json(self.folder / "run.json", content)

    def _teacher_place(self) -> str | None:
        if self.teacher is None:
            return None
        is_beside = self.teacher.parent == self.folder.parent
        return self.teacher.name if is_beside else str(self.teacher.absolute())


CLASSIFIER_FILE = "model/model.json"
"""The mark of a classifier of sequences; a run on images has none."""

RESULT_FILES = (
    "predictions.parquet",
    "evaluation/groups.parquet",
    CLASSIFIER_FILE,
    "metrics.json",
    "history.jsonl",
    "done.json",
)
"""What a finished run has besides `run.json`; the last is written when the others are there."""


def read_run(folder: Path) -> PlannedRun:
    """Read a run from its folder.

    Raises:
        InputError: if the folder holds no run, or one of another version.
    """
    path = folder / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        places = {
            "folder": folder,
            "noise_folder": folder.absolute().parent.parent / "noise" / content["noise_folder"],
            "dataset_folder": Path(content["dataset_folder"]),
            # A name is that of a run beside this one; an absolute path stays what it is.
            "teacher": content["teacher"] and folder.parent / content["teacher"],
        }
        return PlannedRun(**{**content, **places})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the folder of a run", "none that has a readable run.json", path=folder
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON under a temporary name, then rename."""
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False)
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _without_nan(value: Any) -> Any:
    """NaN as null, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def prepare_data(
    study: StudyConfig, on_progress: Callable[[int, int, int], None] | None = None
) -> tuple[Mapping[str, Any], bool]:
    """Ingest the study's data, unless the data set is there already.

    Args:
        study: names the sources, the options and the folder.
        on_progress: called with records, bytes done and bytes in all.

    Returns:
        The manifest, and whether it was made now.

    Raises:
        InputError: if the data cannot be used.
    """
    if study.data.dataset is not None:
        manifest = read_manifest(study.data.dataset)
        if not is_complete(study.data.dataset, manifest):
            expected, actual = "a whole dataset folder", "one that lacks a file"
            raise InputError(expected, actual, path=study.data.dataset)
        return manifest, False
    folder = study.dataset_folder
    if isinstance(study.data, ImageDataConfig):
        images = study.data.image_options()
        if are_current(folder, images):
            return read_manifest(folder), False
        return ingest_images(images, folder, on_progress=on_progress), True
    sources, options = study.data.sources(), study.data.ingest_options()
    if is_current(folder, sources, options=options):
        return read_manifest(folder), False
    return ingest(sources, folder, options=options, on_progress=on_progress), True


def plan_runs(study: StudyConfig, dataset_digest: str) -> list[PlannedRun]:
    """List the runs of a study: by noise setting, then seed, then loss.

    Args:
        study: what to run.
        dataset_digest: of the ingested data.

    Returns:
        The runs.

    Raises:
        InputError: if the teacher of a loss is neither an earlier loss nor a trained run.
    """
    runs = []
    for noise in study.noise:
        for seed in study.seeds:
            earlier: dict[str, PlannedRun] = {}  # by label: the teachers there can be
            for loss in study.losses:
                run = _plan_run(study, dataset_digest, noise, loss=loss, seed=seed, earlier=earlier)
                runs.append(run)
                earlier[loss.label] = run
    return runs


def select_runs(
    runs: Iterable[PlannedRun],
    *,
    loss: Collection[str] = (),
    noise: Collection[str] = (),
    seed: Collection[int] = (),
) -> list[PlannedRun]:
    """The runs with one of the given losses, noise settings and seeds; none given means any.

    Args:
        runs: to choose from.
        loss: labels of losses.
        noise: names of noise settings.
        seed: seeds.

    Returns:
        The chosen runs, in their order.
    """
    return [
        run
        for run in runs
        if (not loss or run.loss_label in loss)
        and (not noise or run.noise in noise)
        and (not seed or run.seed in seed)
    ]


def _plan_run(
    study: StudyConfig,
    dataset_digest: str,
    noise: NoiseConfig,
    *,
    loss: LossConfig,
    seed: int,
    earlier: Mapping[str, PlannedRun],
) -> PlannedRun:
    # Defaults of the loss are written out, so a changed default is another run.
    parameters = complete_parameters(loss.name, **loss.parameters)
    noise_inputs = {"crop": noise.crop.model_dump(), "label": noise.label.model_dump()}
    inputs = {
        "schema_version": SCHEMA_VERSION,
        "dataset_digest": dataset_digest,
        "noise": noise_inputs,
        "model": study.model.model_dump(),
        "training": study.training_of(loss).model_dump(),
        "loss": {"name": loss.name, **parameters},
        "seed": seed,
    }
    if study.is_of_images:
        inputs["augmentation"] = study.augmentation.model_dump()
    teacher = None
    if loss.teacher is not None:
        of_study = earlier.get(loss.teacher)
        teacher = Path(loss.teacher) if of_study is None else of_study.folder
        inputs["teacher"] = checkpoint_digest(teacher) if of_study is None else of_study.key
    key = _digest(inputs)
    noise_key = _digest({**noise_inputs, "dataset": dataset_digest, "seed": seed})
    name = f"{slug(noise.name)}-{slug(loss.label)}-seed{seed}"
    return PlannedRun(
        study=study.name,
        name=name,
        key=key,
        folder=study.folder / "runs" / f"{name}-{key[:8]}",
        dataset_folder=study.dataset_folder,
        noise_folder=study.folder / "noise" / f"{slug(noise.name)}-seed{seed}-{noise_key[:8]}",
        noise=noise.name,
        loss_label=loss.label,
        inputs=inputs,
        teacher=teacher,
        teacher_name=loss.teacher,
        device=study.device,
        threads=study.threads,
        checkpoints=study.checkpoints.model_dump(),
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
