import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.allocation import allocate
from protein_robust.ingest.columns import NO_FAMILY, Columns, Family, open_columns
from protein_robust.ingest.options import OTHER_SPLITS, SPLITS, IngestOptions
from protein_robust.ingest.records import BadRecords, FamilyFacts

ALL_SPLITS = (*SPLITS, *OTHER_SPLITS)


@dataclass(frozen=True, order=True)
class Row:
    name: str
    sequence: str
    family: str | None
    split: str | None = None
    aligned: str = ""


@dataclass(frozen=True)
class Outcome:
    """Kept rows in their order with split, label and whether they conflict; and the rest."""

    kept: list[tuple[Row, str, int, bool]]
    accessions: list[str]
    held_out: list[str]
    removed: dict[str, int]
    rule: str

    def split(self, split: str) -> list[Row]:
        return [row for row, found, _, _ in self.kept if found == split]


def clan_of(family: str) -> str | None:
    """F0 and F1 are of one clan, F2 of another, the others of none."""
    return {"F0": "C0", "F1": "C0", "F2": "C1"}.get(family)


@contextmanager
def columns_of(rows: list[Row], seed: int) -> Iterator[tuple[Columns, Path]]:
    with TemporaryDirectory() as folder, ExitStack() as files:
        columns = open_columns(Path(folder), files, bad=BadRecords())
        columns.names.extend([row.name.encode() for row in rows])
        columns.accessions.extend([b""] * len(rows))
        columns.sequences.extend([row.sequence.encode() for row in rows])
        columns.aligned.extend([row.aligned.encode() for row in rows])
        columns.alignments.extend([0 if row.aligned else -1 for row in rows])
        for row in rows:
            if row.family is not None and row.family not in columns.families:
                facts = FamilyFacts(clan=clan_of(row.family))
                columns.families[row.family] = Family(len(columns.families), facts)
            family = NO_FAMILY if row.family is None else columns.families[row.family].code
            columns.codes.append(family)
            if row.split is not None:
                columns.splits.append(SPLITS.index(row.split))
            columns.hashes += hashlib.blake2b(
                row.sequence.encode(), digest_size=16, key=str(seed).encode()
            ).digest()
        yield columns, Path(folder)


def run(rows: list[Row], options: IngestOptions | None = None, **changes: Any) -> Outcome:
    chosen = replace(options or IngestOptions(), **changes)
    with columns_of(rows, chosen.seed) as (columns, scratch):
        found = allocate(columns, chosen, scratch=scratch)
    parts = (found.rows, found.splits, found.labels, found.is_conflicting)
    assert len({len(part) for part in parts}) == 1
    assert len(set(found.rows.tolist())) == len(found.rows)
    kept = [
        (rows[row], ALL_SPLITS[split], label, flag)
        for row, split, label, flag in zip(*(part.tolist() for part in parts), strict=True)
    ]
    return Outcome(kept, found.accessions, found.held_out, found.removed, found.rule)


def family(name: str | None, size: int, split: str | None = None, first: int = 0) -> list[Row]:
    """Different sequences, which no other family has."""
    letter = "?" if name is None else name[-1]
    tail = "ACDEFGHIKL"[int(letter)] if letter.isdigit() else "W"
    return [
        Row(f"{letter}{i}", "M" * (i + 1) + tail, name, split) for i in range(first, first + size)
    ]


BASE = [row for number in range(5) for row in family(f"F{number}", 8)]
EXTRA = st.builds(
    Row,
    st.text("abc", min_size=1, max_size=2),
    st.text("MA", min_size=1, max_size=3),
    st.sampled_from([None, "F0", "F1", "F2", "F3", "F4", "F5"]),
)
OPTIONS = st.builds(
    IngestOptions,
    split=st.sampled_from(["auto", "random"]),
    valid_fraction=st.sampled_from([0.0, 0.25]),
    test_fraction=st.sampled_from([0.25, 0.34]),
    hold_out_families=st.sampled_from([0, 1, ("F3",), ("F5", "F2")]),
    hold_out_clans=st.sampled_from([0, 1, ("C1",)]),
    conflicts=st.sampled_from(["keep", "drop"]),
    seed=st.integers(0, 2),
    num_families=st.sampled_from([None, None, 2]),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Row], IngestOptions]:
    rows = BASE + draw(st.lists(EXTRA, max_size=20))
    options = draw(OPTIONS)
    if draw(st.booleans()):
        words = draw(st.lists(st.sampled_from(SPLITS), min_size=len(rows), max_size=len(rows)))
        rows = [replace(row, split=word) for row, word in zip(rows, words, strict=True)]
    return rows, options


