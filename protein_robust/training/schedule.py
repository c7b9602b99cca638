"""How far a training goes, how fast it learns, and with which optimiser.

The learning rate is a pure function of progress, the fraction of the training that is done, so that
it depends neither on the number of batches that an epoch happens to have nor on interruptions.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True)
class FitOptions:
    """Settings of `protein_robust.training.fit`.

    Attributes:
        epochs: passes over the training data, at least 1.
        optimizer: ``adamw`` or ``sgd``.
        learning_rate: the peak, above 0.
        weight_decay: of the weights that have it.
        weight_decay_of: ``kernels``: weight matrices and kernels; norms and biases have none;
            ``all``: these too, as where PyTorch's optimisers are given one group (He et al. 2016
            and the studies of noisy labels that follow them).
        momentum: of SGD.
        nesterov: whether SGD looks ahead (Sutskever et al. 2013).
        schedule: after the warm-up: ``cosine`` to 0, ``step``, or ``constant``.
        warmup: fraction of the training with linearly growing rate, in [0, 1).
        milestones: for ``step``: fractions of the training at which the rate is multiplied by
            ``gamma``.
        gamma: for ``step``.
        accumulate: batches whose gradients are added up before an update, at least 1.
        clip_norm: largest 2-norm of the gradient of all weights; None for no limit.
        checkpoint_every: epochs between two checkpoints; one is always written at the end.
        checkpoint_minutes: time after which there is one within an epoch too, above 0.
        on_divergence: what to do where the loss or its gradient is not finite: ``stop``, or ``roll
            back`` to the last checkpoint and go on with half the learning rate, a few times.
        evaluate_every: epochs between two evaluations; there is always one at the end.
    """

    epochs: int = 20
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    weight_decay_of: Literal["kernels", "all"] = "kernels"
    momentum: float = 0.9
    nesterov: bool = True
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup: float = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    accumulate: int = 1
    clip_norm: float | None = 1.0
    checkpoint_every: int = 1
    checkpoint_minutes: float = 10.0
    on_divergence: Literal["stop", "roll back"] = "stop"
    evaluate_every: int = 1


def learning_rate_factor(progress: float, options: FitOptions) -> float:
    """Fraction of the peak rate at some point of the training.

    Args:
        progress: steps done, the present one counted, over all steps, in (0, 1].
        options: schedule, warm-up, milestones and gamma.

    Returns:
        The factor, in [0, 1].

    Example:
        >>> learning_rate_factor(0.5, FitOptions(schedule="cosine", warmup=0.0))
        0.5
    """
    if progress < options.warmup:
        return progress / options.warmup
    if options.schedule == "constant":
        return 1.0
    if options.schedule == "step":
        return options.gamma ** bisect.bisect_right(sorted(options.milestones), progress)
    done = (progress - options.warmup) / (1 - options.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def make_optimizer(model: nn.Module, options: FitOptions) -> torch.optim.Optimizer:
    """Build the optimiser; norms and biases are the parameters of one dimension."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    of_others = options.weight_decay if options.weight_decay_of == "all" else 0.0
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": of_others},
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=options.learning_rate,
            momentum=options.momentum,
            nesterov=options.nesterov and options.momentum > 0,  # torch refuses it without any
            fused=True,
        )
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)
