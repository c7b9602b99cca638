"""Whole records of Stockholm text as Pfam writes them, by few C calls a row.

Where lines end and how they begin is found for a large piece of text at once. Rows of a family all
begin their letters in the same column, so they are cut out of the text as a matrix is. Anything
that looks another way, right or wrong, is left to `stockholm_record`; what is
taken here gives the same block as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.ingest.readers.stockholm_markup import HEADER, MARKUP, MOST_DIGITS, text_of
from protein_robust.ingest.records import Block, FamilyFacts

_GC, _GR = b"#=GC ", b"#=GR "
_AC, _SQ = b"#=GF AC ", b"#=GF SQ "
_FACTS = tuple(b"#=GF %s " % tag for tag in (b"ID", b"DE", b"TP", b"CL", b"GA"))
"""In the order of the fields of `FamilyFacts`."""
_KEPT_FEATURES = frozenset((_AC, _SQ, *_FACTS))
_FIRST_IN_ROW = bytes(range(ord("0"), 256))
"""What a row may begin with here: neither markup nor ``//`` nor blanks."""
_OTHER_FEATURES = frozenset(
    b"#=GF %s " % tag
    for tag in b"AM AU BM CC DC DR NC NE NL PI RA RC RL RM RN RT SE SM TC WK".split()
)


class _UnusualError(Exception):
    """Something looks another way than in Pfam's files."""


@dataclass(frozen=True, slots=True)
class RecordText:
    """A record within a text.

    Attributes:
        text: the text.
        starts: where each line of the record starts, and where the next record does, n + 1, int64.
        firsts: first character of each line, n.
        fourths: fourth character of each line (or one behind a short line), n.
    """

    text: bytes
    starts: NDArray[np.int64]
    firsts: bytes
    fourths: bytes

    def between(self, start: int, stop: int) -> bytes:
        """Lines from one to before another, with their ends."""
        return self.text[self.starts[start] : self.starts[stop]]

    def lines(self) -> list[bytes]:
        """All lines, without their ends."""
        return self.between(0, len(self.firsts))[:-1].split(b"\n")


def find_records(text: bytes) -> list[RecordText]:
    """Divide a text behind each line ``//``.

    Args:
        text: begins with a line end and ends with the end of a line ``//``.

    Returns:
        The records, each with its ``//``.
    """
    letters = np.frombuffer(text, dtype=np.uint8)
    starts = np.flatnonzero(letters == ord("\n")) + 1
    firsts = letters[starts[:-1]].tobytes()
    fourths = letters.take(starts[:-1] + 3, mode="clip").tobytes()
    records = []
    begin, place = 0, firsts.find(b"/")
    while place >= 0:
        end = place + 1
        if text[starts[place] : starts[end]] == b"//\n":
            lines = slice(begin, end)
            part = RecordText(text, starts[begin : end + 1], firsts[lines], fourths[lines])
            records.append(part)
            begin = end
        place = firsts.find(b"/", end)
    return records


def read_whole(record: RecordText, path: str, *, number: int) -> Block | None:
    """Read a record that looks as those of Pfam do.

    Args:
        record: the record.
        path: the file.
        number: of the record's first line, from 1.

    Returns:
        The block; None if anything looks another way.
    """
    firsts = record.firsts
    num_head = len(firsts) - len(firsts.lstrip(MARKUP))
    kinds = record.fourths[1:num_head]
    num_features = len(kinds) - len(kinds.lstrip(b"F"))
    end = len(firsts[:-1].rstrip(MARKUP))  # of the rows, before the last markup
    try:
        if record.between(0, 1) != HEADER + b"\n" or end <= num_head:
            raise _UnusualError
        features = _read_features(record, num_features + 1)
        names, letters, lines = _read_rows(record, num_head, end, number=number)
        accessions = _read_accessions(record, num_features + 1, num_head, names=names)
        _check_markup(record, end, len(firsts) - 1)
    except (UnicodeDecodeError, _UnusualError):
        return None
    accession = text_of(features[_AC])
    if not int(features.get(_SQ, len(names))) == len(names) == len(set(names)):
        return None
    return Block(
        path=path,
        lines=lines,
        names=names,
        letters=letters,
        families=[accession] * len(names),
        sequence_accessions=accessions,
        facts={accession: _facts_of(features)},
        is_aligned=True,
        is_whole=True,
    )


