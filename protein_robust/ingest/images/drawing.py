"""Which images are kept, and in which split: the same share of each class, drawn by the seed."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.images.content import Content, Labels, Rows
from protein_robust.ingest.images.digits import TEST_FRACTION
from protein_robust.ingest.images.options import ImageOptions

_DRAW_TRAIN, _DRAW_TEST, _DRAW_VALID, _DIVIDE = range(4)
"""What is drawn has a stream of its own, so that one number does not change what another draws."""


def choose(content: Content, options: ImageOptions) -> dict[str, Rows]:
    """Decide which images are in which split.

    Args:
        content: of the source.
        options: how many, and the seed.

    Returns:
        For ``train`` and ``valid`` rows of ``content.train``; for ``test`` rows of ``content.test``
        or, where there is none, of ``content.train``; always in the source's order.

    Raises:
        InputError: if there are not so many, or a class has no training image.
    """
    labels, num_classes = content.train.labels, len(content.classes)
    pool = np.arange(len(labels))
    if content.test is None:
        num_test = math.floor(len(labels) * Fraction(str(TEST_FRACTION)))
        test = draw(labels, num_test, rng=_stream(options, _DIVIDE), num_classes=num_classes)
        pool, test_labels = np.setdiff1d(pool, test), labels[test]
    else:
        test_labels = content.test.labels
        test = np.arange(len(test_labels))
    if options.num_train is not None:
        _check_number("num_train", options.num_train, len(pool))
        rng = _stream(options, _DRAW_TRAIN)
        pool = pool[draw(labels[pool], options.num_train, rng=rng, num_classes=num_classes)]
    if options.num_test is not None:
        _check_number("num_test", options.num_test, len(test))
        rng = _stream(options, _DRAW_TEST)
        test = test[draw(test_labels, options.num_test, rng=rng, num_classes=num_classes)]
    valid = pool[_draw_valid(labels[pool], options, num_classes=num_classes)]
    train = np.setdiff1d(pool, valid)
    sizes = np.bincount(labels[train], minlength=num_classes)
    if not sizes.all():
        absent = content.classes[int(sizes.argmin())]
        raise InputError("at least one training image of each class", f"none of {absent!r}")
    return {"train": train, "valid": valid, "test": test}


def shares(sizes: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Divide a number among classes in proportion to their sizes, by largest remainder.

    Classes of equal size get equal shares; where that leaves a rest, the first ones get one more.

    Args:
        sizes: of the classes, shape (K,), int64.
        total: what to divide, at most the sum of the sizes.

    Returns:
        Shares, shape (K,), int64: none is larger than its class, and their sum is ``total``.

    Example:
        >>> shares(np.array([50, 30, 20]), 5).tolist()
        [3, 1, 1]
    """
    whole, rest = np.divmod(sizes * total, max(1, int(sizes.sum())))
    first = np.argsort(-rest, kind="stable")[: total - int(whole.sum())]
    whole[first] += 1
    return whole


def draw(labels: Labels, total: int, *, rng: np.random.Generator, num_classes: int) -> Rows:
    """Draw rows, of each class its share.

    For classes of equal size, a smaller number draws a subset of what a larger one draws.

    Args:
        labels: shape (N,), int64.
        total: how many rows, at most N.
        rng: what draws.
        num_classes: K.

    Returns:
        Rows in ascending order, shape (total,), int64.
    """
    sizes = np.bincount(labels, minlength=num_classes)
    return _first_of_each(labels, shares(sizes, total), rng)


def _draw_valid(labels: Labels, options: ImageOptions, *, num_classes: int) -> Rows:
    """Rows for valid: of n in a class, floor(n f)."""
    fraction = Fraction(str(options.valid_fraction))
    sizes = np.bincount(labels, minlength=num_classes).tolist()
    numbers = np.array([math.floor(size * fraction) for size in sizes], dtype=np.int64)
    return _first_of_each(labels, numbers, _stream(options, _DRAW_VALID))


def _first_of_each(labels: Labels, numbers: NDArray[np.int64], rng: np.random.Generator) -> Rows:
    """So many rows of each class, the first ones of a permutation of all of them."""
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in enumerate(numbers.tolist())
    ]
    return np.sort(np.concatenate(chosen))


def _stream(options: ImageOptions, what: int) -> np.random.Generator:
    return np.random.default_rng([options.seed, what])


def _check_number(name: str, number: int, available: int) -> None:
    if number > available:
        raise InputError(f"`{name}` of at most {available:,}, which the source has", f"{number:,}")
