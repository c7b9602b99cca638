"""Sequences in, a table of families, confidence and verdicts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from protein_robust.classifier.answers import Answers, answer
from protein_robust.classifier.families import Families
from protein_robust.classifier.judging import VERDICTS, Criteria, judge, make_criteria
from protein_robust.classifier.thresholds import Threshold
from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.evaluation.centroids import Centroids
from protein_robust.evaluation.p_values import Decoys, benjamini_hochberg, empirical_p_values
from protein_robust.ingest.records import BadRecords, Block, clean_block
from protein_robust.models import ProtCNN
from protein_robust.noise import CropRule, draw_crops

BATCH_SIZE = 256
MAX_RESIDUES = 65536
"""Positions that the network works on at a time; a sequence that has more stands alone."""

ANSWER_SCHEMA = pa.schema(
    [
        ("sequence_length", pa.int32()),
        ("family", pa.string()),
        ("family_description", pa.string()),
        # The network computes in float32: further digits would mean nothing.
        ("confidence", pa.float32()),
        ("second_family", pa.string()),
        ("second_confidence", pa.float32()),
        ("clan", pa.string()),
        ("clan_confidence", pa.float32()),
        ("ood_score", pa.float32()),
        ("p_value", pa.float64()),
        ("verdict", pa.string()),
    ]
)
"""What is said of each sequence by itself; null: a family that is in no clan, or not described."""


class _Asked(Protocol):
    """What is asked: a `protein_robust.classifier.Classifier`, which knows this module."""

    @property
    def name(self) -> str: ...
    @property
    def network(self) -> ProtCNN: ...
    @property
    def families(self) -> Families: ...
    @property
    def temperature(self) -> float: ...
    @property
    def thresholds(self) -> tuple[Threshold, ...]: ...
    @property
    def least_length(self) -> int: ...
    @property
    def centroids(self) -> Centroids: ...
    @property
    def decoys(self) -> Decoys: ...


def classify(
    classifier: _Asked,
    sequences: Sequence[str],
    tolerated_error: float | None,
    unknown_level: float,
) -> pd.DataFrame:
    """See `Classifier.classify`."""
    criteria = make_criteria(classifier.thresholds, tolerated_error, unknown_level)
    table = answer_table(classifier, _cleaned(sequences), criteria)
    q_value = benjamini_hochberg(table["p_value"].to_numpy())
    place = table.column_names.index("p_value") + 1
    frame: pd.DataFrame = table.add_column(place, "q_value", pa.array(q_value)).to_pandas()
    return frame.assign(model=classifier.name)


def answer_table(classifier: _Asked, sequences: Sequence[bytes], criteria: Criteria) -> pa.Table:
    """Classify some sequences.

    Args:
        classifier: what is asked.
        sequences: capital residue letters of each, at least one, N.
        criteria: what the verdicts depend on.

    Returns:
        A table of `ANSWER_SCHEMA`, in the order of the sequences.
    """
    network = classifier.network
    dataset = SequenceDataset.from_arrow(
        pa.array(sequences, pa.large_binary()),
        np.zeros(len(sequences), np.int64),
        device=network.head.weight.device,
    )
    answers = answer(
        network,
        whole_batches(dataset),
        classifier.families,
        centroids=classifier.centroids,
        temperature=classifier.temperature,
    )
    return _table(classifier, answers, dataset.lengths, criteria)


def whole_batches(dataset: SequenceDataset) -> SequenceBatches:
    """Batches of similar length of sequences that are not cropped."""
    whole = draw_crops(dataset.lengths, rule=CropRule(), rng=np.random.default_rng(0))
    return SequenceBatches(dataset, whole, batch_size=BATCH_SIZE, max_residues=MAX_RESIDUES)


def _table(
    classifier: _Asked, answers: Answers, length: NDArray[np.int64], criteria: Criteria
) -> pa.Table:
    families = classifier.families
    p_value = empirical_p_values(-answers.distance, length, classifier.decoys)
    verdict = judge(
        answers,
        p_value=p_value,
        length=length,
        families=families,
        least_length=classifier.least_length,
        criteria=criteria,
    )
    descriptions = [families.text(place) for place in range(len(families))]
    accession = _column(families.accession)
    columns = {
        "sequence_length": length,
        "family": accession.take(pa.array(answers.family)),
        "family_description": _column(descriptions).take(pa.array(answers.family)),
        "confidence": answers.confidence,
        "second_family": accession.take(pa.array(answers.second_family)),
        "second_confidence": answers.second_confidence,
        "clan": _column(families.group_clan).take(pa.array(answers.group)),
        "clan_confidence": answers.clan_confidence,
        "ood_score": answers.distance,
        "p_value": p_value,
        "verdict": pa.array(VERDICTS).take(pa.array(verdict)),
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, kind.type, safe=False)
        for column, kind in zip(columns.values(), ANSWER_SCHEMA, strict=True)
    ]
    return pa.table(arrays, schema=ANSWER_SCHEMA)


def _column(texts: Sequence[str | None]) -> pa.Array:
    """Texts of one line without tabs, so that every kind of output can hold them."""
    plain = [None if text is None else " ".join(text.split()) for text in texts]
    return pa.array(plain, pa.string())


def _cleaned(sequences: Sequence[str]) -> list[bytes]:
    """Residues in capitals; what is wrong is said with the place of the sequence, from 1."""
    numbers = range(1, len(sequences) + 1)
    block = Block(
        path="sequence",
        lines=numbers,
        names=[str(number) for number in numbers],
        letters=[sequence.encode() for sequence in sequences],
        families=[""] * len(sequences),
    )
    if not sequences:
        return []
    clean = clean_block(block, BadRecords())
    assert clean is not None  # the policy is to raise
    return clean.sequences
