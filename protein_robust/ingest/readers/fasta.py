"""Read FASTA files: headers that begin with ``>``, residues in any number of lines below.

As in W. Pearson's programs, a line that begins with ``;`` is a comment and is passed over; older
files in which ``;`` begins the headers are refused, since nothing in them begins with ``>``.

References:
    Pearson & Lipman, "Improved tools for biological sequence comparison", PNAS 1988.
    NCBI, "FASTA format", https://www.ncbi.nlm.nih.gov/genbank/fastaformat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import IO

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.readers.headers import NO_LABELS, HeaderRule, header_rule, parse_header
from protein_robust.ingest.readers.lines import MAX_LINE_BYTES, UTF8_MARK, decode
from protein_robust.ingest.records import BadRecords, Block, select_rows

__all__ = ["NO_LABELS", "HeaderRule", "header_rule", "read_fasta"]

_CHUNK_BYTES = 1 << 20
_BLOCK_ROWS = 4096
_BLOCK_BYTES = 1 << 23
_WHITE_SPACE = b" \t\r\n\v\f"
_NUM_SHOWN = 40


def read_fasta(
    stream: IO[bytes], path: str, *, rule: HeaderRule = NO_LABELS, bad: BadRecords
) -> Iterator[Block]:
    """Yield the sequences of a FASTA file.

    White space inside a sequence, blank lines and comments are left out. Lower case, gaps and a
    final ``*`` stay, for `protein_robust.ingest.records.clean_block` to count.

    Args:
        stream: the file's bytes, also with a mark of UTF-8 or Windows line ends; need not seek.
        path: the file, for messages.
        rule: what the headers say.
        bad: what becomes of text before the first header, and of records without a name, whose
            header breaks the rule, without residues, or with the name of a record before.

    Yields:
        Some thousand rows; a row's line is that of its header.

    Raises:
        InputError: if there is no record, one is longer than
            `lines.MAX_LINE_BYTES`, or one is bad and the policy is ``error``.
    """
    rows = _Rows(path, rule, bad)
    names = _NamesSeen()
    num_skipped = len(bad.skipped)
    try:
        for line, header, letters in _records(stream, path, bad=bad):
            rows.add(line, header, letters)
            if rows.is_full:
                yield from rows.take(names)
    except Exception:  # the stream is damaged here: what was read before it is not lost
        yield from rows.take(names)
        raise
    yield from rows.take(names)
    if not rows.number and len(bad.skipped) == num_skipped:
        raise InputError("at least one record that begins with '>'", "none", path=path)


@dataclass
class _Rows:
    """The rows of the block to be."""

    path: str
    rule: HeaderRule
    bad: BadRecords
    number: int = 0
    num_bytes: int = 0
    lines: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether it is time for a block."""
        return len(self.lines) >= _BLOCK_ROWS or self.num_bytes >= _BLOCK_BYTES

    def add(self, line: int, header: bytes, letters: bytes) -> None:
        """Keep a record, or refuse it."""
        self.number += 1
        text = decode(header).strip()
        try:
            name, family, split = parse_header(text, self.rule, path=self.path, line=line)
            if not letters:
                expected = "residues below each header"
                raise InputError(expected, f"none for {name!r}", path=self.path, line=line)
        except InputError as error:
            self.bad.refuse(error, record=text.split(None, 1)[0] if text else None)
            return
        self.lines.append(line)
        self.names.append(name)
        self.letters.append(letters)
        self.families.append(family)
        self.splits.append(split)
        self.num_bytes += len(letters)

    def take(self, seen: _NamesSeen) -> Iterator[Block]:
        """The rows so far as a block, without those whose names were seen; none are left."""
        block = Block(
            path=self.path,
            lines=self.lines,
            names=self.names,
            letters=self.letters,
            families=self.families,
            splits=self.splits if any(self.splits) else None,
            facts={f: self.rule.facts[f] for f in set(self.families) if f in self.rule.facts},
        )
        self.lines, self.names, self.letters, self.families = [], [], [], []
        self.splits, self.num_bytes = [], 0
        is_new = seen.add(block.names)
        for row in np.flatnonzero(~is_new).tolist():
            name, line = block.names[row], block.lines[row]
            expected = "another name than those of the records before"
            self.bad.refuse(
                InputError(expected, repr(name), path=self.path, line=line), record=name
            )
        if not is_new.all():
            block = select_rows(block, np.flatnonzero(is_new).tolist())
        if block.names:
            yield block


