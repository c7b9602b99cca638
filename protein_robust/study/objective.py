"""The objective of a run: its loss, what that remembers, and the earlier run it learns from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.ingest import read_families
from protein_robust.losses import Loss, RemembersExamples, make_loss, teacher_of
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import RunData
from protein_robust.training import (
    MEMORY_FILE,
    Objective,
    find_checkpoint,
    load_weights,
    read_checkpoint,
    read_memory,
)


def run_loss(run: PlannedRun) -> Loss:
    """The loss of a run, with all its parameters."""
    parameters = {name: value for name, value in run.inputs["loss"].items() if name != "name"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # given once, where the study was read
        return make_loss(run.inputs["loss"]["name"], **parameters)


def losses_of(runs: Sequence[PlannedRun]) -> dict[str, Loss]:
    """The losses of some runs, by label; of runs with the same label the first counts."""
    by_label: dict[str, Loss] = {}
    for run in runs:
        by_label.setdefault(run.loss_label, run_loss(run))
    return by_label


def make_objective(run: PlannedRun, data: RunData) -> Objective:
    """Build the loss of a run, and read from its teacher what the loss wants of it.

    Args:
        run: the run.
        data: what it reads.

    Returns:
        The objective, with a memory that is still empty where the loss has one.

    Raises:
        InputError: if the teacher is not trained to its end, or does not fit the run.
    """
    loss = run_loss(run)
    memory: dict[str, Tensor] | None = None
    if isinstance(loss, RemembersExamples):
        memory = loss.new_memory(data.size("train"), len(data.families), data.device)
    wanted = teacher_of(run.inputs["loss"]["name"])
    teacher = _network_of(run, data) if wanted == "network" else None
    if wanted == "labels":
        memory = _labels_of(run, data)
    return Objective(loss, memory, teacher, run.inputs["training"]["precision"])


def check_teachers(runs: Sequence[PlannedRun]) -> None:
    """Refuse teachers from outside of these runs that are of no use, before anything is trained.

    Args:
        runs: of a study; their data and noise are there.

    Raises:
        InputError: naming the teacher and what is wrong with it.

    Warns:
        UserWarning: if a teacher had other label noise: it may know labels that are hidden here.
    """
    folders = {run.folder for run in runs}
    for run in runs:
        if run.teacher is None or run.teacher in folders:
            continue
        metadata, checkpoint = _teacher(run)
        families = read_families(run.dataset_folder)["family_accession"].to_pylist()
        _check_teacher(run, families, metadata, checkpoint)
        inputs = metadata["inputs"]
        if _given_labels(inputs) != _given_labels(run.inputs):
            warnings.warn(
                f"the teacher {run.teacher} of {run.name} had other given labels: it may have "
                "learned what the label noise hides here",
                UserWarning,
                stacklevel=2,
            )


def _network_of(run: PlannedRun, data: RunData) -> nn.Module:
    """The trained network of the teacher, which stays as it is."""
    metadata, checkpoint = _teacher(run)
    _check_teacher(run, data.families, metadata, checkpoint)
    teacher = data.network(metadata["inputs"]["model"])
    load_weights(checkpoint, teacher)
    return teacher.to(data.device).eval().requires_grad_(False)


def _labels_of(run: PlannedRun, data: RunData) -> dict[str, Tensor]:
    """The labels that the teacher's loss arrived at; examples are told apart by position."""
    metadata, checkpoint = _teacher(run)
    _check_teacher(run, data.families, metadata, checkpoint)
    return {name: tensor.to(data.device) for name, tensor in read_memory(checkpoint).items()}


def _teacher(run: PlannedRun) -> tuple[Mapping[str, Any], Path]:
    """What the teacher's checkpoint says of itself, and the checkpoint's folder."""
    if run.teacher is None:
        raise InputError(f"a `teacher` for {run.loss_label}", "none")
    checkpoint = find_checkpoint(run.teacher)
    if not checkpoint.exists():
        raise InputError(f"a trained teacher, {run.teacher_name}", "none yet", path=checkpoint)
    content = read_checkpoint(checkpoint)
    metadata: Mapping[str, Any] = content["metadata"]
    expected = metadata["inputs"]["training"]["epochs"]
    # The best checkpoint was chosen on purpose; the last one of a broken-off training was not.
    if checkpoint.name.partition(".")[0] != "best" and content["epoch"] != expected:
        raise InputError(
            f"a teacher trained to its end, epoch {expected}",
            f"one at epoch {content['epoch']}",
            path=checkpoint,
        )
    return metadata, checkpoint


def _check_teacher(
    run: PlannedRun, families: Sequence[str], metadata: Mapping[str, Any], checkpoint: Path
) -> None:
    """Refuse a teacher that does not fit a run.

    Raises:
        InputError: if it knows other families, or its labels are of other examples or other noise.
    """
    if metadata["families"] != list(families):
        raise InputError("a teacher that knows the families of this run", "others", path=checkpoint)
    if teacher_of(run.inputs["loss"]["name"]) != "labels":
        return
    inputs = metadata["inputs"]
    if not (checkpoint / MEMORY_FILE).exists():
        name = inputs["loss"]["name"]
        raise InputError("a teacher whose loss arrives at labels", name, path=checkpoint)
    if inputs["dataset_digest"] != run.inputs["dataset_digest"]:
        raise InputError("a teacher that had the data of this run", "others", path=checkpoint)
    if _given_labels(inputs) != _given_labels(run.inputs):
        raise InputError(
            f"a teacher that had the given labels of {run.name}", "others", path=checkpoint
        )


def _given_labels(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the given labels of a run are a function of, besides the data."""
    return inputs["noise"]["label"], inputs["seed"]
