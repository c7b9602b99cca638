import dataclasses
from pathlib import Path

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.options import (
    EXAMPLE,
    STDIN,
    IngestOptions,
    Source,
    check_options,
    check_path,
    normalize_split,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            IngestOptions(format="sto"),
            "`format` one of auto, table, stockholm, fasta, got 'sto'",
        ),
        (IngestOptions(preset="pfam"), "`preset` one of deeploc, got 'pfam'"),
        (IngestOptions(on_bad_record="x"), "`on_bad_record` one of error, skip, got 'x'"),
        (
            IngestOptions(split="x"),
            "`split` one of auto, random, existing, clustered, got 'x'",
        ),
        (IngestOptions(conflicts="x"), "`conflicts` one of keep, drop, got 'x'"),
        (IngestOptions(valid_fraction=-0.1), r"`valid_fraction` in \[0, 1\), got -0\.1"),
        (IngestOptions(test_fraction=1.0), r"`test_fraction` in \[0, 1\), got 1\.0"),
        (IngestOptions(test_fraction=float("nan")), r"`test_fraction` in \[0, 1\), got nan"),
        (IngestOptions(max_identity=1.0), r"`max_identity` in \[0, 1\), got 1\.0"),
        (IngestOptions(valid_fraction=0.5, test_fraction=0.5), r"`test_fraction` below 1, got 1"),
        (IngestOptions(seed=-1), "`seed` of at least 0, got -1"),
        (IngestOptions(hold_out_families=-1), "`hold_out_families` of at least 0, got -1"),
        (IngestOptions(hold_out_clans=-2), "`hold_out_clans` of at least 0, got -2"),
        (IngestOptions(num_families=1), "`num_families` of at least 2, got 1"),
        (
            IngestOptions(preset="deeploc", label_pattern="(?P<family>.)"),
            "`preset` or `label_pattern`, not both, got both",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: IngestOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options(options)


@pytest.mark.parametrize(
    "options",
    [
        IngestOptions(),
        IngestOptions(valid_fraction=0.0, test_fraction=0.0, max_identity=0.0),
        IngestOptions(preset="deeploc", on_bad_record="skip", conflicts="drop", split="clustered"),
        IngestOptions(hold_out_families=("a",), hold_out_clans=3, num_families=2),
    ],
)
def test_options_that_can_be_meant_pass(options: IngestOptions) -> None:
    check_options(options)


def test_every_option_is_described() -> None:
    described = IngestOptions.__doc__ or ""
    names = [field.name for field in dataclasses.fields(IngestOptions)]
    assert [name for name in names if f"        {name}: " not in described] == []


@pytest.mark.parametrize(
    ("word", "split"),
    [("Train", "train"), ("training", "train"), ("dev", "valid"), ("val", "valid"),
     ("validation", "valid"), (" test ", "test"), ("testing", "test")],
)  # fmt: skip
def test_the_usual_words_for_a_split_are_known(word: str, split: str) -> None:
    assert normalize_split(word) == split


def test_an_unknown_split_is_reported() -> None:
    with pytest.raises(InputError, match=r"^a\.csv:2: Expected a split, one of .*, got 'fold1'"):
        normalize_split("fold1", path="a.csv", line=2)


def test_only_the_word_is_the_example() -> None:
    assert Source(EXAMPLE).is_example
    assert not Source("./example").is_example
    assert not Source(STDIN).is_example


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a\udcff", r"^Expected a path that is UTF-8 text, got 'a\\udcff'\.$"),
        ("a\0b", r"^Expected a path without a NUL character, got 'a\\x00b'\.$"),
    ],
)
def test_a_path_that_cannot_be_written_down_is_refused(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_path(Path(path))
    check_path("ä ö/日本.csv")
