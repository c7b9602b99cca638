"""Which examples get a wrong label, before it is drawn which one."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from protein_robust.noise.rules import LabelRule


def choose_examples(
    clean_label: NDArray[np.int64], num_classes: int, *, rule: LabelRule, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose examples at the rule's rate, or at rates of their classes spread around it.

    Args:
        clean_label: clean classes, shape (N,), int64.
        num_classes: K.
        rule: its ``rate``, ``rate_spread`` and ``count`` are used.
        rng: where the choice comes from.

    Returns:
        Places of the chosen examples, in no order, shape (M,), int64.
    """
    size = len(clean_label)
    total = round_down(rule.rate * size)
    if not rule.rate_spread:
        if rule.count == "exact":
            return rng.choice(size, size=total, replace=False)
        return np.flatnonzero(rng.random(size) < rule.rate)
    rates = _truncated_normal(rule.rate, rule.rate_spread, num_classes, rng)
    if rule.count == "bernoulli":
        return np.flatnonzero(rng.random(size) < rates[clean_label])
    sizes = np.bincount(clean_label, minlength=num_classes)
    return choose_of_each_class(clean_label, spread_counts(rates, sizes, total=total), rng=rng)


def choose_of_each_class(
    clean_label: NDArray[np.int64], counts: NDArray[np.int64], *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose so many examples of each class, without replacement.

    Args:
        clean_label: clean classes, shape (N,), int64.
        counts: how many of each class, at most those there are, shape (K,), int64.
        rng: where the choice comes from.

    Returns:
        Places of the chosen examples, class by class, shape (M,), int64.
    """
    shuffled = rng.permutation(len(clean_label))
    by_class = shuffled[np.argsort(clean_label[shuffled], kind="stable")]
    label = clean_label[by_class]
    begin = np.searchsorted(label, np.arange(len(counts)))
    rank = np.arange(len(label)) - begin[label]
    return by_class[rank < counts[label]]


def spread_counts(
    rates: NDArray[np.float64], sizes: NDArray[np.int64], *, total: int
) -> NDArray[np.int64]:
    """Turn rates of classes into whole numbers of examples with a set sum.

    Where the rates ask for more than ``total`` examples, all are scaled down by one factor; where
    they ask for fewer, all rates of *right* labels are. So a rate stays in [0, 1]. Then each number
    is rounded down, and what is missing goes to the largest remainders (of equal ones, to the lower
    class).

    Args:
        rates: of each class, in [0, 1], shape (K,), float64.
        sizes: examples of each class, shape (K,), int64.
        total: the sum, at most that of ``sizes``.

    Returns:
        Number of each class, at most its size, shape (K,), int64.

    Example:
        >>> spread_counts(np.array([0.2, 0.6]), np.array([10, 10]), total=4).tolist()
        [1, 3]
    """
    asked = rates * sizes
    if total <= asked.sum():
        ideal = asked * (total / asked.sum()) if total else np.zeros_like(asked)
    else:
        ideal = sizes - (sizes - asked) * ((sizes.sum() - total) / (sizes - asked).sum())
    counts = np.floor(ideal + 1e-9).astype(np.int64)
    remainder = np.where(counts < sizes, ideal - counts, -np.inf)
    order = np.argsort(-np.round(remainder, 9), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts


def mean_rate(rule: LabelRule) -> float:
    """The rate that is chosen at, on average: ``rate``, unless it is spread without exact counts.

    Then it is the mean of the truncated normal distribution that the rates of classes come from.
    """
    if not rule.rate_spread or rule.count == "exact":
        return rule.rate
    normal = NormalDist()
    low, high = -rule.rate / rule.rate_spread, (1 - rule.rate) / rule.rate_spread
    inside = normal.cdf(high) - normal.cdf(low)
    return rule.rate + rule.rate_spread * (normal.pdf(low) - normal.pdf(high)) / inside


def round_down(number: float) -> int:
    """The whole number below; a product such as 0.29 * 100, just short of 29, counts as 29."""
    return math.floor(number + 1e-9)


def _truncated_normal(
    mean: float, deviation: float, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws from a normal distribution truncated to [0, 1], by inverting its cumulative one."""
    normal = NormalDist(mean, deviation)
    low, high = normal.cdf(0), normal.cdf(1)
    drawn = low + (high - low) * rng.random(size)
    # The ends, where a cumulative value of 0 or 1 has no inverse, are out of reach but by rounding.
    inner = drawn.clip(np.nextafter(0, 1), np.nextafter(1, 0)).tolist()
    return np.array([normal.inv_cdf(value) for value in inner]).clip(0, 1)
