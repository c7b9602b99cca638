"""What a noise folder says about itself: what was asked for, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein_robust.noise.classes import Classes
from protein_robust.noise.crops import Crops
from protein_robust.noise.labels import HELDOUT, ORIGINS, TRAIN, LabelNoise, expected_rate

_REQUESTED_OF = {
    "asymmetric": "each source class",
    "clan_pair": "each drawn class",
    "id_block": "each class",
}
"""What the requested rate is a fraction of, where it is not of all labels."""


def describe_labels(
    noise: LabelNoise,
    classes: Classes,
    *,
    added: Mapping[str, NDArray[np.int64]],
    available: Mapping[str, int],
    conflicts: NDArray[np.int64] | None,
) -> dict[str, Any]:
    """Describe label noise, ready for JSON.

    Args:
        noise: of the resulting training set.
        classes: the K classes.
        added: rows that were added of each other origin.
        available: how many sequences of each origin there are.
        conflicts: an id for each row of ``train`` that rows with the same residues share, -1 for
            the others, shape (N,), int64; None if that is not known.

    Returns:
        The entries of the manifest that are about labels.
    """
    is_train = noise.origin == TRAIN
    clean, label = noise.clean_label[is_train], noise.label[is_train]
    rule = noise.rule
    return {
        "label_rule": asdict(rule),
        "own_class": rule.own_class,
        "count": rule.count,
        "requested_rate": None if rule.kind in ("matrix", "human") else rule.rate,
        "requested_of": _REQUESTED_OF.get(rule.kind, "all labels"),
        "drawn_pairs": [list(pair) for pair in noise.pairs],
        "expected_rate": expected_rate(
            clean, classes, rule=rule, annotation=label if rule.kind == "human" else None
        ),
        "actual_rate": noise.actual_rate,
        "actual_rate_by_class": _rate_by_class(clean, label, classes),
        "wrong_rate": noise.wrong_rate,
        "in_clan": _in_clan(clean, label, classes),
        "to_nearest": _to_nearest(clean, label, classes) if rule.in_clan_share else None,
        "open_set": {
            "requested_rate": rule.open_set_rate,
            "actual_rate": float((noise.origin == HELDOUT).mean()) if len(noise.label) else 0.0,
        },
        "added": _describe_added(noise, added, available),
        "natural_conflicts": None if conflicts is None else _describe_conflicts(clean, conflicts),
        "clean_labels_sha256": array_sha256(noise.clean_label),
        "labels_sha256": array_sha256(noise.label),
        "changed_indices": np.flatnonzero(noise.is_changed).tolist(),
    }


def describe_crops(
    crops: Mapping[str, Crops], lengths: Mapping[str, NDArray[np.int64]]
) -> dict[str, Any]:
    """Describe crops, ready for JSON.

    Args:
        crops: of each split.
        lengths: residues of the whole sequences of each split, arrays of shape (N_split,), int64.

    Returns:
        The entries of the manifest that are about crops, their rule apart.
    """
    return {
        "num_sequences": {split: len(crop.start) for split, crop in crops.items()},
        "mean_kept_fraction": {
            split: float((crop.length / lengths[split]).mean()) if len(crop.length) else None
            for split, crop in crops.items()
        },
        "crops_sha256": {split: crops_sha256(crop) for split, crop in crops.items()},
    }


def array_sha256(values: NDArray[np.int64]) -> str:
    """SHA-256 of whole numbers as little-endian 64-bit integers, in 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()


def crops_sha256(crops: Crops) -> str:
    """SHA-256 of starts, lengths, gap starts and gap lengths, one array after another."""
    parts = (crops.start, crops.length, crops.gap_start, crops.gap_length)
    return array_sha256(np.stack(parts))


def _rate_by_class(
    clean: NDArray[np.int64], label: NDArray[np.int64], classes: Classes
) -> dict[str, float]:
    """Fraction of the labels of each class that changed, of classes with an example."""
    total = np.bincount(clean, minlength=len(classes))
    changed = np.bincount(clean[clean != label], minlength=len(classes))
    present = np.flatnonzero(total)
    rates = (changed[present] / total[present]).tolist()
    return {classes.accessions[c]: rate for c, rate in zip(present, rates, strict=True)}


def _in_clan(
    clean: NDArray[np.int64], label: NDArray[np.int64], classes: Classes
) -> dict[str, int | float | None] | None:
    """How many wrong labels stay in the clan, of those that could; None if no clan is known."""
    if not any(clan is not None for clan in classes.clans):
        return None
    group = classes.clan_groups()
    has_mate = np.bincount(group)[group] > 1
    could = (clean != label) & has_mate[clean]
    stays = could & (group[clean] == group[label])
    share = float(stays.sum() / could.sum()) if could.any() else None
    return {"could": int(could.sum()), "did": int(stays.sum()), "share": share}


def _to_nearest(
    clean: NDArray[np.int64], label: NDArray[np.int64], classes: Classes
) -> dict[str, int]:
    """Of the wrong labels of classes that have no other class of their clan: to the nearest one."""
    group = classes.clan_groups()
    alone = (clean != label) & (np.bincount(group)[group] == 1)[clean]
    if not alone.any():
        return {"could": 0, "did": 0}
    nearest = classes.nearest_classes()
    return {"could": int(alone.sum()), "did": int((alone & (nearest[clean] == label)).sum())}


def _describe_added(
    noise: LabelNoise, added: Mapping[str, NDArray[np.int64]], available: Mapping[str, int]
) -> dict[str, dict[str, int | str]]:
    """Of each origin, how many rows were added, of how many there are, to how many classes."""
    return {
        origin: {
            "rows": len(rows),
            "available": available[origin],
            "classes": len(np.unique(noise.label[noise.origin == ORIGINS.index(origin)])),
            "rows_sha256": array_sha256(rows),
        }
        for origin, rows in added.items()
    }


def _describe_conflicts(
    clean: NDArray[np.int64], conflicts: NDArray[np.int64]
) -> dict[str, int | list[int]]:
    """Rows with the same residues in several classes: at most one class of a sequence is right."""
    rows = np.flatnonzero(conflicts >= 0)
    sequence = np.unique(conflicts[rows], return_inverse=True)[1]
    num_sequences = int(sequence.max()) + 1 if len(rows) else 0
    # However the right class is chosen, it makes right at most the most common class's rows.
    size = int(clean.max()) + 1 if len(rows) else 1
    pair, count = np.unique(sequence * size + clean[rows], return_counts=True)
    most = np.zeros(num_sequences, np.int64)
    np.maximum.at(most, pair // size, count)
    return {
        "sequences": num_sequences,
        "rows": len(rows),
        "least_wrong": len(rows) - int(most.sum()),
        "row_indices": rows.tolist(),
    }