def _read_features(record: RecordText, stop: int) -> dict[bytes, bytes]:
    """Values of the ``#=GF`` lines that are kept, from the second line on, by how these begin."""
    lines = record.between(1, stop).split(b"\n")[:-1]
    kept = [line for line in lines if line[:8] not in _OTHER_FEATURES]
    features = {line[:8]: line[8:].strip() for line in kept}
    is_plain = (
        len(features) == len(kept)
        and features.keys() <= _KEPT_FEATURES
        and all(features.values())
        and len(features.get(_AC, b"").split()) == 1
        and features.get(_SQ, b"0").isdigit()
        and len(features.get(_SQ, b"")) < MOST_DIGITS
    )
    if not is_plain:
        raise _UnusualError
    return features


def _facts_of(features: dict[bytes, bytes]) -> FamilyFacts:
    """What `_read_features` has found of a family."""
    return FamilyFacts(*[text_of(features[tag]) if tag in features else None for tag in _FACTS])


def _read_rows(
    record: RecordText, start: int, stop: int, *, number: int
) -> tuple[list[str], list[bytes], Sequence[int]]:
    """Names, letters and numbers of the lines up to the last row; some may be ``#=GR``."""
    text, kinds, size = record.text, record.firsts[start:stop], stop - start
    begin, end = int(record.starts[start]), int(record.starts[stop])
    stride = int(record.starts[start + 1]) - begin
    column = text.rfind(b" ", begin, begin + stride) + 1
    is_matrix = (
        not kinds.translate(None, _FIRST_IN_ROW + MARKUP)
        and end - begin == size * stride
        and column > begin + 1
        and text[begin + stride - 1 : end : stride] == b"\n" * size
        and text[column - 1 : end : stride] == b" " * size
        and len(text[column:end:stride].split()) == 1  # no letters begin
        and len(text[begin + stride - 2 : end : stride].split()) == 1  # or end with a blank,
        and text.find(b"\0", begin, end) < 0  # which NumPy would drop at the end
    )
    if not is_matrix:
        raise _UnusualError
    matrix = np.ndarray((size, stride), np.uint8, text, begin)[:, : column - begin]
    aligned = np.ndarray((size,), f"S{begin + stride - 1 - column}", text, column, (stride,))
    lines: Sequence[int] = range(number + start, number + stop)
    if MARKUP in kinds:
        is_row = np.frombuffer(kinds, dtype=np.uint8) != MARKUP[0]
        lines = list(lines)
        for place in np.flatnonzero(~is_row)[::-1].tolist():
            _check_markup(record, start + place, start + place + 1)
            del lines[place]
        matrix, aligned = matrix[is_row], aligned[is_row]
    names = matrix.tobytes().decode("ascii").split()
    letters: list[bytes] = aligned.tolist()
    if len(names) != len(letters) or b" " in b"".join(letters):
        raise _UnusualError
    return names, letters, lines


def _read_accessions(
    record: RecordText, start: int, stop: int, *, names: list[str]
) -> list[str | None] | None:
    """Accessions of ``#=GS`` lines, one for each row in their order; None without such lines."""
    if start == stop:
        return None
    text, num_lines = record.between(start, stop), stop - start
    if num_lines > len(names):
        tags = record.starts[start:stop] + text.find(b" AC ", 0, text.find(b"\n")) + 1
        letters = np.frombuffer(record.text, dtype=np.uint8)
        others = np.flatnonzero(letters.take(tags, mode="clip") != ord("A"))
        text, num_lines = _without(record, start, stop, others + start), num_lines - len(others)
    words = text.decode("ascii").split()
    accessions: list[str | None] = [*words[3::4]]
    is_plain = (
        num_lines == len(names) == len(accessions)
        and words[1::4] == names
        and words[::4].count("#=GS") == words[2::4].count("AC") == num_lines
        and "#=GS" not in accessions  # so each line has four words
    )
    if not is_plain:
        raise _UnusualError
    return accessions


def _without(record: RecordText, start: int, stop: int, places: NDArray[np.int64]) -> bytes:
    """The ``#=GS`` lines from one to before another without some, which are no accessions."""
    text = record.text
    begins = [*record.starts[places].tolist(), int(record.starts[stop])]
    ends = [int(record.starts[start]), *record.starts[places + 1].tolist()]
    for begin, end in zip(begins, ends[1:], strict=False):
        words = text[begin:end].split(None, 3)
        if len(words) < 3 or words[0] != b"#=GS" or words[2] == b"AC":
            raise _UnusualError
    return b"".join([text[end:begin] for end, begin in zip(ends, begins, strict=True)])


def _check_markup(record: RecordText, start: int, stop: int) -> None:
    """See that some lines are ``#=GC`` or ``#=GR``, these with a name and a tag."""
    for line in record.between(start, stop).splitlines():
        if line[:5] != _GC and not (line[:5] == _GR and len(line.split(None, 3)) > 2):
            raise _UnusualError
