"""What a loss is told besides logits and labels, and the check of its inputs.

The checks read shapes and dtypes only, so they cost nothing on an accelerator; the range of the
labels is looked at on the CPU alone, because reading it from a device would wait for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LossContext:
    """When in the training and for which examples a loss is asked.

    Attributes:
        progress: optimiser steps, the present one counted, / steps in total, in [0, 1].
        index: positions of the examples in the training set, shape (B,), int64.

    Raises:
        ValueError: if a field is not as described.

    Example:
        >>> LossContext(progress=0.5, index=torch.tensor([7, 2])).progress
        0.5
    """

    progress: float
    index: Tensor

    def __post_init__(self) -> None:
        """Check both fields, without reading the index from its device."""
        if not 0 <= self.progress <= 1:
            raise ValueError(f"Expected `progress` in [0, 1], got {self.progress!r}.")
        if self.index.ndim != 1 or self.index.dtype != torch.int64:
            raise ValueError(
                f"Expected `index` of shape (B,) and dtype int64, got {_describe(self.index)}."
            )


def checked_logits(logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
    """Return the logits in the precision the loss is computed in, after checking the inputs.

    Half and bfloat16 become float32, since entropies over 17,929 classes need it; float32 and
    float64 stay as they are. NaN is not looked for: the training loop does that, on the value.

    Args:
        logits: unnormalised scores z, shape (B, K) with B >= 1 and K >= 2, floating.
        labels: given (possibly wrong) classes, shape (B,), int64 in [0, K).
        context: its `index` has shape (B,).

    Returns:
        Logits, shape (B, K), float32 or float64, attached to the graph.

    Raises:
        ValueError: if a shape or dtype differs, or a label on the CPU is outside [0, K).

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]))
        >>> checked_logits(torch.zeros(1, 3).half(), torch.tensor([2]), context).dtype
        torch.float32
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
    if labels.device.type == "cpu":
        _check_label_range(labels, num_classes)
    return logits.float() if logits.dtype.itemsize < 4 else logits


def _check_label_range(labels: Tensor, num_classes: int) -> None:
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(f"Expected `labels` in [0, {num_classes}), got {wrong}.")


def _describe(tensor: Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"shape {tuple(tensor.shape)} and dtype {dtype}"
