"""Losses written down with their gradient: one pass over (B, K), at about the cost of softmax.

Autograd would keep several (B, K) arrays and walk through memory once for each operation. Here a
loss gives value and gradient together, for a few rows at a time that stay in the cache, and the
only (B, K) array kept for the backward pass is the gradient itself. The gradient need not be that
of the value: this is also where methods that are defined by their gradient live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK_ELEMENTS = 2**19
"""Logits worked on at a time on a CPU: 2 MiB of float32, which stay in the cache."""
DEVICE_CHUNK_ELEMENTS = 2**21
"""The same on an accelerator, where each further chunk costs a few launches, but memory counts."""


@dataclass(frozen=True)
class Rows:
    """A few rows of the logits, and what every loss needs of them. All fields may be overwritten.

    With ``over_others``, softmax, maximum and normaliser are over the classes other than the label:
    the label's score is then minus infinity in `scores`, and `log_odds_against` is exact also where
    p_y rounds to 1.

    Attributes:
        scores: z - max_k z, shape (b, K), float32 or float64; at most 0, and 0 somewhere.
        gradient: at first p = softmax(z), shape (b, K); a rule turns it into its gradient.
        log_normaliser: log sum_k exp(scores), shape (b, 1), so log p = scores - log_normaliser.
        label_scores: scores of the labels, shape (b, 1).
        labels: given classes, shape (b, 1), int64.
        positions: which rows of the batch these are.
    """

    scores: Tensor
    gradient: Tensor
    log_normaliser: Tensor
    label_scores: Tensor
    labels: Tensor
    positions: slice

    @property
    def cross_entropy(self) -> Tensor:
        """-log p_y, shape (b, 1); not with ``over_others``."""
        return self.log_normaliser - self.label_scores

    @property
    def log_odds_against(self) -> Tensor:
        """Log of (1 - p_y) / p_y, shape (b, 1); with ``over_others`` only."""
        return self.log_normaliser - self.label_scores

    def scale(self, factor: Tensor | float) -> None:
        """Turn p into factor * (p - q), the gradient of all losses that are functions of p_y.

        Args:
            factor: shape (b, 1), or a number.
        """
        self.gradient.mul_(factor)
        self.subtract(factor)

    def subtract(self, share: Tensor | float, classes: Tensor | None = None) -> None:
        """Subtract a share of a target from the gradient.

        Args:
            share: shape (b, k), or a number.
            classes: where, shape (b, k), int64; the labels if not given.
        """
        classes = self.labels if classes is None else classes
        if isinstance(share, Tensor):
            self.gradient.scatter_add_(1, classes, share.neg())
        else:
            self.gradient.scatter_(1, classes, -share, reduce="add")

    def predicted(self) -> Tensor:
        """The class of the largest score, the first of several, shape (b, 1), int64."""
        if not torch.compiler.is_compiling():
            return self.scores.argmax(dim=1, keepdim=True)
        # The compiler's argmax is slow, its minimum is not; the largest score is 0.
        num_classes = self.scores.shape[1]
        classes = torch.arange(num_classes, device=self.scores.device, dtype=torch.int32)
        first = torch.where(self.scores == 0, classes, num_classes).amin(dim=1, keepdim=True)
        return first.clamp(max=num_classes - 1).long()  # none is 0 where they are NaN


Rule = Callable[[Rows], Tensor]
"""Turns `Rows.gradient` from p into dL/dz in place, and returns the values, shape (b, 1)."""


def closed_form(logits: Tensor, labels: Tensor, rule: Rule, *, over_others: bool = False) -> Tensor:
    """Evaluate a loss that gives its gradient in closed form.

    Args:
        logits: unnormalised scores z, shape (B, K), floating; half precision is computed in
            float32, a few rows at a time.
        labels: given classes, shape (B,), int64.
        rule: the loss of some rows.
        over_others: leave the label out of softmax, maximum and normaliser; see `Rows`.

    Returns:
        Values, shape (B,), float32 or float64, with the gradients that the rule gave.

    Example:
        >>> def mean_absolute_error(rows):
        ...     label_probs = (-rows.cross_entropy).exp()
        ...     rows.scale(label_probs)
        ...     return 1 - label_probs
        >>> logits = torch.zeros(1, 4, requires_grad=True)
        >>> value = closed_form(logits, torch.tensor([1]), mean_absolute_error)
        >>> value.backward()
        >>> value.detach(), logits.grad
        (tensor([0.7500]), tensor([[ 0.0625, -0.1875,  0.0625,  0.0625]]))
    """
    values: Tensor = _ClosedForm.apply(logits, labels, rule, over_others)
    return values


def row_chunks(logits: Tensor) -> Iterator[slice]:
    """Cut a batch into runs of rows that fit the cache; one run where a compiler does that."""
    num_rows, num_classes = logits.shape
    elements = CHUNK_ELEMENTS if logits.device.type == "cpu" else DEVICE_CHUNK_ELEMENTS
    size = num_rows if torch.compiler.is_compiling() else max(1, elements // num_classes)
    for begin in range(0, num_rows, size):
        yield slice(begin, min(begin + size, num_rows))


def softmax_rows(logits: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Write the softmax of some rows to `out`.

    Args:
        logits: shape (b, K), floating.
        out: shape (b, K), float32 or float64.

    Returns:
        Scores z - max z, shape (b, K), a copy in the precision of ``out``, and log of the sum of
        their exponentials, shape (b, 1).
    """
    scores = logits.to(out.dtype)
    scores = scores - scores.amax(dim=1, keepdim=True)
    return scores, softmax_shifted(scores, out)


