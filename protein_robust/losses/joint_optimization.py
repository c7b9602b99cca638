"""Joint optimisation: labels become the network's own running mean; and training on such labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from protein_robust.losses.context import LossContext, Memory, check_inputs
from protein_robust.losses.memory import (
    LabelForm,
    check_num_entries,
    label_memory,
    new_label_memory,
    remembered_labels,
    update_label_memory,
)
from protein_robust.losses.parameters import check_choice, check_number
from protein_robust.losses.rows import Rows, closed_form, row_chunks

MEAN_MIN = 1e-35
"""A class's mean prediction is not taken smaller: float32 cannot tell apart what is near 0."""


@dataclass(frozen=True, kw_only=True)
class JointOptimization:
    r"""Joint optimisation of network and labels, its first step (JO).

    .. math:: L = H(t, p) + \beta H(p) + \alpha\, KL(u \| \bar p), \qquad
              \bar p = \frac{1}{B} \sum_i p_i

    The label t of an example is the given one until ``update_start`` (and for an example that was
    not seen before), then the running mean of its predictions in the earlier passes: it is read
    before the present prediction is added. The prior is uniform; its term keeps all predictions
    from collapsing into one class, and is the same number in each returned value, so their mean is
    the published total. The gradient is that of this mean, through p everywhere. Use it with a
    high constant learning rate, when labels are wrong at random; then train `CorrectedLabels` on
    the labels that it arrived at.

    The mean prediction is that of the batch of this call, hence ``batch_weighted``: under
    accumulation, and in several processes, each part has its own. In a batch much smaller than K it
    is far from uniform whatever the network does, and the term asks each example to spread.

    Deviations. The published label is the mean over the last 10 passes, for which all of them would
    be stored; a running mean of momentum m = 9/11 has the same mean age, m / (1 - m) = 4.5 passes.
    Of it the ``num_entries`` largest classes are kept and made to sum to 1. The first term is the
    cross entropy, as in the authors' code; the paper's KL divergence differs by the entropy of t.
    The mean prediction of a class is not taken smaller than 1e-35, where float32 nears its end: the
    prior's term is then at most 81 nats, and a class below it has no gradient of that term.

    Attributes:
        alpha: weight of the prior, at least 0. 1.2 and ``beta`` 0.8 are the authors' choice for
            symmetric noise (CIFAR-10), 0.8 and 0.4 for asymmetric noise.
        beta: weight of the entropy, which sharpens predictions, at least 0.
        form: ``soft``: t is the mean; ``hard``: its largest class.
        update_start: progress from which labels are the mean, in [0, 1]; epoch 70 of 200.
        momentum: m, in [0, 1]. At 1 nothing is learnt and the given labels stay.
        num_entries: classes of the mean kept for each example, at least 1.

    Raises:
        InputError: if a parameter is not as described.

    References:
        Tanaka et al., "Joint optimization framework for learning with noisy labels", CVPR 2018,
        section 3. https://arxiv.org/abs/1803.11364

    Example:
        >>> loss = JointOptimization()
        >>> memory = loss.new_memory(1, 4, torch.device("cpu"))
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]), memory=memory)
        >>> loss(torch.zeros(1, 4), torch.tensor([2]), context)  # 1.8 ln 4
        tensor([2.4953])
    """

    alpha: float = 1.2
    beta: float = 0.8
    form: LabelForm = "soft"
    update_start: float = 0.35
    momentum: float = 9 / 11
    num_entries: int = 16
    batch_weighted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("alpha", self.alpha, low=0)
        check_number("beta", self.beta, low=0)
        check_choice("form", self.form, get_args(LabelForm))
        check_number("update_start", self.update_start, low=0, high=1)
        check_number("momentum", self.momentum, low=0, high=1)
        check_num_entries(self.num_entries)

    def new_memory(
        self, num_examples: int, num_classes: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Running means of 0; see `protein_robust.losses.memory`."""
        return new_label_memory(
            num_examples, num_classes, num_entries=self.num_entries, device=device
        )

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        memory = label_memory(context, logits.shape[1])
        mean = _mean_prediction(logits.detach())
        # KL(u || mean p) = -mean over classes of log(K * mean p)
        to_prior = -mean.clamp(min=MEAN_MIN).log().mean() - math.log(len(mean))
        # Of B alpha KL with regard to p, for each class.
        prior_slope = torch.where(mean > MEAN_MIN, -self.alpha / len(mean) / mean, 0)  # (K,)

        def rule(rows: Rows) -> Tensor:
            index = context.index[rows.positions]
            target = self._labels(memory, index, rows, context.progress)
            update_label_memory(memory, index, rows.gradient, self.momentum)
            mean_score = torch.linalg.vecdot(rows.gradient, rows.scores).unsqueeze(1)
            value = _cross_entropy(rows, *target)
            value += self.beta * (rows.log_normaliser - mean_score) + self.alpha * to_prior
            # p (1 - <slope, p> + slope), slope = -beta * scores + that of the prior
            of_prior = (rows.gradient @ prior_slope).unsqueeze(1)
            slope = torch.sub(prior_slope, rows.scores, alpha=self.beta, out=rows.scores)
            rows.gradient.mul_(slope.add_(1 + self.beta * mean_score - of_prior))
            _subtract(rows, *target)
            return value

        return closed_form(logits, labels, rule)

    def _labels(
        self, memory: Memory, index: Tensor, rows: Rows, progress: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Classes, their shares, and the share of the given label; see `remembered_labels`."""
        classes, shares, given = remembered_labels(memory, index, self.form, rows.scores.dtype)
        if progress < self.update_start:
            return classes, torch.zeros_like(shares), torch.ones_like(given)
        return classes, shares, given


@dataclass(frozen=True, kw_only=True)
class CorrectedLabels:
    r"""Cross entropy with the labels that another run arrived at: the second step of JO.

    .. math:: L = H(t, p), \qquad \partial L/\partial z = p - t

    The labels t are the memory of that run (of `JointOptimization`, or another loss that remembers
    predictions), which is read and never changed; an example that is not in it keeps its given
    label. Its gradient is that of its value. Use it to train a fresh network with a falling
    learning rate after joint optimisation. As there, t is cut to the classes that were kept.

    Attributes:
        form: ``soft``: t is the remembered mean, made to sum to 1; ``hard``: its largest class.

    Raises:
        InputError: if ``form`` is neither.

    References:
        Tanaka et al., "Joint optimization framework for learning with noisy labels", CVPR 2018,
        section 3. https://arxiv.org/abs/1803.11364

    Example:
        >>> memory = {
        ...     "classes": torch.tensor([[0, 2]], dtype=torch.int32),
        ...     "shares": torch.tensor([[0.5, 0.5]]),
        ... }
        >>> context = LossContext(progress=0.0, index=torch.tensor([0]), memory=memory)
        >>> logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
        >>> CorrectedLabels()(logits, torch.tensor([1]), context)  # -(log 1/2 + log 1/6) / 2
        tensor([1.2425])
    """

    form: LabelForm = "soft"
    batch_weighted: ClassVar[bool] = False
    teacher: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_choice("form", self.form, get_args(LabelForm))

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        """Loss in nats per example, shape (B,); see `protein_robust.losses.registry.Loss`."""
        check_inputs(logits, labels, context)
        memory = label_memory(context, logits.shape[1])

        def rule(rows: Rows) -> Tensor:
            index = context.index[rows.positions]
            target = remembered_labels(memory, index, self.form, rows.scores.dtype)
            _subtract(rows, *target)
            return _cross_entropy(rows, *target)

        return closed_form(logits, labels, rule)


def _cross_entropy(rows: Rows, classes: Tensor, shares: Tensor, given: Tensor) -> Tensor:
    """H(t, p), shape (b, 1)."""
    surprisal = rows.log_normaliser - rows.scores.gather(1, classes)  # (b, k)
    return given * rows.cross_entropy + (shares * surprisal).sum(dim=1, keepdim=True)


def _subtract(rows: Rows, classes: Tensor, shares: Tensor, given: Tensor) -> None:
    """Subtract t from the gradient."""
    rows.subtract(given)
    rows.subtract(shares, classes)


def _mean_prediction(logits: Tensor) -> Tensor:
    """Mean of p over the batch, for each class, shape (K,)."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    sums = [
        logits[positions].softmax(dim=1, dtype=dtype).sum(dim=0) for positions in row_chunks(logits)
    ]
    return torch.stack(sums).sum(dim=0) / len(logits)
