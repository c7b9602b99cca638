"""Sequences to a table, as someone calls it from Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protein_robust.classifier import VERDICTS, Classifier
from protein_robust.classifier.classify import ANSWER_SCHEMA
from protein_robust.errors import InputError
from protein_robust.evaluation.p_values import empirical_p_values

NUMBERS = ["confidence", "second_confidence", "clan_confidence", "ood_score"]


def test_rows_stand_in_the_order_of_the_sequences(
    classifier: Classifier, sequences: list[str]
) -> None:
    table = classifier.classify(sequences)
    assert table["sequence_length"].tolist() == [len(sequence) for sequence in sequences]
    turned = classifier.classify(sequences[::-1])[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, turned, rtol=1e-5)


def test_the_columns_are_those_that_are_promised(
    classifier: Classifier, sequences: list[str]
) -> None:
    table = classifier.classify(sequences)
    *first, verdict = ANSWER_SCHEMA.names
    assert list(table.columns) == [*first, "q_value", verdict, "model"]
    assert set(table["verdict"]) <= set(VERDICTS)
    assert set(table["model"]) == {"study/run-1"}
    assert list(classifier.classify([]).columns) == list(table.columns)


@pytest.mark.parametrize(
    ("place", "accession", "text"),
    [(0, "PF1.1", "First family"), (1, "PF2.3", None), (2, "PF3.2", "fam_3")],
)
def test_a_family_is_named_and_described_where_that_is_known(
    classifier: Classifier, place: int, accession: str, text: str | None
) -> None:
    with torch.no_grad():
        classifier.network.head.bias[place] += 1000
    row = classifier.classify(["MKVL"]).iloc[0]
    assert row["family"] == accession
    assert row["family_description"] == text or (text is None and pd.isna(row.iloc[2]))


def test_p_values_compare_with_decoys_of_the_model(
    classifier: Classifier, sequences: list[str]
) -> None:
    table = classifier.classify(sequences)
    # 60 decoys are one bin, so each p is (1 + decoys at least as near) / 61.
    nearer = [(-classifier.decoy_score <= score + 1e-9).sum() for score in table["ood_score"]]
    np.testing.assert_allclose(table["p_value"], (1 + np.array(nearer)) / 61)
    lengths = table["sequence_length"].to_numpy().astype(np.int64)
    again = empirical_p_values(
        -table["ood_score"].to_numpy().astype(float), lengths, classifier.decoys
    )
    np.testing.assert_allclose(table["p_value"], again)


@pytest.mark.slow
def test_q_values_are_over_the_sequences_of_the_call(
    classifier: Classifier, sequences: list[str]
) -> None:
    from scipy.stats import false_discovery_control

    table = classifier.classify(sequences)
    np.testing.assert_allclose(table["q_value"], false_discovery_control(table["p_value"]))


def test_sequences_are_cleaned_as_ingestion_does_it(classifier: Classifier) -> None:
    raw, clean = classifier.classify(["mk-V.l*"]), classifier.classify(["MKVL"])
    pd.testing.assert_frame_equal(raw, clean)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (["MKV", "MK1"], r"sequence:2: Expected residue letters .* got '1' at position 3"),
        (["MKV", "*"], r"sequence:2: Expected a sequence of at least one residue"),
        ([""], r"sequence:1: Expected a sequence of at least one residue, got no letter"),
        (["MÄV"], r"sequence:1: Expected residue letters .* got 'Ä' at position 2"),
    ],
    ids=["digit", "stop only", "empty", "umlaut"],
)
def test_what_is_no_sequence_is_refused_with_its_place(
    classifier: Classifier, sequences: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        classifier.classify(sequences)


@pytest.mark.slow
def test_a_very_long_sequence_is_classified_beside_short_ones(classifier: Classifier) -> None:
    rng = np.random.default_rng(0)
    long = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 40_000))
    together = classifier.classify(["MKVL", long, "ACDEF"])
    assert together["sequence_length"].tolist() == [4, 40_000, 5]
    alone = classifier.classify([long])
    np.testing.assert_allclose(together.loc[1, NUMBERS], alone.loc[0, NUMBERS], rtol=1e-4)


@pytest.mark.slow
# The fixture is not changed by what is drawn.
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=st.lists(st.text("ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=70), max_size=8))
def test_an_answer_does_not_depend_on_the_other_sequences(
    drawn: list[str], classifier: Classifier
) -> None:
    together = classifier.classify(drawn)[NUMBERS].astype(float)
    for place, sequence in enumerate(drawn):
        alone = classifier.classify([sequence])[NUMBERS].astype(float)
        np.testing.assert_allclose(together.loc[place], alone.loc[0], rtol=1e-4, atol=1e-6)


def test_the_device_may_be_named(classifier: Classifier, sequences: list[str]) -> None:
    before = classifier.classify(sequences)
    pd.testing.assert_frame_equal(classifier.on("cpu").classify(sequences), before)
