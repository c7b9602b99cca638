import gzip
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest import (
    EXAMPLE,
    IngestOptions,
    Source,
    describe,
    ingest,
    is_current,
    read_families,
    read_manifest,
    read_sequences,
)


def rows(num_families: int = 3, size: int = 10) -> list[str]:
    """Lines of a table; every sequence is another number in letters."""
    digits = "ACDEFGHIKL"
    return [
        f"f{family}n{i:02d},F{family},M{digits[family]}{digits[i % 10]}{'W' * (i // 10)}"
        for family in range(num_families)
        for i in range(size)
    ]


def write(path: Path, lines: list[str], header: str = "name,family,sequence") -> Source:
    path.write_text("\n".join([header, *lines]) + "\n")
    return Source(path)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_table_becomes_a_dataset_folder(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    manifest = ingest([source], tmp_path / "out")
    assert manifest == read_manifest(tmp_path / "out")
    counts = {"records": 30, "families": 3, "train": 24, "valid": 3, "test": 3, "residues": 90}
    assert manifest["counts"] == counts
    assert manifest["split_rule"] == "random"
    assert not manifest["is_synthetic"]
    assert read_families(tmp_path / "out").to_pylist()[1] == {
        "family_accession": "F1", "family_id": None, "clan": None,
        "num_train": 8, "num_valid": 1, "num_test": 1,
    }  # fmt: skip
    table = read_sequences(tmp_path / "out", "test")
    assert table["label"].to_pylist() == [0, 1, 2]
    assert table["family_accession"].to_pylist() == ["F0", "F1", "F2"]


@pytest.mark.parametrize("header", ["name,family,sequence", "name,family,sequence,split"])
def test_the_dataset_does_not_depend_on_the_order_of_rows(tmp_path: Path, header: str) -> None:
    lines = rows(4, 12)
    if header.endswith("split"):
        lines = [f"{line},{('train', 'dev', 'test')[i % 3]}" for i, line in enumerate(lines)]
    shuffled = random.Random(0).sample(lines, len(lines))
    first = ingest([write(tmp_path / "a.csv", lines, header)], tmp_path / "one")
    second = ingest([write(tmp_path / "a.csv", shuffled, header)], tmp_path / "two")
    assert first["digest"] == second["digest"]


def test_three_files_keep_their_splits(tmp_path: Path) -> None:
    lines = rows()
    sources = [
        Source(write(tmp_path / f"{word}.csv", lines[start::3]).path, word)
        for start, word in enumerate(["train", "validation", "testing"])
    ]
    manifest = ingest(sources, tmp_path / "out")
    assert manifest["split_rule"] == "existing"
    assert [manifest["counts"][split] for split in ("train", "valid", "test")] == [10, 10, 10]
    assert [source["split"] for source in manifest["sources"]] == ["train", "valid", "test"]


def test_letters_duplicates_and_conflicts_are_counted(tmp_path: Path) -> None:
    extra = ["z,F0,m-acx*", "y,F0,MACX", "x,F1,MACX", "w,F1,MACB."]
    manifest = ingest([write(tmp_path / "a.csv", rows() + extra)], tmp_path / "out")
    assert manifest["letters"] == {
        "rare": {"B": 1, "X": 3}, "lower_case": 4, "gaps": 2, "stops": 1
    }  # fmt: skip
    assert manifest["removed"] == {
        "duplicates_within_family": 1, "duplicates_across_splits": 0, "families_not_drawn": 0
    }  # fmt: skip
    assert manifest["conflicts"] == {"sequences": 1, "rows": 2}
    conflicts = pq.read_table(tmp_path / "out" / "conflicts.parquet").to_pylist()
    assert [(row["sequence_name"], row["split"]) for row in conflicts] == [
        ("y", "train"),
        ("x", "train"),
    ]
    kept = sum(manifest["counts"][split] for split in ("train", "valid", "test"))
    assert manifest["counts"]["records"] == kept + sum(manifest["removed"].values())


def test_a_family_of_one_stays_in_train_and_is_counted(tmp_path: Path) -> None:
    manifest = ingest([write(tmp_path / "a.csv", [*rows(), "x,G,MK"])], tmp_path / "out")
    assert manifest["families_without_test"] == 1
    last = read_families(tmp_path / "out").to_pylist()[-1]
    assert (last["num_train"], last["num_valid"], last["num_test"]) == (1, 0, 0)


def test_families_are_drawn(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows(8))
    manifest = ingest([source], tmp_path / "out", options=IngestOptions(num_families=3))
    assert manifest["counts"]["families"] == 3
    assert manifest["removed"]["families_not_drawn"] == 50


def test_stockholm_gives_names_and_clans(tmp_path: Path) -> None:
    text = "".join(
        f"# STOCKHOLM 1.0\n#=GF ID   f{k}\n#=GF AC   PF{k}\n#=GF CL   CL{k}\n"
        + "".join(f"r{i}/1-2   M{'ACDEFGHIKLMN'[i]}{'-' * k}{'AC'[k]}\n" for i in range(12))
        + "//\n"
        for k in range(2)
    )
    (tmp_path / "any.gz").write_bytes(gzip.compress(text.encode()))
    ingest([Source(tmp_path / "any.gz")], tmp_path / "out")
    families = read_families(tmp_path / "out")
    assert families["family_id"].to_pylist() == ["f0", "f1"]
    assert families["clan"].to_pylist() == ["CL0", "CL1"]


def test_a_dataset_can_be_read_again_with_its_splits(tmp_path: Path) -> None:
    first = ingest([write(tmp_path / "a.csv", rows())], tmp_path / "one")
    second = ingest([Source(tmp_path / "one" / "sequences.parquet")], tmp_path / "two")
    assert second["split_rule"] == "existing"
    assert second["counts"] == first["counts"]


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
    write(tmp_path / "a.csv", rows(4))
    assert not is_current(folder, [source])
    (tmp_path / "a.csv").unlink()
    assert not is_current(folder, [source])


def test_the_folder_of_a_source_does_not_matter(tmp_path: Path) -> None:
    ingest([write(tmp_path / "a.csv", rows())], tmp_path / "out")
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.csv").rename(tmp_path / "moved" / "a.csv")
    assert is_current(tmp_path / "out", [Source(tmp_path / "moved" / "a.csv")])


SPLIT = "name,family,sequence,split"
BAD_TABLES = {
    "one family": ("name,family,sequence", rows(1), "Expected at least two families, got only F0"),
    "small families": ("name,family,sequence", rows(3, 4), "every family is too small .* has 4 d"),
    "illegal letter": ("name,family,sequence", [*rows(), "x,F0,MK1"], r"a\.csv:32: .* got '1' at"),
    "no letter": ("name,family,sequence", [*rows(), "x,F0,"], r"a\.csv:32: .* got no letter"),
    "header only": ("name,family,sequence", [], r"a\.csv: Expected rows below the header"),
    "unknown split": (SPLIT, ["x,F0,MK,fold"], r"a\.csv:2: Expected a split, one of"),
    "split missing": (SPLIT, ["x,F0,MK,train", "y,F0,ML,"], r"a\.csv:3: .*got none, though rec"),
    "split later": (SPLIT, ["x,F0,MK,", "y,F0,ML,dev"], r"a\.csv:3: .* for none, got 'valid'"),
    "no test": (SPLIT, ["x,F0,MK,train", "y,F1,ML,train"], "at least one test sequence, got none"),
    "not in train": (
        SPLIT,
        ["x,F0,MK,train", "y,F1,ML,test", "z,F2,MV,dev"],
        "training sequences for each family, got none in train for 2 of 3: F1, F2",
    ),
    "two clans": (
        "name,family,sequence,clan",
        ["x,F0,MK,C1", "y,F0,ML,", "z,F0,MV,C2"],
        r"a\.csv:4: Expected one clan for family F0 \('C1' before\), got 'C2'",
    ),
}  # fmt: skip


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
        ingest([source], tmp_path / "out", options=IngestOptions(test_fraction=0.0))


def test_more_families_than_there_are_cannot_be_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    with pytest.raises(InputError, match=r"`num_families` of at most 3, .*, got 4"):
        ingest([source], tmp_path / "out", options=IngestOptions(num_families=4))


def test_many_missing_families_are_cut_short(tmp_path: Path) -> None:
    lines = ["t,T,MK,train", *(f"{i},F{i},M{'A' * (i + 1)},test" for i in range(8))]
    with pytest.raises(InputError, match=r"for 8 of 9: F0, F1, F2, F3, F4, \.\.\.\."):
        ingest([write(tmp_path / "a.csv", lines, SPLIT)], tmp_path / "out")


@pytest.mark.parametrize("content", [b"\n\n", gzip.compress(b"")], ids=["blank", "empty gzip"])
def test_a_file_without_records_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    options = IngestOptions(format="stockholm")
    with pytest.raises(InputError, match="a: Expected at least one record, got none"):
        ingest([Source(tmp_path / "a")], tmp_path / "out", options=options)


def test_options_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`seed` of at least 0"):
        ingest([Source(tmp_path / "none")], tmp_path / "out", options=IngestOptions(seed=-1))


def test_an_old_dataset_survives_a_failure(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    before = ingest([source], tmp_path / "out")
    write(tmp_path / "a.csv", [*rows(), "x,F0,M1"])
    with pytest.raises(InputError, match="got '1'"):
        ingest([source], tmp_path / "out")
    assert read_manifest(tmp_path / "out") == before


def test_a_split_cannot_come_from_two_places(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows())
    with pytest.raises(InputError, match="the split of a file or `split_column`, not both"):
        ingest(
            [Source(source.path, "train")],
            tmp_path / "out",
            options=IngestOptions(split_column="name"),
        )
