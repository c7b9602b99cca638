"""Count what a dataset holds and what was left out, for its manifest, and say it in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein_robust.alphabet import RARE_RESIDUES
from protein_robust.ingest.allocation import Allocation
from protein_robust.ingest.columns import Columns
from protein_robust.ingest.images.options import MODALITY
from protein_robust.ingest.images.summary import describe_images
from protein_robust.ingest.options import OTHER_SPLITS, SPLITS

SIZE_BINS = ((1, 1), (2, 10), (11, 50), (51, 200), (201, None))
"""First and last number of training sequences of each group of families."""


def describe_rows(columns: Columns, allocation: Allocation) -> dict[str, Any]:
    """Count what is kept and what is not.

    Args:
        columns: what was read.
        allocation: where each row goes.

    Returns:
        ``counts``, ``lengths``, ``family_sizes``, ``families_without_test``, ``conflicts``,
        ``removed`` and ``letters`` of the manifest. Rows read are kept or removed:
        ``counts.records`` is the sum of both.
    """
    lengths = columns.sequences.lengths[allocation.rows]
    per_split = np.bincount(allocation.splits, minlength=len(SPLITS) + len(OTHER_SPLITS)).tolist()
    numbers = dict(zip((*SPLITS, *OTHER_SPLITS), per_split, strict=True))
    sizes = {
        split: np.bincount(
            allocation.labels[allocation.splits == place], minlength=len(allocation.accessions)
        )
        for place, split in enumerate(SPLITS)
    }
    clans = {columns.families[name].facts.clan for name in allocation.accessions} - {None}
    return {
        "counts": {
            "records": len(columns),
            "families": len(allocation.accessions),
            "clans": len(clans),
            **numbers,
            "heldout_families": len(allocation.held_out),
            "residues": int(lengths.sum()),
            "families_of_several_alignments": _count_alignments(columns, allocation),
            "aligned": int((columns.aligned.lengths[allocation.rows] > 0).sum()),
        },
        "lengths": _quantiles(lengths),
        "family_sizes": _size_groups(sizes["train"]),
        "families_without_test": int((sizes["test"] == 0).sum()),
        "conflicts": _count_conflicts(columns, allocation),
        "removed": allocation.removed,
        "letters": count_letters(columns.letters),
    }


def count_letters(letters: Mapping[str, int]) -> dict[str, Any]:
    """Arrange the unusual characters for the manifest.

    Args:
        letters: numbers of ``lower_case``, ``gaps``, ``stops`` and of each rare letter.

    Returns:
        The same, with the rare letters under ``rare``.
    """
    rare = {letter: letters[letter] for letter in RARE_RESIDUES if letters.get(letter)}
    return {
        "rare": rare,
        **{name: letters.get(name, 0) for name in ("lower_case", "gaps", "stops")},
    }


def describe(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what a dataset holds and what was left out, for printing.

    Args:
        manifest: of a dataset folder, of sequences or of images.

    Returns:
        Pairs of a name and a value.
    """
    if manifest.get("modality") == MODALITY:
        return describe_images(manifest)
    counts, removed, letters = manifest["counts"], manifest["removed"], manifest["letters"]
    lengths, conflicts = manifest["lengths"], manifest["conflicts"]
    rare = ", ".join(f"{letter} {number:,}" for letter, number in letters["rare"].items())
    kind = " (synthetic)" if manifest["is_synthetic"] else ""
    kept = "in their split" if manifest["split_rule"] == "existing" else "in train"
    conflicting = f"{conflicts['sequences']:,} in {conflicts['rows']:,} rows, "
    conflicting += f"{conflicts['kept']:,} of them kept {kept}"
    several = counts["families_of_several_alignments"]
    skipped = manifest["skipped"]
    lines = [
        ("dataset", f"{manifest['name']}{kind}"),
        ("records read", f"{counts['records']:,}"),
        ("broken records skipped", f"{skipped['records']:,} ({skipped['rows']:,} sequences)"),
        ("families", f"{counts['families']:,} ({counts['clans']:,} clans)"),
        ("split rule", manifest["split_rule"]),
        *((f"{split} sequences", f"{counts[split]:,}") for split in SPLITS),
        *((f"{split} sequences", f"{counts[split]:,}") for split in OTHER_SPLITS if counts[split]),
        ("residues", f"{counts['residues']:,}"),
        (
            "length",
            "{min:,} to {max:,}, median {median:g}, mean {mean:.1f} residues".format(**lengths),
        ),
        ("rare letters", rare or "none"),
        *((REASONS[reason], f"{number:,}") for reason, number in removed.items() if number),
        ("sequences with conflicting labels", conflicting if conflicts["rows"] else "0"),
        *([("families with rows of several alignments", f"{several:,}")] if several else []),
        ("families without a test sequence", f"{manifest['families_without_test']:,}"),
        ("verified", "passed" if manifest["verification"]["passed"] else "failed"),
    ]
    if not skipped["records"]:
        del lines[2]
    return lines


REASONS = {
    "duplicates_within_family": "duplicates in a family, dropped",
    "duplicates_across_splits": "duplicates of another split, dropped",
    "conflicting": "rows with conflicting labels, dropped",
    "families_not_drawn": "records of families not drawn",
    "held_out_in_classes": "held-out rows whose residues a class has, dropped",
    "duplicates_held_out": "duplicates in a held-out family, dropped",
    "unlabelled_outside_train": "rows of unknown family in valid or test, dropped",
    "unlabelled_in_families": "rows of unknown family whose residues a family has, dropped",
    "duplicates_unlabelled": "duplicates of unknown family, dropped",
}
"""What each reason for which rows are removed is called."""


def _quantiles(lengths: NDArray[np.int64]) -> dict[str, float]:
    """How long the kept sequences are, in residues."""
    low, quarter, median, three_quarters, high = np.quantile(lengths, (0, 0.25, 0.5, 0.75, 1))
    return {
        "min": int(low),
        "quarter": float(quarter),
        "median": float(median),
        "mean": float(lengths.mean()),
        "three_quarters": float(three_quarters),
        "max": int(high),
    }


def _size_groups(num_train: NDArray[np.int64]) -> dict[str, int]:
    """How many families have so many training sequences."""
    groups = {}
    for first, last in SIZE_BINS:
        name = f"{first}" if last == first else f"{first}-{last}" if last else f"{first}+"
        is_inside = (num_train >= first) & (num_train <= (last or num_train.max()))
        groups[name] = int(is_inside.sum())
    return groups


def _count_conflicts(columns: Columns, allocation: Allocation) -> dict[str, int]:
    """How many sequences stand in several families, in how many rows, and how many are kept."""
    rows = allocation.conflicts
    high, low = columns.halves()
    distinct = np.unique(np.stack([high[rows], low[rows]]), axis=1).shape[1] if len(rows) else 0
    num_kept = int(allocation.is_conflicting.sum())
    return {"sequences": distinct, "rows": len(rows), "kept": num_kept}


def _count_alignments(columns: Columns, allocation: Allocation) -> int:
    """How many families have rows of more than one alignment."""
    codes = np.frombuffer(columns.codes, dtype=np.int32)[allocation.rows].astype(np.int64)
    numbers = np.frombuffer(columns.alignments, dtype=np.int32)[allocation.rows]
    is_row = (numbers > 0) & (codes >= 0)
    pairs = np.unique(codes[is_row] * (columns.num_alignments + 1) + numbers[is_row])
    num_of_family = np.bincount(pairs // (columns.num_alignments + 1))
    return int((num_of_family > 1).sum())
