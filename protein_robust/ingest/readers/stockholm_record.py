"""A record of a Stockholm file line by line: what the format allows, and which line breaks it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from protein_robust.errors import InputError
from protein_robust.ingest.readers.stockholm_markup import (
    END,
    HEADER,
    MARKUP,
    MAX_LINE_BYTES,
    MAX_RECORD_BYTES,
    MAX_RECORD_LINES,
    Features,
    text_of,
    unexpected,
)
from protein_robust.ingest.records import Block

_GF, _GS, _GC, _GR = b"#=GF", b"#=GS", b"#=GC", b"#=GR"
_NO_NAMES = (MARKUP, END)


class Record:
    """A record that is read line by line, and the first thing wrong with it.

    After an error, only what is needed to say what is lost is kept.

    Args:
        path: the file, for messages.
        line: where the record begins.

    Attributes:
        line: as given.
        error: the first error, or None.
    """

    def __init__(self, path: str, line: int) -> None:
        """Begin with nothing."""
        self.line = line
        self.error: InputError | None = None
        self._path = path
        self._features = Features(path)
        self._names: dict[bytes, int] = {}
        self._letters: list[bytes] = []
        self._accessions: dict[bytes, tuple[str, int]] = {}
        self._num_bytes = 0
        self._num_lines = 0
        self._num_more_rows = 0  # of lines beyond the limits, which are not kept

    @property
    def accession(self) -> str | None:
        """The family's accession, if it has come."""
        return self._features.accession

    @property
    def num_rows(self) -> int:
        """How many sequences have come; rows of one name are one."""
        return len(self._names) + self._num_more_rows

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return f"{self.accession or 'a family'}, begun in line {self.line}"

    def check_header(self, line: bytes) -> None:
        """See whether the record begins as it must.

        Args:
            line: its first line.
        """
        if line != HEADER:
            self._fail(unexpected(repr(HEADER.decode()), line, path=self._path, number=self.line))

    def add(self, raw_line: bytes, number: int) -> None:
        """Take a line that is neither the first nor the last.

        Args:
            raw_line: the line, without its end.
            number: its number, from 1.
        """
        line = raw_line.rstrip()
        self._num_bytes += min(len(raw_line), MAX_LINE_BYTES) + 1  # a long line may be cut
        self._num_lines += 1
        try:
            if self._num_bytes > MAX_RECORD_BYTES or self._num_lines > MAX_RECORD_LINES:
                self._num_more_rows += not line.startswith(MARKUP)
                limits = f"{MAX_RECORD_BYTES:,} bytes and {MAX_RECORD_LINES:,} lines"
                self._refuse(f"a family of at most {limits}", f"more in {self.title}", number)
            if len(raw_line) > MAX_LINE_BYTES:
                self._num_more_rows += not line.startswith(MARKUP)
                expected = f"lines of at most {MAX_LINE_BYTES:,} bytes"
                self._refuse(expected, f"a longer one in {self.title}", number)
            if line.startswith(MARKUP):
                self._add_markup(line, number)
            else:
                self._add_row(line, number)
        except InputError as error:
            self._fail(error)

    def cut_off(self, line: bytes, number: int) -> None:
        """Note that the next record begins before the end of this one.

        Args:
            line: the first line of the next.
            number: its number, from 1.
        """
        expected = f"'//' before the next family (after {self.title})"
        self._fail(unexpected(expected, line, path=self._path, number=number))

    def check(self, others: AbstractSet[str]) -> None:
        """See whether the record, now at its end, is whole.

        Args:
            others: accessions of the records before.
        """
        try:
            self._check_family(others)
            self._check_rows()
        except InputError as error:
            self._fail(error)

    def block(self) -> Block:
        """The rows of a record without an error."""
        assert self.accession is not None
        found = {name: accession for name, (accession, _) in self._accessions.items()}
        return Block(
            path=self._path,
            lines=list(self._names.values()),
            names=[text_of(name) for name in self._names],
            letters=self._letters,
            families=[self.accession] * len(self._names),
            sequence_accessions=[found.get(name) for name in self._names] if found else None,
            facts={self.accession: self._features.facts()},
            is_aligned=True,
            is_whole=True,
        )

    def _add_markup(self, line: bytes, number: int) -> None:
        words = line.split(None, 3)
        kind = words[0]
        if kind == _GF:
            self._features.add(line, number)
        elif kind in (_GS, _GR):
            if len(words) < 3:
                expected = f"'{kind.decode()} <name> <tag> <text>'"
                raise unexpected(expected, line, path=self._path, number=number)
            if kind == _GS and words[2] == b"AC":
                self._add_accession(words, number)
        elif kind.startswith(b"#=") and kind != _GC:
            expected = "'#=GF', '#=GS', '#=GC' or '#=GR'"
            raise unexpected(expected, line, path=self._path, number=number)

    def _add_accession(self, words: list[bytes], number: int) -> None:
        line = b" ".join(words)
        if len(words) < 4:
            expected = "an accession after '#=GS <name> AC'"
            raise unexpected(expected, line, path=self._path, number=number)
        if words[1] in self._accessions:
            expected = "one '#=GS <name> AC' for each row"
            raise unexpected(expected, line, path=self._path, number=number)
        self._accessions[words[1]] = text_of(words[3]), number

    def _add_row(self, line: bytes, number: int) -> None:
        words = line.split(None, 1)
        name = words[0]
        if len(words) < 2 or b" " in words[1] or name.startswith(_NO_NAMES):
            if len(words) > 1:
                self._names.setdefault(name, number)  # a row that is lost is counted
            expected = "a row '<name> <aligned residues>'"
            raise unexpected(expected, line, path=self._path, number=number)
        first = self._names.setdefault(name, number)
        if first != number:
            expected = f"one row for each name (not wrapped; the first is line {first})"
            raise unexpected(expected, line, path=self._path, number=number)
        if self._letters and len(words[1]) != len(self._letters[0]):
            expected = f"rows of {len(self._letters[0])} columns, as the family's first"
            self._refuse(expected, f"{len(words[1])} in row {text_of(name)!r}", number)
        if self.error is None:
            self._letters.append(words[1])

    def _check_family(self, others: AbstractSet[str]) -> None:
        if self.accession is None:
            self._refuse("'#=GF AC' in each family", "none", self.line)
        elif self.accession in others:
            self._refuse("each accession once in a file", f"{self.accession} again", self.line)

    def _check_rows(self) -> None:
        if not self._names:
            self._refuse("rows in each family", f"none in {self.accession}", self.line)
        said = self._features.num_rows
        if said is not None and said[0] != self.num_rows:
            expected = f"as many rows as '#=GF SQ' says ({said[0]})"
            self._refuse(expected, f"{self.num_rows} in {self.accession}", said[1])
        for name, (_, number) in self._accessions.items():
            if name not in self._names:
                expected = "'#=GS <name> AC' of rows that are there"
                self._refuse(expected, f"{text_of(name)!r}, which is no row", number)

    def _refuse(self, expected: str, actual: str, number: int) -> None:
        raise InputError(expected, actual, path=self._path, line=number)

    def _fail(self, error: InputError) -> None:
        """Keep the first error, and free what is lost with it."""
        self.error = self.error or error
        self._letters.clear()
        self._accessions.clear()
