"""Byte strings in a file of their own, so that a whole Pfam release does not have to fit in memory.

They are appended one after the other, and then read back at any place.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

_GAP = 1 << 14
"""Bytes between two wanted strings that are rather read than skipped."""
_RUN = 1 << 22
"""Bytes read at a time, but for one longer string."""


class Texts:
    """N byte strings on disk; 8 bytes of memory for each.

    Args:
        path: the file to make.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Texts(Path(folder, "t")) as texts:
        ...     texts.extend([b"MK", b"", b"VLA"])
        ...     texts.take([2, 0, 1])
        [b'VLA', b'MK', b'']
    """

    def __init__(self, path: Path) -> None:
        """Make the file."""
        self._file = path.open("w+b")
        self._ends = array("q", [0])
        self._offsets: NDArray[np.int64] | None = None

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def __len__(self) -> int:
        """N."""
        return len(self._ends) - 1

    def extend(self, texts: Sequence[bytes]) -> None:
        """Append some strings.

        Args:
            texts: any bytes.

        Raises:
            ValueError: if something was read back already.
        """
        if self._offsets is not None:
            raise ValueError("Expected texts that nobody has read yet, got some that were.")
        self._file.write(b"".join(texts))
        end = self._ends[-1]
        for text in texts:
            end += len(text)
            self._ends.append(end)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each string, shape (N,), int64."""
        return np.diff(self._sealed())

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> list[bytes]:
        """Read strings back.

        Args:
            rows: their places, in any order.

        Returns:
            The strings.
        """
        offsets = self._sealed()
        chosen = np.asarray(rows, dtype=np.int64)
        taken = [b""] * len(chosen)
        order = np.argsort(chosen, kind="stable")
        starts, ends = offsets[chosen[order]], offsets[chosen[order] + 1]
        for first, last in _runs(starts, ends):
            begin = int(starts[first])
            text = os.pread(self._file.fileno(), int(ends[last - 1]) - begin, begin)
            places = order[first:last].tolist()
            inside = (starts[first:last] - begin).tolist(), (ends[first:last] - begin).tolist()
            for place, start, end in zip(places, *inside, strict=True):
                taken[place] = text[start:end]
        return taken

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._file.close()

    def _sealed(self) -> NDArray[np.int64]:
        """Where each string begins, and where the last ends; nothing is appended from now on."""
        if self._offsets is None:
            self._file.flush()
            self._offsets = np.frombuffer(self._ends, dtype=np.int64)
        return self._offsets


def _runs(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last place (exclusive) of strings, in the order of the file, read together."""
    breaks = np.flatnonzero(starts[1:] - ends[:-1] > _GAP) + 1
    edges = [0, *breaks.tolist(), len(starts)]
    for first, last in pairwise(edges):
        while first < last:
            limit = int(np.searchsorted(ends[first:last], starts[first] + _RUN, side="right"))
            end = first + max(1, limit)
            yield first, end
            first = end
