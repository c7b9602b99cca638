from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from protein_robust.ingest import IngestOptions, Source, ingest, read_families, read_sequences
from protein_robust.ingest import writing as module
from protein_robust.ingest.store import SEQUENCES_SCHEMA, TABLES

LETTERS = "ACDEFGHIKLMN"


def seed(num_families: int = 3, size: int = 12) -> str:
    """Families in Stockholm format; the rows of each are of another width."""
    return "".join(
        f"# STOCKHOLM 1.0\n#=GF ID   f{k}\n#=GF AC   PF0000{k}.1\n#=GF DE   About {k}\n"
        f"#=GF TP   Domain\n#=GF CL   CL{k // 2}\n#=GF GA   2{k}.00 2{k}.00;\n"
        f"#=GS r0_{k}/1-3   AC Q{k}.1\n"
        + "".join(
            f"r{i}_{k}/{i + 1}-{i + 3}   m{LETTERS[i]}{'.-'[i % 2] * (k + i % 2)}{LETTERS[k]}"
            f"{'-' * (1 - i % 2)}\n"
            for i in range(size)
        )
        + "//\n"
        for k in range(num_families)
    )


def write(path: Path, content: str) -> Source:
    path.write_text(content)
    return Source(path)


def write_out(tmp_path: Path, content: str, name: str = "a.seed", **options: Any) -> Path:
    ingest([write(tmp_path / name, content)], tmp_path / "out", options=IngestOptions(**options))
    return tmp_path / "out"


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_each_aligned_row_belongs_to_its_sequence(tmp_path: Path) -> None:
    out = write_out(tmp_path, seed(), hold_out_families=("PF00001",))
    aligned = [row["aligned_row"] for row in rows_of(out / "alignments.parquet")]
    expected = {
        line.split()[0]: line.split()[1] for line in seed().splitlines() if line.startswith("r")
    }
    table = read_sequences(out)
    assert len(aligned) == table.num_rows == 36
    assert aligned == [expected[name] for name in table["sequence_name"].to_pylist()]
    plain = [row.replace(".", "").replace("-", "").upper() for row in aligned]
    assert plain == table["sequence"].to_pylist()
    assert set(table["split"].to_pylist()) == {"train", "valid", "test", "heldout"}


def test_rows_without_alignment_have_none(tmp_path: Path) -> None:
    one = write(tmp_path / "a.seed", seed(1))
    lines = "".join(f"n{i},F{i % 2},WW{a}{b}\n" for i, (a, b) in enumerate(product("ACDE", "ACDE")))
    two = write(tmp_path / "b.csv", "name,family,sequence\n" + lines)
    ingest([one, two], tmp_path / "out", options=IngestOptions(test_fraction=0.2))
    names = read_sequences(tmp_path / "out")["sequence_name"].to_pylist()
    aligned = rows_of(tmp_path / "out" / "alignments.parquet")
    assert [row["aligned_row"] is None for row in aligned] == [n.startswith("n") for n in names]


def test_without_any_alignment_there_is_no_such_file(tmp_path: Path) -> None:
    lines = "".join(f"F{i % 2},WW{a}{b}\n" for i, (a, b) in enumerate(product("ACDEF", "ACDE")))
    out = write_out(tmp_path, "family,sequence\n" + lines, "a.csv")
    files = sorted(path.name for path in out.iterdir())
    assert files == ["data_card.md", "families.parquet", "manifest.json", "sequences.parquet"]


def test_coordinates_come_from_names(tmp_path: Path) -> None:
    names = {
        "A_B/160-195": (160, 195), "x/1-2/3-44": (3, 44), "y": (None, None), "z/1-": (None, None),
        "z/12": (None, None), "w/5-6 ": (5, 6), "v/999999999-1": (999_999_999, 1),
        "v/1234567890-1234567899": (None, None), "u/1-2x": (None, None), "t/-5-6": (None, None),
        "s/٣-٤": (None, None), "r/1-2\u2028": (1, 2),
    }  # fmt: skip
    lines = [f"{name},F0,M{'A' * i}W" for i, name in enumerate(names)]
    lines += [f"n{i},F1,M{'C' * i}W" for i in range(12)]
    out = write_out(tmp_path, "name,family,sequence\n" + "\n".join(lines), "a.csv")
    found = {row["sequence_name"]: (row["start"], row["end"]) for row in rows_of(out / TABLES[0])}
    assert {name: found[name.strip()] for name in names} == names


