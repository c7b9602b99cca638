from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.classes import (
    HELD_OUT_CLASS,
    NO_CLASS,
    NOT_DRAWN,
    choose_names,
    class_families,
    held_out_families,
    labels_of,
)
from protein_robust.ingest.columns import NO_FAMILY, Columns, Family, open_columns
from protein_robust.ingest.options import IngestOptions
from protein_robust.ingest.records import BadRecords, FamilyFacts


def families(**clans: str | None) -> dict[str, Family]:
    """Families in this order of appearance; ``_`` stands for the dot of a version."""
    return {
        name.replace("_", "."): Family(code, FamilyFacts(clan=clan))
        for code, (name, clan) in enumerate(clans.items())
    }


PFAM = families(
    PF00003_2="CL1", PF00001_5=None, PF00002_1="CL1", PF00004_7="CL2", PF00005_1=None
)  # fmt: skip


@given(
    names=st.sets(st.text(max_size=4), min_size=1, max_size=12),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_a_draw_depends_on_seed_and_names_only(
    names: set[str], seed: int, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(names)))
    one, other = data.draw(st.permutations(sorted(names))), sorted(names)
    drawn = choose_names(one, number, seed=seed, what="x")
    assert drawn == choose_names(other, number, seed=seed, what="x")
    assert drawn == sorted(set(drawn) & names)
    assert len(drawn) == number


def test_another_seed_draws_others() -> None:
    names = [f"F{i}" for i in range(100)]
    draws = [choose_names(names, 10, seed=seed, what="x") for seed in range(5)]
    assert len({tuple(drawn) for drawn in draws}) == 5


def test_no_more_can_be_drawn_than_there_are() -> None:
    message = "^Expected `hold_out_clans` of at most 2, as many as there are, got 3"
    with pytest.raises(InputError, match=message):
        held_out_families(PFAM, IngestOptions(hold_out_clans=3))


def test_nothing_is_held_out_by_default() -> None:
    assert held_out_families(PFAM, IngestOptions()) == []


@pytest.mark.parametrize("names", [("PF00001.5", "PF00003.2"), ("PF00003", "PF00001", "PF00001.5")])
def test_families_are_named_with_or_without_their_version(names: tuple[str, ...]) -> None:
    options = IngestOptions(hold_out_families=names)
    assert held_out_families(PFAM, options) == ["PF00001.5", "PF00003.2"]


def test_a_name_without_version_means_all_versions() -> None:
    both = families(PF00001_1=None, PF00001_2=None, PF00002_1=None)
    options = IngestOptions(hold_out_families=("PF00001",))
    assert held_out_families(both, options) == ["PF00001.1", "PF00001.2"]
    one = IngestOptions(hold_out_families=("PF00001.2",))
    assert held_out_families(both, one) == ["PF00001.2"]


def test_the_beginning_of_another_kind_of_accession_names_nothing() -> None:
    cath = {name: Family(code) for code, name in enumerate(["1.10.8.10", "1.10.8.20"])}
    with pytest.raises(InputError, match=r"`hold_out_families` that .*, got 1\.10"):
        held_out_families(cath, IngestOptions(hold_out_families=("1.10",)))


def test_clans_take_all_their_families_along() -> None:
    options = IngestOptions(hold_out_clans=("CL1",), hold_out_families=("PF00005",))
    assert held_out_families(PFAM, options) == ["PF00002.1", "PF00003.2", "PF00005.1"]


def test_families_are_drawn_from_those_that_no_clan_takes() -> None:
    for seed in range(5):
        options = IngestOptions(hold_out_clans=1, hold_out_families=1, seed=seed)
        chosen = held_out_families(PFAM, options)
        has_cl1 = {"PF00002.1", "PF00003.2"} <= set(chosen)
        assert len(chosen) == 2 + has_cl1
        assert chosen == held_out_families(dict(reversed(PFAM.items())), options)


def test_a_family_of_a_held_out_clan_may_be_named_too() -> None:
    options = IngestOptions(hold_out_clans=("CL1",), hold_out_families=("PF00002",))
    assert held_out_families(PFAM, options) == ["PF00002.1", "PF00003.2"]


def test_names_that_are_not_there_are_listed() -> None:
    names = tuple(f"X{i}" for i in range(9))
    options = IngestOptions(hold_out_clans=("CL1", *names))
    message = r"`hold_out_clans` that the sources have, got X0, X1, X2, X3, X4\.$"
    with pytest.raises(InputError, match=message):
        held_out_families(PFAM, options)


def test_classes_are_the_other_families_in_order() -> None:
    assert class_families(PFAM, ["PF00002.1"], IngestOptions()) == [
        "PF00001.5", "PF00003.2", "PF00004.7", "PF00005.1"
    ]  # fmt: skip


def test_classes_are_drawn_from_the_other_families() -> None:
    chosen = class_families(PFAM, ["PF00002.1"], IngestOptions(num_families=2))
    assert len(chosen) == 2
    assert "PF00002.1" not in chosen
    with pytest.raises(InputError, match="`num_families` of at most 4, as many as there are"):
        class_families(PFAM, ["PF00002.1"], IngestOptions(num_families=5))


@pytest.mark.parametrize(
    ("held_out", "found"),
    [(list(PFAM), "none left"), (list(PFAM)[1:], r"only PF00003\.2 left")],
)
def test_fewer_than_two_classes_are_refused(held_out: list[str], found: str) -> None:
    with pytest.raises(InputError, match=f"at least two families, got {found}"):
        class_families(PFAM, held_out, IngestOptions())


def test_no_labelled_row_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"at least two families, got none\."):
        class_families({}, [], IngestOptions())


@pytest.fixture
def columns(tmp_path: Path) -> Columns:
    with ExitStack() as files:
        found = open_columns(tmp_path, files, bad=BadRecords())
    found.families.update(PFAM)
    found.codes.extend([0, 1, NO_FAMILY, 2, 3, 4, 0])
    return found


def test_labels_are_places_among_the_classes(columns: Columns) -> None:
    labels = labels_of(columns, ["PF00001.5", "PF00003.2"], ["PF00004.7"])
    assert labels.dtype == "int32"
    assert labels.tolist() == [1, 0, NO_CLASS, NOT_DRAWN, HELD_OUT_CLASS, NOT_DRAWN, 1]
