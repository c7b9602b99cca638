"""Operations that must not see padding: batch normalisation, and the maximum over the length.

Feature maps are (B, C, 1, L) in channels-last memory, so that a residue's channels lie side by
side; a mask is (B, L), true at residues. Between these operations padding may hold numbers
such as residues have; larger ones would cost digits of the sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from protein_robust import ranks


@dataclass(frozen=True, eq=False)
class Padding:
    """Where a batch is empty; found once for all layers.

    Attributes:
        is_empty: true at padding, shape (B L, 1), bool.
        rows: their positions, shape (P,), int64; None on an accelerator, where counting them would
            mean to wait for it.
        num_residues: of this process's part of the batch, shape (), float32.
    """

    is_empty: Tensor
    rows: Tensor | None
    num_residues: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> Padding:
        """Find it.

        Args:
            mask: true at residues, shape (B, L), bool.
        """
        is_empty = mask.reshape(-1, 1).logical_not()
        rows = is_empty.view(-1).nonzero().view(-1) if mask.device.type == "cpu" else None
        return cls(is_empty, rows, mask.sum(dtype=torch.float32))

    def fill_(self, values: Tensor, number: float) -> Tensor:
        """Write a number over the padding of (B L, C), in place."""
        if self.rows is None:
            return values.masked_fill_(self.is_empty, number)
        return values.index_fill_(0, self.rows, number)  # little is empty: no pass over all


def _rows(x: Tensor) -> Tensor:
    """(B, C, 1, L) -> (B L, C), without a copy where ``x`` is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _map(rows: Tensor, like: Tensor) -> Tensor:
    """(B L, C) -> (B, C, 1, L), channels-last, in the dtype of ``like``."""
    batch, channels, _, length = like.shape
    return rows.to(like.dtype).view(batch, 1, length, channels).permute(0, 3, 1, 2)


