from collections import Counter
from itertools import product
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

import pytest

from protein_robust.ingest import IngestOptions, Source, ingest, read_sequences
from protein_robust.ingest.summary import REASONS, count_letters, describe

MANIFEST: dict[str, Any] = {
    "name": "mine",
    "is_synthetic": False,
    "split_rule": "random",
    "counts": {
        "records": 1100, "families": 7, "clans": 3, "train": 800, "valid": 100, "test": 100,
        "unlabelled": 0, "heldout": 0, "heldout_families": 0, "residues": 137_250, "aligned": 0,
        "families_of_several_alignments": 0,
    },
    "lengths": {"min": 9, "median": 120.5, "mean": 137.25, "max": 1234},
    "removed": {**dict.fromkeys(REASONS, 0), "duplicates_within_family": 40,
                "families_not_drawn": 60},
    "conflicts": {"sequences": 2, "rows": 5, "kept": 4},
    "families_without_test": 3,
    "letters": {"rare": {"B": 1, "X": 1200}, "lower_case": 0, "gaps": 0, "stops": 0},
    "skipped": {"records": 0, "rows": 0, "first": []},
    "verification": {"passed": True},
}  # fmt: skip


def test_every_number_is_said() -> None:
    assert describe(MANIFEST) == [
        ("dataset", "mine"),
        ("records read", "1,100"),
        ("families", "7 (3 clans)"),
        ("split rule", "random"),
        ("train sequences", "800"),
        ("valid sequences", "100"),
        ("test sequences", "100"),
        ("residues", "137,250"),
        # 137.25 is rounded half to even
        ("length", "9 to 1,234, median 120.5, mean 137.2 residues"),
        ("rare letters", "B 1, X 1,200"),
        ("duplicates in a family, dropped", "40"),
        ("records of families not drawn", "60"),
        ("sequences with conflicting labels", "2 in 5 rows, 4 of them kept in train"),
        ("families without a test sequence", "3"),
        ("verified", "passed"),
    ]


def test_what_is_not_usual_is_said_too() -> None:
    lines = dict(
        describe(
            {
                **MANIFEST,
                "is_synthetic": True,
                "split_rule": "existing",
                "counts": {**MANIFEST["counts"], "unlabelled": 1200, "heldout": 9},
                "removed": {reason: place for place, reason in enumerate(REASONS, start=1000)},
                "skipped": {"records": 3, "rows": 1500},
                "verification": {"passed": False},
            }
        )
    )
    assert lines["dataset"] == "mine (synthetic)"
    assert lines["broken records skipped"] == "3 (1,500 sequences)"
    assert lines["unlabelled sequences"] == "1,200"
    assert lines["heldout sequences"] == "9"
    assert (
        lines["sequences with conflicting labels"] == "2 in 5 rows, 4 of them kept in their split"
    )
    assert lines["verified"] == "failed"
    assert [lines[name] for name in REASONS.values()] == [
        f"1,00{place}" for place in range(len(REASONS))
    ]


def test_no_conflicts_are_said_to_be_none() -> None:
    lines = dict(describe({**MANIFEST, "conflicts": {"sequences": 0, "rows": 0, "kept": 0}}))
    assert lines["sequences with conflicting labels"] == "0"


def test_rare_letters_stand_apart() -> None:
    letters = {"X": 2, "gaps": 3, "stops": 1}
    expected = {"rare": {"X": 2}, "lower_case": 0, "gaps": 3, "stops": 1}
    assert count_letters(letters) == expected


def lines_of(*sizes: int) -> list[str]:
    """Families of so many different sequences, of lengths from 3 on."""
    texts = ["".join(letters) for letters in product("ACDEFGHIKL", repeat=3)]
    return [
        f"n{family}_{i}/1-{4 + i % 5},F{family:02d},{'MNPQRST'[family]}{texts[i]}{'W' * (i % 7)}"
        for family, size in enumerate(sizes)
        for i in range(size)
    ]


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, Any]:
    header = "name,family,sequence"
    extra = ["u,?,WWWWWWWWWWWWWWWWWWWW", "x/1-9,F00,YYYYYYYYY", "x,F01,YYYYYYYYY"]
    lines = [header, *lines_of(250, 120, 30, 5, 1, 12), *extra]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    options = IngestOptions(unknown="?", hold_out_families=("F05",))
    return ingest([Source(tmp_path / "a.csv")], tmp_path / "out", options=options)


def test_the_figures_are_those_of_the_tables(manifest: dict[str, Any], tmp_path: Path) -> None:
    rows = read_sequences(tmp_path / "out").to_pylist()
    splits = Counter(row["split"] for row in rows)
    counts = manifest["counts"]
    assert {split: counts[split] for split in splits} == splits
    assert splits.keys() == {"train", "valid", "test", "unlabelled", "heldout"}
    assert counts["records"] == len(rows) + sum(manifest["removed"].values())
    assert counts["residues"] == sum(len(row["sequence"]) for row in rows)
    assert (counts["families"], counts["heldout_families"], counts["clans"]) == (5, 1, 0)
    lengths = [len(row["sequence"]) for row in rows]
    quarter, median, three_quarters = quantiles(lengths, n=4, method="inclusive")
    assert manifest["lengths"] == {
        "min": min(lengths), "quarter": quarter, "median": median, "mean": mean(lengths),
        "three_quarters": three_quarters, "max": max(lengths),
    }  # fmt: skip


def test_families_are_grouped_by_their_training_rows(manifest: dict[str, Any]) -> None:
    # in train: 250 - 50 + 1 with the conflict, 120 - 24 + 1, 30 - 6, 5, 1
    assert manifest["family_sizes"] == {"1": 1, "2-10": 1, "11-50": 1, "51-200": 1, "201+": 1}
    assert manifest["families_without_test"] == 2


def test_conflicts_are_counted_by_sequence_and_row(manifest: dict[str, Any]) -> None:
    assert manifest["conflicts"] == {"sequences": 1, "rows": 2, "kept": 2}


def test_coordinates_that_do_not_fit_are_counted(manifest: dict[str, Any], tmp_path: Path) -> None:
    rows = read_sequences(tmp_path / "out").to_pylist()
    there = [row for row in rows if row["start"] is not None]
    wrong = [row for row in there if row["end"] - row["start"] + 1 != len(row["sequence"])]
    assert manifest["coordinates"] == {"rows": len(there), "not_as_long": len(wrong)}
    assert 0 < len(wrong) < len(there) < len(rows)
