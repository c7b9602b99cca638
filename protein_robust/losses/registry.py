"""The losses by name, and the one way to make one from a configuration.

A new loss is a frozen dataclass with keyword fields, checked when constructed, a class attribute
`batch_weighted` and the call of `Loss`; plus its line in `LOSSES`.
"""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from typing import Any, ClassVar, Protocol

from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses.context import LossContext
from protein_robust.losses.derivatives import DerivativeManipulation
from protein_robust.losses.proselflc import ProSelfLC
from protein_robust.losses.targets import (
    BootstrapHard,
    BootstrapSoft,
    ConfidencePenalty,
    CrossEntropy,
    LabelSmoothing,
)


class Loss(Protocol):
    """What the training loop needs of a loss.

    Attributes:
        batch_weighted: whether the gradient of one example depends on the others of its batch.
    """

    batch_weighted: ClassVar[bool]

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Give one value per example.

        Args:
            logits: unnormalised scores z, shape (B, K), floating.
            labels: given classes, shape (B,), int64 in [0, K).
            context: progress of the training and positions of the examples.

        Returns:
            Nats, shape (B,), float32, or float64 for float64 logits. The loop takes the mean, once.

        Raises:
            ValueError: if a shape, a dtype or (on the CPU) a label is wrong.
        """


LOSSES: dict[str, type] = {
    "cross_entropy": CrossEntropy,
    "label_smoothing": LabelSmoothing,
    "confidence_penalty": ConfidencePenalty,
    "bootstrap_soft": BootstrapSoft,
    "bootstrap_hard": BootstrapHard,
    "proselflc": ProSelfLC,
    "derivative_manipulation": DerivativeManipulation,
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


def _listed(word: str, choices: list[str]) -> str:
    nearest = get_close_matches(word, choices, n=1)
    hint = f" (the nearest is {nearest[0]})" if nearest else ""
    return ", ".join(choices) + hint
