"""Images and labels as a source has them, before any are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError

Pixels: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """N images that a source calls train or test, in its order.

    Attributes:
        images: shape (N, H, W, C), uint8.
        labels: classes, shape (N,), int64.
        names: what the images are called, N of them.
        coarse: superclasses, shape (N,), int64; None if there are none.
    """

    images: Pixels
    labels: Labels
    names: list[str]
    coarse: Labels | None = None


@dataclass(frozen=True)
class Content:
    """All that a source has, with the classes that were asked for.

    Attributes:
        train: training images.
        test: test images; None where the source does not divide.
        classes: name of each class, K of them.
        clans: name of each class's superclass, or None.
        truth: what human labels are held against: the training images' ``clean_label`` and, of
            CIFAR-100, ``clean_coarse_label``.
    """

    train: Part
    test: Part | None
    classes: tuple[str, ...]
    clans: tuple[str | None, ...]
    truth: dict[str, Labels] = field(default_factory=dict)

    @property
    def num_records(self) -> int:
        """Images of both parts."""
        return len(self.train.labels) + (0 if self.test is None else len(self.test.labels))


def whole_numbers(value: object, *, what: str, path: str, limit: int | None = None) -> Labels:
    """Take labels from what a file had.

    Args:
        value: a list of integers, or an array of an integer type.
        what: what the labels are called, for the message.
        path: the file, for the message.
        limit: labels must be in [0, limit); None for any.

    Returns:
        Shape (N,), int64.

    Raises:
        InputError: if it is something else, or a label is out of range.
    """
    if isinstance(value, list) and all(type(item) is int for item in value):
        try:
            numbers = np.array(value, dtype=np.int64)
        except OverflowError as error:
            raise InputError(f"{what} of 64 bits", "larger integers", path=path) from error
    elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        numbers = value.astype(np.int64)
    else:
        raise InputError(
            f"{what}, a list or one-dimensional array of integers", _kind(value), path=path
        )
    is_wrong = (
        np.zeros(len(numbers), dtype=np.bool_)
        if limit is None
        else (numbers < 0) | (numbers >= limit)
    )
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise InputError(f"{what} in [0, {limit})", f"{numbers[row]} (row {row})", path=path)
    return numbers


def _kind(value: object) -> str:
    """What something is, in a few words."""
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return f"a {type(value).__name__}"
