"""Ingestion of real Pfam and DeepLoc excerpts, which are not part of this repository."""

import os
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import (
    OTHER_SPLITS,
    SPLITS,
    IngestOptions,
    Source,
    ingest,
    read_families,
    read_sequences,
)

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))


def real(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    return path


def ingest_real(output: Path, *names: str, **options: Any) -> dict[str, Any]:
    sources = [Source(real(name)) for name in names]
    manifest = ingest(sources, output, options=IngestOptions(**options))
    kept = sum(manifest["counts"][split] for split in (*SPLITS, *OTHER_SPLITS))
    assert manifest["counts"]["records"] == kept + sum(manifest["removed"].values())
    assert manifest["verification"]["passed"]
    return manifest


@pytest.mark.slow
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
    counts = manifest["counts"]
    assert (counts["records"], counts["families"]) == (2_833, 46)
    assert counts["aligned"] == counts["train"] + counts["valid"] + counts["test"]
    assert manifest["coordinates"] == {"rows": counts["aligned"], "not_as_long": 0}


def test_a_real_excerpt_is_read_whole(tmp_path: Path) -> None:
    manifest = ingest_real(tmp_path / "out", "stockholm/pfam_37.4_Pfam-A.seed")
    assert manifest["counts"]["records"] == 417
    assert manifest["counts"]["families"] == 5


def test_a_real_excerpt_with_stray_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"24\.0_Pfam-A\.seed:104: Expected a row .*, got '--'"):
        ingest_real(tmp_path / "out", "stockholm/pfam_24.0_Pfam-A.seed")
    assert list(tmp_path.iterdir()) == []


def test_a_real_excerpt_without_a_whole_record_is_refused_under_skip_too(tmp_path: Path) -> None:
    message = r"got 2 broken ones only: .*seed:104: PF00696\.21 .*'--'; .*seed:306: PF01472\.13"
    with pytest.raises(InputError, match=message):
        ingest_real(tmp_path / "out", "stockholm/pfam_24.0_Pfam-A.seed", on_bad_record="skip")
    assert list(tmp_path.iterdir()) == []


def test_stray_lines_beside_whole_records_are_skipped(tmp_path: Path) -> None:
    names = "stockholm/pfam_24.0_Pfam-A.seed", "stockholm/pfam_37.4_Pfam-A.seed"
    manifest = ingest_real(tmp_path / "out", *names, on_bad_record="skip")
    assert manifest["counts"]["records"] == 417
    assert manifest["skipped"]["records"] == 2
    lines = pq.read_table(tmp_path / "out" / "skipped.parquet")["line"].to_pylist()
    assert lines[0] == 104


@pytest.mark.slow
def test_real_clans_complete_the_families(tmp_path: Path) -> None:
    clans = str(real("stockholm/Pfam-A.hmm.dat.gz"))
    out = tmp_path / "out"
    manifest = ingest_real(out, "stockholm/Pfam-A.seed.union", clans=clans)
    assert manifest["clans"]["without_entry"] == 0
    assert manifest["clans"]["changed_clans"] == 1
    assert manifest["counts"]["clans"] == 26
    types = set(read_families(out)["family_type"].to_pylist())
    assert types <= {"Family", "Domain", "Repeat", "Coiled-coil", "Motif", "Disordered"}
    held_out = ingest_real(out, "stockholm/Pfam-A.seed.union", clans=clans, hold_out_clans=3)
    assert held_out["counts"]["clans"] == 23
    assert held_out["counts"]["heldout"] > 0


def test_a_real_clustered_split_keeps_its_bound(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest_real(out, "stockholm/Pfam-A.seed.union", split="clustered")
    aligned = pq.read_table(out / "alignments.parquet")["aligned_row"].to_pylist()
    splits: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row, text in zip(read_sequences(out).to_pylist(), aligned, strict=True):
        splits[row["family_accession"]][row["split"]].append(text.upper())
    num_pairs = 0
    for found in splits.values():
        for one, other in product(found["test"][:3], found["train"][:40]):
            same = sum(a == b and a not in ".-" for a, b in zip(one, other, strict=True))
            shorter = min(sum(a not in ".-" for a in text) for text in (one, other))
            assert same / shorter <= 0.25
            num_pairs += 1
    assert num_pairs > 300


def test_real_deeploc_files_keep_unknown_proteins_apart(tmp_path: Path) -> None:
    names = "deeploc/deeploc_our_val_set.fasta", "deeploc/deeploc_test_set.fasta"
    manifest = ingest_real(tmp_path / "out", *names, preset="deeploc")
    counts = manifest["counts"]
    # The validation file has 426 + 595 labelled proteins and 657 unknown ones; the test file has
    # the word "test" in each header, 743 + 1,003 labelled ones and 1,022 unknown ones.
    assert (counts["train"] + counts["valid"], counts["test"]) == (426 + 595, 743 + 1_003)
    assert counts["unlabelled"] == 657
    assert manifest["removed"]["unlabelled_outside_train"] == 1_022
    families = read_families(tmp_path / "out")
    assert families["family_accession"].to_pylist() == ["M", "S"]
    assert families["num_test"].to_pylist() == [743, 1_003]


def test_a_real_deeploc_file_is_divided_at_random(tmp_path: Path) -> None:
    manifest = ingest_real(tmp_path / "out", "deeploc/deeploc_our_val_set.fasta", preset="deeploc")
    assert manifest["split_rule"] == "random"
    assert manifest["counts"]["test"] == 42 + 59
