"""Any number of sequences in bounded memory: classified once, kept on disk, completed at the end.

A q value depends on the p values of all sequences, so no row is whole before the last sequence has
been read. The first pass keeps rows in a temporary file and counts the p values, which are few
different ones; the second reads the file and fills in the q values.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from protein_robust.classifier.classify import answer_table
from protein_robust.classifier.judging import Criteria
from protein_robust.classifier.package import Classifier
from protein_robust.classifier.rows import ROW_SCHEMA, output_rows
from protein_robust.evaluation.p_values import q_of_distinct
from protein_robust.ingest.records import CleanBlock


@dataclass
class Tally:
    """What has been classified so far.

    Attributes:
        num_sequences: how many.
        verdicts: how often each was given.
        p_values: how often each was seen.
        letters: of the sequences: ``lower_case``, ``gaps``, ``stops``, and each rare letter.
    """

    num_sequences: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    p_values: Counter[float] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)


def classify_blocks(
    classifier: Classifier,
    blocks: Iterable[CleanBlock],
    criteria: Criteria,
    *,
    file: IO[bytes],
    tally: Tally,
) -> Iterator[int]:
    """Classify blocks of sequences and keep their rows.

    Args:
        classifier: what is asked.
        blocks: the sequences.
        criteria: what the verdicts depend on.
        file: gets the rows, in Arrow's format of streams.
        tally: counts.

    Yields:
        How many sequences are done, after each block.
    """
    with pa.ipc.new_stream(file, ROW_SCHEMA) as writer:
        for block in blocks:
            rows = _rows(classifier, block, criteria)
            writer.write_table(rows)
            _count(rows, block, tally)
            yield tally.num_sequences


def completed_rows(file: IO[bytes], tally: Tally, *, model: str, day: date) -> Iterator[pa.Table]:
    """Read the rows again, and fill in what was not known before the end.

    Args:
        file: what `classify_blocks` wrote.
        tally: of it, complete.
        model: the classifier's name.
        day: of the run.

    Yields:
        Tables of `protein_robust.classifier.rows.OUTPUT_SCHEMA`, in order.
    """
    p_value = np.array(sorted(tally.p_values))
    counts = np.array([tally.p_values[value] for value in p_value.tolist()], dtype=np.int64)
    q_value = q_of_distinct(p_value, counts)
    file.seek(0)
    with pa.ipc.open_stream(file) as reader:
        for batch in reader:
            rows = pa.Table.from_batches([batch])
            place = np.searchsorted(p_value, rows["p_value"].to_numpy())
            yield output_rows(rows, q_value[place], model=model, day=day)


def _rows(classifier: Classifier, block: CleanBlock, criteria: Criteria) -> pa.Table:
    answers = answer_table(classifier, block.sequences, criteria)
    names = pa.array(block.block.names, pa.string())
    arrays = [names, pa.array(_md5(block.sequences)), *answers.columns]
    return pa.table(arrays, schema=ROW_SCHEMA)


def _md5(sequences: Iterable[bytes]) -> list[str]:
    md5 = hashlib.md5
    return [md5(sequence, usedforsecurity=False).hexdigest() for sequence in sequences]


def _count(rows: pa.Table, block: CleanBlock, tally: Tally) -> None:
    tally.num_sequences += len(rows)
    tally.letters.update(block.letters)
    for entry in rows["verdict"].value_counts().to_pylist():
        tally.verdicts[entry["values"]] += entry["counts"]
    found: tuple[NDArray[np.float64], NDArray[np.int64]]
    found = np.unique(rows["p_value"].to_numpy(), return_counts=True)
    for value, count in zip(*(part.tolist() for part in found), strict=True):
        tally.p_values[value] += count