class _NamesSeen:
    """The names of a file so far: 8 bytes of memory for each.

    A name is known by 64 bits of its BLAKE2b digest, so two different names among ten million are
    taken for the same with a chance of 3 in a million.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # sorted; each longer than the next

    def add(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Remember some names, shape (n,): whether each is there for the first time."""
        digests = b"".join([blake2b(name.encode(), digest_size=8).digest() for name in names])
        hashes, first = np.unique(np.frombuffer(digests, dtype="<u8"), return_index=True)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            is_new = run[places] != hashes
            hashes, first = hashes[is_new], first[is_new]
        mask = np.zeros(len(names), dtype=bool)
        mask[first] = True
        if len(hashes):
            # Runs of falling lengths are few, and each hash is merged as often as there are runs.
            while self._runs and len(self._runs[-1]) <= len(hashes):
                hashes = np.sort(np.concatenate([self._runs.pop(), hashes]))
            self._runs.append(hashes)
        return mask


def _records(
    stream: IO[bytes], path: str, *, bad: BadRecords
) -> Iterator[tuple[int, bytes, bytes]]:
    """Line, header and letters of each record."""
    number, is_preamble = 0, True
    for part in _parts(stream, path):
        if is_preamble:
            _check_preamble(part, path, bad=bad)
            is_preamble = False
        else:
            header, _, body = part.partition(b"\n")
            yield number, header, _letters(body)
        number += part.count(b"\n") + 1


def _parts(stream: IO[bytes], path: str) -> Iterator[bytes]:
    """The file cut at the ``>`` that begin a line; what comes before the first one comes first.

    The first part begins with a line end that is not in the file.
    """
    rest, number = b"\n", 0
    for place, chunk in enumerate(_chunks(stream)):
        new = chunk.removeprefix(UTF8_MARK) if place == 0 else chunk
        *parts, rest = (rest + new).split(b"\n>")
        yield from parts
        number += sum(part.count(b"\n") + 1 for part in parts)
        if len(rest) > MAX_LINE_BYTES:
            expected = f"records of at most {MAX_LINE_BYTES} bytes"
            raise InputError(expected, "a longer one", path=path, line=max(number, 1))
    yield rest


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Pieces of about a mebibyte; if the stream is damaged, what comes before that comes too."""
    # `read` throws away what it has read so far when it fails; `read1` stops after each piece.
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    size = -1
    while size:
        pieces, size = [], 0
        try:
            while size < _CHUNK_BYTES and (piece := read(_CHUNK_BYTES - size)):
                pieces.append(piece)
                size += len(piece)
        except (InputError, OSError):
            yield b"".join(pieces)
            raise
        yield b"".join(pieces)


def _letters(body: bytes) -> bytes:
    """The lines below a header without white space and comments."""
    if b";" in body:
        body = b"\n".join([line for line in body.split(b"\n") if not line.startswith(b";")])
    return body.translate(None, _WHITE_SPACE)


def _check_preamble(part: bytes, path: str, *, bad: BadRecords) -> None:
    """Refuse anything but comments and blank lines before the first header."""
    for number, line in enumerate(part.split(b"\n")):
        if line.strip() and not line.startswith(b";"):
            shown = decode(line[:_NUM_SHOWN]).strip()
            expected = "'>' before the first sequence"
            bad.refuse(InputError(expected, repr(shown), path=path, line=number))
            return
