"""The two cross entropies every modified target is made of.

A target ``a * onehot(y) + b * p_T`` is never built: its cross entropy is ``a * H(q, p) + b * H(p_T,
p)`` and the first term is a gather. Logits are finite, so log probabilities are (log softmax gives
-2e4 where the softmax underflows to 0) and ``0 * log 0`` does not arise.
"""

from __future__ import annotations

from torch import Tensor


def given_label_term(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy with the given label, H(q, p) = -log p_y.

    Args:
        log_probs: log softmax of the logits, shape (B, K), floating.
        labels: given classes, shape (B,), int64.

    Returns:
        Nats, shape (B,).

    Example:
        >>> import torch
        >>> given_label_term(torch.zeros(1, 4).log_softmax(1), torch.tensor([2]))
        tensor([1.3863])
    """
    return -log_probs.gather(1, labels.unsqueeze(1)).squeeze(1)


def soft_target_term(target: Tensor, log_probs: Tensor) -> Tensor:
    """Cross entropy with a target vector, H(q~, p) = -sum_k q~_k log p_k.

    Args:
        target: q~, shape (B, K), floating; it need not sum to 1.
        log_probs: log softmax of the logits, shape (B, K), floating.

    Returns:
        Nats, shape (B,).

    Example:
        >>> import torch
        >>> soft_target_term(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]).log())
        tensor([0.8370])
    """
    return -(target * log_probs).sum(dim=1)


def tempered_log_probs(log_probs: Tensor, temperature: float) -> Tensor:
    """Log of p_T = softmax(z / T), from the log softmax of z.

    Args:
        log_probs: log softmax of the logits, shape (B, K), floating.
        temperature: T; below 1 sharpens.

    Returns:
        Shape (B, K); ``log_probs`` itself at T = 1.

    Example:
        >>> import torch
        >>> tempered_log_probs(torch.tensor([[0.25, 0.75]]).log(), 0.5).exp()
        tensor([[0.1000, 0.9000]])
    """
    return log_probs if temperature == 1 else (log_probs / temperature).log_softmax(dim=1)


def self_log_target(log_probs: Tensor, temperature: float, detach_target: bool | None) -> Tensor:
    """Log of the prediction as a target, in one of the two gradient conventions.

    Attached (G1), the gradient also flows through the target, whose term is then an entropy.
    Detached (G2), the target is a constant. ``None`` detaches exactly when the temperature is below
    1, as the low-temperature experiments did and the earlier paper, by its figures, did not.

    Args:
        log_probs: log softmax of the logits, shape (B, K), floating.
        temperature: T.
        detach_target: whether the target is a constant; ``None`` by the temperature.

    Returns:
        log p_T, shape (B, K).

    Example:
        >>> import torch
        >>> log_probs = torch.zeros(1, 2, requires_grad=True).log_softmax(1)
        >>> [self_log_target(log_probs, T, None).requires_grad for T in (1, 0.5)]
        [True, False]
    """
    is_detached = temperature < 1 if detach_target is None else detach_target
    return tempered_log_probs(log_probs.detach() if is_detached else log_probs, temperature)