def families_of(rows: list[Row]) -> dict[str, set[str]]:
    """Every family that has a sequence, class or not."""
    families: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.family is not None:
            families[row.sequence].add(row.family)
    return families


def expected_removed(rows: list[Row], found: Outcome, options: IngestOptions) -> dict[str, int]:
    """Count in plain Python what must be left out."""
    removed: Counter[str] = Counter()
    inside = [row for row in rows if row.family in found.accessions]
    if found.rule == "existing":
        best: dict[str, int] = defaultdict(int)
        for row in inside:
            best[row.sequence] = max(best[row.sequence], SPLITS.index(row.split or ""))
        stays = [row for row in inside if SPLITS.index(row.split or "") == best[row.sequence]]
        removed["duplicates_across_splits"] = len(inside) - len(stays)
        inside = stays
    distinct = {(row.family, row.sequence) for row in inside}
    removed["duplicates_within_family"] = len(inside) - len(distinct)
    if options.conflicts == "drop":
        families = families_of(rows)
        kept = {pair for pair in distinct if len(families[pair[1]]) == 1}
        removed["conflicting"] = len(distinct) - len(kept)
        distinct = kept
    known = {row.sequence for row in rows if row.family in found.accessions}
    held_out = [row for row in rows if row.family in found.held_out]
    fresh = [row for row in held_out if row.sequence not in known]
    removed["held_out_in_classes"] = len(held_out) - len(fresh)
    if options.conflicts == "drop":
        stays = [row for row in fresh if len(families_of(rows)[row.sequence]) == 1]
        removed["conflicting"] += len(fresh) - len(stays)
        fresh = stays
    pairs = {(row.family, row.sequence) for row in fresh}
    removed["duplicates_held_out"] = len(fresh) - len(pairs)
    known = {row.sequence for row in rows if row.family is not None}
    unknown = [row for row in rows if row.family is None]
    counted = (None, "train") if found.rule == "existing" else (None, *SPLITS)
    in_train = [row for row in unknown if row.split in counted]
    removed["unlabelled_outside_train"] = len(unknown) - len(in_train)
    fresh = [row for row in in_train if row.sequence not in known]
    removed["unlabelled_in_families"] = len(in_train) - len(fresh)
    removed["duplicates_unlabelled"] = len(fresh) - len({row.sequence for row in fresh})
    there = {None, *found.accessions, *found.held_out}
    removed["families_not_drawn"] = sum(row.family not in there for row in rows)
    return {reason: removed[reason] for reason in found.removed}


@given(case=cases())
def test_what_is_left_out_is_counted_by_its_reason(case: tuple[list[Row], IngestOptions]) -> None:
    rows, options = case
    try:
        found = run(rows, options)
    except InputError:
        return
    assert found.removed == expected_removed(rows, found, options)
    assert len(found.kept) + sum(found.removed.values()) == len(rows)


@given(case=cases())
def test_no_residues_stand_in_two_splits(case: tuple[list[Row], IngestOptions]) -> None:
    try:
        found = run(*case)
    except InputError:
        return
    splits = defaultdict(set)
    for row, split, _, _ in found.kept:
        splits[row.sequence].add(split)
    assert all(len(places) == 1 for places in splits.values())
    pairs = [(row.family, row.sequence) for row, _, _, _ in found.kept]
    assert len(set(pairs)) == len(pairs)


