"""Open source files, plain or gzip, so that whatever is wrong with them is an `InputError`.

A reader takes the open stream; the position in the file itself (compressed bytes, if it is
compressed) stays visible beside it, for progress.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from protein_robust.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class OpenSource:
    """An open source file.

    Attributes:
        stream: its bytes, decompressed.
        file: the file itself; ``file.tell()`` is how far it has been read.
    """

    stream: IO[bytes]
    file: BinaryIO


@contextmanager
def open_source(path: str | Path) -> Iterator[OpenSource]:
    """Open a file for reading; errors of reading, inside the block too, become `InputError`.

    A gzip file is known by its first bytes, and may be a chain of several members, as Pfam's are.

    Args:
        path: the file.

    Yields:
        The open file.

    Raises:
        InputError: if it is missing, not a file, empty, not readable, or a damaged gzip file.
    """
    check_is_file(path)
    try:
        with Path(path).open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            if magic != _GZIP_MAGIC and Path(path).suffix == ".gz":
                raise InputError("a gzip file", f"first bytes {magic!r}", path=path)
            if magic == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
                    yield OpenSource(cast(IO[bytes], unzipped), file)
            else:
                yield OpenSource(file, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError("a whole gzip file", f"a damaged one ({error})", path=path) from error
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error


def check_is_file(path: str | Path) -> None:
    """Say what is wrong with a path that is no file with content.

    Args:
        path: what should be a file.

    Raises:
        InputError: if it is missing, a folder, or empty.
    """
    place = Path(path)
    try:
        if place.is_dir():
            raise InputError("a file", "a folder", path=path)
        if not place.exists():
            raise InputError("an existing file", "none there", path=path)
        if place.is_file() and place.stat().st_size == 0:
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
