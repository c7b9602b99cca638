"""What to ingest and how: sources, options, and the names of the splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protein_robust.errors import InputError

EXAMPLE = "example"
"""Path of a source that stands for the embedded synthetic example."""

SPLITS = ("train", "valid", "test")
"""The splits, in the order of the rows of a dataset; a split's code is its place here."""

FORMATS = ("auto", "table", "stockholm")

_SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Source:
    """One file to ingest.

    Attributes:
        path: the file, or the string `EXAMPLE` (a file of that name is ``./example``).
        split: the split of all its records; None if they carry it themselves or have none.
    """

    path: str | Path
    split: str | None = None

    @property
    def is_example(self) -> bool:
        """Whether this is the embedded synthetic example."""
        return self.path == EXAMPLE


@dataclass(frozen=True)
class IngestOptions:
    """How to read and split.

    Attributes:
        format: ``auto`` (from the file's name and first bytes), ``table`` or ``stockholm``.
        sequence_column: column of the residues; None for a recognised name.
        family_column: column of the family; None for a recognised name.
        name_column: column of the sequence's name; None for a recognised name.
        split_column: column of the split; None for a recognised name.
        valid_fraction: fraction of each family for validation, in [0, 1).
        test_fraction: fraction of each family for the test, in [0, 1).
        seed: of the random split and of the choice of families, at least 0.
        num_families: number of families to draw at random; None for all.
    """

    format: str = "auto"
    sequence_column: str | None = None
    family_column: str | None = None
    name_column: str | None = None
    split_column: str | None = None
    valid_fraction: float = 0.1
    test_fraction: float = 0.1
    seed: int = 0
    num_families: int | None = None


def check_options(options: IngestOptions) -> None:
    """Refuse options that cannot be meant.

    Args:
        options: what to check.

    Raises:
        InputError: if the format is unknown, a fraction is outside [0, 1), both leave no training
            data, the seed is negative, or fewer than two families are asked for.
    """
    if options.format not in FORMATS:
        raise InputError(f"`format` one of {', '.join(FORMATS)}", repr(options.format))
    for name in ("valid_fraction", "test_fraction"):
        fraction = getattr(options, name)
        if not 0 <= fraction < 1:
            raise InputError(f"`{name}` in [0, 1)", str(fraction))
    total = options.valid_fraction + options.test_fraction
    if total >= 1:
        raise InputError("`valid_fraction` + `test_fraction` below 1", f"{total:g}")
    if options.seed < 0:
        raise InputError("`seed` of at least 0", str(options.seed))
    if options.num_families is not None and options.num_families < 2:
        raise InputError("`num_families` of at least 2", str(options.num_families))


def normalize_split(word: str, *, path: str | None = None, line: int | None = None) -> str:
    """Turn the usual words for a split into ``train``, ``valid`` or ``test``.

    Args:
        word: such as ``dev``, ``validation`` or ``Training``.
        path: the file, for the message.
        line: its line, for the message.

    Returns:
        A name of `SPLITS`.

    Raises:
        InputError: if the word is unknown.

    Example:
        >>> normalize_split("dev")
        'valid'
    """
    split = _SPLIT_OF_WORD.get(word.strip().lower())
    if split is None:
        expected = f"a split, one of {', '.join(_SPLIT_OF_WORD)}"
        raise InputError(expected, repr(word), path=path, line=line)
    return split
