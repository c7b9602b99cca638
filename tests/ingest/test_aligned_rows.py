"""Aligned rows of a split, read back from a dataset folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import IngestOptions, Source, ingest, read_sequences
from protein_robust.ingest.aligned_rows import read_alignments

LETTERS = "ACDEFGHIKL"


def made(tmp_path: Path, *, is_aligned: bool) -> Path:
    """A dataset folder of two families of ten rows."""
    extra = ",aligned_sequence" if is_aligned else ""
    lines = [f"family_accession,sequence{extra}\n"]
    for number in range(20):
        row = "MKVW" + LETTERS[number // 10] + LETTERS[number % 10] * 3
        lines.append(
            f"PF{number % 2},{row}" + (f",{row[:4]}-{row[4:]}" if is_aligned else "") + "\n"
        )
    path = tmp_path / "table.csv"
    path.write_text("".join(lines))
    ingest([Source(path)], tmp_path / "dataset", options=IngestOptions())
    return tmp_path / "dataset"


@pytest.mark.parametrize("split", ["train", "valid", "test", "heldout"])
def test_row_i_is_that_of_sequence_i(tmp_path: Path, split: str) -> None:
    folder = made(tmp_path, is_aligned=True)
    rows = read_alignments(folder, split)["aligned_row"].to_pylist()
    sequences = read_sequences(folder, split)["sequence"].to_pylist()
    assert [row.replace("-", "") for row in rows] == sequences
    assert all("-" in row for row in rows)


def test_all_is_missing_without_an_alignment(tmp_path: Path) -> None:
    folder = made(tmp_path, is_aligned=False)
    table = read_alignments(folder, "train")
    assert table["aligned_row"].null_count == len(read_sequences(folder, "train"))


def test_a_file_of_another_length_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path, is_aligned=True)
    path = folder / "alignments.parquet"
    pq.write_table(pq.read_table(path).slice(0, 19), path)
    with pytest.raises(InputError, match="Expected 20 aligned rows, one a sequence, got 19"):
        read_alignments(folder, "train")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path, is_aligned=True)
    (folder / "alignments.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match=r"Expected alignments\.parquet of a dataset, got"):
        read_alignments(folder, "train")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path, is_aligned=True)
    with pytest.raises(ValueError, match="Expected `split` one of"):
        read_alignments(folder, "dev")
    assert json.loads((folder / "manifest.json").read_text())["counts"]["aligned"] == 20
