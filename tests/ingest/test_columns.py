import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.columns import (
    NO_FAMILY,
    Columns,
    OnProgress,
    collect,
    open_columns,
)
from protein_robust.ingest.options import EXAMPLE, IngestOptions, Source
from protein_robust.ingest.readers.headers import header_rule
from protein_robust.ingest.records import BadRecords, FamilyFacts
from protein_robust.ingest.sources import Reading, identify_source


class Collector:
    """Reads sources into columns that live as long as the test."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self._folder = folder
        self._files = files

    def write(self, name: str, text: str, split: str | None = None) -> Source:
        (self._folder / name).write_text(text)
        return Source(self._folder / name, split)

    def __call__(
        self, *sources: Source, on_progress: OnProgress | None = None, **options: Any
    ) -> Columns:
        chosen = IngestOptions(**options)
        bad = BadRecords(chosen.on_bad_record)
        (self._folder / "scratch").mkdir(exist_ok=True)
        columns = open_columns(self._folder / "scratch", self._files, bad=bad)
        rule = header_rule(
            preset=chosen.preset, pattern=chosen.label_pattern, labels=chosen.labels,
            unknown=chosen.unknown,
        )  # fmt: skip
        identities = [identify_source(source) for source in sources]
        reading = Reading(chosen, rule, bad)
        collect(columns, sources, reading, identities=identities, on_progress=on_progress)
        return columns


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Collector]:
    with ExitStack() as files:
        yield Collector(tmp_path, files)


def every(columns: Columns, name: str) -> list[bytes]:
    found: list[bytes] = getattr(columns, name).take(range(len(columns)))
    return found


def facts(columns: Columns) -> dict[str, FamilyFacts]:
    return {accession: family.facts for accession, family in columns.families.items()}


def test_a_table_becomes_columns(read: Collector) -> None:
    columns = read(read.write("a.csv", "name,family,sequence\nx,F2,mk-\ny,F1,ML*\nz,F2,MX\n"))
    assert len(columns) == 3
    assert every(columns, "names") == [b"x", b"y", b"z"]
    assert every(columns, "sequences") == [b"MK", b"ML", b"MX"]
    assert every(columns, "accessions") == every(columns, "aligned") == [b""] * 3
    assert list(columns.codes) == [0, 1, 0]
    assert [(name, family.code) for name, family in columns.families.items()] == [
        ("F2", 0), ("F1", 1)
    ]  # fmt: skip
    assert list(columns.splits) == []
    assert +columns.letters == {"lower_case": 2, "gaps": 1, "stops": 1, "X": 1}
    assert columns.bad.skipped == []


SEED = (
    "# STOCKHOLM 1.0\n#=GF ID   one\n#=GF AC   PF1.1\n#=GF DE   First\n#=GF GA   25.00 25.00;\n"
    "#=GF TP   Domain\n#=GF CL   CL1\n#=GS A/1-2 AC A.1\nA/1-2 m.K\nB/3-5 MLV\n//\n"
)


def test_stockholm_keeps_aligned_rows_accessions_and_facts(read: Collector) -> None:
    columns = read(read.write("a.seed", SEED))
    assert every(columns, "aligned") == [b"m.K", b"MLV"]
    assert every(columns, "sequences") == [b"MK", b"MLV"]
    assert every(columns, "accessions") == [b"A.1", b""]
    (found,) = facts(columns).values()
    assert (found.family_id, found.description, found.family_type, found.clan) == (
        "one", "First", "Domain", "CL1"
    )  # fmt: skip
    assert found.gathering is not None
    assert found.gathering.startswith("25.00 25.00")


@pytest.mark.parametrize("seed", [0, 7, 10**80])
def test_hashes_are_blake2b_keyed_by_the_seed(read: Collector, seed: int) -> None:
    columns = read(read.write("a.csv", "family,sequence\nF1,mk\nF2,ML\n"), seed=seed)
    high, low = columns.halves()
    assert high.dtype == low.dtype == np.uint64
    for row, text in enumerate([b"MK", b"ML"]):
        key = str(seed).encode()[:64]
        digest = hashlib.blake2b(text, digest_size=16, key=key).digest()
        assert int(high[row]) << 64 | int(low[row]) == int.from_bytes(digest, "big")


def test_several_sources_go_on_with_the_same_families(read: Collector) -> None:
    one = read.write("a.csv", "family,sequence,clan\nF1,MK,\nF2,ML,C2\n")
    two = read.write("b.csv", "family,sequence,clan,family_id\nF2,MV,,two\nF1,MW,C1,\nF3,MA,,\n")
    columns = read(one, two)
    assert list(columns.codes) == [0, 1, 1, 0, 2]
    assert facts(columns) == {
        "F1": FamilyFacts(clan="C1"),
        "F2": FamilyFacts("two", clan="C2"),
        "F3": FamilyFacts(),
    }


@pytest.mark.parametrize("fact", ["clan", "family_id", "description", "family_type"])
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_sources_may_not_contradict_each_other(read: Collector, fact: str, policy: str) -> None:
    one = read.write("a.csv", f"family,sequence,{fact}\nF1,MK,C1\n")
    two = read.write("b.csv", f"family,sequence,{fact}\nF2,ML,\nF1,MV,C2\n")
    message = rf"b\.csv:3: Expected one {fact} for family F1 \('C1' before\), got 'C2'"
    with pytest.raises(InputError, match=message):
        read(one, two, on_bad_record=policy)


def test_a_contradiction_of_a_seed_is_reported_with_its_line(read: Collector) -> None:
    one = read.write("a.csv", "family,sequence,clan\nPF1.1,MK,CL2\n")
    message = r"b\.seed:\d+: Expected one clan for family PF1\.1 \('CL2' before\), got 'CL1'"
    with pytest.raises(InputError, match=message):
        read(one, read.write("b.seed", SEED))


def test_unlabelled_rows_have_no_family(read: Collector) -> None:
    columns = read(read.write("a.csv", "family,sequence\n?,MK\nF1,ML\n?,MV\n"), unknown="?")
    assert list(columns.codes) == [NO_FAMILY, 0, NO_FAMILY]
    assert list(columns.families) == ["F1"]


def test_the_splits_of_a_column_become_codes(read: Collector) -> None:
    text = "family,sequence,split\nF1,MK,dev\nF1,ML,Training\nF1,MV,test\n"
    assert list(read(read.write("a.csv", text)).splits) == [1, 0, 2]


def test_the_split_of_a_file_holds_for_all_its_rows(read: Collector) -> None:
    one = read.write("a.csv", "family,sequence\nF1,MK\nF1,ML\n", "training")
    two = read.write("b.csv", "family,sequence\nF1,MV\n", "test")
    assert list(read(one, two).splits) == [0, 0, 2]


PARTLY = {
    "first has": ("F1,MK,dev\nF1,ML,\n", r"a\.csv:3: .* for none, got none, though records before"),
    "first has none": ("F1,MK,\nF1,ML,dev\n", r"a\.csv:3: .*for all records or for none, got 'dev"),
}


@pytest.mark.parametrize(("lines", "message"), PARTLY.values(), ids=PARTLY.keys())
def test_all_records_have_a_split_or_none(read: Collector, lines: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(read.write("a.csv", "family,sequence,split\n" + lines))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("test", None, r"b\.csv:2: .* got none, though records before have one"),
        (None, "test", r"b\.csv:2: Expected a split for all records or for none, got 'test'"),
    ],
)
def test_all_sources_have_splits_or_none(
    read: Collector, first: str | None, second: str | None, message: str
) -> None:
    one = read.write("a.csv", "family,sequence\nF1,MK\n", first)
    two = read.write("b.csv", "family,sequence\nF1,ML\n", second)
    with pytest.raises(InputError, match=message):
        read(one, two)


def test_a_split_cannot_come_from_two_places(read: Collector) -> None:
    source = read.write("a.csv", "family,sequence,fold\nF1,MK,test\n", "train")
    message = r"a\.csv: Expected the split of a file or `split_column`, not both, got split 'train'"
    with pytest.raises(InputError, match=message):
        read(source, split_column="fold")


def test_a_preset_without_any_split_has_none(read: Collector) -> None:
    columns = read(read.write("a.fa", ">P1 Membrane-M\nMK\n>P2 Nucleus-S\nML\n"), preset="deeploc")
    assert list(columns.splits) == []


def test_a_preset_with_some_splits_takes_the_others_for_training(read: Collector) -> None:
    text = ">P1 Membrane-M\nMK\n>P2 Nucleus-S test\nML\n>P3 Place-U\nMV\n"
    columns = read(read.write("a.fa", text), preset="deeploc")
    assert list(columns.splits) == [0, 2, 0]
    assert list(columns.codes) == [0, 1, NO_FAMILY]
    assert facts(columns)["M"].description == "membrane"


def test_broken_rows_are_passed_over_and_listed(read: Collector) -> None:
    source = read.write("a.csv", "name,family,sequence\nx,F1,M1\ny,F1,MK\nz,,ML\n")
    columns = read(source, on_bad_record="skip")
    assert every(columns, "names") == [b"y"]
    assert {(bad.line, bad.record) for bad in columns.bad.skipped} == {(4, "z"), (2, "x")}


def test_an_empty_source_is_reported(read: Collector) -> None:
    source = read.write("a.seed", "\n\n")
    with pytest.raises(InputError, match=r"a\.seed: Expected at least one record, got none"):
        read(source)
    good = read.write("b.csv", "family,sequence\nF1,MK\n")
    with pytest.raises(InputError, match=r"a\.seed: Expected at least one record, got none"):
        read(good, source)


def test_broken_records_only_are_reported_each(read: Collector) -> None:
    source = read.write("a.csv", "family,sequence\nF1,M1\nF1,--\n")
    message = r"got 2 broken ones only: .*a\.csv:2: a:1 .* the sequence; .*a\.csv:3: a:2 .*'--'\.$"
    with pytest.raises(InputError, match=message):
        read(source, on_bad_record="skip")


def test_progress_rises_to_everything(read: Collector) -> None:
    lines = "".join(f"F1,M{'ACDE'[i % 4]}\n" for i in range(9000))
    one = read.write("a.csv", "family,sequence\n" + lines)
    two = read.write("b.csv", "family,sequence\nF1,MK\n")
    told: list[tuple[int, int, int]] = []
    read(one, two, on_progress=lambda *numbers: told.append(numbers))
    total = sum(Path(source.path).stat().st_size for source in (one, two))
    assert told == sorted(told)
    assert told[-1] == (9001, total, total)
    assert len(told) > 3
    assert {numbers[2] for numbers in told} == {total}


def test_the_example_is_read_without_a_file(read: Collector) -> None:
    columns = read(Source(EXAMPLE))
    assert len(columns.families) == 20
    assert every(columns, "names")[0].startswith(b"syn1_0001/1-")
