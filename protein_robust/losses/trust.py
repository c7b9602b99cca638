"""How far a prediction is trusted against the given label: the epsilon of ProSelfLC.

Trust is a number, never a path of the gradient: both factors come back detached, so they can be
logged and plotted as they are.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from protein_robust.losses.parameters import check_choice

TrustKind = Literal["entropy", "max_probability", "global"]
TRUST_KINDS: tuple[TrustKind, ...] = get_args(TrustKind)


def global_trust(progress: float, exp_base: float, transit_time_ratio: float) -> float:
    r"""Trust in the model as a whole: a logistic curve over the training.

    .. math:: g(t) = 1 / (1 + \exp(-B (t/\Gamma - \tau)))

    It is not 0 at the start: g(0) = 0.0025 with B = 12 and tau = 0.5, but 0.14 with B = 6, tau =
    0.3.

    Args:
        progress: t / Gamma, in [0, 1].
        exp_base: B, at least 0; larger makes the transition sharper.
        transit_time_ratio: tau, the progress at which g = 1/2.

    Returns:
        g, in [0, 1].

    References:
        Wang et al., "ProSelfLC", CVPR 2021, eq. 7. https://arxiv.org/abs/2005.03788

    Example:
        >>> round(global_trust(0.75, exp_base=16, transit_time_ratio=0.5), 6)
        0.982014
    """
    # The logistic function as a tanh: the same function, and no exponent overflows.
    return 0.5 * (1 + math.tanh(0.5 * exp_base * (progress - transit_time_ratio)))


def local_trust(log_probs: Tensor, kind: TrustKind) -> Tensor:
    r"""Trust in the prediction for one example.

    .. math:: l(p) = 1 - H(p) / \ln K \quad\text{or}\quad \max_k p_k \quad\text{or}\quad 1

    At a uniform prediction the entropy kind gives 0, but the maximal probability 1/K, never 0. With
    ``global`` only the time decides. (The local factor alone, without g, is left out: training with
    it did not converge, by the authors' account.)

    Args:
        log_probs: log softmax (tempered, where the target is), shape (B, K), floating.
        kind: ``entropy`` (the paper's), ``max_probability`` or ``global``.

    Returns:
        l, shape (B,), in [0, 1], detached, dtype of ``log_probs``.

    Raises:
        InputError: if ``kind`` is none of the three.

    References:
        Wang et al., "ProSelfLC", CVPR 2021, eq. 7 (entropy). https://arxiv.org/abs/2005.03788

    Example:
        >>> local_trust(torch.tensor([[0.5, 0.25, 0.25]]).log(), "max_probability")
        tensor([0.5000])
    """
    check_choice("trust", kind, TRUST_KINDS)
    log_probs = log_probs.detach()
    if kind == "global":
        return torch.ones_like(log_probs[:, 0])
    if kind == "max_probability":
        return log_probs.amax(dim=1).exp()
    entropy = -(log_probs.exp() * log_probs).sum(dim=1)  # (B, K) -> (B,)
    # Rounding can leave the entropy of a uniform prediction just above ln K.
    return (1 - entropy / math.log(log_probs.shape[1])).clamp(0, 1)
