"""The objective of a run: its loss, what that remembers, and the earlier run it learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protein_robust.errors import InputError
from protein_robust.losses import Loss, RemembersExamples, make_loss, teacher_of
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.study.data import RunData
from protein_robust.study.plan import PlannedRun
from protein_robust.training import (
    Objective,
    find_checkpoint,
    load_weights,
    read_checkpoint,
    read_memory,
)


def run_loss(run: PlannedRun) -> Loss:
    """The loss of a run, with all its parameters."""
    parameters = {name: value for name, value in run.inputs["loss"].items() if name != "name"}
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
        InputError: if the teacher is not trained to its end, or learned other families or examples.
    """
    loss = run_loss(run)
    num_examples, num_classes = len(data.datasets["train"]), len(data.families)
    memory: dict[str, Tensor] | None = None
    if isinstance(loss, RemembersExamples):
        memory = loss.new_memory(num_examples, num_classes, data.device)
    wanted = teacher_of(run.inputs["loss"]["name"])
    if wanted == "network":
        return Objective(loss, memory, _network_of(run, data))
    if wanted == "labels":
        memory = _labels_of(run, num_examples, data.device)
    return Objective(loss, memory)


def _network_of(run: PlannedRun, data: RunData) -> nn.Module:
    """The trained network of the teacher, which stays as it is."""
    metadata, checkpoint = _teacher(run)
    if metadata["families"] != data.families:
        raise InputError("a teacher that knows the families of this run", "others", path=checkpoint)
    shape = metadata["inputs"]["model"]
    config = ProtCNNConfig(**{**shape, "dilations": tuple(shape["dilations"])})
    teacher = ProtCNN(config, len(data.families))
    load_weights(checkpoint, teacher)
    return teacher.to(data.device).eval().requires_grad_(False)


def _labels_of(run: PlannedRun, num_examples: int, device: torch.device) -> dict[str, Tensor]:
    """The labels that the teacher's loss arrived at; they are told apart by position."""
    metadata, checkpoint = _teacher(run)
    expected = run.inputs["dataset_digest"]
    if metadata["inputs"]["dataset_digest"] != expected:
        raise InputError("a teacher that had the data of this run", "others", path=checkpoint)
    memory = read_memory(checkpoint)
    if any(len(tensor) != num_examples for tensor in memory.values()):
        raise InputError(f"labels of {num_examples} examples", "of others", path=checkpoint)
    return {name: tensor.to(device) for name, tensor in memory.items()}


def _teacher(run: PlannedRun) -> tuple[Mapping[str, Any], Path]:
    """What the teacher's checkpoint says of itself, and the checkpoint's folder."""
    if run.teacher is None:
        raise InputError(f"a `teacher` for {run.loss_label}", "none")
    checkpoint = find_checkpoint(run.teacher)
    content = read_checkpoint(checkpoint)
    metadata: Mapping[str, Any] = content["metadata"]
    expected = metadata["inputs"]["training"]["epochs"]
    if content["epoch"] != expected:
        raise InputError(
            f"a teacher trained to its end, epoch {expected}",
            f"one at epoch {content['epoch']}",
            path=checkpoint,
        )
    return metadata, checkpoint
