from protein_robust.ingest.summary import count_letters, describe

MANIFEST = {
    "name": "mine",
    "is_synthetic": False,
    "split_rule": "random",
    "counts": {
        "records": 1100, "families": 7, "train": 800, "valid": 100, "test": 100, "residues": 137_250
    },
    "removed": {
        "duplicates_within_family": 40, "duplicates_across_splits": 0, "families_not_drawn": 60
    },
    "conflicts": {"sequences": 2, "rows": 5},
    "families_without_test": 3,
    "letters": {"rare": {"B": 1, "X": 1200}, "lower_case": 0, "gaps": 0, "stops": 0},
}  # fmt: skip


def test_every_number_is_said() -> None:
    assert describe(MANIFEST) == [
        ("dataset", "mine"),
        ("records read", "1,100"),
        ("families", "7"),
        ("split rule", "random"),
        ("train sequences", "800"),
        ("valid sequences", "100"),
        ("test sequences", "100"),
        ("residues", "137,250"),
        ("mean length", "137.2 residues"),  # 137.25, rounded half to even
        ("rare letters", "B 1, X 1,200"),
        ("duplicates in a family, dropped", "40"),
        ("records of families not drawn", "60"),
        ("sequences with conflicting labels", "2 in 5 rows, kept in train"),
        ("families without a test sequence", "3"),
    ]


def test_given_splits_tell_of_duplicates_between_them() -> None:
    lines = dict(describe({**MANIFEST, "split_rule": "existing"}))
    assert lines["duplicates of another split, dropped"] == "0"
    assert lines["sequences with conflicting labels"] == "2 in 5 rows, kept in their split"


def test_rare_letters_stand_apart() -> None:
    letters = {"X": 2, "gaps": 3, "stops": 1}
    expected = {"rare": {"X": 2}, "lower_case": 0, "gaps": 3, "stops": 1}
    assert count_letters(letters) == expected
