"""The training loop, its schedule and its checkpoints."""

from protein_robust.training.checkpoint import (
    MEMORY_FILE,
    Checkpoints,
    TrainingState,
    checkpoint_digest,
    find_checkpoint,
    load_weights,
    read_checkpoint,
    read_memory,
)
from protein_robust.training.loop import Observer, Record, StepReport, TrainingDiverged, fit
from protein_robust.training.objective import Objective
from protein_robust.training.schedule import FitOptions, learning_rate_factor, make_optimizer

__all__ = [
    "MEMORY_FILE",
    "Checkpoints",
    "FitOptions",
    "Objective",
    "Observer",
    "Record",
    "StepReport",
    "TrainingDiverged",
    "TrainingState",
    "checkpoint_digest",
    "find_checkpoint",
    "fit",
    "learning_rate_factor",
    "load_weights",
    "make_optimizer",
    "read_checkpoint",
    "read_memory",
]
