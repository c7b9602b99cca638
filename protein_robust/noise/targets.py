"""Noise under which a class becomes one certain other class: which classes, and which one.

The same words stand for different noise in print. Of CIFAR-100 with "asymmetric noise 0.4", 16 % of
the labels are wrong under ``clan_pair`` and 40 % under ``id_block``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.classes import Classes
from protein_robust.noise.rules import LabelRule

TARGET_KINDS = ("asymmetric", "clan_pair", "id_block")

BLOCK = 5
"""Consecutive class numbers that ``id_block`` stays in."""

CLASS_MAPS: Mapping[str, Mapping[str, str]] = {
    "cifar10": {
        "truck": "automobile",
        "bird": "airplane",
        "cat": "dog",
        "dog": "cat",
        "deer": "horse",
    }
}
"""Published maps for ``asymmetric``, by the data set that they are for.

``cifar10``: Patrini et al., "Making Deep Neural Networks Robust to Label Noise: A Loss Correction
Approach", CVPR 2017, section 5; the five other classes keep their labels, so that a rate r of each
source class is r / 2 of all labels.
"""


def draw_targets(
    classes: Classes, *, rule: LabelRule, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Say which class each one becomes.

    Args:
        classes: the K classes.
        rule: of one of `TARGET_KINDS`.
        rng: where pairs are drawn from; used for ``clan_pair`` only.

    Returns:
        A class for each, itself where it keeps its labels, shape (K,), int64.

    Raises:
        InputError: if the rule names a class that is not of the data, no clan has two classes, or
            the classes do not make whole blocks.
    """
    if rule.kind == "asymmetric":
        return _mapped(classes, rule.class_map)
    if rule.kind == "id_block":
        return _next_in_block(len(classes))
    target = np.arange(len(classes))
    for members in _clans_of_several(classes):
        first, second = rng.choice(members, size=2, replace=False)
        target[[first, second]] = second, first
    return target


def source_chance(classes: Classes, *, rule: LabelRule) -> NDArray[np.float64]:
    """Say how likely each class is one that becomes another; arguments as for `draw_targets`.

    Returns:
        1 or 0 where nothing is drawn; 2/m under ``clan_pair`` in a clan of m classes; shape (K,),
        float64.

    Raises:
        InputError: as `draw_targets`.
    """
    if rule.kind != "clan_pair":
        own = np.arange(len(classes))
        target = draw_targets(classes, rule=rule, rng=np.random.default_rng(0))  # draws nothing
        return np.not_equal(target, own).astype(np.float64)
    chance = np.zeros(len(classes))
    for members in _clans_of_several(classes):
        chance[members] = 2 / len(members)
    return chance


def exchanged_pairs(target: NDArray[np.int64], classes: Classes) -> tuple[tuple[str, str], ...]:
    """Accessions of the classes that become each other, each pair once, in order of number."""
    own = np.arange(len(target))
    first = np.flatnonzero((target > own) & (target[target] == own))
    name = classes.accessions
    return tuple((name[c], name[target[c]]) for c in first)


def _mapped(classes: Classes, class_map: Mapping[str, str]) -> NDArray[np.int64]:
    """The class that each one becomes under the class map, itself where it is not named; (K,)."""
    number_of = {accession: number for number, accession in enumerate(classes.accessions)}
    unknown = sorted({*class_map, *class_map.values()} - number_of.keys())
    if unknown:
        raise InputError("`class_map` of families of the data", repr(unknown[0]))
    target = np.arange(len(classes))
    for clean, given in class_map.items():
        target[number_of[clean]] = number_of[given]
    return target


def _next_in_block(num_classes: int) -> NDArray[np.int64]:
    """The class number that follows in its block, the first of the block after the last; (K,)."""
    if num_classes % BLOCK:
        expected = f"a number of classes that is a multiple of {BLOCK} where `kind` is id_block"
        raise InputError(expected, str(num_classes))
    number = np.arange(num_classes)
    return number - number % BLOCK + (number + 1) % BLOCK


def _clans_of_several(classes: Classes) -> list[NDArray[np.int64]]:
    """Classes of each clan that has two or more of them, clans in order of their first class."""
    group = classes.clan_groups()
    size = np.bincount(group)
    found = [np.flatnonzero(group == clan) for clan in np.flatnonzero(size > 1)]
    if not found:
        raise InputError("a clan with two classes of the data where `kind` is clan_pair", "none")
    return found
