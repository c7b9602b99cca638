r"""Whether two methods differ by more than chance, from what each gets right on the same examples.

One value a test example: how much more often the first method is right than the second, over the
seeds that both have. Resampling and testing take test examples, each with all its seeds, as the
units. So an interval and a p value are about these networks on other examples of the same kind;
what another seed would change is in the interval over seeds, which is given apart. Examples of one
family are not independent draws from nature, which neither knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from protein_robust.evaluation.student import student_quantile

SIGNIFICANCE = 0.05
"""A corrected p value below it, and an interval without 0, make a difference real."""
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same test examples; differences are first minus second.

    Attributes:
        first: name of a method.
        second: name of another.
        num_seeds: seeds that both have.
        num_examples: test examples.
        first_accuracy: mean over these seeds, in [0, 1].
        second_accuracy: likewise.
        difference: of the accuracies, in [-1, 1].
        low: of the 95 % bootstrap interval of the difference over test examples.
        high: likewise.
        seeds_low: of the 95 % t interval of the difference over seeds; NaN for one seed.
        seeds_high: likewise.
        num_seeds_better: seeds in which the first has the higher accuracy.
        num_seeds_worse: seeds in which the second has.
        first_only: examples that the first gets right more often (one seed: that only it does).
        second_only: likewise.
        p_exact: of McNemar's exact test, two-sided.
        p_mid: its mid-p value.
        p_holm: the exact p value, corrected for the number of pairs.
    """

    first: str
    second: str
    num_seeds: int
    num_examples: int
    first_accuracy: float
    second_accuracy: float
    difference: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float
    num_seeds_better: int
    num_seeds_worse: int
    first_only: int
    second_only: int
    p_exact: float
    p_mid: float
    p_holm: float

    @property
    def is_real(self) -> bool:
        """Whether test and interval both say that it is no chance, in the same direction."""
        same_side = self.difference * (self.first_only - self.second_only) > 0
        return same_side and self.p_holm < SIGNIFICANCE and not self.low <= 0 <= self.high

    @property
    def statement(self) -> str:
        """The outcome in words, in percentage points."""
        if not self.is_real:
            return f"{self.first} and {self.second}: no difference beyond chance"
        sign = 1 if self.difference > 0 else -1
        better, worse = (self.first, self.second)[::sign]
        low, high = sorted(100 * sign * end for end in (self.low, self.high))
        text = (
            f"{better} is better than {worse} by {100 * abs(self.difference):.1f} points "
            f"({low:.1f} to {high:.1f})"
        )
        if self.num_seeds == 1:
            return text
        num_better = self.num_seeds_better if sign > 0 else self.num_seeds_worse
        return f"{text}, in {num_better} of {self.num_seeds} seeds"


def mcnemar_p_values(first_only: int, second_only: int) -> tuple[float, float]:
    r"""Test whether two methods are right equally often, from what only one gets right.

    .. math:: p = \min(1, 2 P(X \le m)), \quad p_\mathrm{mid} = 2 P(X \le m) - P(X = m),
        \quad X \sim \mathrm{Binomial}(b + c, 1/2), \; m = \min(b, c)

    The exact test keeps its level always; the mid-p value is less cautious, and nearly always does.

    Args:
        first_only: b, examples that only the first gets right.
        second_only: c, likewise.

    Returns:
        The exact and the mid-p value, both two-sided, in [0, 1].

    Raises:
        ValueError: if a count is negative.

    References:
        McNemar, Psychometrika 12, 1947; Fagerland, Lydersen and Laake, "The McNemar test for binary
        matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Medical
        Research Methodology 13:91, 2013.

    Example:
        >>> [round(p, 6) for p in mcnemar_p_values(0, 3)]
        [0.25, 0.125]
    """
    if min(first_only, second_only) < 0:
        raise ValueError(f"Expected counts of at least 0, got {first_only} and {second_only}.")
    total, least = first_only + second_only, min(first_only, second_only)
    k = np.arange(1, least + 1, dtype=np.float64)
    # log C(n, k) for k = 0 ... m, each from the one before.
    log_choose = np.concatenate(([0.0], np.cumsum(np.log((total - k + 1) / k))))
    log_masses = log_choose - total * math.log(2)
    masses = np.exp(log_masses)
    both_tails = 2 * math.fsum(masses)
    return min(1.0, both_tails), min(1.0, both_tails - float(masses[-1]))


