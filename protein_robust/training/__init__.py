"""The training loop, its schedule and its checkpoints."""

from protein_robust.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    checkpoint_digest,
    find_checkpoint,
)
from protein_robust.training.checkpoint_files import (
    MEMORY_FILE,
    load_weights,
    read_checkpoint,
    read_memory,
)
from protein_robust.training.loop import fit
from protein_robust.training.objective import Objective
from protein_robust.training.observer import Observer, Record, StepReport, TrainingDiverged
from protein_robust.training.schedule import FitOptions, learning_rate_factor, make_optimizer
from protein_robust.training.state import TrainingState
from protein_robust.training.stopping import Stopped

__all__ = [
    "MEMORY_FILE",
    "CheckpointError",
    "Checkpoints",
    "FitOptions",
    "Objective",
    "Observer",
    "Record",
    "StepReport",
    "Stopped",
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
