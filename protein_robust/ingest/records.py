"""What a reader yields, and how raw letters become a cleaned sequence.

A `Record` holds the letters as they stand in the file. `clean_sequence` applies the rules of
`protein_robust.alphabet`: capitals, no gaps, no final stop, rare letters kept, all counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from protein_robust.alphabet import GAPS, RARE_RESIDUES, RESIDUES, STANDARD_RESIDUES, STOP
from protein_robust.errors import InputError

_LOWER = RESIDUES.lower().encode()
_CAPITALS = bytes.maketrans(_LOWER, RESIDUES.encode())
_GAPS = GAPS.encode()
_STANDARD = STANDARD_RESIDUES.encode()
_RARE = RARE_RESIDUES.encode()
_STOP = STOP.encode()
_ALLOWED = frozenset(RESIDUES + RESIDUES.lower() + GAPS)


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled sequence of a source, before cleaning.

    Attributes:
        sequence_name: name of the sequence, such as ``A1AL94_PELPD/160-195``.
        residues: letters as they stand in the file, gaps and lower case included.
        family_accession: the family, such as ``PF10417.14``.
        family_id: short name of the family, such as ``1-cysPrx_C``.
        clan: superfamily of the family, such as ``CL0172``.
        split: the split as the file spells it.
        path: the file.
        line: its line (of a Parquet file: its row), counted from 1.
    """

    sequence_name: str
    residues: str
    family_accession: str
    family_id: str | None
    clan: str | None
    split: str | None
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class LetterCounts:
    """The unusual characters that one sequence held.

    Attributes:
        lower_case: number of lower-case letters, turned into capitals.
        gaps: number of ``.`` and ``-``, dropped.
        stops: 1 if a final ``*`` was dropped, else 0.
        rare: the letters of `RARE_RESIDUES` that stand in the sequence, in order; they are kept.
    """

    lower_case: int
    gaps: int
    stops: int
    rare: str


def clean_sequence(
    raw: str, *, path: str | None = None, line: int | None = None
) -> tuple[str, LetterCounts]:
    """Turn the letters of a file into a sequence of capital residue letters.

    Args:
        raw: letters, gaps, perhaps a final stop.
        path: the file, for the message.
        line: its line, for the message.

    Returns:
        The sequence, letters of `RESIDUES` only, and what was unusual in it.

    Raises:
        InputError: if a character is none of these, or no residue is left.

    Example:
        >>> clean_sequence("mk-VX*")
        ('MKVX', LetterCounts(lower_case=2, gaps=1, stops=1, rare='X'))
    """
    # bytes.translate does in one C pass what a loop over letters would take 100 times longer for.
    letters = raw.encode("ascii", "replace")  # "?" stands for what is not ASCII: no residue either
    cleaned = letters.translate(_CAPITALS, _GAPS)
    num_gaps = len(letters) - len(cleaned)
    num_stops = 0
    if cleaned.endswith(_STOP):
        cleaned, num_stops = cleaned[:-1], 1
    rare = cleaned.translate(None, _STANDARD)
    if rare.translate(None, _RARE):
        raise _illegal_letter(raw, path=path, line=line)
    if not cleaned:
        actual = "no letter" if not raw else f"{raw[:40]!r}"
        raise InputError("a sequence of at least one residue", actual, path=path, line=line)
    num_lower = len(letters) - len(letters.translate(None, _LOWER))
    return cleaned.decode(), LetterCounts(num_lower, num_gaps, num_stops, rare.decode())


def _illegal_letter(raw: str, *, path: str | None, line: int | None) -> InputError:
    """The error for the first character that is neither a residue letter nor a gap."""
    position = next(i for i, letter in enumerate(raw) if letter not in _ALLOWED)
    return InputError(
        f"residue letters of {RESIDUES}, gaps ({GAPS}) or a final {STOP}",
        f"{raw[position]!r} at position {position + 1} of the sequence",
        path=path,
        line=line,
    )
