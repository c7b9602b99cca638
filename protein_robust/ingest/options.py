"""What to ingest and how: sources, options, and the names of the splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protein_robust.errors import InputError

EXAMPLE = "example"
"""Path of a source that stands for the embedded synthetic example."""

STDIN = "-"
"""Path of a source that stands for standard input."""

SPLITS = ("train", "valid", "test")
"""The splits, in the order of the rows of a dataset; a split's code is its place here."""

OTHER_SPLITS = ("unlabelled", "heldout")
"""Sequences that belong to no class: of unknown family, and of families that were held out."""

FORMATS = ("auto", "table", "stockholm", "fasta")
SPLIT_RULES = ("auto", "random", "existing", "clustered")
BAD_RECORD_POLICIES = ("error", "skip")
CONFLICT_POLICIES = ("keep", "drop")
PRESETS = ("deeploc",)

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
        path: the file, a folder of shards, the string `EXAMPLE` or the string `STDIN` (a file of
            that name is ``./example``).
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
        format: one of `FORMATS`; ``auto``: from the file's name and first bytes.
        preset: known headers of FASTA files, one of `PRESETS`; None for none.
        sequence_column: column of the residues; None for a recognised name.
        family_column: column of the family; None for a recognised name.
        name_column: column of the sequence's name; None for a recognised name.
        split_column: column of the split; None for a recognised name.
        label_pattern: regular expression with the group ``family``, and perhaps ``name`` and
            ``split``, that is searched in each FASTA header.
        labels: table of names and families, for FASTA files without families.
        unknown: what stands in place of a family that is not known.
        clans: file that gives the clan of each family: ``Pfam-A.hmm.dat`` or
            ``Pfam-A.clans.tsv``, also compressed.
        on_bad_record: ``error``, or ``skip``: broken records are passed over and listed.
        split: one of `SPLIT_RULES`; ``auto``: ``existing`` where the sources name splits, else
            ``random``.
        valid_fraction: fraction of each family for validation, in [0, 1).
        test_fraction: fraction of each family for the test, in [0, 1).
        max_identity: of ``clustered``: the largest identity that a test or validation sequence
            may have with a training sequence of its family, in [0, 1).
        hold_out_families: families that are no classes: their accessions, or how many to draw.
        hold_out_clans: clans whose families are no classes: their names, or how many to draw.
        conflicts: ``keep`` or ``drop`` sequences that stand in several families.
        seed: of the split and of all that is drawn, at least 0.
        num_families: number of families to draw at random; None for all.
    """

    format: str = "auto"
    preset: str | None = None
    sequence_column: str | None = None
    family_column: str | None = None
    name_column: str | None = None
    split_column: str | None = None
    label_pattern: str | None = None
    labels: str | None = None
    unknown: str | None = None
    clans: str | None = None
    on_bad_record: str = "error"
    split: str = "auto"
    valid_fraction: float = 0.1
    test_fraction: float = 0.1
    max_identity: float = 0.25
    hold_out_families: int | tuple[str, ...] = 0
    hold_out_clans: int | tuple[str, ...] = 0
    conflicts: str = "keep"
    seed: int = 0
    num_families: int | None = None


_CHOICES = {
    "format": FORMATS,
    "preset": (None, *PRESETS),
    "on_bad_record": BAD_RECORD_POLICIES,
    "split": SPLIT_RULES,
    "conflicts": CONFLICT_POLICIES,
}


def check_options(options: IngestOptions) -> None:
    """Refuse options that cannot be meant.

    Args:
        options: what to check.

    Raises:
        InputError: if a word is none of its choices, a fraction is outside [0, 1), both leave no
            training data, a number is negative, fewer than two families are asked for, or a preset
            and a pattern of one's own are given together.
    """
    for name, choices in _CHOICES.items():
        value = getattr(options, name)
        if value not in choices:
            words = ", ".join(word for word in choices if word is not None)
            raise InputError(f"`{name}` one of {words}", repr(value))
    _check_fractions(options)
    for name in ("seed", "hold_out_families", "hold_out_clans"):
        number = getattr(options, name)
        if isinstance(number, int) and number < 0:
            raise InputError(f"`{name}` of at least 0", str(number))
    if options.num_families is not None and options.num_families < 2:
        raise InputError("`num_families` of at least 2", str(options.num_families))
    if options.preset is not None and options.label_pattern is not None:
        raise InputError("`preset` or `label_pattern`, not both", "both")


def check_path(path: str | Path) -> None:
    """Refuse a path that cannot be written down, in a manifest or a data card.

    Args:
        path: of a source, or of the dataset folder.

    Raises:
        InputError: if it is no UTF-8 text, or has a NUL.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("a path that is UTF-8 text", ascii(text)) from error
    if "\0" in text:
        raise InputError("a path without a NUL character", ascii(text))


def _check_fractions(options: IngestOptions) -> None:
    for name in ("valid_fraction", "test_fraction", "max_identity"):
        fraction = getattr(options, name)
        if not 0 <= fraction < 1:
            raise InputError(f"`{name}` in [0, 1)", str(fraction))
    total = options.valid_fraction + options.test_fraction
    if total >= 1:
        raise InputError("`valid_fraction` + `test_fraction` below 1", f"{total:g}")


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