def test_a_missing_accession_is_null(tmp_path: Path) -> None:
    out = write_out(tmp_path, seed())
    found = {row["sequence_name"]: row["sequence_accession"] for row in rows_of(out / TABLES[0])}
    assert {name for name, accession in found.items() if accession is not None} == {
        "r0_0/1-3", "r0_1/1-3", "r0_2/1-3"
    }  # fmt: skip
    assert found["r0_1/1-3"] == "Q1.1"


def test_families_have_their_facts_and_counts(tmp_path: Path) -> None:
    out = write_out(tmp_path, seed())
    families = read_families(out).to_pylist()
    gathering = families[1].pop("gathering")
    assert gathering.startswith("21.00 21.00")
    assert families[1] == {
        "family_accession": "PF00001.1", "family_id": "f1", "description": "About 1",
        "family_type": "Domain", "clan": "CL0", "num_train": 10, "num_valid": 1, "num_test": 1,
    }  # fmt: skip


def test_held_out_families_have_a_table_of_their_own(tmp_path: Path) -> None:
    out = write_out(tmp_path, seed(4), hold_out_clans=("CL1",))
    found = rows_of(out / "heldout_families.parquet")
    assert [(row["family_accession"], row["num_sequences"]) for row in found] == [
        ("PF00002.1", 12), ("PF00003.1", 12)
    ]  # fmt: skip
    assert (found[0]["family_id"], found[0]["clan"]) == ("f2", "CL1")
    table = read_sequences(out, "heldout")
    assert set(table["label"].to_pylist()) == {-1}
    assert table["family_accession"].to_pylist() == ["PF00002.1"] * 12 + ["PF00003.1"] * 12


def test_a_held_out_family_without_own_sequences_is_listed(tmp_path: Path) -> None:
    lines = [f"F{i % 2},M{'A' * i}" for i in range(24)] + ["X,M", "X,MA"]
    out = write_out(
        tmp_path, "family,sequence\n" + "\n".join(lines), "a.csv", hold_out_families=("X",)
    )
    assert [row["num_sequences"] for row in rows_of(out / "heldout_families.parquet")] == [0]
    assert read_sequences(out, "heldout").num_rows == 0


def test_unlabelled_rows_have_no_family(tmp_path: Path) -> None:
    lines = [f"F{i % 2},M{'A' * i}" for i in range(24)] + ["?,WW"]
    out = write_out(tmp_path, "family,sequence\n" + "\n".join(lines), "a.csv", unknown="?")
    (row,) = read_sequences(out, "unlabelled").to_pylist()
    assert (row["sequence"], row["family_accession"], row["label"]) == ("WW", None, -1)


def test_skipped_records_are_listed(tmp_path: Path) -> None:
    content = seed() + "# STOCKHOLM 1.0\n#=GF AC   PF9.1\nx/1-2 MK\ny/1-2 MKV\n//\n"
    out = write_out(tmp_path, content, on_bad_record="skip")
    (found,) = rows_of(out / "skipped.parquet")
    assert (found["path"], found["record"]) == (str(tmp_path / "a.seed"), "PF9.1")
    assert found["line"] == len(content.splitlines()) - 1
    assert found["num_rows"] == 2
    assert found["reason"].startswith("Expected ")


@pytest.mark.parametrize(("rows", "num_bytes"), [(1, 1 << 25), (7, 1 << 25), (65_536, 20)])
def test_pieces_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, num_bytes: int
) -> None:
    conflicts = "# STOCKHOLM 1.0\n#=GF AC   PF9.1\nq/1-3 MAA\np/1-3 MCA\n//\n"
    content = seed() + conflicts
    sources = [write(tmp_path / "a.seed", content)]
    options = IngestOptions(hold_out_families=("PF00002",))
    whole = ingest(sources, tmp_path / "whole", options=options)
    monkeypatch.setattr(module, "_PIECE_ROWS", rows)
    monkeypatch.setattr(module, "_PIECE_BYTES", num_bytes)
    pieces = ingest(sources, tmp_path / "pieces", options=options)
    assert pieces["digest"] == whole["digest"]
    assert whole["conflicts"] == {"sequences": 2, "rows": 4, "kept": 4}
    for name in set(TABLES) & set(whole["files"]):
        first, second = (pq.read_table(tmp_path / out / name) for out in ("whole", "pieces"))
        assert second.equals(first)
    metadata = pq.read_metadata(tmp_path / "pieces" / TABLES[0])
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert max(groups) <= max(rows, 1)
    assert len(groups) > 1


def test_the_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    assert read_sequences(write_out(tmp_path, seed())).schema.equals(SEQUENCES_SCHEMA)