def bootstrap_interval(
    difference: NDArray[np.float64],
    generator: np.random.Generator,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
) -> tuple[float, float]:
    """Give the percentile interval of a mean over examples that are drawn with replacement.

    Differences take few values, so how often each is drawn is one multinomial draw: memory and time
    do not grow with the number of examples.

    Args:
        difference: of each example, shape (N,), floating.
        generator: source of the draws.
        num_resamples: how many sets of N examples are drawn.
        level: share of the resampled means inside.

    Returns:
        Lower and upper end; NaN for no examples.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if not len(difference):
        return math.nan, math.nan
    values, counts = np.unique(difference, return_counts=True)
    size = len(difference)
    drawn = generator.multinomial(size, counts / size, size=num_resamples)  # (R, V)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn @ values / size, [tail, 1 - tail])
    return float(low), float(high)


def seeds_interval(difference: NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float]:
    r"""Give Student's interval of a mean over seeds.

    .. math:: \bar d \pm t_{S - 1} s / \sqrt{S}

    Args:
        difference: of each seed, shape (S,), floating.
        level: its confidence.

    Returns:
        Lower and upper end; NaN for fewer than two seeds.

    Example:
        >>> [round(end, 4) for end in seeds_interval(np.array([0.0, 2.0]))]
        [-11.7062, 13.7062]
    """
    size = len(difference)
    if size < 2:
        return math.nan, math.nan
    half = student_quantile(level, size - 1) * float(difference.std(ddof=1)) / math.sqrt(size)
    mean = float(difference.mean())
    return mean - half, mean + half


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number, so that one false claim among all has the stated chance.

    Args:
        p_values: in [0, 1].

    Returns:
        The corrected ones, in the same order: the k-th smallest of m times m - k + 1, never less
        than those of smaller p values, at most 1.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6, 1979.

    Example:
        >>> holm_correction([0.04, 0.01])
        [0.04, 0.02]
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * values[order]))
    return [float(value) for value in corrected]


def compare_pair(
    first: tuple[str, NDArray[np.bool_]],
    second: tuple[str, NDArray[np.bool_]],
    generator: np.random.Generator,
) -> Comparison:
    """Compare two methods on the same seeds and test examples.

    Args:
        first: name, and whether each prediction is right, shape (S, N), bool: seeds, examples.
        second: likewise, of the same seeds and examples in the same order.
        generator: source of the bootstrap's draws.

    Returns:
        The comparison; its ``p_holm`` is that of one pair alone.

    Raises:
        ValueError: if the shapes differ or there is nothing to compare.
    """
    (name, ours), (other, theirs) = first, second
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        expected = "the same seeds and examples of both methods, shape (S, N), not empty"
        raise ValueError(f"Expected {expected}, got {ours.shape} and {theirs.shape}.")
    # Whole numbers until the end, so that no rounding makes two examples differ.
    votes = ours.sum(axis=0, dtype=np.int64) - theirs.sum(axis=0, dtype=np.int64)  # (N,)
    by_seed = ours.mean(axis=1) - theirs.mean(axis=1)  # (S,)
    num_seeds, num_examples = ours.shape
    first_only, second_only = int((votes > 0).sum()), int((votes < 0).sum())
    p_exact, p_mid = mcnemar_p_values(first_only, second_only)
    low, high = bootstrap_interval(votes / num_seeds, generator)
    seeds_low, seeds_high = seeds_interval(by_seed)
    return Comparison(
        first=name,
        second=other,
        num_seeds=num_seeds,
        num_examples=num_examples,
        first_accuracy=float(ours.mean()),
        second_accuracy=float(theirs.mean()),
        difference=float(votes.mean()) / num_seeds,
        low=low,
        high=high,
        seeds_low=seeds_low,
        seeds_high=seeds_high,
        num_seeds_better=int((by_seed > 0).sum()),
        num_seeds_worse=int((by_seed < 0).sum()),
        first_only=first_only,
        second_only=second_only,
        p_exact=p_exact,
        p_mid=p_mid,
        p_holm=p_exact,
    )


def compare_all(
    is_correct: Mapping[str, Mapping[int, NDArray[np.bool_]]], generator: np.random.Generator
) -> list[Comparison]:
    """Compare every method with every other one, on the seeds that both have.

    Args:
        is_correct: by method and seed, whether each prediction is right, shape (N,), bool, of the
            same test examples in the same order.
        generator: source of the bootstrap's draws.

    Returns:
        A comparison for each pair with a seed in common, in the order of the methods; their p
        values corrected for the number of these pairs.

    Raises:
        ValueError: if the numbers of examples differ.
    """
    made = []
    for first, second in combinations(is_correct, 2):
        seeds = [seed for seed in is_correct[first] if seed in is_correct[second]]
        if seeds:
            ours, theirs = (
                (name, np.stack([is_correct[name][seed] for seed in seeds]))
                for name in (first, second)
            )
            made.append(compare_pair(ours, theirs, generator))
    corrected = holm_correction([comparison.p_exact for comparison in made])
    return [replace(comparison, p_holm=p) for comparison, p in zip(made, corrected, strict=True)]
