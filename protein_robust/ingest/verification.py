"""Read a written dataset folder again and check what it promises.

Nothing here comes from the code that divided the rows: residues are hashed anew, rows are counted
anew, and identities are computed by another formula. The files are read piece by piece; of each row
some 30 bytes stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from protein_robust.alphabet import GAPS, STOP
from protein_robust.errors import InputError
from protein_robust.ingest.bounds import Families, byte_strings, compare_splits
from protein_robust.ingest.options import OTHER_SPLITS, SPLITS
from protein_robust.ingest.store import ALIGNMENTS, FAMILIES, SEQUENCES

_CODES: Mapping[str | None, int] = {
    name: code for code, name in enumerate((*SPLITS, *OTHER_SPLITS))
}
_INSIDE = 2 ** len(SPLITS) - 1  # one bit for each split of the classes
_BATCH = 16_384
_BUFFER = 2**20  # bytes of a file read at a time; without it, whole row groups
_UPPER = bytes(range(256)).upper()
_NO_RESIDUE = (GAPS + STOP).encode()


@dataclass(frozen=True)
class _Rows:
    """What is kept of ``sequences.parquet``, N rows.

    Attributes:
        digests: a 128-bit hash of the residues, shape (N, 2), uint64.
        lengths: number of residues, shape (N,), int32.
        families: place of each one's accession in ``accessions``, -1 for none, shape (N,), int32.
        labels: shape (N,), int32; -1 for none.
        splits: code of the split, -1 for a word that is none, shape (N,), int8.
        accessions: all accessions.
    """

    digests: NDArray[np.uint64]
    lengths: NDArray[np.int32]
    families: NDArray[np.int32]
    labels: NDArray[np.int32]
    splits: NDArray[np.int8]
    accessions: list[str]


def verify_dataset(
    folder: Path,
    *,
    max_identity: float | None = None,
    threads: int = 1,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Check a dataset folder; a manifest is not needed.

    ``checks`` counts violations, 0 is right: sequences (by their residues) in two of the splits
    train, valid and test; sequences of these that are unlabelled or held out too; rows whose family
    has the residues already; rows without residues, of an unknown split, or whose label is not that
    of their family (unlabelled and held-out rows have -1, and held-out ones no class); families
    named twice, whose numbers in ``families.parquet`` are wrong, or without training rows; rows
    before their place in the order of split and label; aligned rows that do not match their
    sequence. With a bound on identity also families in which two sequences of different splits are
    more alike than that, and families whose aligned rows differ in width.

    Args:
        folder: the folder, with ``sequences.parquet`` and ``families.parquet``.
        max_identity: the bound that a clustered split must keep within each family, in [0, 1];
            None where there is none. Rows of the alignments are compared where all rows of the
            classes have one, else sequences by MMseqs2 (see `mmseqs`), test and valid with train
            and with each other.
        threads: number of threads for MMseqs2.
        scratch: a folder for MMseqs2; None for the system's.

    Returns:
        For JSON: ``passed``, ``checks`` (number by name), ``num_rows``, and ``identity``: None
        without a bound, else ``bound``, ``method``, ``num_families`` (those with rows in two
        splits) and ``largest`` (identity by pair of splits, None where there is no pair). If rows
        are out of order, empty or wrongly aligned nothing is compared; ``identity`` is None then.

    Raises:
        InputError: if a file cannot be read, or MMseqs2 is needed and absent.
    """
    rows = _read_rows(folder / SEQUENCES)
    families = _read_families(folder / FAMILIES)
    checks = {
        **_check_residues(rows),
        **_check_labels(rows, families["family_accession"].to_pylist()),
        **_check_counts(rows, families),
    }
    is_inside = (rows.splits >= 0) & (rows.splits < len(SPLITS))
    keys = rows.splits.astype(np.int64) * (families.num_rows + 1) + rows.labels
    checks["rows_out_of_order"] = int((np.diff(keys) < 0).sum())
    is_aligned = np.zeros(len(keys), dtype=np.bool_)
    if (folder / ALIGNMENTS).is_file():
        is_aligned, checks["wrong_aligned_rows"] = _check_alignments(folder / ALIGNMENTS, rows)
    identity = None
    needed = ("rows_out_of_order", "empty_sequences", "wrong_aligned_rows")
    if max_identity is not None and not any(checks.get(name) for name in needed):
        in_order = Families(keys, families.num_rows)
        path = folder / (ALIGNMENTS if is_aligned[is_inside].all() else SEQUENCES)
        found = compare_splits(path, in_order, max_identity, threads=threads, scratch=scratch)
        checks["families_above_max_identity"] = found.num_above
        checks["families_of_uneven_rows"] = found.num_uneven
        identity = {
            "bound": max_identity,
            "method": found.method,
            "num_families": found.num_families,
            "largest": found.largest,
        }
    passed = not any(checks.values())
    return {"passed": passed, "num_rows": len(keys), "checks": checks, "identity": identity}


def _read_rows(path: Path) -> _Rows:
    """All of ``sequences.parquet`` but the letters."""
    columns = ["sequence", "family_accession", "label", "split"]
    num_rows = _open(path, columns).metadata.num_rows
    digests = np.empty((num_rows, 2), dtype=np.uint64)
    lengths = np.empty(num_rows, dtype=np.int32)
    families = np.empty(num_rows, dtype=np.int32)
    labels = np.empty(num_rows, dtype=np.int32)
    splits = np.empty(num_rows, dtype=np.int8)
    place_of: dict[str | None, int] = {}
    begin = 0
    for batch in _batches(path, columns):
        texts = byte_strings(batch["sequence"])
        place = slice(begin, begin + len(texts))
        begin += len(texts)
        digests[place] = _digests(texts)
        lengths[place] = np.fromiter(map(len, texts), np.int32, len(texts))
        for accession in batch["family_accession"].dictionary.to_pylist():
            place_of.setdefault(accession, len(place_of))
        families[place] = _translate(batch["family_accession"], place_of)
        labels[place] = batch["label"].fill_null(-1).to_numpy()
        splits[place] = _translate(batch["split"], _CODES)
    accessions = [str(accession) for accession in place_of]
    return _Rows(digests, lengths, families, labels, splits, accessions)


