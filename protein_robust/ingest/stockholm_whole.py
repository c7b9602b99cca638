"""Whole records of Stockholm text as Pfam writes them, by few C calls a row.

Where lines end and how they begin is found for a large piece of text at once. Rows of a family all
begin their letters in the same column, so they are cut out of the text as a matrix is. Anything
that looks another way, right or wrong, is left to `protein_robust.ingest.stockholm_record`; what is
taken here gives the same block as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.records import Block
from protein_robust.ingest.stockholm_markup import HEADER, MARKUP, Features
from protein_robust.ingest.stockholm_record import make_block

_GF, _GS, _GC, _GR = b"#=GF ", b"#=GS", b"#=GC", b"#=GR"
_FIRST_IN_ROW = bytes(range(ord("0"), 256))
"""What a row may begin with here: neither markup nor ``//`` nor blanks."""
_OTHER_FEATURES = frozenset(
    b"#=GF %s " % tag
    for tag in b"AM AU BM CC DC DR NC NE NL PI RA RC RL RM RN RT SE SM TC WK".split()
)
_NUM_WORDS = 3


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
    num_head = len(record.firsts) - len(record.firsts.lstrip(MARKUP))
    kinds = record.fourths[1:num_head]
    num_features = len(kinds) - len(kinds.lstrip(b"F"))
    end = len(record.firsts[:-1].rstrip(MARKUP))  # of the rows, before the last markup
    try:
        if record.between(0, 1) != HEADER + b"\n" or end <= num_head:
            raise _UnusualError
        features = _read_features(record, num_features + 1, path=path, number=number)
        rows = _read_rows(record, num_head, end, number=number)
        accessions = _read_accessions(record, num_features + 1, num_head, rows=rows)
        rows.markup.extend(record.between(end, len(record.firsts) - 1).splitlines())
        _check(features, rows)
    except (InputError, UnicodeDecodeError, _UnusualError):
        return None
    return make_block(
        features,
        path,
        names=rows.names,
        letters=rows.letters,
        lines=rows.lines,
        accessions=accessions,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Names, letters and lines of n rows, and the markup of the record that is not taken yet."""

    names: list[str]
    letters: list[bytes]
    lines: Sequence[int]
    markup: list[bytes]


def _read_features(record: RecordText, stop: int, *, path: str, number: int) -> Features:
    """The ``#=GF`` lines, from the second on."""
    features = Features(path)
    for place, line in enumerate(record.between(1, stop).split(b"\n")[:-1], number + 1):
        if line[:8] not in _OTHER_FEATURES:
            if line[:5] != _GF:
                raise _UnusualError
            features.add(line, place)
    return features


def _read_rows(record: RecordText, start: int, stop: int, *, number: int) -> _Rows:
    """The lines behind the head and before the last markup: rows of one layout, some markup."""
    kinds = record.firsts[start:stop]
    if kinds.translate(None, _FIRST_IN_ROW + MARKUP):
        raise _UnusualError
    others = []
    other = record.firsts.find(MARKUP, start, stop)
    while other >= 0:
        others.append(other)
        other = record.firsts.find(MARKUP, other + 1, stop)
    text, markup = _take_out(record, start, stop, others)
    lines = _without(range(number + start, number + stop), [number + other for other in others])
    size, stride = len(lines), text.find(b"\n") + 1
    column = text.rfind(b" ", 0, stride) + 1
    is_matrix = (
        column > 1
        and len(text) == size * stride
        and text[stride - 1 :: stride] == b"\n" * size
        and text[column - 1 :: stride] == b" " * size
        and len(text[column::stride].split()) == 1  # no letters begin
        and len(text[stride - 2 :: stride].split()) == 1  # or end with a blank,
        and b"\0" not in text  # which NumPy would drop at the end
    )
    if not is_matrix:
        raise _UnusualError
    matrix = np.frombuffer(text, dtype=np.uint8).reshape(size, stride)
    names = matrix[:, :column].tobytes().decode("ascii").split()
    width = stride - 1 - column
    letters = np.ndarray((size,), f"S{width}", text, offset=column, strides=(stride,)).tolist()
    if len(names) != size or b" " in b"".join(letters):
        raise _UnusualError
    return _Rows(names, letters, lines, markup)


def _read_accessions(
    record: RecordText, start: int, stop: int, *, rows: _Rows
) -> list[str | None] | None:
    """Accessions of ``#=GS`` lines, one for each row in their order; None if there is no such line.

    The other ``#=GS`` lines join the markup of the rows.
    """
    if start == stop:
        return None
    others: list[int] = []
    tag = record.between(start, start + 1).find(b" AC ") + 1
    if stop - start != len(rows.names):
        tags = record.starts[start:stop] + tag
        letters = np.frombuffer(record.text, dtype=np.uint8)
        others = (np.flatnonzero(letters.take(tags, mode="clip") != ord("A")) + start).tolist()
    text, markup = _take_out(record, start, stop, others)
    words = text.decode("ascii").split()
    accessions: list[str | None] = [*words[3::4]]
    is_plain = (
        stop - start - len(others) == len(rows.names) == len(accessions)
        and words[1::4] == rows.names
        and words[::4].count("#=GS") == words[2::4].count("AC") == len(accessions)
        and "#=GS" not in accessions  # so each line has four words
    )
    if not is_plain:
        raise _UnusualError
    rows.markup.extend({line[: tag + 2] for line in markup})  # a few, once for each row
    return accessions


def _without(places: range, others: list[int]) -> Sequence[int]:
    """The places that are none of the others, which are sorted."""
    if not others:
        return places
    kept = list(places)
    for other in reversed(others):
        del kept[other - places.start]
    return kept


def _take_out(
    record: RecordText, start: int, stop: int, places: Sequence[int]
) -> tuple[bytes, list[bytes]]:
    """The lines from one to before another without some of them, and these."""
    if not places:
        return record.between(start, stop), []
    begins = record.starts.take([*places, stop]).tolist()  # of what is taken out, and the end
    ends = record.starts.take([start, *(place + 1 for place in places)]).tolist()
    text = record.text
    lines = [text[begin:end] for begin, end in zip(begins, ends[1:], strict=False)]
    return b"".join([text[end:begin] for end, begin in zip(ends, begins, strict=True)]), lines


def _check(features: Features, rows: _Rows) -> None:
    """See that the family has an accession, its rows, no name twice, and markup of these only."""
    distinct = set(rows.names)
    said = features.num_rows
    if features.accession is None or len(distinct) < len(rows.names):
        raise _UnusualError
    if said is not None and said[0] != len(rows.names):
        raise _UnusualError
    for line in rows.markup:
        words = line.split(None, 3)
        is_plain = words[0] == _GC or (
            len(words) >= _NUM_WORDS
            and words[1].decode("ascii") in distinct
            and (words[0] == _GR or (words[0] == _GS and words[2] != b"AC"))
        )
        if not is_plain:
            raise _UnusualError
