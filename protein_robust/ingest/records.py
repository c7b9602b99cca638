"""What a reader yields, how raw letters become cleaned sequences, and what broken records cost.

A `Block` holds rows as they stand in the file. `clean_block` applies the rules of
`protein_robust.alphabet`: capitals, no gaps, no final stop, rare letters kept, all counted. A whole
Pfam release goes through here, so the work on each row is a few C calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from protein_robust.alphabet import GAPS, RARE_RESIDUES, RESIDUES, STANDARD_RESIDUES, STOP
from protein_robust.errors import InputError

_LOWER = RESIDUES.lower().encode()
_CAPITALS = bytes.maketrans(_LOWER, RESIDUES.encode())
_GAPS = GAPS.encode()
_STANDARD = STANDARD_RESIDUES.encode()
_RARE = RARE_RESIDUES.encode()
_STOP = STOP.encode()
_ALLOWED = frozenset((RESIDUES + RESIDUES.lower() + GAPS).encode())
_NUM_SHOWN = 40


class TruncatedError(InputError):
    """A file that ends too early: what came before is as it was written."""


class CorruptError(InputError):
    """A file whose bytes are not those that were written: nothing read from it can be trusted."""


UNLABELLED = ""
"""In place of the family of a row whose family is not known."""


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """What a source says of a family besides its accession; None where it says nothing.

    Attributes:
        family_id: short name, such as ``1-cysPrx_C`` (``#=GF ID``).
        description: one line of text (``#=GF DE``).
        family_type: Family, Domain, Repeat, Coiled-coil, Motif or Disordered (``#=GF TP``).
        clan: superfamily, such as ``CL0172`` (``#=GF CL``).
        gathering: gathering threshold of the family's HMM as written, in bits (``#=GF GA``).
    """

    family_id: str | None = None
    description: str | None = None
    family_type: str | None = None
    clan: str | None = None
    gathering: str | None = None


NO_FACTS = FamilyFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """n rows of a source that were read together, before cleaning.

    Attributes:
        path: the file.
        lines: line of each row (of a Parquet file: its row), counted from 1, n.
        names: name of each sequence, such as ``A1AL94_PELPD/160-195``, n.
        letters: letters of each as they stand in the file, gaps and lower case included, n.
        families: accession of each one's family, such as ``PF10417.14``, or `UNLABELLED`, n.
        sequence_accessions: such as ``A1AL94.1`` or None, n; None for none at all.
        splits: split of each as the file spells it, n; None for none at all.
        facts: what the block says of its families, by accession.
        is_aligned: whether ``letters`` are rows of an alignment of their family.
        is_whole: whether one broken row makes the whole block useless, as in an alignment.
    """

    path: str
    lines: Sequence[int]
    names: Sequence[str]
    letters: Sequence[bytes]
    families: Sequence[str]
    sequence_accessions: Sequence[str | None] | None = None
    splits: Sequence[str] | None = None
    facts: Mapping[str, FamilyFacts] = field(default_factory=dict)
    is_aligned: bool = False
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class CleanBlock:
    """A block whose rows are all good.

    Attributes:
        block: the rows that are left.
        sequences: capital letters of `RESIDUES` of each, at least one, n.
        letters: numbers of ``lower_case`` letters and ``gaps``, of ``stops``, and of each rare
            letter, over all rows.
    """

    block: Block
    sequences: list[bytes]
    letters: Counter[str]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that was passed over.

    Attributes:
        path: the file.
        line: the line at fault, counted from 1; None where it is the whole file.
        record: the family or the sequence, where it is known.
        num_rows: how many sequences are lost with it, as far as they were read.
        reason: what was expected and what came.
    """

    path: str
    line: int | None
    record: str | None
    num_rows: int
    reason: str


@dataclass
class BadRecords:
    """What becomes of a broken record: an error at once, or an entry in the list of skipped ones.

    Attributes:
        policy: ``error`` or ``skip``.
        skipped: the records passed over, in the order of the files.
    """

    policy: str = "error"
    skipped: list[Skipped] = field(default_factory=list)

    def refuse(self, error: InputError, *, record: str | None = None, num_rows: int = 1) -> None:
        """Pass over a broken record.

        Args:
            error: what is wrong, and where.
            record: the family or the sequence, where it is known.
            num_rows: how many sequences are lost with it.

        Raises:
            InputError: the error itself, if the policy is ``error``.
        """
        if self.policy == "error":
            raise error
        reason = f"Expected {error.expected}, got {error.actual}."
        self.skipped.append(Skipped(error.path or "", error.line, record, num_rows, reason))


def clean_block(block: Block, bad: BadRecords) -> CleanBlock | None:
    """Turn the letters of a block into sequences.

    Args:
        block: the rows.
        bad: what becomes of rows with another character than a residue letter, a gap or a final
            stop, or without any residue.

    Returns:
        The good rows; None if none is left.

    Raises:
        InputError: if a row is bad and the policy is ``error``.

    Example:
        >>> block = Block(path="a", lines=[1], names=["x"], letters=[b"mk-VX*"], families=["PF1"])
        >>> clean_block(block, BadRecords()).sequences
        [b'MKVX']
    """
    cleaned = _clean(block.letters)
    if cleaned is not None:
        return CleanBlock(block, *cleaned)
    errors = {i: e for i in range(len(block.names)) if (e := _error_of(block, i)) is not None}
    if block.is_whole:
        first = next(iter(errors.values()))
        bad.refuse(first, record=block.families[0], num_rows=len(block.names))
        return None
    for i, error in errors.items():
        bad.refuse(error, record=block.names[i])
    good = [i for i in range(len(block.names)) if i not in errors]
    if not good:
        return None
    rest = select_rows(block, good)
    cleaned = _clean(rest.letters)
    assert cleaned is not None  # what `_error_of` finds is what `_clean` refuses
    return CleanBlock(rest, *cleaned)


def select_rows(block: Block, rows: Sequence[int]) -> Block:
    """Some rows of a block.

    Args:
        block: all of them.
        rows: which, by their places.

    Returns:
        A block of these.
    """
    accessions, splits = block.sequence_accessions, block.splits
    return replace(
        block,
        lines=[block.lines[i] for i in rows],
        names=[block.names[i] for i in rows],
        letters=[block.letters[i] for i in rows],
        families=[block.families[i] for i in rows],
        sequence_accessions=None if accessions is None else [accessions[i] for i in rows],
        splits=None if splits is None else [splits[i] for i in rows],
    )


def _clean(letters: Sequence[bytes]) -> tuple[list[bytes], Counter[str]] | None:
    """Sequences and counts; None if a row is bad."""
    # All rows at once, with line ends between them: a C call for each row would take longer.
    joined = b"\n".join(letters)
    cleaned = joined.translate(_CAPITALS, _GAPS)
    sequences = cleaned.split(b"\n")
    # What is not standard is little, so everything below looks at few bytes.
    unusual = cleaned.translate(None, _STANDARD + b"\n")
    num_stops = unusual.count(_STOP)
    if num_stops:
        sequences = [row.removesuffix(_STOP) for row in sequences]
    is_bad = (
        bool(unusual.translate(None, _RARE + _STOP))
        or len(sequences) != len(letters)  # a row holds a line end
        or not all(sequences)
        or (num_stops and any(_STOP in row for row in sequences))
    )
    if is_bad:
        return None
    counts: Counter[str] = Counter()
    counts["gaps"] = len(joined) - len(cleaned)
    counts["lower_case"] = int(np.count_nonzero(np.frombuffer(joined, np.uint8) >= ord("a")))
    counts["stops"] = num_stops
    for letter in RARE_RESIDUES:
        if number := unusual.count(letter.encode()):
            counts[letter] = number
    return sequences, counts


def _error_of(block: Block, row: int) -> InputError | None:
    """What is wrong with a row, if anything is."""
    letters, line = block.letters[row], block.lines[row]
    last = len(letters.rstrip(_GAPS)) - 1
    for place, letter in enumerate(letters):
        if letter not in _ALLOWED and not (place == last and letter == ord(STOP)):
            return InputError(
                f"residue letters of {RESIDUES}, gaps ({GAPS}) or a final {STOP}",
                f"{_character(letters, place)!r} at position {place + 1} of the sequence",
                path=block.path,
                line=line,
            )
    if not letters.translate(None, _GAPS + _STOP):
        shown = letters[:_NUM_SHOWN].decode("latin-1")
        actual = f"{shown!r}" if letters else "no letter"
        expected = "a sequence of at least one residue"
        return InputError(expected, actual, path=block.path, line=line)
    return None


def _character(letters: bytes, place: int) -> str:
    """The character at a place of a row: of UTF-8 where it is, else of latin-1."""
    for end in range(place + 1, place + 5):
        with suppress(UnicodeDecodeError):
            return letters[place:end].decode()
    return chr(letters[place])
