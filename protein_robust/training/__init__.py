"""The training loop, its schedule and its checkpoints."""

from protein_robust.training.checkpoint import (
    Checkpoints,
    TrainingState,
    load_weights,
    read_checkpoint,
)
from protein_robust.training.loop import Observer, StepReport, TrainingDiverged, fit
from protein_robust.training.schedule import FitOptions, learning_rate_factor, make_optimizer

__all__ = [
    "Checkpoints",
    "FitOptions",
    "Observer",
    "StepReport",
    "TrainingDiverged",
    "TrainingState",
    "fit",
    "learning_rate_factor",
    "load_weights",
    "make_optimizer",
    "read_checkpoint",
]
