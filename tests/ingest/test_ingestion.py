import gzip
import hashlib
import random
import subprocess
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import (
    EXAMPLE,
    OTHER_SPLITS,
    SPLITS,
    IngestOptions,
    Source,
    describe,
    ingest,
    is_current,
    read_families,
    read_manifest,
    read_sequences,
)

HEADER = "name,family,sequence"
LETTERS = "ACDEFGHIKLMN"


def rows(num_families: int = 3, size: int = 10) -> list[str]:
    """Lines of a table; every sequence is another number in letters."""
    return [
        f"f{family}n{i:02d},F{family},M{LETTERS[family]}{LETTERS[i % 10]}{'W' * (i // 10)}"
        for family in range(num_families)
        for i in range(size)
    ]


def write(path: Path, lines: list[str], header: str = HEADER) -> Source:
    path.write_text("\n".join([header, *lines]) + "\n")
    return Source(path)


def run(*sources: Source, output: Path, **options: Any) -> dict[str, Any]:
    return ingest(list(sources), output, options=IngestOptions(**options))


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(folder: Path, split: str) -> list[str]:
    found: list[str] = read_sequences(folder, split)["sequence_name"].to_pylist()
    return found


def check_sum(manifest: dict[str, Any]) -> None:
    kept = sum(manifest["counts"][split] for split in (*SPLITS, *OTHER_SPLITS))
    assert manifest["counts"]["records"] == kept + sum(manifest["removed"].values())
    assert manifest["verification"]["passed"]


