"""The largest identity between sequences of different splits, for `verification`.

Identities of aligned rows are counted letter by letter, all pairs in turn. (The clusters come from
comparing bits, and not all pairs; see `clusters` for what identity means.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from protein_robust.alphabet import GAPS, STOP
from protein_robust.ingest.mmseqs import aligned_identities, mmseqs_version
from protein_robust.ingest.options import SPLITS

_GAPS = (GAPS + STOP).encode()
_LETTERS_AT_ONCE = 2**20  # of a block of pairs: 1 MiB, so that it stays in the cache
_PAIRS_AT_ONCE = 500_000  # for MMseqs2
_TRAIN, _VALID, _TEST = range(len(SPLITS))
_COMPARED = ((_TEST, _TRAIN), (_VALID, _TRAIN), (_TEST, _VALID))


@dataclass(frozen=True)
class Families:
    """Where each family's rows stand in a file that is in the order of split and label.

    Attributes:
        keys: code of the split times (``num_families`` + 1), plus the label, of each row; they
            never fall. Shape (N,), int64.
        num_families: number of classes.
    """

    keys: NDArray[np.int64]
    num_families: int

    def places(self, split: int) -> NDArray[np.int64]:
        """Begin and end of each family's rows in one split, shape (num_families, 2)."""
        keys = split * (self.num_families + 1) + np.arange(self.num_families)
        sides = [np.searchsorted(self.keys, keys, side) for side in ("left", "right")]
        return np.stack(sides, axis=1)


@dataclass(frozen=True)
class Found:
    """What comparing gave.

    Attributes:
        method: how identities were computed.
        largest: the largest identity by pair of splits, such as ``test_train``; None where no
            family has rows in both.
        num_families: families with rows in two splits.
        num_above: families with an identity above the bound.
        num_uneven: families whose aligned rows differ in width, so that some were not compared.
    """

    method: str
    largest: dict[str, float | None]
    num_families: int
    num_above: int
    num_uneven: int


@dataclass(frozen=True)
class _Comparison:
    """Rows of one family in two splits."""

    label: int
    name: str
    one: list[bytes]
    other: list[bytes]


@dataclass(frozen=True)
class _Result:
    """The largest identity of a comparison, 0 if the rows are of several widths."""

    label: int
    name: str
    identity: float
    is_uneven: bool = False


class _Column:
    """One column of a Parquet file, whose rows are asked for in rising order.

    One row group is in memory at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; the column is that of the sequences or of the aligned rows."""
        self._file = pq.ParquetFile(path, pre_buffer=False)
        names = self._file.schema_arrow.names
        self._name = "aligned_row" if "aligned_row" in names else "sequence"
        sizes = [
            self._file.metadata.row_group(group).num_rows
            for group in range(self._file.num_row_groups)
        ]
        self._starts = np.cumsum([0, *sizes])
        self._held = -1
        self._array = pa.array([], pa.string())

    def take(self, begin: int, end: int) -> list[bytes]:
        """The texts of some rows."""
        texts: list[bytes] = []
        while begin < end:
            group = int(np.searchsorted(self._starts, begin, "right")) - 1
            if group != self._held:
                column = self._file.read_row_group(group, columns=[self._name])[self._name]
                self._held, self._array = group, pa.concat_arrays(column.chunks)
            first, stop = int(self._starts[group]), min(end, int(self._starts[group + 1]))
            texts += byte_strings(self._array.slice(begin - first, stop - begin))
            begin = stop
        return texts


def compare_splits(
    path: Path, families: Families, max_identity: float, *, threads: int, scratch: Path | None
) -> Found:
    """Compare the sequences of each family that are in different splits.

    Args:
        path: ``alignments.parquet``, whose rows are then compared, or ``sequences.parquet``, whose
            sequences are then aligned in pairs by MMseqs2.
        families: where the rows of each family are.
        max_identity: the bound.
        threads: number of threads for MMseqs2.
        scratch: a folder for MMseqs2; None for the system's.

    Returns:
        What was found.

    Raises:
        InputError: if MMseqs2 is needed and absent.
    """
    is_aligned = "aligned_row" in pq.read_schema(path).names
    comparisons = _comparisons([_Column(path) for _ in SPLITS], families)
    results = list(
        map(_largest_aligned, comparisons)
        if is_aligned
        else _largest_unaligned(comparisons, threads=threads, scratch=scratch)
    )
    names = [_name(one, other) for one, other in _COMPARED]
    return Found(
        "aligned rows" if is_aligned else f"MMseqs2 {mmseqs_version()}",
        {
            name: max((r.identity for r in results if r.name == name), default=None)
            for name in names
        },
        num_families=len({r.label for r in results}),
        num_above=len({r.label for r in results if r.identity > max_identity}),
        num_uneven=len({r.label for r in results if r.is_uneven}),
    )


