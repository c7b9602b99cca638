"""Robust losses: `loss(logits, labels, context)` is one value per example, the loop reduces."""

from protein_robust.losses.closed_form import Rows, closed_form, row_chunks, softmax_rows
from protein_robust.losses.context import LossContext, Memory, check_inputs, check_labels
from protein_robust.losses.derivatives import (
    DerivativeManipulation,
    log_emphasis,
    log_odds_against,
)
from protein_robust.losses.proselflc import ProSelfLC
from protein_robust.losses.reduction import (
    BatchNormalised,
    batch_objective,
    batch_total,
    global_total,
)
from protein_robust.losses.registry import LOSSES, Loss, make_loss
from protein_robust.losses.targets import (
    BootstrapHard,
    BootstrapSoft,
    ConfidencePenalty,
    CrossEntropy,
    LabelSmoothing,
)
from protein_robust.losses.trust import global_trust, local_trust

__all__ = [
    "LOSSES",
    "BatchNormalised",
    "BootstrapHard",
    "BootstrapSoft",
    "ConfidencePenalty",
    "CrossEntropy",
    "DerivativeManipulation",
    "LabelSmoothing",
    "Loss",
    "LossContext",
    "Memory",
    "ProSelfLC",
    "Rows",
    "batch_objective",
    "batch_total",
    "check_inputs",
    "check_labels",
    "closed_form",
    "global_total",
    "global_trust",
    "local_trust",
    "log_emphasis",
    "log_odds_against",
    "make_loss",
    "row_chunks",
    "softmax_rows",
]
