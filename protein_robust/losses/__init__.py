"""Robust losses: `loss(logits, labels, context)` is one value per example, the loop reduces."""

from protein_robust.losses.context import LossContext
from protein_robust.losses.derivatives import (
    DerivativeManipulation,
    log_emphasis,
    log_odds_against,
)
from protein_robust.losses.proselflc import ProSelfLC
from protein_robust.losses.registry import LOSSES, Loss, make_loss
from protein_robust.losses.targets import (
    BootstrapSoft,
    ConfidencePenalty,
    CrossEntropy,
    LabelSmoothing,
)
from protein_robust.losses.trust import global_trust, local_trust

__all__ = [
    "LOSSES",
    "BootstrapSoft",
    "ConfidencePenalty",
    "CrossEntropy",
    "DerivativeManipulation",
    "LabelSmoothing",
    "Loss",
    "LossContext",
    "ProSelfLC",
    "global_trust",
    "local_trust",
    "log_emphasis",
    "log_odds_against",
    "make_loss",
]
