"""The network's own prediction as part of a target: CP, Boot-soft and ProSelfLC are made of it.

Of a target a * onehot(y) + b * p_T, with p_T = softmax(z / T), the loss is a * H(q, p) + b * H(p_T,
p), and the target is never built. Where the gradient flows is one of three conventions:

* G0: through p_T and through the trust b (the authors' oldest code);
* G1: through p_T, while b is a constant (attached);
* G2: through neither (detached).

With s the scores, d = sum_k p_T,k s_k and n = log sum_k exp(s_k): log p = s - n, H(p_T, p) = n - d,
log p_T + H(p_T) = (s - d) / T. So every gradient is alpha * p - a * q + p_T * (beta + gamma * (s -
d)), with three numbers for each row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from protein_robust.losses.rows import Rows, softmax_shifted


@dataclass(frozen=True)
class SelfPrediction:
    """The tempered prediction p_T of some rows, and what is needed of it.

    Attributes:
        probs: p_T, shape (b, K); at T = 1 the very tensor `Rows.gradient`.
        mean_score: d = sum_k p_T,k s_k, shape (b, 1).
        entropy: H(p_T) in nats, shape (b, 1).
        max_probability: max p_T, shape (b, 1).
        temperature: T.
    """

    probs: Tensor
    mean_score: Tensor
    entropy: Tensor
    max_probability: Tensor
    temperature: float


def is_detached(temperature: float, detach_target: bool | None) -> bool:
    """Whether the prediction in a target is a constant.

    Args:
        temperature: T.
        detach_target: the setting; None means exactly when T < 1, as the low-temperature
            experiments had it and the earlier paper, by its figures, had not.

    Example:
        >>> is_detached(0.5, None), is_detached(1.0, None), is_detached(0.5, False)
        (True, False, False)
    """
    return temperature < 1 if detach_target is None else detach_target


def self_prediction(rows: Rows, temperature: float) -> SelfPrediction:
    """Temper the prediction of some rows.

    Args:
        rows: not changed.
        temperature: T; below 1 sharpens.

    Returns:
        The prediction.
    """
    probs, log_normaliser = rows.gradient, rows.log_normaliser
    if temperature != 1 and torch.compiler.is_compiling():
        # Both sums in one pass: after a division the compiler would take one more.
        exponentials = (rows.scores * (1 / temperature)).exp()
        total = exponentials.sum(dim=1, keepdim=True)
        mean_score = (exponentials * rows.scores).sum(dim=1, keepdim=True) / total
        probs, log_normaliser = exponentials * total.reciprocal(), total.log()
    else:
        if temperature != 1:
            probs = torch.empty_like(rows.gradient)
            log_normaliser = softmax_shifted(rows.scores * (1 / temperature), probs)
        mean_score = torch.linalg.vecdot(probs, rows.scores).unsqueeze(1)
    entropy = log_normaliser - mean_score / temperature
    return SelfPrediction(probs, mean_score, entropy, (-log_normaliser).exp(), temperature)


def mix_gradient(
    rows: Rows, own: SelfPrediction, *, of_probs: Tensor | float, of_own: Tensor, of_scores: Tensor
) -> None:
    """Turn p into alpha * p + p_T * (beta + gamma * (s - d)), in place; the scores are used up.

    Args:
        rows: whose gradient is written.
        own: the prediction of these rows.
        of_probs: alpha, shape (b, 1), or a number.
        of_own: beta, shape (b, 1).
        of_scores: gamma, shape (b, 1).
    """
    factor = rows.scores.sub_(own.mean_score).mul_(of_scores).add_(of_own)  # (b, K)
    if own.probs is rows.gradient:
        rows.gradient.mul_(factor.add_(of_probs))
    else:
        rows.gradient.mul_(of_probs).add_(factor.mul_(own.probs))


def mix_detached(
    rows: Rows, own: SelfPrediction, *, given: Tensor | float, own_share: Tensor
) -> None:
    """Gradient where the target is a constant (G2): (a + b) p - a q - b p_T.

    Args:
        rows: whose gradient is written.
        own: the prediction of these rows.
        given: a, shape (b, 1), or a number.
        own_share: b, shape (b, 1).
    """
    if own.probs is rows.gradient:
        rows.scale(given)
        return
    rows.gradient.mul_(given + own_share).sub_(own.probs.mul_(own_share))
    rows.subtract(given)


def mix_attached(
    rows: Rows, own: SelfPrediction, *, given: Tensor | float, own_share: Tensor
) -> None:
    """Gradient through the prediction in the target (G1).

    Args:
        rows: whose gradient is written; the scores are used up.
        own: the prediction of these rows.
        given: a, shape (b, 1), or a number.
        own_share: b, shape (b, 1).
    """
    by_temperature = -own_share / own.temperature
    mix_gradient(rows, own, of_probs=given + own_share, of_own=-own_share, of_scores=by_temperature)
    rows.subtract(given)
