"""Read sources into columns: clean each block, number its families, count what was unusual.

The texts go to files (`Texts`); what stays in memory is some 100 bytes a row.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.options import SPLITS, IngestOptions, Source, normalize_split
from protein_robust.ingest.records import (
    NO_FACTS,
    UNLABELLED,
    BadRecords,
    Block,
    CleanBlock,
    FamilyFacts,
    clean_block,
)
from protein_robust.ingest.sources import Reading, check_use, read_source
from protein_robust.ingest.texts import Texts

OnProgress = Callable[[int, int, int], None]
"""Called now and then with records read, bytes read, and bytes in all."""

NO_FAMILY = -1
"""Code of the family of an unlabelled row."""

_NUM_SHOWN = 5
_FACTS = ("family_id", "description", "family_type", "clan", "gathering")


@dataclass
class Family:
    """What the sources say of one family.

    Attributes:
        code: its place in the order of appearance.
        facts: its short name, clan and so on, where a source gives them.
    """

    code: int
    facts: FamilyFacts = NO_FACTS


@dataclass
class Columns:
    """What is kept of the rows while they are read; N rows so far.

    Attributes:
        names: name of each sequence, UTF-8.
        accessions: accession of each sequence, empty where there is none.
        sequences: cleaned residues.
        aligned: rows of the families' alignments as they stand in the file, empty where there is
            none.
        codes: ``code`` of each one's family, or `NO_FAMILY`, int32.
        alignments: number of the alignment that ``aligned`` is a row of, from 1; 0 where a table
            gave it, -1 where there is none, int32.
        num_alignments: how many there were.
        splits: place of each one's split in `SPLITS`, int8; empty if the rows have none.
        hashes: 16 bytes for each, BLAKE2b of the residues keyed by the seed.
        families: the families by accession.
        letters: how many lower-case letters, gaps, stops and rare letters there were.
        bad: what was passed over.
    """

    names: Texts
    accessions: Texts
    sequences: Texts
    aligned: Texts
    codes: array[int] = field(default_factory=lambda: array("i"))
    alignments: array[int] = field(default_factory=lambda: array("i"))
    num_alignments: int = 0
    splits: array[int] = field(default_factory=lambda: array("b"))
    hashes: bytearray = field(default_factory=bytearray)
    families: dict[str, Family] = field(default_factory=dict)
    letters: Counter[str] = field(default_factory=Counter)
    bad: BadRecords = field(default_factory=BadRecords)

    def __len__(self) -> int:
        """N."""
        return len(self.codes)

    def halves(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Both halves of each hash, shape (N,), uint64."""
        halves = np.frombuffer(self.hashes, dtype=">u8").astype(np.uint64).reshape(-1, 2)
        return halves[:, 0].copy(), halves[:, 1].copy()


def open_columns(folder: Path, files: ExitStack, *, bad: BadRecords) -> Columns:
    """Columns without any row.

    Args:
        folder: where the texts go.
        files: closes them.
        bad: what becomes of broken records.

    Returns:
        The columns.
    """

    def texts(name: str) -> Texts:
        return files.enter_context(Texts(folder / name))

    return Columns(
        names=texts("names"),
        accessions=texts("accessions"),
        sequences=texts("sequences"),
        aligned=texts("aligned"),
        bad=bad,
    )


def collect(
    columns: Columns,
    sources: Sequence[Source],
    reading: Reading,
    *,
    identities: Sequence[dict[str, Any]],
    on_progress: OnProgress | None,
) -> None:
    """Read and clean all records.

    Args:
        columns: gets the rows.
        sources: the sources.
        reading: how.
        identities: what `identify_source` says of each; that of standard input is completed.
        on_progress: told how far reading is, after some thousand records and at the end.

    Raises:
        InputError: if a source is broken or has no record; only some records have a split, or
            records differ on what they say of a family.
    """
    total = sum(identity["num_bytes"] for identity in identities)
    before = 0
    for source, identity in zip(sources, identities, strict=True):
        already = len(columns), len(columns.bad.skipped)
        for num_bytes in _read(columns, source, reading, identity=identity):
            if on_progress is not None:
                on_progress(len(columns), min(before + num_bytes, total), total)
        if (len(columns), len(columns.bad.skipped)) == already:
            raise InputError("at least one record", "none", path=source.path)
        before += identity["num_bytes"]
    _finish(columns, reading)
    if on_progress is not None:
        on_progress(len(columns), total, total)


def _finish(columns: Columns, reading: Reading) -> None:
    """Refuse what can be seen only at the end; settle the splits of a preset."""
    if not len(columns):
        skipped = columns.bad.skipped
        shown = [
            f"{record.path}:{record.line}: {record.record or ''} {record.reason.removesuffix('.')}"
            for record in skipped[:_NUM_SHOWN]
        ]
        more = ["..."] if len(skipped) > _NUM_SHOWN else []
        actual = f"{len(skipped)} broken ones only: {'; '.join([*shown, *more])}"
        raise InputError("at least one good record", actual)
    check_use(reading)
    unknown = reading.options.unknown
    if unknown is not None and NO_FAMILY not in columns.codes:
        raise InputError(f"rows of family {unknown!r}, for `unknown`", "none")
    if reading.options.preset is not None:
        _settle_splits(columns)


