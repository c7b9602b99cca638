import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.options import IngestOptions, check_options, normalize_split


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (IngestOptions(format="fasta"), "`format` one of auto, table, stockholm, got 'fasta'"),
        (IngestOptions(valid_fraction=-0.1), r"`valid_fraction` in \[0, 1\), got -0\.1"),
        (IngestOptions(test_fraction=1.0), r"`test_fraction` in \[0, 1\), got 1\.0"),
        (IngestOptions(test_fraction=float("nan")), r"`test_fraction` in \[0, 1\), got nan"),
        (IngestOptions(valid_fraction=0.5, test_fraction=0.5), r"`test_fraction` below 1, got 1"),
        (IngestOptions(seed=-1), "`seed` of at least 0, got -1"),
        (IngestOptions(num_families=1), "`num_families` of at least 2, got 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: IngestOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options(options)


def test_the_defaults_can_be_meant() -> None:
    check_options(IngestOptions())


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
