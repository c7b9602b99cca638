"""Families and their clans."""

from __future__ import annotations

import pytest

from protein_robust.classifier import Families

COLUMNS = {
    "family_accession": ["A", "B", "C", "D", "E"],
    "family_id": ["a", None, None, "d", "e"],
    "description": [None, "Of b", None, "Of d", None],
    "clan": [None, "CL9", None, "CL2", "CL9"],
}


def test_a_family_without_a_clan_is_a_group_of_its_own() -> None:
    families = Families.from_columns(COLUMNS)
    # In order of appearance: A alone, CL9, C alone, CL2, and E is in CL9 again.
    assert families.group.tolist() == [0, 1, 2, 3, 1]
    assert families.group_clan == (None, "CL9", None, "CL2")


def test_a_clan_that_looks_like_a_family_is_not_mixed_up_with_it() -> None:
    families = Families(("A", "B"), (None, None), (None, None), (None, ""))
    assert families.group.tolist() == [0, 1]


def test_the_text_of_a_family_is_its_description_else_its_short_name() -> None:
    families = Families.from_columns(COLUMNS)
    assert [families.text(place) for place in range(5)] == ["a", "Of b", None, "Of d", "e"]


def test_the_names_of_a_model_file_are_understood_too() -> None:
    renamed = {"accession": COLUMNS["family_accession"], **COLUMNS}
    del renamed["family_accession"]
    assert Families.from_columns(renamed) == Families.from_columns(COLUMNS)
    assert len(Families.from_columns(renamed)) == 5


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected lists of one length of at least 2, got \[1, 2"):
        Families(("A", "B"), (None,), (None, None), (None, None))


def test_one_family_is_no_choice() -> None:
    with pytest.raises(ValueError, match=r"Expected lists of one length of at least 2, got \[1\]"):
        Families(("A",), (None,), (None,), (None,))