def _statistics(rows: Tensor, padding: Padding) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centred rows, 0 at padding; mean and variance, (C,); number of residues they are over, ().

    Of several processes' parts the statistics are those of the whole batch: means and sums of
    squares of the parts are put together by the formula of Chan, Golub and LeVeque (1983).
    """
    count = padding.num_residues
    total = rows.sum(0)
    if padding.rows is None:
        total = total - (rows * padding.is_empty).sum(0)
    else:
        total = total - rows.index_select(0, padding.rows).sum(0)
    mean = total / count.clamp(min=1)
    centred = padding.fill_(rows - mean, 0)
    squares = (centred * centred).sum(0)
    if not ranks.are_several():
        return centred, mean, squares / count, count
    parts = ranks.gather(torch.cat([mean, squares, count[None]]))  # (processes, 2 C + 1)
    means, all_squares, counts = parts.split([len(mean), len(mean), 1], dim=1)
    count = counts.sum()
    global_mean = (means * counts).sum(0) / count
    squares = all_squares.sum(0) + ((means - global_mean).square() * counts).sum(0)
    centred = padding.fill_(centred + (mean - global_mean), 0)
    return centred, global_mean, squares / count, count


class _MaskedNormReLU(torch.autograd.Function):
    """Normalise by the statistics of the residues, apply ReLU, and zero the padding.

    One function with its derivative written out, since the same steps as separate autograd nodes
    take twice the passes over memory. Sums run in float32 whatever the dtype of ``x``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: Padding, norm: MaskedNormReLU, *_: Tensor) -> Tensor:
        weight, bias = norm.weight, norm.bias
        centred, mean, variance, count = _statistics(_rows(x).to(weight.dtype), padding)
        norm.follow(mean, variance, count)
        inverse = (variance + norm.eps).rsqrt()
        scale = weight * inverse
        out = padding.fill_(torch.addcmul(bias, centred, scale).clamp_min_(0), 0)
        ctx.save_for_backward(centred, out, inverse, scale, count)
        ctx.padding = padding
        return _map(out, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        centred, out, inverse, scale, count = ctx.saved_tensors
        # `out` is 0 at padding, so this also removes what the caller sent back for padding.
        rows = torch.ops.aten.threshold_backward(_rows(grad).to(centred.dtype), out, 0)
        grad_bias = rows.sum(0)
        grad_weight = (rows * centred).sum(0) * inverse
        # d/dx = scale (g - mean(g) - x^ mean(g x^)), means over residues, 0 at padding.
        all_bias, all_weight = grad_bias, grad_weight
        if ranks.are_several():
            all_bias, all_weight = ranks.add_up(torch.stack([grad_bias, grad_weight]))
        factor = scale / count
        shared = torch.addcmul(all_bias * factor, centred, all_weight * inverse * factor)
        grad_x = ctx.padding.fill_(rows.mul_(scale).sub_(shared), 0)
        return _map(grad_x, grad), None, None, grad_weight, grad_bias


class MaskedNormReLU(nn.Module):
    """Batch normalisation over residues only, then ReLU; padding comes out as 0.

    The published ProtCNN lets training statistics see padding, so that a batch's normalisation
    depends on how much of it is empty. Here neither the batch statistics nor the running ones do.
    With no padding, training output and gradients equal `torch.nn.BatchNorm1d` followed by ReLU.
    Where several processes share a batch, the statistics are those of the whole batch.

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

    def follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics towards those of a batch over ``count`` residues."""
        unbiased = variance * (count / (count - 1).clamp_min(1))
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(unbiased, self.momentum)

    def affine(self) -> tuple[Tensor, Tensor]:
        """In evaluation: what a channel is multiplied by, and what is added then; shapes (C,)."""
        scale = self.weight * (self.running_variance + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        """Normalise.

        Args:
            x: feature map, shape (B, C, 1, L), floating.
            padding: of the batch.

        Returns:
            Shape and dtype of ``x``; at least 0, and exactly 0 at padding.
        """
        if self.training:
            # Weight and bias are handed over once more, for autograd to see them.
            out: Tensor = _MaskedNormReLU.apply(x, padding, self, self.weight, self.bias)
            return out
        scale, shift = self.affine()
        return masked_relu(_map(torch.addcmul(shift, _rows(x), scale), x), padding)


def masked_relu(x: Tensor, padding: Padding) -> Tensor:
    """ReLU, and 0 at padding, in place.

    Args:
        x: feature map, shape (B, C, 1, L), floating, channels-last.
        padding: of the batch.

    Returns:
        ``x``.
    """
    padding.fill_(_rows(x.clamp_min_(0)), 0)
    return x


class _MaskedMax(torch.autograd.Function):
    """The maximum over the residues, and its gradient to the first place where it is reached."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: Padding) -> Tensor:
        batch, channels, _, length = ctx.shape = x.shape
        rows = padding.fill_(_rows(x).clone(), -torch.inf)
        values, places = rows.view(batch, length, channels).max(dim=1)
        ctx.save_for_backward(places)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        batch, channels, _, length = ctx.shape
        rows = grad.new_zeros(batch, length, channels)
        rows.scatter_(1, places[:, None], grad[:, None])
        return rows.permute(0, 2, 1)[:, :, None], None


def masked_max(x: Tensor, padding: Padding) -> Tensor:
    """Maximum over the residues of each sequence.

    Padding counts as minus infinity. (The published code sets it to 0, which makes 0 a floor for
    padded sequences and the result depend on the batch.)

    Args:
        x: feature map, shape (B, C, 1, L), floating.
        padding: of the batch; at least one residue a sequence.

    Returns:
        Shape (B, C). Where the maximum is reached several times, the gradient goes to the first.

    Example:
        >>> x = torch.tensor([[[[-3.0, -1.0, 9.0]]]])
        >>> masked_max(x, Padding.of(torch.tensor([[True, True, False]])))
        tensor([[-1.]])
    """
    pooled: Tensor = _MaskedMax.apply(x, padding)
    return pooled
