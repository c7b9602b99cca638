"""Wrong labels that respect clans: related families are mistaken for each other more often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.choosing import round_down
from protein_robust.noise.classes import Classes
from protein_robust.noise.rules import LabelRule


def draw_by_clan(
    clean_label: NDArray[np.int64], classes: Classes, *, rule: LabelRule, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a wrong label for each example, the rule's share of them inside the clan.

    Args:
        clean_label: clean classes of the examples, in random order, shape (M,), int64.
        classes: the K classes.
        rule: its ``in_clan_share`` and ``count`` are used: an exact count keeps the first
            floor(share M) in the clan, else each stays there by itself with that probability.
        rng: where the draws come from.

    Returns:
        Classes, none the clean one, shape (M,), int64.

    Raises:
        InputError: if a label is to leave a clan that has all K classes.
        ValueError: if a nearest class is needed and not known.
    """
    if rule.count == "exact":
        is_inside = np.arange(len(clean_label)) < round_down(rule.in_clan_share * len(clean_label))
    else:
        is_inside = rng.random(len(clean_label)) < rule.in_clan_share
    label = np.empty_like(clean_label)
    label[is_inside] = _inside(clean_label[is_inside], classes, rng)
    label[~is_inside] = _outside(clean_label[~is_inside], classes, rng)
    return label


def _inside(
    clean: NDArray[np.int64], classes: Classes, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Uniform over the clan's other classes; the nearest class where there are none."""
    order, first, size = _clan_order(classes)
    begin, count = first[clean], size[clean]
    place = np.argsort(order)[clean] - begin
    # A shift of 1 to n - 1 reaches each other class of a clan of n equally often.
    shift = rng.integers(1, np.maximum(count, 2))
    label = order[begin + (place + shift) % count]
    is_alone = count == 1
    if is_alone.any():
        label[is_alone] = classes.nearest_classes()[clean[is_alone]]
    return label


def _outside(
    clean: NDArray[np.int64], classes: Classes, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Uniform over the classes outside the clan."""
    order, first, size = _clan_order(classes)
    if len(clean) and size[clean[0]] == len(classes):
        expected = f"`in_clan_share` 1 where all families are of clan {classes.clans[0]}"
        raise InputError(expected, "a smaller one")
    begin = first[clean] + size[clean]  # the clans that follow, around the end, are the others
    shift = rng.integers(0, len(classes) - size[clean])
    label: NDArray[np.int64] = order[(begin + shift) % len(classes)]
    return label


def _clan_order(
    classes: Classes,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Classes sorted by clan; then, of each class, where its clan begins there, and its size."""
    groups = classes.clan_groups()
    order = np.argsort(groups, kind="stable")
    size = np.bincount(groups)
    first = np.cumsum(size) - size
    return order, first[groups], size[groups]
