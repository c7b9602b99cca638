"""Operations that must not see padding: batch normalisation, and the maximum over the length.

Feature maps are (B, C, 1, L) in channels-last memory, so that a residue's channels lie side by
side; a mask is (B, L), true at residues. Between these operations padding may hold any number
whose square is finite.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def _rows(x: Tensor) -> Tensor:
    """(B, C, 1, L) -> (B L, C), without a copy where ``x`` is channels-last."""
    return rearrange(x, "b c 1 l -> (b l) c")


class _MaskedNormReLU(torch.autograd.Function):
    """Normalise by the statistics of the residues, apply ReLU, and zero the padding.

    One function with its derivative written out, since the same steps as separate autograd nodes
    take twice the passes over memory. Sums run in float32 whatever the dtype of ``x``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            rows = _rows(x).to(weight.dtype)  # (B L, C)
            valid = rearrange(mask, "b l -> 1 (b l)").to(weight.dtype)
            count = valid.sum()
            mean = (valid @ rows) / count  # (1, C)
            centred = rows - mean
            # Padding may be far from the residues' mean; its square is multiplied by 0, never kept.
            variance = (valid @ (centred * centred)) / count
            scale = weight * (variance + eps).rsqrt()
            out = torch.addcmul(bias, centred, scale).clamp_min_(0).mul_(valid.t())
            means, variances = mean[0], variance[0]
        ctx.save_for_backward(centred, out, scale, variance, valid, count, weight)
        ctx.eps = eps
        ctx.length = x.shape[-1]
        ctx.mark_non_differentiable(means, variances)
        shaped = rearrange(out.to(x.dtype), "(b l) c -> b c 1 l", l=ctx.length)
        return shaped, means, variances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centred, out, scale, variance, valid, count, weight = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            # `out` is 0 at padding, so this also removes what the caller sent back for padding.
            rows = torch.ops.aten.threshold_backward(_rows(grad).to(weight.dtype), out, 0)
            grad_bias = rows.sum(0, keepdim=True)  # (1, C)
            inverse = (variance + ctx.eps).rsqrt()
            grad_weight = (rows * centred).sum(0, keepdim=True) * inverse
            # d/dx = scale (g - mean(g) - x^ mean(g x^)), means over residues, 0 at padding.
            shared = torch.addcmul(grad_bias / count, centred, inverse * grad_weight / count)
            grad_x = rows.sub_(shared.mul_(valid.t())).mul_(scale)
        shaped = rearrange(grad_x.to(grad.dtype), "(b l) c -> b c 1 l", l=ctx.length)
        return shaped, None, grad_weight[0], grad_bias[0], None


class MaskedNormReLU(nn.Module):
    """Batch normalisation over residues only, then ReLU; padding comes out as 0.

    The published ProtCNN lets training statistics see padding, so that a batch's normalisation
    depends on how much of it is empty. Here neither the batch statistics nor the running ones do.
    With no padding, training output and gradients equal `torch.nn.BatchNorm1d` followed by ReLU.

    Args:
        num_channels: C.
        eps: added to the variance; ProtCNN's 1e-3.
        momentum: weight of the newest batch in the running statistics.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, num_channels: int, *, eps: float = 1e-3, momentum: float = 0.1) -> None:
        """Start with weight 1, bias 0 and standard running statistics."""
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_variance", torch.ones(num_channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: feature map, shape (B, C, 1, L), floating.
            mask: true at residues, shape (B, L), bool.

        Returns:
            Shape and dtype of ``x``; at least 0, and exactly 0 at padding.
        """
        if self.training:
            out: Tensor
            out, mean, variance = _MaskedNormReLU.apply(x, mask, self.weight, self.bias, self.eps)
            with torch.no_grad():
                count = mask.sum()
                unbiased = variance * count / (count - 1).clamp_min(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_variance.lerp_(unbiased, self.momentum)
            return out
        scale = self.weight * (self.running_variance + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        rows = torch.addcmul(shift, _rows(x), scale).clamp_min(0)
        rows = rows * rearrange(mask, "b l -> (b l) 1")
        return rearrange(rows.to(x.dtype), "(b l) c -> b c 1 l", l=x.shape[-1])


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Maximum over the residues of each sequence.

    Padding counts as minus infinity. (The published code sets it to 0, which makes 0 a floor for
    padded sequences and the result depend on the batch.)

    Args:
        x: feature map, shape (B, C, 1, L), floating.
        mask: true at residues, shape (B, L), bool; at least one a row.

    Returns:
        Shape (B, C).

    Example:
        >>> x = torch.tensor([[[[-3.0, -1.0, 9.0]]]])
        >>> masked_max(x, torch.tensor([[True, True, False]]))
        tensor([[-1.]])
    """
    penalty = torch.zeros(mask.shape, dtype=x.dtype, device=x.device)
    penalty.masked_fill_(~mask, -torch.inf)
    return (x + rearrange(penalty, "b l -> b 1 1 l")).amax(dim=(2, 3))
