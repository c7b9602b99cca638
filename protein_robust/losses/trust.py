"""How far a prediction is trusted against the given label: the epsilon of ProSelfLC."""

from __future__ import annotations

import math
from typing import Literal, get_args

from torch import Tensor

from protein_robust.losses.parameters import check_choice

TrustKind = Literal["entropy", "max_probability", "global", "local"]
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


def local_trust(
    kind: TrustKind, *, entropy: Tensor, max_probability: Tensor, num_classes: int
) -> Tensor:
    r"""Trust in the prediction for one example.

    .. math:: l(p) = 1 - H(p) / \ln K \quad\text{or}\quad \max_k p_k \quad\text{or}\quad 1

    At a uniform prediction the entropy kind gives 0, but the maximal probability 1/K, never 0. With
    ``global`` only the time decides (l = 1); ``local`` is the entropy kind, for use without g.

    Args:
        kind: ``entropy`` (the paper's), ``max_probability``, ``global`` or ``local``.
        entropy: H(p) in nats of the prediction (tempered, where the target is), any shape.
        max_probability: max p of the same.
        num_classes: K.

    Returns:
        l, in [0, 1], shape and dtype of ``entropy``.

    Raises:
        InputError: if ``kind`` is none of the four.

    References:
        Wang et al., "ProSelfLC", CVPR 2021, eq. 7 (entropy). https://arxiv.org/abs/2005.03788

    Example:
        >>> import torch
        >>> facts = {"entropy": torch.tensor([0.5]), "max_probability": torch.tensor([0.7])}
        >>> local_trust("max_probability", **facts, num_classes=3)
        tensor([0.7000])
    """
    check_choice("trust", kind, TRUST_KINDS)
    if kind == "global":
        return entropy.new_ones(entropy.shape)
    if kind == "max_probability":
        return max_probability
    # Rounding can leave the entropy of a uniform prediction just above ln K.
    return (1 - entropy / math.log(num_classes)).clamp(0, 1)