def _read_families(path: Path) -> pa.Table:
    """What is needed of ``families.parquet``."""
    columns = ["family_accession", *(f"num_{split}" for split in SPLITS)]
    batches = list(_batches(path, columns))
    schema = _open(path, columns).schema_arrow
    wanted = pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(batches, wanted)


def _translate(column: pa.DictionaryArray, code_of: Mapping[str | None, int]) -> NDArray[np.int32]:
    """The code of each value; -1 for those without one."""
    codes = [code_of.get(value, -1) for value in column.dictionary.to_pylist()]
    places = column.indices.fill_null(len(codes)).to_numpy()
    translated: NDArray[np.int32] = np.array([*codes, -1], dtype=np.int32)[places]
    return translated


def _digests(texts: list[bytes]) -> NDArray[np.uint64]:
    """A hash of each text, shape (texts, 2)."""
    whole = b"".join([blake2b(text, digest_size=16).digest() for text in texts])
    return np.frombuffer(whole, dtype=np.uint64).reshape(-1, 2)


def _check_residues(rows: _Rows) -> dict[str, int]:
    """Which residues are where."""
    order = np.lexsort((rows.families, *rows.digests.T))
    digests, families = rows.digests[order], rows.families[order]
    is_same = (digests[1:] == digests[:-1]).all(axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~is_same])) if len(order) else order
    bits = np.array([*(1 << code for code in _CODES.values()), 0], dtype=np.uint8)[rows.splits]
    found = np.bitwise_or.reduceat(bits[order], starts) if len(order) else bits
    inside, outside = found & _INSIDE, found >> len(SPLITS)
    return {
        "sequences_in_two_splits": int((np.bitwise_count(inside) > 1).sum()),
        "sequences_also_outside_splits": int(((inside > 0) & (outside > 0)).sum()),
        "repeated_rows": int((is_same & (families[1:] == families[:-1])).sum()),
        "empty_sequences": int((rows.lengths == 0).sum()),
    }


def _check_labels(rows: _Rows, accessions: list[str]) -> dict[str, int]:
    """Whether label and split of each row fit its family."""
    label_of = {accession: label for label, accession in enumerate(accessions)}
    known = [label_of.get(accession, -1) for accession in rows.accessions]
    expected = np.array([*known, -1], dtype=np.int32)[rows.families]
    is_inside = (rows.splits >= 0) & (rows.splits < len(SPLITS))
    is_wrong = np.where(is_inside, (rows.labels < 0) | (rows.labels != expected), rows.labels != -1)
    is_held_out = rows.splits == _CODES["heldout"]
    return {
        "unknown_splits": int((rows.splits < 0).sum()),
        "wrong_labels": int(is_wrong.sum()),
        "held_out_rows_of_classes": int((is_held_out & (expected >= 0)).sum()),
        "repeated_families": len(accessions) - len(label_of),
    }


def _check_counts(rows: _Rows, families: pa.Table) -> dict[str, int]:
    """Whether the numbers of ``families.parquet`` are right."""
    is_right = np.ones(families.num_rows, dtype=np.bool_)
    in_range = (rows.labels >= 0) & (rows.labels < families.num_rows)
    counts = {}
    for code, split in enumerate(SPLITS):
        labels = rows.labels[in_range & (rows.splits == code)]
        counts[split] = np.bincount(labels, minlength=families.num_rows)
        is_right &= families[f"num_{split}"].fill_null(-1).to_numpy() == counts[split]
    return {
        "families_with_wrong_counts": int((~is_right).sum()),
        "families_without_train": int((counts["train"] == 0).sum()),
    }


def _check_alignments(path: Path, rows: _Rows) -> tuple[NDArray[np.bool_], int]:
    """Which rows have an aligned row, and how many do not match their sequence."""
    is_aligned = np.zeros(len(rows.lengths), dtype=np.bool_)
    begin = num_wrong = 0
    for batch in _batches(path, ["aligned_row"]):
        texts = byte_strings(batch["aligned_row"])
        place = slice(begin, begin + len(texts))
        begin += len(texts)
        texts = texts[: len(is_aligned[place])]
        digests = _digests([text.translate(_UPPER, _NO_RESIDUE) for text in texts])
        is_same = (digests == rows.digests[place]).all(axis=1)
        is_aligned[place] = np.fromiter(map(len, texts), np.int64, len(texts)) > 0
        num_wrong += int((is_aligned[place] & ~is_same).sum())
    return is_aligned, num_wrong + abs(begin - len(is_aligned))


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some rows of a file at a time; repeated words come as dictionaries."""
    file = _open(path, columns)
    try:
        yield from file.iter_batches(_BATCH, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _open(path: Path, columns: list[str]) -> pq.ParquetFile:
    """A Parquet file that has the columns."""
    try:
        names = pq.read_schema(path).names
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(f"a column {missing[0]!r}", f"only {', '.join(names)}", path=path)
        repeated = [name for name in columns if name in ("family_accession", "split")]
        return pq.ParquetFile(path, read_dictionary=repeated, buffer_size=_BUFFER, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    """The error for a file that is none of a dataset."""
    return InputError("a Parquet file", str(error).splitlines()[0], path=path)
