"""The losses by name, and the one way to make one from a configuration.

A new loss is a frozen dataclass with keyword fields, checked when constructed, `batch_weighted` and
the call of `Loss`; plus its line in `LOSSES`. What some losses have besides: `example_weights`
(`BatchNormalised`), `new_memory` (`RemembersExamples`), `describe` (`Described`), and the class
attribute `teacher`.
"""

from __future__ import annotations

import warnings
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.active_passive import (
    ActivePassive,
    EpsilonSoftmax,
    NormalizedCrossEntropy,
)
from protein_robust.losses.bootstrap import BootstrapHard, BootstrapSoft
from protein_robust.losses.context import LossContext
from protein_robust.losses.derivatives import IMAE, DerivativeManipulation
from protein_robust.losses.distillation import Distillation
from protein_robust.losses.early_learning import EarlyLearningRegularization
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
from protein_robust.losses.targets import ConfidencePenalty, CrossEntropy, LabelSmoothing


class Loss(Protocol):
    """What the training loop needs of a loss."""

    @property
    def batch_weighted(self) -> bool:
        """Whether the gradient of one example depends on the others of its batch."""

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Give one value per example.

        Args:
            logits: unnormalised scores z, shape (B, K), floating.
            labels: given classes, shape (B,), int64 in [0, K).
            context: progress of the training, positions of the examples, and whatever the loss
                asks for besides.

        Returns:
            Values, shape (B,), float32, or float64 for float64 logits; what a training step
            minimises is `protein_robust.losses.batch_objective` of them.

        Raises:
            ValueError: if a shape, a dtype or (on the CPU) a label is wrong.
        """


@runtime_checkable
class RemembersExamples(Protocol):
    """A loss that keeps something about each training example, in `LossContext.memory`."""

    def new_memory(
        self, num_examples: int, num_classes: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The memory before the training.

        Args:
            num_examples: N, of the training set.
            num_classes: K.
            device: where it shall be.

        Returns:
            Tensors with N rows each, by name.
        """


@runtime_checkable
class Described(Protocol):
    """A loss that can say more of an example than its value."""

    def describe(self, logits: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor]:
        """Numbers to monitor, such as the trust in each example.

        Args:
            logits: unnormalised scores z, shape (B, K), floating.
            labels: given classes, shape (B,), int64.
            progress: of the training, in [0, 1].

        Returns:
            Arrays of shape (B,), detached, by name.
        """


Teacher = Literal["network", "labels"]
"""What a loss takes from another run: its network, or the labels that its loss arrived at."""


LOSSES: dict[str, type] = {
    "cross_entropy": CrossEntropy,
    "label_smoothing": LabelSmoothing,
    "confidence_penalty": ConfidencePenalty,
    "bootstrap_soft": BootstrapSoft,
    "bootstrap_hard": BootstrapHard,
    "pseudo_label": PseudoLabel,
    "joint_optimization": JointOptimization,
    "corrected_labels": CorrectedLabels,
    "distillation": Distillation,
    "proselflc": ProSelfLC,
    "derivative_manipulation": DerivativeManipulation,
    "imae": IMAE,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "generalized_cross_entropy": GeneralizedCrossEntropy,
    "reverse_cross_entropy": ReverseCrossEntropy,
    "symmetric_cross_entropy": SymmetricCrossEntropy,
    "normalized_cross_entropy": NormalizedCrossEntropy,
    "active_passive": ActivePassive,
    "epsilon_softmax": EpsilonSoftmax,
    "early_learning_regularization": EarlyLearningRegularization,
}


def make_loss(name: str, **parameters: Any) -> Loss:
    """Construct a loss by name.

    Args:
        name: a key of `LOSSES`.
        **parameters: fields of that loss; those not given keep their defaults.

    Returns:
        The loss.

    Raises:
        InputError: if the name or a parameter is unknown, or a value is not allowed.

    Example:
        >>> make_loss("label_smoothing", epsilon=0.1)
        LabelSmoothing(epsilon=0.1)
        >>> make_loss("lablesmoothing")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        protein_robust.errors.InputError: Expected a loss out of cross_entropy, label_smoothing, ...
    """
    if name not in LOSSES:
        raise InputError(f"a loss out of {_listed(name, list(LOSSES))}", repr(name))
    factory = LOSSES[name]
    known = [field.name for field in fields(factory)]
    for parameter in parameters:
        if parameter not in known:
            choices = _listed(parameter, known) if known else "none at all"
            raise InputError(f"a parameter of `{name}` out of {choices}", repr(parameter))
    loss: Loss = factory(**parameters)
    return loss


def complete_parameters(name: str, **parameters: Any) -> dict[str, Any]:
    """All parameters of a loss as they are, defaults written out.

    Args:
        name: a key of `LOSSES`.
        **parameters: those that are given.

    Returns:
        Value by name; 12 and 12.0 are one where a real number is meant.

    Raises:
        InputError: if the name or a parameter is unknown, or a value is not allowed.

    Example:
        >>> complete_parameters("bootstrap_hard", epsilon=1)
        {'epsilon': 1.0}
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they belong where the loss is made to be used
        made: Any = make_loss(name, **parameters)
    complete: dict[str, Any] = {}
    for field in fields(made):
        value = getattr(made, field.name)
        is_real = type(value) is int and field.type != "int"
        complete[field.name] = float(value) if is_real else value
    return complete


def teacher_of(name: str) -> Teacher | None:
    """What a loss of `LOSSES` takes from another run; None for nothing.

    Example:
        >>> teacher_of("cross_entropy") is None
        True
    """
    teacher: Teacher | None = getattr(LOSSES[name], "teacher", None)
    return teacher


def _listed(word: str, choices: list[str]) -> str:
    nearest = get_close_matches(word, choices, n=1)
    hint = f" (the nearest is {nearest[0]})" if nearest else ""
    return ", ".join(choices) + hint