def test_a_table_becomes_a_dataset_folder(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    manifest = ingest([source], tmp_path / "out")
    assert manifest == read_manifest(tmp_path / "out")
    assert manifest["counts"] == {
        "records": 30, "families": 3, "clans": 0, "train": 24, "valid": 3, "test": 3,
        "unlabelled": 0, "heldout": 0, "heldout_families": 0, "residues": 90, "aligned": 0,
        "families_of_several_alignments": 0,
    }  # fmt: skip
    assert manifest["split_rule"] == "random"
    assert not manifest["is_synthetic"]
    assert read_families(tmp_path / "out").to_pylist()[1] == {
        "family_accession": "F1", "family_id": None, "description": None, "family_type": None,
        "clan": None, "gathering": None, "num_train": 8, "num_valid": 1, "num_test": 1,
    }  # fmt: skip
    table = read_sequences(tmp_path / "out", "test")
    assert table["label"].to_pylist() == [0, 1, 2]
    assert table["family_accession"].to_pylist() == ["F0", "F1", "F2"]
    check_sum(manifest)
    assert entries(tmp_path) == ["a.csv", "out"]


@pytest.mark.parametrize("split", ["", "dev"])
@pytest.mark.parametrize("conflicts", ["keep", "drop"])
def test_the_dataset_does_not_depend_on_the_order_of_rows(
    tmp_path: Path, split: str, conflicts: str
) -> None:
    lines = [*rows(4, 12), "c,F0,MWWW", "d,F1,MWWW", "c,F1,MWWW", "h,F3,MAC", "u,?,YY", "v,?,YY"]
    header = HEADER
    if split:
        lines = [f"{line},{('train', split, 'test')[i % 3]}" for i, line in enumerate(lines)]
        header += ",split"
    shuffled = random.Random(0).sample(lines, len(lines))
    options = {"unknown": "?", "hold_out_families": ("F3",), "conflicts": conflicts}
    first = run(write(tmp_path / "a.csv", lines, header), output=tmp_path / "one", **options)
    second = run(write(tmp_path / "a.csv", shuffled, header), output=tmp_path / "two", **options)
    assert first["digest"] == second["digest"]
    check_sum(first)


def test_three_files_keep_their_splits(tmp_path: Path) -> None:
    lines = rows()
    sources = [
        Source(write(tmp_path / f"{word}.csv", lines[start::3]).path, word)
        for start, word in enumerate(["train", "validation", "testing"])
    ]
    manifest = ingest(sources, tmp_path / "out")
    assert manifest["split_rule"] == "existing"
    assert [manifest["counts"][split] for split in SPLITS] == [10, 10, 10]
    assert [source["split"] for source in manifest["sources"]] == ["train", "valid", "test"]


def test_without_validation_a_part_of_train_is_taken(tmp_path: Path) -> None:
    one = write(tmp_path / "train.csv", rows(2, 20))
    two = write(tmp_path / "test.csv", ["x,F0,MYY", "y,F1,MYYY"])
    sources = Source(one.path, "train"), Source(two.path, "test")
    manifest = run(*sources, output=tmp_path / "out", valid_fraction=0.2)
    assert [manifest["counts"][split] for split in SPLITS] == [32, 8, 2]
    assert names(tmp_path / "out", "test") == ["x", "y"]


def test_splits_of_a_source_can_be_divided_anew(tmp_path: Path) -> None:
    lines = [f"{line},{'test' if i % 2 else 'train'}" for i, line in enumerate(rows())]
    source = write(tmp_path / "a.csv", lines, HEADER + ",split")
    anew = run(source, output=tmp_path / "out", split="random")
    without = ingest([write(tmp_path / "b.csv", rows())], tmp_path / "other")
    assert anew["split_rule"] == "random"
    assert anew["digest"] == without["digest"]


def test_letters_duplicates_and_conflicts_are_counted(tmp_path: Path) -> None:
    extra = ["z,F0,m-acx*", "y,F0,MACX", "x,F1,MACX", "w,F1,MACB."]
    manifest = ingest([write(tmp_path / "a.csv", rows() + extra)], tmp_path / "out")
    assert manifest["letters"] == {
        "rare": {"B": 1, "X": 3}, "lower_case": 4, "gaps": 2, "stops": 1
    }  # fmt: skip
    removed = {reason: number for reason, number in manifest["removed"].items() if number}
    assert removed == {"duplicates_within_family": 1}
    assert manifest["conflicts"] == {"sequences": 1, "rows": 3, "kept": 2}
    conflicts = pq.read_table(tmp_path / "out" / "conflicts.parquet").to_pylist()
    assert [(row["sequence_name"], row["split"]) for row in conflicts] == [
        ("y", "train"),
        ("z", None),  # the copy within its family
        ("x", "train"),
    ]
    check_sum(manifest)


def test_conflicts_can_be_dropped(tmp_path: Path) -> None:
    lines = [*rows(), "y,F0,MACX", "x,F1,MACX", "w,F1,MACB"]
    source = write(tmp_path / "a.csv", lines)
    manifest = run(source, output=tmp_path / "out", conflicts="drop")
    assert manifest["removed"]["conflicting"] == 2
    assert manifest["conflicts"] == {"sequences": 1, "rows": 2, "kept": 0}
    conflicts = pq.read_table(tmp_path / "out" / "conflicts.parquet")
    assert conflicts["split"].to_pylist() == [None, None]
    assert not {"x", "y"} & set(read_sequences(tmp_path / "out")["sequence_name"].to_pylist())
    check_sum(manifest)


def test_a_family_of_one_stays_in_train_and_is_counted(tmp_path: Path) -> None:
    manifest = ingest([write(tmp_path / "a.csv", [*rows(), "x,G,MK"])], tmp_path / "out")
    assert manifest["families_without_test"] == 1
    last = read_families(tmp_path / "out").to_pylist()[-1]
    assert (last["num_train"], last["num_valid"], last["num_test"]) == (1, 0, 0)


def test_families_are_drawn(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows(8))
    manifest = run(source, output=tmp_path / "out", num_families=3)
    assert manifest["counts"]["families"] == 3
    assert manifest["removed"]["families_not_drawn"] == 50
    check_sum(manifest)


def seed_text(num_families: int = 2, size: int = 12) -> str:
    return "".join(
        f"# STOCKHOLM 1.0\n#=GF ID   f{k}\n#=GF AC   PF0000{k}.{k + 1}\n#=GF CL   CL000{k}\n"
        + "".join(f"r{i}/1-3   M{LETTERS[i]}{'-' * k}{LETTERS[k]}\n" for i in range(size))
        + "//\n"
        for k in range(num_families)
    )


def test_stockholm_gives_names_and_clans(tmp_path: Path) -> None:
    (tmp_path / "any.gz").write_bytes(gzip.compress(seed_text().encode()))
    manifest = ingest([Source(tmp_path / "any.gz")], tmp_path / "out")
    families = read_families(tmp_path / "out")
    assert families["family_id"].to_pylist() == ["f0", "f1"]
    assert families["clan"].to_pylist() == ["CL0000", "CL0001"]
    assert manifest["counts"]["clans"] == 2
    assert manifest["counts"]["aligned"] == 24


def test_a_dataset_can_be_read_again_with_its_splits(tmp_path: Path) -> None:
    first = ingest([write(tmp_path / "a.csv", rows())], tmp_path / "one")
    second = ingest([Source(tmp_path / "one" / "sequences.parquet")], tmp_path / "two")
    assert second["split_rule"] == "existing"
    assert second["counts"] == first["counts"]


@pytest.mark.slow
def test_the_example_is_called_synthetic(tmp_path: Path) -> None:
    manifest = ingest([Source(EXAMPLE)], tmp_path / "out")
    assert manifest["is_synthetic"]
    assert manifest["counts"]["families"] == 20
    assert is_current(tmp_path / "out", [Source(EXAMPLE)])
    assert ("dataset", "out (synthetic)") in describe(manifest)


def test_progress_ends_with_everything(tmp_path: Path) -> None:
    sources = [write(tmp_path / "a.csv", rows(2)), write(tmp_path / "b.csv", rows(3)[20:])]
    told: list[tuple[int, int, int]] = []
    ingest(sources, tmp_path / "out", on_progress=lambda *numbers: told.append(numbers))
    total = sum(Path(source.path).stat().st_size for source in sources)
    assert told[-1] == (30, total, total)
    assert told == sorted(told)


@pytest.mark.parametrize("name", ["a.csv", "a.seed"])
def test_broken_records_are_skipped_counted_and_listed(tmp_path: Path, name: str) -> None:
    if name == "a.csv":
        write(tmp_path / name, [*rows(), "bad,F0,M1", ",F0,MYY", "worse,,MK"])
        lines, num_rows, num_good = [32, 34], 2, 31
    else:
        broken = "# STOCKHOLM 1.0\n#=GF AC   PF9.1\nx/1-2 MK\ny/1-2 MKV\nz/1-2 ML\n//\n"
        (tmp_path / name).write_text(seed_text(1) + broken + seed_text(3)[len(seed_text(1)) :])
        lines, num_rows, num_good = [21], 3, 36
    source = Source(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}:\d+: Expected"):
        ingest([source], tmp_path / "out")
    manifest = run(source, output=tmp_path / "out", on_bad_record="skip")
    assert manifest["counts"]["records"] == num_good
    assert (manifest["skipped"]["records"], manifest["skipped"]["rows"]) == (len(lines), num_rows)
    found = pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()
    assert sorted(row["line"] for row in found) == lines
    assert found == manifest["skipped"]["first"]
    assert {row["path"] for row in found} == {str(source.path)}
    card = (tmp_path / "out" / "data_card.md").read_text()
    assert all(f"`{source.path}:{line}` " in card for line in lines)
    check_sum(manifest)


def test_of_many_skipped_records_the_manifest_has_the_first(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", [*rows(), *(f"b{i},F0,M1" for i in range(50))])
    manifest = run(source, output=tmp_path / "out", on_bad_record="skip")
    assert manifest["skipped"]["records"] == 50
    assert len(manifest["skipped"]["first"]) == 20
    assert pq.read_metadata(tmp_path / "out" / "skipped.parquet").num_rows == 50


def test_nothing_skipped_leaves_no_table_of_it(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    manifest = run(source, output=tmp_path / "out", on_bad_record="skip")
    assert manifest["skipped"] == {"records": 0, "rows": 0, "first": []}
    assert "skipped.parquet" not in manifest["files"]


def test_rows_of_unknown_family_stand_apart(tmp_path: Path) -> None:
    lines = [*rows(), "u,?,MYY", "v,?,MYY", "w,?,MAA"]  # the last one F0 has too
    manifest = run(write(tmp_path / "a.csv", lines), output=tmp_path / "out", unknown="?")
    assert manifest["counts"]["unlabelled"] == 1
    assert manifest["removed"]["duplicates_unlabelled"] == 1
    assert manifest["removed"]["unlabelled_in_families"] == 1
    (row,) = read_sequences(tmp_path / "out", "unlabelled").to_pylist()
    assert (row["sequence_name"], row["label"], row["family_accession"]) == ("u", -1, None)
    check_sum(manifest)


def deeploc() -> str:
    """20 membrane and 20 soluble proteins, a tenth of them for the test; 6 unknown ones."""
    lines = []
    for i, (a, b) in enumerate(product("ACDE", "FGHIK")):
        test = " test" if i % 10 == 0 else ""
        lines += [f">M{i} Cell.membrane-M{test}", f"M{a}{b}", f">S{i} Nucleus-S{test}", f"W{a}{b}"]
        if i < 6:
            lines += [f">U{i} Extracellular-U{' test' if i < 2 else ''}", f"Y{a}{b}"]
    return "\n".join(lines) + "\n"


def test_deeploc_is_a_preset(tmp_path: Path) -> None:
    (tmp_path / "deeploc.fasta").write_text(deeploc())
    source = Source(tmp_path / "deeploc.fasta")
    manifest = run(source, output=tmp_path / "out", preset="deeploc")
    counts = [manifest["counts"][split] for split in (*SPLITS, *OTHER_SPLITS)]
    # 2 families x (18 in train, of which floor(1.8) are valid, 2 in test); 4 unknown in train
    assert (manifest["split_rule"], counts) == ("existing", [34, 2, 4, 4, 0])
    assert manifest["removed"]["unlabelled_outside_train"] == 2
    assert sorted(names(tmp_path / "out", "test")) == ["M0", "M10", "S0", "S10"]
    assert names(tmp_path / "out", "unlabelled") != []
    families = read_families(tmp_path / "out")
    assert families["description"].to_pylist() == ["membrane", "soluble"]
    check_sum(manifest)


def test_families_and_clans_are_held_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_text(seed_text(5))
    source, out = Source(tmp_path / "a.seed"), tmp_path / "out"
    manifest = run(source, output=out, hold_out_families=("PF00001",), hold_out_clans=("CL0003",))
    assert manifest["counts"]["heldout_families"] == 2
    assert manifest["counts"]["heldout"] == 24
    assert manifest["options"]["hold_out_families"] == ["PF00001"]
    table = read_sequences(out, "heldout")
    assert set(table["family_accession"].to_pylist()) == {"PF00001.2", "PF00003.4"}
    assert set(table["label"].to_pylist()) == {-1}
    held_out = pq.read_table(out / "heldout_families.parquet")
    assert held_out["family_accession"].to_pylist() == ["PF00001.2", "PF00003.4"]
    assert not {"PF00001.2", "PF00003.4"} & set(read_families(out)["family_accession"].to_pylist())
    check_sum(manifest)


def test_families_are_held_out_at_random_by_the_seed(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.csv", rows(8)), tmp_path / "out"
    chosen = []
    for seed in (0, 0, 1, 2, 3):
        run(source, output=out, hold_out_families=3, seed=seed)
        held_out = pq.read_table(out / "heldout_families.parquet")
        chosen.append(tuple(held_out["family_accession"].to_pylist()))
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1
    assert {len(found) for found in chosen} == {3}


def clustered_text() -> str:
    """Three families of 20 rows of 20 columns, in clusters of 10, 4, 2, 2, 1 and 1."""
    dice = random.Random(3)
    text = ""
    for k in range(3):
        lines = []
        for cluster, size in enumerate([10, 4, 2, 2, 1, 1]):
            # Different clusters have no letter in common in any column.
            ancestor = "".join(LETTERS[2 * cluster + dice.randrange(2)] for _ in range(16))
            for i in range(size):
                row = ancestor + "".join(dice.choice("PQRSTVY") for _ in range(4))
                row = row.replace(row[3], "-", 1).lower() if i % 2 else row
                lines.append(f"c{cluster}_{i}/1-20 {row}")
        dice.shuffle(lines)
        text += f"# STOCKHOLM 1.0\n#=GF AC   PF0000{k}.1\n" + "\n".join(lines) + "\n//\n"
    return text


def identity(one: str, other: str) -> float:
    pairs = list(zip(one.upper(), other.upper(), strict=True))
    same = sum(a == b != "-" for a, b in pairs)
    return same / min(sum(a != "-" for a, _ in pairs), sum(b != "-" for _, b in pairs))


@pytest.mark.parametrize("conflict", [False, True])
def test_a_clustered_split_keeps_its_bound(tmp_path: Path, conflict: bool) -> None:
    text = clustered_text()
    if conflict:  # of the first family's first single row, which could be in test
        row = next(line for line in text.splitlines() if line.startswith("c4_0"))
        text = text.replace("PF00001.1\n", f"PF00001.1\nx/1-20 {row.split()[1].upper()}\n")
    (tmp_path / "a.seed").write_text(text)
    out = tmp_path / "out"
    manifest = run(
        Source(tmp_path / "a.seed"), output=out, split="clustered", max_identity=0.5,
        test_fraction=0.2, valid_fraction=0.1,
    )  # fmt: skip
    assert manifest["split_rule"] == "clustered"
    aligned = pq.read_table(out / "alignments.parquet")["aligned_row"].to_pylist()
    families = defaultdict(list)
    for row, text in zip(read_sequences(out).to_pylist(), aligned, strict=True):
        families[row["family_accession"]].append((row["split"], row["sequence_name"], text))
    for accession, members in families.items():
        for (split, _, one), (other_split, _, other) in product(members, members):
            assert split == other_split or identity(one, other) <= 0.5
        found = [split for split, _, _ in members]
        is_changed = conflict and accession != "PF00002.1"
        assert is_changed or (found.count("test"), found.count("valid")) == (4, 2)
    found_identity = manifest["verification"]["identity"]
    assert found_identity["bound"] == 0.5
    assert found_identity["method"] == "aligned rows"
    assert manifest["conflicts"]["rows"] == 2 * conflict
    if conflict:
        conflicts = pq.read_table(out / "conflicts.parquet")
        assert conflicts["split"].to_pylist() == ["train", "train"]
    check_sum(manifest)


def test_two_alignments_of_one_family_cannot_be_clustered(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_text(seed_text())
    (tmp_path / "b.seed").write_text(seed_text().replace("   M", "   MWW"))
    sources = Source(tmp_path / "a.seed"), Source(tmp_path / "b.seed")
    with pytest.raises(InputError, match=r"one alignment of family PF00000\.1.*of 2 alignments"):
        run(*sources, output=tmp_path / "out", split="clustered")
    check_sum(run(*sources, output=tmp_path / "out"))


def shards(folder: Path, name: str, lines: list[str], number: int = 3) -> None:
    folder.mkdir(parents=True)
    for i in range(number):
        write(folder / f"{name}-{i:05d}-of-{number:05d}", lines[i::number])


def test_a_folder_of_shards_is_read_as_its_files(tmp_path: Path) -> None:
    lines = rows(3, 20)
    for split, part in {"train": lines[::2], "dev": lines[1::4], "test": lines[3::4]}.items():
        shards(tmp_path / "random_split" / split, "data", part)
    source, out = Source(tmp_path / "random_split"), tmp_path / "out"
    manifest = ingest([source], out)
    assert [manifest["counts"][split] for split in SPLITS] == [30, 15, 15]
    assert [(Path(s["path"]).name, s["split"]) for s in manifest["sources"]] == [
        (f"data-{i:05d}-of-00003", split) for split in SPLITS for i in range(3)
    ]
    assert is_current(out, [source])
    last = tmp_path / "random_split" / "test" / "data-00002-of-00003"
    last.write_text(last.read_text() + "x,F0,MYY\n")
    assert not is_current(out, [source])
    last.unlink()
    assert not is_current(out, [source])
    with pytest.raises(InputError, match="test: Expected all 3 shards, got 2: data-00002-of-00003"):
        ingest([source], out)


CLANS = "PF00000\tCL0100\tOther\tf0\tAbout zero\nPF00001\t\\N\t\\N\tg1\tAbout one\n"


def test_a_clan_file_completes_the_families(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_text(seed_text(3))
    (tmp_path / "Pfam-A.clans.tsv").write_text(CLANS)
    clans, source, out = tmp_path / "Pfam-A.clans.tsv", Source(tmp_path / "a.seed"), tmp_path / "o"
    manifest = run(source, output=out, clans=str(clans))
    families = read_families(out).to_pylist()
    assert [family["clan"] for family in families] == ["CL0100", "CL0001", "CL0002"]
    assert [family["family_id"] for family in families] == ["f0", "f1", "f2"]
    assert [family["description"] for family in families] == ["About zero", "About one", None]
    assert manifest["clans"] == {
        "families": 3, "without_entry": 1, "changed_clans": 1,
        "other_family_id": 1,
    }  # fmt: skip
    assert manifest["counts"]["clans"] == 3
    digest = hashlib.sha256(CLANS.encode()).hexdigest()
    assert manifest["helpers"]["clans"]["sha256"] == digest
    card = (out / "data_card.md").read_text()
    assert "From the file of clans: families 3, without entry 1, changed clans 1, " in card
    run(source, output=out, clans=str(clans), hold_out_clans=("CL0100",))
    assert set(names(out, "heldout")) == {f"r{i}/1-3" for i in range(12)}


def test_a_dataset_is_not_current_once_the_clan_file_changed(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_text(seed_text(3))
    clans, source, out = tmp_path / "clans.tsv", Source(tmp_path / "a.seed"), tmp_path / "out"
    clans.write_text(CLANS)
    options = IngestOptions(clans=str(clans))
    ingest([source], out, options=options)
    assert is_current(out, [source], options=options)
    assert not is_current(out, [source])
    clans.write_text(CLANS.replace("CL0100", "CL0200"))
    assert not is_current(out, [source], options=options)
    clans.unlink()
    assert not is_current(out, [source], options=options)


@pytest.mark.parametrize("word", ["-", "example"])
@pytest.mark.parametrize("role", ["clans", "labels"])
def test_files_that_options_name_are_files(tmp_path: Path, word: str, role: str) -> None:
    source = write(tmp_path / "a.csv", rows())
    options = IngestOptions(clans=word) if role == "clans" else IngestOptions(labels=word)
    with pytest.raises(InputError, match=rf"{word}: Expected an existing file, got none there"):
        ingest([source], tmp_path / "out", options=options)


def test_a_table_gives_the_labels_of_a_fasta_file(tmp_path: Path) -> None:
    fasta = "".join(f">s{i} any text\nM{'A' * i}\n" for i in range(24))
    (tmp_path / "a.fa").write_text(fasta)
    labels = [f"s{i},{'' if i == 3 else f'F{i % 2}'}" for i in range(30) if i != 5]
    table = write(tmp_path / "labels.csv", labels, "name,family")
    source, out = Source(tmp_path / "a.fa"), tmp_path / "out"
    manifest = run(source, output=out, labels=str(table.path), unknown="")
    assert manifest["unused_labels"] == 6
    assert sorted(names(out, "unlabelled")) == ["s3", "s5"]
    expected = {f"s{i}": None if i in (3, 5) else f"F{i % 2}" for i in range(24)}
    found = read_sequences(out).to_pylist()
    assert {row["sequence_name"]: row["family_accession"] for row in found} == expected
    with pytest.raises(InputError, match=r"Expected a family for each name in .*, got none for"):
        run(source, output=out, labels=str(table.path))


STDIN = """
import json, sys
from protein_robust.ingest import *
print(json.dumps(ingest([Source("-")], sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_a_source(tmp_path: Path, packed: bool) -> None:
    content = "\n".join([HEADER, *rows()]).encode()
    sent = gzip.compress(content) if packed else content
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", STDIN, out], input=sent, check=True, capture_output=True)
    manifest = read_manifest(out)
    assert manifest["sources"] == [
        {"path": "-", "sha256": hashlib.sha256(sent).hexdigest(), "num_bytes": len(sent),
         "split": None},
    ]  # fmt: skip
    assert (
        manifest["digest"] == ingest([write(tmp_path / "a.csv", rows())], tmp_path / "b")["digest"]
    )
    assert not is_current(out, [Source("-")])
    assert f"| - | {len(sent)} |" in (out / "data_card.md").read_text()


def test_a_dataset_is_current_until_something_changes(tmp_path: Path) -> None:
    source, folder = write(tmp_path / "a.csv", rows()), tmp_path / "out"
    assert not is_current(folder, [source])
    ingest([source], folder)
    assert is_current(folder, [source])
    assert not is_current(folder, [source], options=IngestOptions(seed=1))
    assert not is_current(folder, [Source(source.path, "train")])
    (folder / "families.parquet").write_bytes(b"")
    assert not is_current(folder, [source])
    ingest([source], folder)
    (folder / "data_card.md").unlink()
    assert not is_current(folder, [source])
    ingest([source], folder)
    write(tmp_path / "a.csv", rows(4))
    assert not is_current(folder, [source])
    (tmp_path / "a.csv").unlink()
    assert not is_current(folder, [source])


def test_names_to_hold_out_are_compared_with_those_of_the_manifest(tmp_path: Path) -> None:
    source, folder = write(tmp_path / "a.csv", rows(4)), tmp_path / "out"
    options = IngestOptions(hold_out_families=("F1",))
    ingest([source], folder, options=options)
    assert is_current(folder, [source], options=options)
    other = IngestOptions(hold_out_families=("F2",))
    assert not is_current(folder, [source], options=other)


def test_the_folder_of_a_source_does_not_matter(tmp_path: Path) -> None:
    ingest([write(tmp_path / "a.csv", rows())], tmp_path / "out")
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.csv").rename(tmp_path / "moved" / "a.csv")
    assert is_current(tmp_path / "out", [Source(tmp_path / "moved" / "a.csv")])


SPLIT = HEADER + ",split"
BAD_TABLES = {
    "one family": (HEADER, rows(1), "Expected at least two families, got only F0"),
    "small families": (HEADER, rows(3, 4), "every family is too small .* has 4 d"),
    "illegal letter": (HEADER, [*rows(), "x,F0,MK1"], r"a\.csv:32: .* got '1' at"),
    "no letter": (HEADER, [*rows(), "x,F0,"], r"a\.csv:32: .* got no letter"),
    "header only": (HEADER, [], r"a\.csv: Expected rows below the header"),
    "unknown split": (SPLIT, ["x,F0,MK,fold"], r"a\.csv:2: Expected a split, one of"),
    "split missing": (SPLIT, ["x,F0,MK,train", "y,F0,ML,"], r"a\.csv:3: .*got none, though rec"),
    "split later": (SPLIT, ["x,F0,MK,", "y,F0,ML,dev"], r"a\.csv:3: .* for none, got 'dev'"),
    "no test": (SPLIT, ["x,F0,MK,train", "y,F1,ML,train"], "at least one test sequence, got none"),
    "not in train": (
        SPLIT,
        ["x,F0,MK,train", "y,F1,ML,test", "z,F2,MV,dev"],
        "training sequences for each family, got none in train for 2 of 3: F1, F2",
    ),
    "two clans": (
        HEADER + ",clan",
        ["x,F0,MK,C1", "y,F0,ML,", "z,F0,MV,C2"],
        r"a\.csv:4: Expected one clan for family F0 \('C1' before\), got 'C2'",
    ),
}


@pytest.mark.parametrize(("header", "lines", "message"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_a_bad_table_leaves_nothing(
    tmp_path: Path, header: str, lines: list[str], message: str
) -> None:
    source = write(tmp_path / "a.csv", lines, header)
    with pytest.raises(InputError, match=message):
        ingest([source], tmp_path / "out")
    assert entries(tmp_path) == ["a.csv"]


def test_no_test_fraction_is_said_to_be_the_reason(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    with pytest.raises(InputError, match="got none, because `test_fraction` is 0"):
        run(source, output=tmp_path / "out", test_fraction=0.0)


def test_more_families_than_there_are_cannot_be_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    with pytest.raises(InputError, match=r"`num_families` of at most 3, .*, got 4"):
        run(source, output=tmp_path / "out", num_families=4)


def test_many_missing_families_are_cut_short(tmp_path: Path) -> None:
    lines = ["t,T,MK,train", *(f"{i},F{i},M{'A' * (i + 1)},test" for i in range(8))]
    with pytest.raises(InputError, match=r"for 8 of 9: F0, F1, F2, F3, F4, \.\.\.\."):
        ingest([write(tmp_path / "a.csv", lines, SPLIT)], tmp_path / "out")


@pytest.mark.parametrize("content", [b"\n\n", gzip.compress(b"")], ids=["blank", "empty gzip"])
def test_a_file_without_records_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=r"a: Expected (at least one record|a file with records)"):
        run(Source(tmp_path / "a"), output=tmp_path / "out", format="stockholm")
    assert entries(tmp_path) == ["a"]


def test_options_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`seed` of at least 0"):
        run(Source(tmp_path / "none"), output=tmp_path / "out", seed=-1)


def test_an_old_dataset_survives_a_failure(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    before = ingest([source], tmp_path / "out")
    write(tmp_path / "a.csv", [*rows(), "x,F0,M1"])
    with pytest.raises(InputError, match="got '1'"):
        ingest([source], tmp_path / "out")
    assert read_manifest(tmp_path / "out") == before
    assert entries(tmp_path) == ["a.csv", "out"]


def test_a_split_cannot_come_from_two_places(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    with pytest.raises(InputError, match="the split of a file or `split_column`, not both"):
        run(Source(source.path, "train"), output=tmp_path / "out", split_column="name")


def test_rows_cannot_contradict_the_split_of_their_file(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ["x,F0,MK,train", "y,F0,ML,dev"], SPLIT)
    message = r"a\.csv:3: Expected split 'train', as was said of the file, got 'dev'"
    with pytest.raises(InputError, match=message):
        ingest([Source(tmp_path / "a.csv", "train")], tmp_path / "out")


@pytest.mark.parametrize("suffix", ["csv", "fasta"])
def test_what_stands_before_the_end_of_a_truncated_file_is_kept(
    tmp_path: Path, suffix: str
) -> None:
    letters = random.Random(0).choices("ACDEFGHIKLMNPQRSTVWY", k=90_000)
    texts = ["".join(letters[i * 30 : i * 30 + 30]) for i in range(3000)]
    if suffix == "csv":
        text = "sequence,family\n" + "".join(f"{t},F{i % 3}\n" for i, t in enumerate(texts))
    else:
        text = "".join(f">s{i} fam=F{i % 3}\n{t}\n" for i, t in enumerate(texts))
    whole = gzip.compress(text.encode())
    path = tmp_path / f"a.{suffix}.gz"
    path.write_bytes(whole[: len(whole) // 2])
    pattern = r"fam=(?P<family>\S+)" if suffix == "fasta" else None
    options = IngestOptions(on_bad_record="skip", label_pattern=pattern)
    manifest = ingest([Source(path)], tmp_path / "out", options=options)
    assert 1000 < manifest["counts"]["records"] < 2000
    assert [record["reason"] for record in manifest["skipped"]["first"]] == [
        "Expected a whole gzip file, got a damaged one (it ends too early)."
    ]
    with pytest.raises(InputError, match=r"Expected a whole gzip file"):
        ingest([Source(path)], tmp_path / "out", options=IngestOptions())


def test_conflicts_with_what_is_no_class_are_not_lost(tmp_path: Path) -> None:
    lines = [*rows(), "x,F0,MACX", "y,F2,MACX"]
    source = write(tmp_path / "a.csv", lines)
    manifest = run(source, output=tmp_path / "out", hold_out_families=("F2",))
    assert manifest["conflicts"] == {"sequences": 1, "rows": 2, "kept": 1}
    conflicts = pq.read_table(tmp_path / "out" / "conflicts.parquet").to_pylist()
    assert [(row["family_accession"], row["split"]) for row in conflicts] == [
        ("F0", "train"),
        ("F2", None),
    ]


def test_conflicts_between_given_splits_are_not_lost(tmp_path: Path) -> None:
    lines = [f"{line},{('train', 'dev', 'test')[i % 3]}" for i, line in enumerate(rows())]
    lines += ["x,F0,MACX,train", "y,F1,MACX,test"]
    for conflicts, kept in (("keep", 1), ("drop", 0)):
        source = write(tmp_path / "a.csv", lines, SPLIT)
        manifest = run(source, output=tmp_path / "out", conflicts=conflicts)
        assert manifest["conflicts"] == {"sequences": 1, "rows": 2, "kept": kept}
        assert manifest["removed"]["duplicates_across_splits"] == 1


def test_a_family_of_two_alignments_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_text(seed_text())
    (tmp_path / "b.seed").write_text(seed_text().replace("   M", "   W"))
    sources = [Source(tmp_path / "a.seed"), Source(tmp_path / "b.seed")]
    manifest = ingest(sources, tmp_path / "out")
    assert manifest["counts"]["families_of_several_alignments"] == 2
    numbers = pq.read_table(tmp_path / "out" / "alignments.parquet")["alignment"].to_pylist()
    assert set(numbers) == {1, 2, 3, 4}
    assert ("families with rows of several alignments", "2") in describe(manifest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_pattern": "(?P<family>.)"}, "a FASTA file among the sources, for `label_pattern`"),
        ({"preset": "deeploc"}, "a FASTA file, for `preset` deeploc, got a table"),
        ({"unknown": "?"}, r"rows of family '\?', for `unknown`, got none"),
    ],
)
def test_an_option_without_effect_is_refused(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(write(tmp_path / "a.csv", rows()), output=tmp_path / "out", **options)


def test_a_table_option_needs_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.seed").write_text(seed_text())
    message = "a table among the sources, for `family_column`, got stockholm"
    with pytest.raises(InputError, match=message):
        run(Source(tmp_path / "a.seed"), output=tmp_path / "out", family_column="label")


def test_a_clan_file_of_other_families_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clans.tsv").write_text("PF99999\tCL1\tone\tid\ttext\n")
    source, clans = write(tmp_path / "a.csv", rows()), str(tmp_path / "clans.tsv")
    with pytest.raises(InputError, match=r"clans\.tsv: .* at least one family .*, got none of 3"):
        run(source, output=tmp_path / "out", clans=clans)


@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_the_kept_rows_of_conflicts_are_those_that_have_a_split(
    tmp_path: Path, policy: str
) -> None:
    shared = ["x1,F0,MACX", "x2,F2,MACX", "y1,F1,MADX", "y2,F2,MADX", "z1,F2,MAEX", "z2,F3,MAEX"]
    source = write(tmp_path / "a.csv", [*rows(4), *shared, "u,?,MACX", "v,?,MAEX"])
    options = {"hold_out_families": ("F2", "F3"), "conflicts": policy, "unknown": "?"}
    manifest = run(source, output=tmp_path / "out", **options)
    table = pq.read_table(tmp_path / "out" / "conflicts.parquet")
    assert len(table) == manifest["conflicts"]["rows"] == 6
    assert len(table) - table["split"].null_count == manifest["conflicts"]["kept"]
    kept = set(read_sequences(tmp_path / "out")["sequence"].to_pylist())
    assert bool({"MACX", "MADX", "MAEX"} & kept) == (policy == "keep")
    assert manifest["counts"]["unlabelled"] == 0
    check_sum(manifest)


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("suffix", ["csv", "fasta"])
def test_a_corrupt_file_is_an_error_under_both_policies(
    tmp_path: Path, suffix: str, policy: str
) -> None:
    lines = rows(3, 40)
    options = {"on_bad_record": policy}
    if suffix == "fasta":
        lines = [">{} {}\n{}".format(*line.split(",")) for line in lines]
        options["label_pattern"] = "(?P<family>F.)$"
    text = "\n".join(lines) if suffix == "fasta" else "\n".join(["name,family,sequence", *lines])
    whole = bytearray(gzip.compress(text.encode(), compresslevel=0))
    path = tmp_path / f"a.{suffix}.gz"
    path.write_bytes(whole)
    assert run(Source(path), output=tmp_path / "good", **options)["counts"]["records"] == 120
    separator = b"\n" if suffix == "fasta" else b","
    place = whole.index(b"F1" + separator + b"M")
    whole[place + 3] = ord("W")  # another residue: only the check sum can tell
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"a\..*\.gz: Expected a whole gzip file, got a damaged"):
        run(Source(path), output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_file_that_ends_in_its_first_bytes_is_passed_over_beside_a_good_one(
    tmp_path: Path,
) -> None:
    good = write(tmp_path / "a.csv", rows())
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"name,family,sequence\nx,F0,MK\n")[:20])
    sources = [good, Source(tmp_path / "b.csv.gz")]
    manifest = ingest(sources, tmp_path / "out", options=IngestOptions(on_bad_record="skip"))
    assert manifest["counts"]["records"] == 30
    assert manifest["skipped"]["records"] == 1


@pytest.mark.parametrize("options", [{"preset": "deeploc"}, {"format": "fasta"}])
def test_the_example_is_not_read_as_a_file(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"Expected files, for `.*, got the example"):
        run(Source(EXAMPLE), output=tmp_path / "out", **options)


def test_files_of_splits_are_not_divided_again(tmp_path: Path) -> None:
    source = Source(write(tmp_path / "a.csv", rows()).path, "train")
    with pytest.raises(InputError, match="`split` existing where files are given as train"):
        run(source, output=tmp_path / "out", split="random")


def test_a_dataset_folder_is_no_source_of_ingestion(tmp_path: Path) -> None:
    ingest([write(tmp_path / "a.csv", rows())], tmp_path / "out")
    with pytest.raises(InputError, match="Expected files to ingest, got a dataset folder"):
        ingest([Source(tmp_path / "out")], tmp_path / "two")
