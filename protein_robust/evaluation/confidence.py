"""How sure a network is, whatever is right: 1 - H(p)/H(u), and the largest probability.

Confidence is not calibration: wherever one of these is reported, `calibration` stands beside it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy_confidence(log_probs: Tensor) -> Tensor:
    r"""One minus the entropy of the prediction over that of the uniform distribution.

    .. math:: 1 - H(p) / H(u), \quad H(p) = -\sum_j p_j \log p_j, \quad H(u) = \log K

    Args:
        log_probs: log softmax of the logits, nats, shape (B, K), floating, K at least 2.

    Returns:
        0 for the uniform distribution to 1 for a certain one, shape (B,).

    References:
        Wang et al., "ProSelfLC", CVPR 2021, the local trust of eq. 7, here as a measure.

    Example:
        >>> entropy_confidence(torch.log(torch.tensor([[0.5, 0.5], [1.0, 0.0]])))
        tensor([0., 1.])
    """
    # p log p is 0 where p is 0; the product of 0 and minus infinity would be no number.
    entropy = -torch.where(log_probs > -torch.inf, log_probs.exp() * log_probs, 0).sum(dim=-1)
    # Rounding can put the entropy of a nearly uniform prediction a little above log K.
    return (1 - entropy / math.log(log_probs.shape[-1])).clamp(0, 1)