def softmax_shifted(scores: Tensor, out: Tensor) -> Tensor:
    """Write the softmax of scores of which the largest is 0 to `out`.

    Args:
        scores: shape (b, K), float32 or float64.
        out: of the same shape and dtype.

    Returns:
        Log of the sum of their exponentials, shape (b, 1).
    """
    if torch.compiler.is_compiling():
        exponentials = scores.exp()
        total = exponentials.sum(dim=1, keepdim=True)
        out.copy_(exponentials * total.reciprocal())
        return total.log()
    torch.softmax(scores, dim=1, out=out)
    # The largest probability is exp(0) / total.
    return -out.amax(dim=1, keepdim=True).log()


class _ClosedForm(torch.autograd.Function):
    """Keeps the gradient that a rule gave until the backward pass asks for it."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, labels: Tensor, rule: Rule, over_others: bool
    ) -> Tensor:
        """Values, shape (B,)."""
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        gradient = torch.empty(logits.shape, dtype=dtype, device=logits.device)
        column = labels.unsqueeze(1)
        values = [
            rule(_rows(logits[rows], column[rows], gradient[rows], rows, over_others))
            for rows in row_chunks(logits)
        ]
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype  # type: ignore[attr-defined]
        return (values[0] if len(values) == 1 else torch.cat(values)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        """Gradient with regard to the logits, shape (B, K)."""
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        logits_gradient = (gradient * upstream.unsqueeze(1)).to(ctx.dtype)  # type: ignore[attr-defined]
        return logits_gradient, None, None, None


def _rows(
    logits: Tensor, labels: Tensor, gradient: Tensor, positions: slice, over_others: bool
) -> Rows:
    if not over_others:
        scores, log_normaliser = softmax_rows(logits, gradient)
        label_scores = scores.gather(1, labels)
    else:
        logits = logits.to(gradient.dtype)
        others = logits.scatter(1, labels, -torch.inf)
        label_scores = logits.gather(1, labels) - others.amax(dim=1, keepdim=True)
        scores, log_normaliser = softmax_rows(others, gradient)
    return Rows(scores, gradient, log_normaliser, label_scores, labels, positions)
