"""Blocks of sequences in, complete rows out, however the sequences are cut into blocks."""

from __future__ import annotations

import hashlib
import io
from datetime import date

import pandas as pd
import pytest

from protein_robust.classifier import Classifier
from protein_robust.classifier.judging import make_criteria
from protein_robust.classifier.stream import Tally, classify_blocks, completed_rows
from protein_robust.ingest.records import BadRecords, Block, CleanBlock, clean_block


def blocks(sequences: list[str], size: int) -> list[CleanBlock]:
    made = []
    for begin in range(0, len(sequences), size):
        part = sequences[begin : begin + size]
        block = Block(
            path="x",
            lines=range(len(part)),
            names=[f"s{begin + place}" for place in range(len(part))],
            letters=[sequence.encode() for sequence in part],
            families=[""] * len(part),
        )
        clean = clean_block(block, BadRecords())
        assert clean is not None
        made.append(clean)
    return made


def run(classifier: Classifier, sequences: list[str], size: int) -> tuple[pd.DataFrame, Tally]:
    file, tally = io.BytesIO(), Tally()
    criteria = make_criteria(classifier.thresholds, 0.05, 0.05)
    for _ in classify_blocks(classifier, blocks(sequences, size), criteria, file=file, tally=tally):
        pass
    tables = list(completed_rows(file, tally, model=classifier.name, day=date(2026, 1, 2)))
    return pd.concat([table.to_pandas() for table in tables], ignore_index=True), tally


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_stream_says_what_one_call_says(
    classifier: Classifier, sequences: list[str], size: int
) -> None:
    found, _ = run(classifier, sequences, size)
    expected = classifier.classify(sequences)
    common = [name for name in expected.columns if name in found.columns]
    assert common == list(expected.columns)
    # Sums are rounded otherwise in batches of other sizes.
    pd.testing.assert_frame_equal(found[common], expected, rtol=1e-5)
    assert found["sequence_name"].tolist() == [f"s{i}" for i in range(len(sequences))]


def test_each_row_has_the_md5_of_its_cleaned_sequence(classifier: Classifier) -> None:
    found, tally = run(classifier, ["mk-v*", "MKV", "ACDEFX"], 2)
    expected = [hashlib.md5(text).hexdigest() for text in (b"MKV", b"MKV", b"ACDEFX")]
    assert found["sequence_md5"].tolist() == expected
    assert tally.letters == {"lower_case": 3, "gaps": 1, "stops": 1, "X": 1}


def test_the_tally_counts_every_sequence_once(classifier: Classifier, sequences: list[str]) -> None:
    found, tally = run(classifier, sequences, 3)
    assert tally.num_sequences == len(sequences)
    assert tally.verdicts == found["verdict"].value_counts().to_dict()
    assert tally.p_values == found["p_value"].value_counts().to_dict()


def test_progress_is_told_after_each_block(classifier: Classifier, sequences: list[str]) -> None:
    criteria = make_criteria(classifier.thresholds, 0.05, 0.05)
    told = list(
        classify_blocks(
            classifier, blocks(sequences, 4), criteria, file=io.BytesIO(), tally=Tally()
        )
    )
    assert told == [4, 8, 11]
