"""What stands in the markup of Stockholm files, and the limits of what is read of one family."""

from __future__ import annotations

from protein_robust.errors import InputError
from protein_robust.ingest.records import FamilyFacts

MAX_RECORD_BYTES = 1 << 26
"""Of the lines of a family. The largest of Pfam's seeds has 4,000 rows and less than 10 MB."""
MAX_RECORD_LINES = 250_000
MAX_LINE_BYTES = 1 << 24
HEADER_START = b"# STOCKHOLM"
HEADER = HEADER_START + b" 1.0"
END = b"//"
MARKUP = b"#"

_NUM_SHOWN = 60
MOST_DIGITS = 10
_KEPT_FEATURES = frozenset((b"ID", b"AC", b"DE", b"TP", b"CL", b"GA", b"SQ"))


class Features:
    """The ``#=GF`` lines of a record that are kept, and where they stand.

    Args:
        path: the file, for messages.
    """

    def __init__(self, path: str) -> None:
        """Begin with none."""
        self._path = path
        self._values: dict[bytes, tuple[str, int]] = {}

    def add(self, line: bytes, number: int) -> None:
        """Take a line, which begins with ``#=GF``.

        Args:
            line: the line.
            number: its number, from 1.

        Raises:
            InputError: if it has no tag, or no value of a tag that is kept, or if there was one; or
                if the accession is not one word.
        """
        words = line.split(None, 2)
        if len(words) < 2:
            raise unexpected("'#=GF <tag> <text>'", line, path=self._path, number=number)
        tag = words[1]
        if tag not in _KEPT_FEATURES:
            return
        value = words[2].rstrip() if len(words) > 2 else b""
        expected = None
        if not value:
            expected = f"a value after '#=GF {tag.decode()}'"
        elif tag in self._values:
            first = self._values[tag][1]
            expected = f"one '#=GF {tag.decode()}' in each family (the first is line {first})"
        elif tag == b"AC" and len(value.split()) > 1:
            expected = "one word after '#=GF AC'"
        elif tag == b"SQ" and not (value.isdigit() and len(value) < MOST_DIGITS):
            expected = "a number after '#=GF SQ'"
        if expected is not None:
            raise unexpected(expected, line, path=self._path, number=number)
        self._values[tag] = text_of(value), number

    @property
    def accession(self) -> str | None:
        """The family's accession, if it has come."""
        return self._text(b"AC")

    @property
    def num_rows(self) -> tuple[int, int] | None:
        """How many rows there should be, and the line that says so; None if none does."""
        text, line = self._values.get(b"SQ", ("", 0))
        return (int(text), line) if text else None

    def facts(self) -> FamilyFacts:
        """What the lines say of the family."""
        return FamilyFacts(
            family_id=self._text(b"ID"),
            description=self._text(b"DE"),
            family_type=self._text(b"TP"),
            clan=self._text(b"CL"),
            gathering=self._text(b"GA"),
        )

    def _text(self, tag: bytes) -> str | None:
        return self._values[tag][0] if tag in self._values else None


def unexpected(expected: str, line: bytes, *, path: str, number: int) -> InputError:
    """The error for a line that should have been something else.

    Args:
        expected: what it should have been.
        line: what it is.
        path: its file.
        number: its number, from 1.

    Returns:
        The error.
    """
    return InputError(expected, repr(text_of(line[:_NUM_SHOWN])), path=path, line=number)


def text_of(word: bytes) -> str:
    r"""Decode a word: UTF-8 where it is, else latin-1, as in some releases.

    Args:
        word: any bytes.

    Returns:
        Their text.

    Example:
        >>> text_of(b"M\xfcller"), text_of(b"M\xc3\xbcller")
        ('Müller', 'Müller')
    """
    try:
        return word.decode()
    except UnicodeDecodeError:
        return word.decode("latin-1")
