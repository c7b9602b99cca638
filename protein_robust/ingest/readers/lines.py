"""Read a stream line by line, with line numbers and a bound on a line's length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Self

from protein_robust.errors import InputError

MAX_LINE_BYTES = 1 << 24
"""No line, and no record of several lines, may be longer: it would have to fit in memory."""

UTF8_MARK = b"\xef\xbb\xbf"
"""What some editors put before the first letter of a text file."""


class Lines:
    r"""The lines of a stream, with their ends; a mark of UTF-8 before the first is left out.

    Args:
        stream: bytes; need not seek.
        path: the file, for messages.

    Attributes:
        path: the file.
        number: line of what was read last, counted from 1; 0 before the first.

    Example:
        >>> import io
        >>> lines = Lines(io.BytesIO(b"one\ntwo"), "a.txt")
        >>> [(line, lines.number) for line in lines]
        [(b'one\n', 1), (b'two', 2)]
    """

    def __init__(self, stream: IO[bytes], path: str) -> None:
        """Read nothing yet."""
        self.path = path
        self.number = 0
        self._readline = stream.readline
        self._returned: list[bytes] = []  # the next one last

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> bytes:
        """The next line.

        Raises:
            InputError: if it is longer than `MAX_LINE_BYTES`.
        """
        line = self._returned.pop() if self._returned else self._readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE_BYTES:
            expected = f"lines of at most {MAX_LINE_BYTES} bytes"
            raise InputError(expected, "a longer one", path=self.path, line=self.number)
        return line.removeprefix(UTF8_MARK) if self.number == 1 else line

    def give_back(self, lines: Iterable[bytes]) -> None:
        """Make lines that were read the next ones again.

        Args:
            lines: the last ones that were read, in their order.
        """
        again = list(lines)
        self._returned += reversed(again)
        self.number -= len(again)


def decode(text: bytes) -> str:
    """Decode text of the field's files: UTF-8, and where it is not that, latin-1.

    Args:
        text: any bytes.

    Returns:
        The text; nothing is lost, since latin-1 has a letter for each byte.

    Example:
        >>> decode("Müller".encode()) == decode("Müller".encode("latin-1"))
        True
    """
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
