"""Read Pfam-A.seed: many families in Stockholm format, one line for each sequence.

Records as Pfam writes them are read whole, with few C calls a row (`stockholm_whole`); any other
one is read line by line (`stockholm_record`), which also finds the line at fault. Lines end in LF
or CRLF; words are divided by blanks; markup of columns and of residues is passed over.

References:
    Pfam, "Stockholm format", https://en.wikipedia.org/wiki/Stockholm_format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from protein_robust.errors import InputError
from protein_robust.ingest.readers.lines import UTF8_MARK
from protein_robust.ingest.readers.stockholm_markup import (
    END,
    HEADER_START,
    MAX_LINE_BYTES,
    MAX_RECORD_LINES,
)
from protein_robust.ingest.readers.stockholm_record import Record
from protein_robust.ingest.readers.stockholm_whole import RecordText, find_records, read_whole
from protein_robust.ingest.records import BadRecords, Block, CorruptError

READ_BYTES = 1 << 18
"""How much is asked of the stream at once."""
PENDING_BYTES = 1 << 22
"""Of a record whose end has not come, before it is read line by line."""

_LAST = b"\n//\n"


class _Stream(Protocol):
    """What gives bytes, as `OpenSource.stream` does."""

    def read1(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""


def read_stockholm(stream: _Stream, path: str, *, bad: BadRecords) -> Iterator[Block]:
    r"""Yield the families of a Pfam-A.seed file in their order, each as a block.

    A record is broken, and lost as a whole, if it lacks its first line, its accession, its rows or
    its ``//``; has another number of rows than its ``#=GF SQ`` says, two ``#=GF`` of a kind that
    comes once, or the accession of a record before; if rows differ in width or share a name; if a
    row that is not there has an accession (``#=GS AC``), or one has two; if a line is none of the
    format's; or if it is larger than the limits of `stockholm_markup`. After it, reading goes on at
    the next ``//`` or ``# STOCKHOLM`` line.

    Args:
        stream: the bytes; an `InputError` that it raises ends the file.
        path: the file, for messages.
        bad: what becomes of broken records.

    Yields:
        The rows of a family, with ``facts`` of it; ``sequence_accessions`` from ``#=GS AC``.

    Raises:
        InputError: if a record is broken and the policy is ``error``.

    Example:
        >>> import io
        >>> seed = io.BytesIO(b"# STOCKHOLM 1.0\n#=GF AC PF1.1\nA/1-2 MK\n//\n")
        >>> next(read_stockholm(seed, "seed", bad=BadRecords())).letters
        [b'MK']
    """
    reader = _Reader(path, bad)
    parts = _Parts(stream)
    for part in parts:
        if isinstance(part, list):
            yield from reader.read_lines(part)
            continue
        block = reader.read_whole(part)
        if block is not None:
            yield block
        else:
            yield from reader.read_lines(part.lines())
    reader.finish(parts.damage)


class _Parts:
    """A stream in parts: records up to their ``//``, and lines where none is near.

    ``damage`` is the error that ended the stream, if one did.
    """

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self.damage: InputError | None = None

    def __iter__(self) -> Iterator[RecordText | list[bytes]]:
        """Yield all parts in their order."""
        held = bytearray(b"\n")  # the end of the line before
        line_bytes = 0  # of the line whose end has not come
        for chunk in self._chunks():
            line_end = chunk.rfind(b"\n")
            if line_end < 0 and line_bytes > MAX_LINE_BYTES:
                continue  # the line will be refused, so its rest is not needed
            searched = max(0, len(held) - len(_LAST))
            held += chunk
            line_bytes = len(chunk) - line_end - 1 if line_end >= 0 else line_bytes + len(chunk)
            cut = held.rfind(_LAST, searched)
            if cut >= 0:
                text = _take(held, cut + len(_LAST))
                yield from find_records(text)
            elif line_end >= 0 and len(held) > PENDING_BYTES:
                yield _take(held, len(held) - line_bytes)[1:-1].split(b"\n")
        if len(held) > 1:
            yield bytes(held[1:]).removesuffix(b"\n").split(b"\n")

    def _chunks(self) -> Iterator[bytes]:
        """What the stream gives, with line ends as LF."""
        carried = b""
        while chunk := self._read():
            if carried or b"\r" in chunk:
                chunk = carried + chunk
                carried = b"\r" if chunk.endswith(b"\r") else b""
                chunk = chunk.removesuffix(b"\r").replace(b"\r\n", b"\n")
            yield chunk

    def _read(self) -> bytes:
        try:
            return self._stream.read1(READ_BYTES)
        except InputError as damage:
            self.damage = damage
            return b""


def _take(held: bytearray, size: int) -> bytes:
    """Take whole lines, the line end before them, and leave the line end behind them."""
    with memoryview(held) as view:
        text = bytes(view[:size])
    del held[: size - 1]
    return text


class _Reader:
    """Reads records, whole or line by line; knows which accessions there were."""

    def __init__(self, path: str, bad: BadRecords) -> None:
        self._path = path
        self._bad = bad
        self._num_lines = 0
        self._accessions: set[str] = set()
        self._record: Record | None = None

    def read_whole(self, text: RecordText) -> Block | None:
        """Read a record up to its ``//``; None, with nothing done, unless it is a plain one."""
        num_lines, num_bytes = len(text.firsts), text.starts[-1] - text.starts[0]
        if self._record is not None or num_lines > MAX_RECORD_LINES or num_bytes > MAX_LINE_BYTES:
            return None
        block = read_whole(text, self._path, number=self._num_lines + 1)
        if block is None or block.families[0] in self._accessions:
            return None
        self._num_lines += num_lines
        self._accessions.add(block.families[0])
        return block

    def read_lines(self, lines: Sequence[bytes]) -> Iterator[Block]:
        """Read on line by line."""
        for raw_line in lines:
            self._num_lines += 1
            line = raw_line.rstrip()
            if self._num_lines == 1:
                line = line.removeprefix(UTF8_MARK)
            if not line:
                continue
            if self._record is not None and line.startswith(HEADER_START):
                self._record.cut_off(line, self._num_lines)
                self._refuse_record(self._record)
            if self._record is None:
                self._record = Record(self._path, self._num_lines)
                self._record.check_header(line)
            if line == END:
                yield from self._end_record(self._record)
            elif not line.startswith(HEADER_START):
                self._record.add(raw_line, self._num_lines)

    def finish(self, damage: InputError | None) -> None:
        """Refuse what the end of the file, or the damage to it, cuts off."""
        record, line = self._record, self._num_lines or None
        inside = "" if record is None else f" inside {record.title}"
        if isinstance(damage, CorruptError):
            raise damage  # under both policies: what came before may be wrong too
        if damage is not None:
            actual = damage.actual + inside
            error = InputError(damage.expected, actual, path=self._path, line=line)
        elif record is not None:
            actual = "the end of the file" + inside
            late = InputError("'//' after each family", actual, path=self._path, line=line)
            error = record.error or late
        else:
            return
        accession, num_rows = (None, 0) if record is None else (record.accession, record.num_rows)
        self._bad.refuse(error, record=accession, num_rows=num_rows)

    def _end_record(self, record: Record) -> Iterator[Block]:
        """Yield the record's rows, or refuse it."""
        record.check(self._accessions)
        if record.error is not None:
            self._refuse_record(record)
            return
        self._record = None
        block = record.block()
        self._accessions.add(block.families[0])
        yield block

    def _refuse_record(self, record: Record) -> None:
        assert record.error is not None
        self._record = None
        self._bad.refuse(record.error, record=record.accession, num_rows=record.num_rows)
