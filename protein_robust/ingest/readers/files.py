"""Open source files: plain, gzip, zstd, standard input; whatever is wrong is an `InputError`.

Archives (zip, tar, 7z) and the other ways to compress are refused, not unpacked: so no name inside
an archive, absolute or with ``..``, is ever used as a path.

A damaged file gives all that could be decompressed before the damage; only then does reading raise,
and again at every later try: `TruncatedError` where the file ends too early, so that a reader can
keep what came before, `CorruptError` where nothing of it can be trusted:

    try:
        lines = stream.readlines(1 << 20)
    except InputError as damage:
        bad.refuse(damage, record=unfinished, num_rows=num_rows)
"""

from __future__ import annotations

import hashlib
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from protein_robust.errors import InputError
from protein_robust.ingest.options import STDIN
from protein_robust.ingest.records import CorruptError, TruncatedError

if TYPE_CHECKING:
    from hashlib import _Hash

    from _typeshed import WriteableBuffer

HEAD_BYTES = 512
"""How much of the beginning `OpenSource.head` shows."""

_READ_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_MAGIC = {
    "gzip": (b"\x1f\x8b",),
    # A zstd frame, or one of the skippable frames that parallel compressors write before it.
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
}
_SUFFIX = {"gzip": ".gz", "zstd": ".zst"}
_ARCHIVES = {
    "a zip archive": (0, (b"PK\x03\x04", b"PK\x05\x06")),
    "a tar archive": (257, (b"ustar",)),
    "a 7z archive": (0, (b"7z\xbc\xaf\x27\x1c",)),
    "a bzip2 file": (0, tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))),
    "an xz file": (0, (b"\xfd7zXZ\x00",)),
}


@dataclass
class _Meter:
    """What has come from standard input so far."""

    num_bytes: int = 0
    digest: _Hash = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class OpenSource:
    """An open source file.

    Attributes:
        stream: its bytes, decompressed; seekable only if it is a plain file.
        head: the first `HEAD_BYTES` of ``stream``, or all if it is shorter; they stay to be read.
        packed: its bytes as they are.
        meter: counts the bytes of standard input; None for a file.
    """

    stream: io.BufferedReader
    head: bytes
    packed: io.BufferedReader
    meter: _Meter | None

    @property
    def position(self) -> int:
        """How many bytes of the file itself (compressed, if it is) have been read."""
        return self.packed.tell() if self.meter is None else self.meter.num_bytes

    @property
    def sha256(self) -> str | None:
        """Digest of standard input, to whose end this reads; None for a file (`file_sha256`)."""
        if self.meter is None:
            return None
        while self.packed.read1(_PIECE_BYTES):
            pass
        return self.meter.digest.hexdigest()


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file; an error comes after all pieces before it, and then always."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Take the pieces as they are wanted."""
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._error: InputError | None = None

    def readable(self) -> bool:
        """It can be read, and nothing else."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer, unless the end or an error comes first."""
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._has_rest():
            piece = self._rest[: len(target) - filled]
            target[filled : filled + len(piece)] = piece
            self._rest = self._rest[len(piece) :]
            filled += len(piece)
        if not filled and self._error is not None:
            raise self._error
        return filled

    def _has_rest(self) -> bool:
        while not self._rest and self._error is None:
            try:
                piece = next(self._pieces, None)
            except InputError as error:
                self._error = error
                break
            if piece is None:
                break
            self._rest = memoryview(piece)
        return len(self._rest) > 0


@contextmanager
def open_source(path: str | Path) -> Iterator[OpenSource]:
    """Open a file for reading; errors of reading, inside the block too, become `InputError`.

    Compressed files are known by their first bytes. A gzip file may be a chain of several members,
    as Pfam's are, a zstd file one of several frames.

    Args:
        path: the file, or `STDIN`.

    Yields:
        The open file.

    Raises:
        InputError: if it is missing, not a file, empty, not readable, an archive, or damaged.
    """
    name = "standard input" if path == STDIN else str(path)
    if path != STDIN:
        check_is_file(path)
    try:
        if path == STDIN:
            meter = _Meter()
            yield _unpack(_buffered(_measured(sys.stdin.buffer, meter)), name, meter=meter)
        else:
            with Path(path).open("rb", buffering=_PIECE_BYTES) as file:
                yield _unpack(cast(io.BufferedReader, file), name, meter=None)
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=name) from error


