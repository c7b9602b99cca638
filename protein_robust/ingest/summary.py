"""Count what a dataset holds, for its manifest, and say it in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from protein_robust.alphabet import RARE_RESIDUES
from protein_robust.ingest.options import SPLITS
from protein_robust.ingest.store import CONFLICTS, FAMILIES, SEQUENCES


def count_rows(tables: Mapping[str, pa.Table], *, num_records: int) -> dict[str, Any]:
    """Count families, sequences, residues and conflicting labels.

    Args:
        tables: the tables of the dataset folder.
        num_records: number of records read, before any was removed.

    Returns:
        ``counts``, ``conflicts`` and ``families_without_test`` of the manifest.
    """
    sequences, families = tables[SEQUENCES], tables[FAMILIES]
    per_split = {split: int(pc.sum(families[f"num_{split}"]).as_py()) for split in SPLITS}
    conflicts = tables.get(CONFLICTS)
    return {
        "counts": {
            "records": num_records,
            "families": len(families),
            **per_split,
            "residues": int(pc.sum(pc.binary_length(sequences["sequence"])).as_py()),
        },
        "conflicts": {
            "sequences": 0 if conflicts is None else pc.count_distinct(conflicts[1]).as_py(),
            "rows": 0 if conflicts is None else len(conflicts),
        },
        "families_without_test": int(pc.sum(pc.equal(families["num_test"], 0)).as_py()),
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
        manifest: of a dataset folder.

    Returns:
        Pairs of a name and a value.
    """
    counts, removed, letters = manifest["counts"], manifest["removed"], manifest["letters"]
    total = sum(counts[split] for split in SPLITS)
    rare = ", ".join(f"{letter} {number:,}" for letter, number in letters["rare"].items())
    conflicts = manifest["conflicts"]
    kind = " (synthetic)" if manifest["is_synthetic"] else ""
    lines = [
        ("dataset", f"{manifest['name']}{kind}"),
        ("records read", f"{counts['records']:,}"),
        ("families", f"{counts['families']:,}"),
        ("split rule", manifest["split_rule"]),
        *((f"{split} sequences", f"{counts[split]:,}") for split in SPLITS),
        ("residues", f"{counts['residues']:,}"),
        ("mean length", f"{counts['residues'] / total:.1f} residues"),
        ("rare letters", rare or "none"),
        ("duplicates in a family, dropped", f"{removed['duplicates_within_family']:,}"),
    ]
    if manifest["split_rule"] == "existing":
        number = f"{removed['duplicates_across_splits']:,}"
        lines.append(("duplicates of another split, dropped", number))
    if removed["families_not_drawn"]:
        lines.append(("records of families not drawn", f"{removed['families_not_drawn']:,}"))
    kept = "in train" if manifest["split_rule"] == "random" else "in their split"
    number = f"{conflicts['sequences']:,} in {conflicts['rows']:,} rows, kept {kept}"
    lines.append(("sequences with conflicting labels", number if conflicts["rows"] else "0"))
    too_few = f"{manifest['families_without_test']:,}"
    lines.append(("families without a test sequence", too_few))
    return lines
