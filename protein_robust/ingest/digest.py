"""A digest of what tables say, whatever their files look like."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class ContentDigest:
    """The SHA-256 of a table's content, independent of how it is stored and in how many pieces.

    It is that of, for each column: its name, the number of its values, the SHA-256 of their lengths
    in bytes (little-endian int32, -1 for a missing value) and the SHA-256 of the UTF-8 text of all
    of them; numbers are written in decimal.
    """

    def __init__(self) -> None:
        """Of no rows yet."""
        self._columns: dict[str, list[Any]] = {}

    def add(self, table: pa.Table) -> None:
        """Append rows.

        Args:
            table: the next rows, of the same columns each time.
        """
        for name in table.column_names:
            column = table[name].cast(pa.large_string())
            state = self._columns.setdefault(name, [0, hashlib.sha256(), hashlib.sha256()])
            state[0] += len(column)
            lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy()
            state[1].update(lengths.astype(np.dtype("<i4")).tobytes())
            for chunk in column.chunks:
                state[2].update(_all_bytes(chunk))

    def hexdigest(self) -> str:
        """Compute it.

        Returns:
            64 hexadecimal digits.
        """
        whole = hashlib.sha256()
        for name, (number, lengths, texts) in self._columns.items():
            whole.update(f"{name}\n{number}\n".encode())
            whole.update(lengths.digest() + texts.digest())
        return whole.hexdigest()


def _all_bytes(column: pa.Array) -> memoryview:
    """The text of a column of large strings, one after the other; a missing value has none."""
    values = column.drop_null()
    _, offsets_buffer, data = values.buffers()
    if not len(values) or data is None:
        return memoryview(b"")
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)
    first, last = offsets[values.offset], offsets[values.offset + len(values)]
    return memoryview(data)[first:last]