@given(case=cases())
def test_labels_are_those_of_the_families(case: tuple[list[Row], IngestOptions]) -> None:
    rows, options = case
    try:
        found = run(rows, options)
    except InputError:
        return
    assert found.accessions == sorted(found.accessions)
    for row, split, label, _ in found.kept:
        if split in SPLITS:
            assert found.accessions[label] == row.family
        else:
            assert label == -1
            assert (split == "unlabelled") == (row.family is None)
            assert row.family is None or row.family in found.held_out
    order = [(ALL_SPLITS.index(split), label) for _, split, label, _ in found.kept]
    assert order == sorted(order)


@given(case=cases())
def test_conflicts_are_flagged_or_dropped(case: tuple[list[Row], IngestOptions]) -> None:
    try:
        found = run(*case)
    except InputError:
        return
    families = families_of(case[0])
    for row, split, _, flag in found.kept:
        assert flag == (row.family is not None and len(families[row.sequence]) > 1)
        assert not (flag and case[1].conflicts == "drop")
        assert not (flag and found.rule == "random" and split not in ("train", "heldout"))


@given(case=cases(), number=st.integers(0, 5))
def test_the_order_of_the_rows_does_not_matter(
    case: tuple[list[Row], IngestOptions], number: int
) -> None:
    rows, options = case
    shuffled = random.Random(number).sample(rows, len(rows))
    try:
        found = run(rows, options)
    except InputError as error:
        with pytest.raises(InputError) as again:
            run(shuffled, options)
        assert str(again.value) == str(error)  # noqa: PT017
        return
    assert content(run(shuffled, options)) == content(found)


def content(found: Outcome) -> Outcome:
    """Without the split of the source, which is not written: held-out copies may differ in it."""
    kept = [
        (replace(row, split=None), split, label, flag) for row, split, label, flag in found.kept
    ]
    return replace(found, kept=kept)


def test_existing_splits_are_kept() -> None:
    rows = [
        replace(row, split=SPLITS[i % 3]) for i, row in enumerate(family("F0", 9) + family("F1", 9))
    ]
    found = run(rows)
    assert found.rule == "existing"
    assert sorted((row, split) for row, split, _, _ in found.kept) == sorted(
        (row, row.split) for row in rows
    )


def test_without_valid_a_fraction_of_train_is_taken() -> None:
    rows = [
        *family("F0", 20, "train"), *family("F0", 5, "test", 20), *family("F1", 9, "train"),
        *family("F1", 2, "test", 9),
    ]  # fmt: skip
    found = run(rows)
    assert Counter(row.family for row in found.split("valid")) == {"F0": 2}
    assert {row.split for row in found.split("valid")} == {"train"}
    assert sorted(found.split("test")) == sorted(row for row in rows if row.split == "test")
    assert run(rows, valid_fraction=0.0).split("valid") == []


def test_a_source_with_splits_can_be_divided_anew() -> None:
    rows = family("F0", 20, "train") + family("F1", 20, "test")
    found = run(rows, split="random")
    assert found.rule == "random"
    assert [row.family for row in found.split("test")] == ["F0"] * 2 + ["F1"] * 2


def test_splits_that_are_not_there_cannot_be_kept() -> None:
    message = "Expected sources that name splits, for the rule `existing`, got none that does"
    with pytest.raises(InputError, match=message):
        run(BASE, split="existing")


def test_unlabelled_rows_outside_train_are_left_out() -> None:
    rows = [replace(row, split=SPLITS[i % 3]) for i, row in enumerate(BASE)]
    unknown = [Row(f"u{word}", f"W{'A' * i}", None, word) for i, word in enumerate(SPLITS)]
    found = run(rows + unknown)
    assert found.split("unlabelled") == [unknown[0]]
    assert found.removed["unlabelled_outside_train"] == 2


def test_held_out_rows_go_to_no_class() -> None:
    found = run(BASE, test_fraction=0.25, hold_out_families=("F1",), hold_out_clans=("C1",))
    assert found.held_out == ["F1", "F2"]
    assert found.accessions == ["F0", "F3", "F4"]
    assert sorted(found.split("heldout")) == sorted(family("F1", 8) + family("F2", 8))