def check_is_file(path: str | Path) -> None:
    """Say what is wrong with a path that is no file with content.

    Args:
        path: what should be a file.

    Raises:
        InputError: if it is missing, a folder, a pipe or a device, or empty.
    """
    place = Path(path)
    try:
        if place.is_dir():
            raise InputError("a file", "a folder", path=path)
        if not place.exists():
            raise InputError("an existing file", "none there", path=path)
        if not place.is_file():
            actual = f"a pipe or a device (a pipe can be read as {STDIN!r})"
            raise InputError("a file", actual, path=path)
        if place.stat().st_size == 0:
            raise InputError("a file with records", "an empty file", path=path)
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error


def file_sha256(path: str | Path) -> str:
    """Compute the SHA-256 of a file's bytes, as they are (compressed, if they are).

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: if the file cannot be read.
    """
    check_is_file(path)
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error


def _unpack(packed: io.BufferedReader, name: str, *, meter: _Meter | None) -> OpenSource:
    """Find out how a file is compressed, and undo it."""
    head = packed.peek(HEAD_BYTES)[:HEAD_BYTES]
    if not head:
        raise InputError("a file with records", "an empty file", path=name)
    _refuse_archive(head, name)
    kind = next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), None)
    for claimed, suffix in _SUFFIX.items():
        if name.lower().endswith(suffix) and kind != claimed:
            raise InputError(f"a {claimed} file", f"first bytes {head[:2]!r}", path=name)
    if kind is None:
        return OpenSource(packed, head, packed, meter)
    stream = _buffered(_gunzip(packed, name) if kind == "gzip" else _unzstd(packed, name))
    head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
    if not head:
        raise InputError("a file with records", f"nothing in a {kind} file", path=name)
    _refuse_archive(head, name)
    return OpenSource(stream, head, packed, meter)


def _refuse_archive(head: bytes, name: str) -> None:
    for kind, (place, magic) in _ARCHIVES.items():
        if head.startswith(magic, place):
            raise InputError("a file by itself (unpack it first)", kind, path=name)


def _buffered(pieces: Iterator[bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Pieces(pieces), _PIECE_BYTES)


def _measured(file: BinaryIO, meter: _Meter) -> Iterator[bytes]:
    """Pieces of a file, counted."""
    while piece := file.read(_READ_BYTES):
        meter.num_bytes += len(piece)
        meter.digest.update(piece)
        yield piece


def _gunzip(packed: io.BufferedReader, name: str) -> Iterator[bytes]:
    """Pieces of what a gzip file holds."""
    try:
        data = packed.read(_READ_BYTES)
        while data:
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # | 16: with a gzip header
            while not member.eof:
                data = data or packed.read(_READ_BYTES)
                piece = member.decompress(data, _PIECE_BYTES)
                if not (data or piece or member.eof):
                    raise EOFError("it ends too early")
                yield piece
                data = member.unconsumed_tail
            data = member.unused_data.lstrip(b"\0")  # zeros may fill up the last block of a tape
            while not data and (more := packed.read(_READ_BYTES)):
                data = more.lstrip(b"\0")
    except EOFError as error:
        raise TruncatedError("a whole gzip file", f"a damaged one ({error})", path=name) from error
    except zlib.error as error:
        raise CorruptError("a whole gzip file", f"a damaged one ({error})", path=name) from error


def _unzstd(packed: io.BufferedReader, name: str) -> Iterator[bytes]:
    """Pieces of what a zstd file holds."""
    # A file of its own, since Arrow closes what it has read.
    own = _buffered(iter(lambda: packed.read(_READ_BYTES), b""))
    with pa.CompressedInputStream(pa.PythonFile(own, mode="r"), "zstd") as stream:
        while True:
            buffer = bytearray(_PIECE_BYTES)
            try:
                num_bytes = stream.readinto(buffer)
            except OSError as error:
                # It does not say how much it wrote before the damage, but no text ends with zeros.
                yield bytes(buffer.rstrip(b"\0"))
                actual = f"a damaged one ({error})"
                is_truncated = "truncated" in str(error).lower()
                kind = TruncatedError if is_truncated else CorruptError
                raise kind("a whole zstd file", actual, path=name) from error
            if not num_bytes:
                return
            yield bytes(memoryview(buffer)[:num_bytes])
