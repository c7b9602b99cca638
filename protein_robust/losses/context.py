"""What a loss is told besides logits and labels, and the check of its inputs.

The checks of each call read shapes and dtypes only, so they cost nothing on an accelerator; the
range of the labels is looked at on the CPU alone: reading it from a device would wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Memory = Mapping[str, Tensor]
"""What a loss keeps about each training example, by name; updated in place, checkpointed."""


@dataclass(frozen=True, eq=False)
class LossContext:
    """When in the training and for which examples a loss is asked.

    Attributes:
        progress: optimiser steps, the present one counted, / steps in total, in [0, 1].
        index: positions of the examples in the training set, shape (B,), int64.
        memory: of a loss that has one (`new_memory`); the loss reads and updates it in place.
        teacher_logits: scores of the teacher for the same inputs, shape (B, K), floating, detached;
            of a loss that learns from a network.

    Raises:
        ValueError: if a field is not as described.

    Example:
        >>> LossContext(progress=0.5, index=torch.tensor([7, 2])).progress
        0.5
    """

    progress: float
    index: Tensor
    memory: Memory | None = None
    teacher_logits: Tensor | None = None

    def __post_init__(self) -> None:
        """Check progress and index, without reading the index from its device."""
        if not 0 <= self.progress <= 1:
            raise ValueError(f"Expected `progress` in [0, 1], got {self.progress!r}.")
        if self.index.ndim != 1 or self.index.dtype != torch.int64:
            raise ValueError(
                f"Expected `index` of shape (B,) and dtype int64, got {_describe(self.index)}."
            )


def check_inputs(
    logits: Tensor, labels: Tensor, context: LossContext, *, lowest_label: int = 0
) -> None:
    """Refuse logits, labels or positions that do not fit each other.

    NaN is not looked for: it makes the value NaN, which the training loop sees. Labels on an
    accelerator are not read either, since that would wait for it: `check_labels` does it once.

    Args:
        logits: unnormalised scores z, shape (B, K) with B >= 1 and K >= 2, floating.
        labels: given (possibly wrong) classes, shape (B,), int64 in [0, K).
        context: its `index` has shape (B,).
        lowest_label: -1 where that marks an example without label.

    Raises:
        ValueError: if a shape or dtype differs, or a label on the CPU is out of range.

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> check_inputs(torch.zeros(1, 3), torch.tensor([2]), context)
        >>> check_inputs(torch.zeros(1, 3), torch.tensor([3]), context)
        Traceback (most recent call last):
        ValueError: Expected `labels` in [0, 3), got 3.
    """
    if logits.ndim != 2 or not logits.is_floating_point() or len(logits) < 1 or logits.shape[1] < 2:
        raise ValueError(
            "Expected `logits` of shape (B, K) with B >= 1 and K >= 2 and a floating dtype, "
            f"got {_describe(logits)}."
        )
    num_examples, num_classes = logits.shape
    if labels.shape != (num_examples,) or labels.dtype != torch.int64:
        raise ValueError(
            f"Expected `labels` of shape ({num_examples},) and dtype int64, "
            f"got {_describe(labels)}."
        )
    if context.index.shape != labels.shape:
        raise ValueError(
            f"Expected `context.index` of shape ({num_examples},), got {_describe(context.index)}."
        )
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        check_labels(labels, num_classes, lowest=lowest_label)


def check_labels(labels: Tensor, num_classes: int, *, lowest: int = 0) -> None:
    """Refuse labels that are no class. Reads them from their device, so it waits for that.

    Args:
        labels: shape (N,) with N >= 1, int64.
        num_classes: K.
        lowest: -1 where that marks an example without label.

    Raises:
        ValueError: if a label is out of range.
    """
    low, high = (int(bound) for bound in labels.aminmax())
    if low < lowest or high >= num_classes:
        wrong = low if low < lowest else high
        raise ValueError(f"Expected `labels` in [{lowest}, {num_classes}), got {wrong}.")


def _describe(tensor: Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"shape {tuple(tensor.shape)} and dtype {dtype}"
