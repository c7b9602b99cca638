"""Training sequences that belong to none of the K classes, or to one that is not known.

They get labels uniform over the K classes. Labels of held-out families are therefore all wrong;
of sequences whose class is unknown, about 1 in K is right, but nobody knows which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.choosing import round_down
from protein_robust.noise.rules import LabelRule


@dataclass(frozen=True)
class Addition:
    """Sequences that are added to the training set.

    Attributes:
        rows: their rows among the sequences of their origin, ascending, shape (M,), int64.
        label: their classes, shape (M,), int64.
    """

    rows: NDArray[np.int64]
    label: NDArray[np.int64]


def draw_additions(
    rule: LabelRule, available: Mapping[str, int], *, num_classes: int, seed: int
) -> dict[str, Addition]:
    """Draw what the rule adds.

    Args:
        rule: its ``unlabelled`` and ``open_set_rate`` are used.
        available: number of sequences of ``train``, ``unlabelled`` and ``heldout``.
        num_classes: K.
        seed: of the noise; both origins have streams of their own.

    Returns:
        What is added of ``unlabelled`` and of ``heldout``, in this order.

    Raises:
        InputError: if there are no sequences of unknown class, or too few of held-out families.
    """
    unlabelled, heldout = 0, 0
    if rule.unlabelled == "random":
        unlabelled = available["unlabelled"]
        if not unlabelled:
            expected = "sequences of unknown class where `unlabelled` is random"
            raise InputError(expected, "none in the data")
    if rule.open_set_rate:
        heldout = _num_heldout(rule.open_set_rate, available["train"] + unlabelled)
        _check_heldout(heldout, available["heldout"], available["train"] + unlabelled)
    streams = {"unlabelled": (unlabelled, 3), "heldout": (heldout, 2)}
    added = {}
    for origin, (count, stream) in streams.items():
        rng = np.random.default_rng([seed, stream])
        rows = np.sort(rng.choice(available[origin], size=count, replace=False))
        added[origin] = Addition(rows, rng.integers(0, num_classes, size=count))
    return added


def _num_heldout(rate: float, others: int) -> int:
    """How many make up ``rate`` of the whole: m = rate (others + m), rounded down."""
    return round_down(rate * others / (1 - rate))


def _check_heldout(wanted: int, found: int, others: int) -> None:
    if wanted > found:
        largest = math.floor(found / (others + found) * 1e6) / 1e6 if found else 0
        expected = f"`open_set_rate` of at most {largest:g}, or {wanted} held-out sequences"
        raise InputError(expected, f"{found} of them for {others} others")
