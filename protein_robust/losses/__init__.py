"""Robust losses: `loss(logits, labels, context)` is one value per example, the loop reduces."""

from protein_robust.losses.active_passive import (
    ActivePassive,
    EpsilonSoftmax,
    NormalizedCrossEntropy,
)
from protein_robust.losses.bootstrap import BootstrapHard, BootstrapSoft
from protein_robust.losses.context import LossContext, Memory, check_inputs, check_labels
from protein_robust.losses.derivatives import IMAE, DerivativeManipulation
from protein_robust.losses.distillation import Distillation
from protein_robust.losses.early_learning import EarlyLearningRegularization
from protein_robust.losses.emphasis import EmphasisDensity, emphasis_variance
from protein_robust.losses.joint_optimization import CorrectedLabels, JointOptimization
from protein_robust.losses.label_probability import (
    GeneralizedCrossEntropy,
    MeanAbsoluteError,
    MeanSquaredError,
    ReverseCrossEntropy,
    SymmetricCrossEntropy,
)
from protein_robust.losses.proselflc import ProSelfLC
from protein_robust.losses.pseudo_label import PseudoLabel
from protein_robust.losses.reduction import (
    BatchNormalised,
    batch_objective,
    batch_total,
    global_divisor,
)
from protein_robust.losses.registry import (
    LOSSES,
    Described,
    Loss,
    RemembersExamples,
    Teacher,
    complete_parameters,
    make_loss,
    teacher_of,
)
from protein_robust.losses.rows import Rows, closed_form, row_chunks, softmax_rows
from protein_robust.losses.targets import ConfidencePenalty, CrossEntropy, LabelSmoothing
from protein_robust.losses.trust import global_trust, local_trust

__all__ = [
    "IMAE",
    "LOSSES",
    "ActivePassive",
    "BatchNormalised",
    "BootstrapHard",
    "BootstrapSoft",
    "ConfidencePenalty",
    "CorrectedLabels",
    "CrossEntropy",
    "DerivativeManipulation",
    "Described",
    "Distillation",
    "EarlyLearningRegularization",
    "EmphasisDensity",
    "EpsilonSoftmax",
    "GeneralizedCrossEntropy",
    "JointOptimization",
    "LabelSmoothing",
    "Loss",
    "LossContext",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Memory",
    "NormalizedCrossEntropy",
    "ProSelfLC",
    "PseudoLabel",
    "RemembersExamples",
    "ReverseCrossEntropy",
    "Rows",
    "SymmetricCrossEntropy",
    "Teacher",
    "batch_objective",
    "batch_total",
    "check_inputs",
    "check_labels",
    "closed_form",
    "complete_parameters",
    "emphasis_variance",
    "global_divisor",
    "global_trust",
    "local_trust",
    "make_loss",
    "row_chunks",
    "softmax_rows",
    "teacher_of",
]