def _read(
    columns: Columns, source: Source, reading: Reading, *, identity: dict[str, Any]
) -> Iterator[int]:
    """Append the rows of a source, and tell after each block how many bytes have been read."""
    split = identity["split"]
    if split is not None and reading.options.split_column is not None:
        expected = "the split of a file or `split_column`, not both"
        raise InputError(expected, f"split {split!r} too", path=source.path)
    for block, num_bytes in read_source(source, reading, identity=identity):
        clean = clean_block(block, columns.bad)
        if clean is not None:
            _add(columns, clean, reading.options, source_split=split)
        yield num_bytes


def _settle_splits(columns: Columns) -> None:
    """Under a preset, headers without a split mean train where any header has one."""
    splits = np.frombuffer(columns.splits, dtype=np.int8)
    has_splits = bool((splits >= 0).any())
    columns.splits = array("b", splits.clip(0).tobytes() if has_splits else b"")


def _add(
    columns: Columns, clean: CleanBlock, options: IngestOptions, *, source_split: str | None
) -> None:
    """Append the rows of a block."""
    block = clean.block
    codes = _codes(columns, block)
    splits = _splits(columns, block, source_split, may_lack=options.preset is not None)
    num_rows = len(block.names)
    columns.names.extend([name.encode() for name in block.names])
    columns.sequences.extend(clean.sequences)
    columns.aligned.extend(block.letters if block.is_aligned else [b""] * num_rows)
    columns.alignments.extend([_alignment(columns, block)] * num_rows)
    given = block.sequence_accessions or [None] * num_rows
    columns.accessions.extend([b"" if text is None else text.encode() for text in given])
    columns.codes.extend(codes)
    columns.splits.extend(splits)
    key = str(options.seed).encode()[:64]
    blake2b = hashlib.blake2b
    columns.hashes += b"".join(
        [blake2b(sequence, digest_size=16, key=key).digest() for sequence in clean.sequences]
    )
    columns.letters.update(clean.letters)


def _alignment(columns: Columns, block: Block) -> int:
    """Number of the alignment that the rows of a block are of."""
    if not block.is_aligned:
        return -1
    if not block.is_whole:
        return 0  # the shards of a table may hold parts of one alignment
    columns.num_alignments += 1
    return columns.num_alignments


def _codes(columns: Columns, block: Block) -> list[int]:
    """The code of each row's family; what the block says of the families is kept."""
    families = columns.families
    for accession in dict.fromkeys(block.families):
        if accession == UNLABELLED:
            continue
        family = families.setdefault(accession, Family(len(families)))
        facts = block.facts.get(accession)
        if facts is not None and facts != family.facts:
            line = block.lines[list(block.families).index(accession)]
            family.facts = _merge(family.facts, facts, accession, path=block.path, line=line)
    return [NO_FAMILY if name == UNLABELLED else families[name].code for name in block.families]


def _merge(
    known: FamilyFacts, new: FamilyFacts, accession: str, *, path: str, line: int
) -> FamilyFacts:
    """All that is said of a family; two sources may not contradict each other."""
    for name in _FACTS:
        value, before = getattr(new, name), getattr(known, name)
        if value is not None and before is not None and value != before:
            expected = f"one {name} for family {accession} ({before!r} before)"
            raise InputError(expected, repr(value), path=path, line=line)
    said = {name: value for name in _FACTS if (value := getattr(new, name)) is not None}
    return replace(known, **said)


def _splits(
    columns: Columns, block: Block, source_split: str | None, *, may_lack: bool
) -> list[int]:
    """The code of each row's split, none if there are no splits; -1 where one may be lacking."""
    if source_split is not None:
        _require_same(block, source_split)
        words: Sequence[str] = [source_split] * len(block.names)
    else:
        words = block.splits or [""] * len(block.names)
    code_of = {"": -1} if may_lack else {}
    has_splits = may_lack or (bool(columns.splits) if len(columns) else bool(words[0]))
    for word, line in zip(words, block.lines, strict=True):
        if word in code_of:
            continue
        if bool(word) != has_splits:
            expected = "a split for all records or for none"
            actual = repr(word) if word else "none, though records before have one"
            raise InputError(expected, actual, path=block.path, line=line)
        if word:
            split = normalize_split(word, path=block.path, line=line)
            code_of[word] = SPLITS.index(split)
    return [code_of[word] for word in words] if has_splits else []


def _require_same(block: Block, source_split: str) -> None:
    """Refuse rows that say another split than was said of their file."""
    for word, line in zip(block.splits or (), block.lines, strict=False):
        if word and normalize_split(word, path=block.path, line=line) != source_split:
            expected = f"split {source_split!r}, as was said of the file"
            raise InputError(expected, repr(word), path=block.path, line=line)