def byte_strings(column: pa.Array) -> list[bytes]:
    """The texts of a column, empty where there is none.

    Args:
        column: texts, not in chunks.

    Returns:
        Their UTF-8 bytes.
    """
    texts = column.cast(pa.large_binary())
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return [b""] * len(texts)
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset :][: len(texts) + 1]
    base = int(ends[0])
    whole = data.slice(base, int(ends[-1]) - base).to_pybytes()
    return [whole[begin:end] for begin, end in pairwise((ends - base).tolist())]


def _comparisons(columns: list[_Column], families: Families) -> Iterator[_Comparison]:
    """The rows of each family that are to be compared, family by family."""
    places = np.stack([families.places(split) for split in range(len(SPLITS))])
    is_there = places[:, :, 1] > places[:, :, 0]  # (splits, families)
    for label in np.flatnonzero(is_there.sum(axis=0) > 1).tolist():
        rows = [column.take(*places[split, label].tolist()) for split, column in enumerate(columns)]
        for one, other in _COMPARED:
            if rows[one] and rows[other]:
                yield _Comparison(label, _name(one, other), rows[one], rows[other])


def _name(one: int, other: int) -> str:
    """What a pair of splits is called."""
    return f"{SPLITS[one]}_{SPLITS[other]}"


def _largest_aligned(comparison: _Comparison) -> _Result:
    """Compare rows of an alignment."""
    one, other = comparison.one, comparison.other
    width = len(one[0])
    if any(len(row) != width for row in (*one, *other)):
        return _Result(comparison.label, comparison.name, 0.0, is_uneven=True)
    left, num_left = _letters(one, gap=0)
    right, num_right = _letters(other, gap=1)
    num_rows = max(1, _LETTERS_AT_ONCE // max(1, right.size))
    largest = 0.0
    for begin in range(0, len(one), num_rows):
        part = slice(begin, begin + num_rows)
        # 8 columns at a time: each is a byte that is 1 or 0.
        same = np.equal(left[part, None, :], right).view(np.uint64)
        counts = np.bitwise_count(same).sum(axis=2, dtype=np.int64)  # (rows of one, of other)
        shorter = np.minimum.outer(num_left[part], num_right)
        largest = max(largest, float((counts / np.maximum(shorter, 1)).max()))
    return _Result(comparison.label, comparison.name, largest)


def _letters(rows: list[bytes], *, gap: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Capitals, one number for all gaps, shape (rows, W + up to 7 gaps); how many are no gaps."""
    table = bytes.maketrans(_GAPS, bytes([gap] * len(_GAPS)))
    capitals = b"".join(rows).upper().translate(table)
    letters = np.frombuffer(capitals, dtype=np.uint8).reshape(len(rows), -1)
    width = letters.shape[1]
    padded = np.full((len(rows), -(-width // 8) * 8), gap, dtype=np.uint8)
    padded[:, :width] = letters
    return padded, (padded != gap).sum(axis=1, dtype=np.int64)


def _largest_unaligned(
    comparisons: Iterator[_Comparison], *, threads: int, scratch: Path | None
) -> Iterator[_Result]:
    """Align sequences, those of many families at once."""
    waiting: list[_Comparison] = []
    num_pairs = 0
    with tempfile.TemporaryDirectory(prefix="verify.", dir=scratch) as folder:
        for comparison in comparisons:
            waiting.append(comparison)
            num_pairs += len(comparison.one) * len(comparison.other)
            if num_pairs >= _PAIRS_AT_ONCE:
                yield from _align(waiting, threads=threads, scratch=Path(folder))
                waiting, num_pairs = [], 0
        yield from _align(waiting, threads=threads, scratch=Path(folder))


def _align(comparisons: list[_Comparison], *, threads: int, scratch: Path) -> list[_Result]:
    """Align all pairs of some comparisons in one run."""
    texts: list[bytes] = []
    first: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    second = [np.zeros(0, dtype=np.int64)]
    for comparison in comparisons:
        num_one, num_other = len(comparison.one), len(comparison.other)
        first.append(np.repeat(np.arange(num_one), num_other) + len(texts))
        second.append(np.tile(np.arange(num_other), num_one) + len(texts) + num_one)
        texts += comparison.one + comparison.other
    identities = aligned_identities(
        texts, np.concatenate(first), np.concatenate(second), scratch=scratch, threads=threads
    )
    ends = np.cumsum([len(part) for part in first])
    largest = [float(identities[begin:end].max()) for begin, end in pairwise(ends.tolist())]
    return [
        _Result(comparison.label, comparison.name, identity)
        for comparison, identity in zip(comparisons, largest, strict=True)
    ]
