"""Ingestion of real Pfam excerpts, which are not part of this repository."""

import os
from pathlib import Path
from typing import Any

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import Source, ingest, read_families

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


def real(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    return path


def ingest_real(output: Path, *names: str) -> dict[str, Any]:
    return ingest([Source(real(name)) for name in names], output)


def test_three_real_files_keep_their_splits(tmp_path: Path) -> None:
    words = {"train": "train", "validation": "dev", "test": "test"}
    sources = [Source(real(f"pfam/{name}_100.csv"), word) for name, word in words.items()]
    manifest = ingest(sources, tmp_path / "out")
    counts = manifest["counts"]
    assert (counts["train"], counts["valid"], counts["test"]) == (13_345, 1_611, 1_611)
    assert counts["families"] == 100
    assert sum(manifest["removed"].values()) == 0
    numbers = read_families(tmp_path / "out")["num_train"].to_pylist()
    assert (min(numbers), max(numbers)) == (17, 3637)


def test_two_real_files_with_repeats_are_divided(tmp_path: Path) -> None:
    manifest = ingest_real(tmp_path / "out", "pfam/validation_1.csv", "pfam/test_1.csv")
    assert manifest["counts"]["records"] == 2 * 11_565
    # 5 and 12 rows are repeated inside a file, 8 sequences stand in both.
    assert manifest["removed"]["duplicates_within_family"] == 25
    assert manifest["families_without_test"] == 0


def test_a_real_seed_file_of_many_releases_is_read_whole(tmp_path: Path) -> None:
    manifest = ingest_real(tmp_path / "out", "stockholm/Pfam-A.seed.union")
    assert manifest["counts"]["records"] == 2_833
    assert manifest["counts"]["families"] == 46


def test_a_real_excerpt_is_read_whole(tmp_path: Path) -> None:
    manifest = ingest_real(tmp_path / "out", "stockholm/pfam_37.4_Pfam-A.seed")
    assert manifest["counts"]["records"] == 417
    assert manifest["counts"]["families"] == 5


def test_a_real_excerpt_with_stray_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"24\.0_Pfam-A\.seed:104: Expected a row .*, got '--'"):
        ingest_real(tmp_path / "out", "stockholm/pfam_24.0_Pfam-A.seed")
    assert list(tmp_path.iterdir()) == []