def test_held_out_families_and_not_drawn_ones_change_no_other_family() -> None:
    whole = run(BASE, test_fraction=0.25)
    parts = [run(BASE, test_fraction=0.25, hold_out_families=("F1",))]
    parts.append(run(BASE, test_fraction=0.25, num_families=3))
    for part in parts:
        tests = set(part.split("test"))
        assert tests == {row for row in whole.split("test") if row.family in part.accessions}


def aligned(name: str, text: str) -> Row:
    return Row(name, text, f"F{name[0]}", aligned=text)


# F0: two clusters, of 6 rows that differ little and of 2 rows that are like each other only.
ALIGNED = [
    *(aligned(f"0{i}", "MKVLAWW" + "ACDEFG"[i]) for i in range(6)),
    *(aligned(f"0{i}", "YYTTHHP" + "IL"[i - 6]) for i in (6, 7)),
    *(aligned(f"1{i}", "CCCCCCC" + "ACDEFGHI"[i]) for i in range(8)),
]


def test_clusters_stay_whole() -> None:
    found = run(ALIGNED, split="clustered", test_fraction=0.25)
    assert sorted(row.name for row in found.split("test")) == ["06", "07"]
    assert found.rule == "clustered"
    with pytest.raises(InputError, match=r"no family has a cluster at `max_identity` 0\.25 "):
        run(ALIGNED, split="clustered", test_fraction=0.2)


def test_a_cluster_with_a_conflicting_row_is_in_train() -> None:
    rows = [*ALIGNED, replace(ALIGNED[7], family="F1", name="x")]
    with pytest.raises(InputError, match="Expected at least one test sequence, got none"):
        run(rows, split="clustered", test_fraction=0.4)
    found = run(rows, split="clustered", test_fraction=0.4, conflicts="drop")
    assert [row.name for row in found.split("test")] == ["06"]


def test_alignments_of_several_widths_are_refused() -> None:
    rows = [*ALIGNED, Row("x", "MKVLA", "F0", aligned="MKVLA")]
    message = "one alignment of family F0, for the rule `clustered`, got rows of 5 to 8 columns"
    with pytest.raises(InputError, match=message):
        run(rows, split="clustered", test_fraction=0.25)


def test_the_seed_changes_the_choice() -> None:
    tests = [run(BASE, test_fraction=0.25, seed=seed).split("test") for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


@pytest.mark.parametrize(
    ("split", "option", "value"),
    [("random", "max_identity", 0.5), ("existing", "test_fraction", 0.2),
     ("existing", "valid_fraction", 0.2)],
)  # fmt: skip
def test_an_option_that_the_rule_has_no_use_for_is_refused(
    split: str, option: str, value: float
) -> None:
    rows = [replace(row, split=SPLITS[i % 3]) for i, row in enumerate(family("F0", 9))]
    rows += [replace(row, split=SPLITS[i % 3]) for i, row in enumerate(family("F1", 9))]
    message = f"Expected no `{option}` under the split rule {split}, got {value}"
    with pytest.raises(InputError, match=message):
        run(rows, split=split, **{option: value})


def test_rows_with_and_without_alignment_cannot_be_clustered_together() -> None:
    rows = [*ALIGNED, Row("x", "MKVLA", "F0")]
    message = "aligned rows for all sequences or for none, .* got 16 of 17 aligned"
    with pytest.raises(InputError, match=message):
        run(rows, split="clustered", test_fraction=0.25)


def test_training_rows_that_are_copies_of_test_rows_are_named_as_the_reason() -> None:
    rows = [*family("F0", 4, "train"), *family("F0", 4, "test"), *family("F1", 2, "train")]
    message = r"none in train for 1 of 2: F0 \(4 rows were copies of rows in another split\)"
    with pytest.raises(InputError, match=message):
        run(rows)


def test_a_divided_data_set_keeps_unlabelled_rows_of_every_given_split() -> None:
    rows = [replace(row, split=SPLITS[i % 3]) for i, row in enumerate(BASE)]
    rows += [Row(f"u{word}", "WWW" + word[-1].upper(), None, word) for word in SPLITS]
    assert len(run(rows, split="random", test_fraction=0.25).split("unlabelled")) == 3
    assert len(run(rows).split("unlabelled")) == 1
