r"""Losses that are defined by their gradient; their value is for monitoring only.

Convention: the direction is that of cross entropy, p - q, and only its L1 length is chosen. With
the log odds against the label, m = log((1 - p_y) / p_y), half the gradient of m is that direction
at length exactly 1: (softmax over the other classes - onehot) / 2. So nothing is divided by
1 - p_y, and the only pass over (B, K) is the one that computes m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from protein_robust.losses.context import LossContext, check_inputs
from protein_robust.losses.parameters import check_choice, check_number

AUTHORS_DELTA = 1e-8
"""What the authors' code adds to 2 (1 - p_y) before it divides by it."""


def log_odds_against(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Log odds that the label is not the class.

    .. math:: m = \log\frac{1 - p_y}{p_y} = \log\sum_{j \ne y} e^{z_j} - z_y

    Exact also where p_y rounds to 1; -log p_y is ``softplus(m)`` and p_y is ``sigmoid(-m)``.

    Args:
        logits: unnormalised scores z, shape (B, K) with K >= 2, floating.
        labels: given classes, shape (B,), int64.

    Returns:
        m, shape (B,).

    Example:
        >>> log_odds_against(torch.zeros(1, 3), torch.tensor([0]))  # log 2
        tensor([0.6931])
    """
    column = labels.unsqueeze(1)  # (B, 1)
    others = logits.scatter(1, column, -math.inf).logsumexp(dim=1)
    return others - logits.gather(1, column).squeeze(1)


def log_emphasis(label_probs: Tensor, lam: float, beta: float) -> Tensor:
    r"""Log of the emphasis density: how strongly an example with this p_y pulls.

    .. math:: \log w = \beta\, p^\lambda (1 - p)

    The mode is at p = lam / (lam + 1) for positive beta; lam = 0 emphasises the hardest (0^0 = 1).

    Args:
        label_probs: p_y, any shape, in [0, 1].
        lam: lambda, at least 0.
        beta: strength; 0 weights all examples alike.

    Returns:
        log w, shape of ``label_probs``.

    References:
        Wang et al., "Derivative manipulation for general example weighting", 2019, eqs. 9-12.
        https://arxiv.org/abs/1905.11233

    Example:
        >>> log_emphasis(torch.tensor([0.25, 0.5]), lam=1.0, beta=16.0)
        tensor([3., 4.])
    """
    return beta * label_probs**lam * (1 - label_probs)


@dataclass(frozen=True, kw_only=True)
class DerivativeManipulation:
    r"""Derivative manipulation (DM): each example pulls as strongly as an emphasis density says.

    .. math:: \nabla_{z_i} = \frac{w_i}{\sum_b w_b} \frac{p_i - q_i}{2 (1 - p_{i,y})}, \qquad
              w = \exp(\beta\, p_y^\lambda (1 - p_y))

    That is the gradient of the **mean** of the returned values: its L1 norms over a batch sum to 1,
    so the step does not shrink as the training converges. The values are the cross entropy, for
    monitoring; the loss that has this gradient is infinite, and theirs is not the gradient of the
    value. lam = 1 is IMAE, with its temperature as beta. Use it when wrong labels should be ignored
    rather than corrected; the examples of medium p_y then teach most.

    The sum is over the batch of this call (as in the authors' code; eq. 8 of the paper divides by
    an integral), hence ``batch_weighted``: splitting a batch for accumulation or over processes
    normalises each part by itself.

    With the exact direction a fully fitted example keeps pulling with w(1) = 1 and its logits grow
    until weight decay stops them. The authors' code divides by 2 (1 - p_y) + 1e-8 and so gives 0
    there.

    Attributes:
        lam: lambda, at least 0. lam = 1, beta = 16 is the authors' choice for 40 % symmetric noise
            (CIFAR-10); 0.5 and 12 for 20 %, 2 and 12 for 60 % and 80 %.
        beta: strength, in [-1000, 1000]; negative emphasises what is already fitted (with lam = 0).
        vanish_at_one: whether the pull fades once 1 - p_y is about 1e-8, as it does in the authors'
            code. There float32 makes it a step at about 3e-8; here it is the same fraction computed
            from an exact 1 - p_y, and the norms of a batch sum to less than 1.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Wang et al., "Derivative manipulation for general example weighting", 2019, eqs. 7-12.
        https://arxiv.org/abs/1905.11233
        Wang et al., "IMAE for noise-robust learning", 2019. https://arxiv.org/abs/1903.12141

    Example:
        >>> context = LossContext(progress=0.0, index=torch.tensor([0, 1]))
        >>> logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0]]).log().requires_grad_()
        >>> value = DerivativeManipulation()(logits, torch.tensor([0, 1]), context)
        >>> value.detach()
        tensor([0.6931, 1.0986])
        >>> value.mean().backward()
        >>> logits.grad.abs().sum()
        tensor(1.)
    """

    lam: float = 1.0
    beta: float = 16.0
    vanish_at_one: bool = False
    batch_weighted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("lam", self.lam, low=0)
        check_number("beta", self.beta, low=-1000, high=1000)
        check_choice("vanish_at_one", self.vanish_at_one, (True, False))

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Cross entropy in nats, shape (B,), carrying the manipulated gradient of its mean."""
        check_inputs(logits, labels, context)
        log_odds = log_odds_against(logits, labels)
        constant = log_odds.detach()
        # The mean over B divides by B again. The difference is 0, its gradient is not.
        pull = 0.5 * len(labels) * self.weights(constant) * (log_odds - constant)
        return pull - functional.logsigmoid(-constant)

    def weights(self, log_odds: Tensor) -> Tensor:
        """L1 norm of each example's gradient in its batch.

        Args:
            log_odds: log odds against the label, shape (B,), detached.

        Returns:
            Shape (B,), of sum 1, or less with ``vanish_at_one``.

        Example:
            >>> DerivativeManipulation(beta=0.0).weights(torch.tensor([2.0, -3.0]))
            tensor([0.5000, 0.5000])
        """
        weights = log_emphasis(torch.sigmoid(-log_odds), self.lam, self.beta).softmax(dim=0)
        if self.vanish_at_one:
            length = 2 * torch.sigmoid(log_odds)  # 2 (1 - p_y)
            weights = weights * length / (length + AUTHORS_DELTA)
        return weights
