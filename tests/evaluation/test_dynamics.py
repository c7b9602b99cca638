"""The metrics of a data set, on an example small enough to count."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from protein_robust.evaluation import Predictions, label_probability_histograms, summarise

# In turn: right, wrong, corrected, fitted, right, corrected, right.
PREDICTION = np.array([0, 2, 0, 0, 1, 2, 0])
LABEL = np.array([0, 1, 2, 0, 1, 1, 0])
CLEAN = np.array([0, 1, 0, 2, 1, 2, 0])
SURE = np.array([0.9, 0.1, 0.2, 0.3, 0.8, 0.4, 0.7])
LARGEST = np.array([0.95, 0.55, 0.55, 0.65, 0.95, 0.65, 0.95])


def predictions(chosen: slice | NDArray[np.bool_] = slice(None)) -> Predictions:
    zeros = np.zeros(7)[chosen]
    return Predictions(
        index=np.arange(7)[chosen],
        prediction=PREDICTION[chosen],
        max_probability=LARGEST[chosen],
        second_prediction=PREDICTION[chosen],
        second_probability=zeros,
        entropy_confidence=SURE[chosen],
        label_probability=SURE[chosen],
        log_label_probability=zeros,
        label_rank=PREDICTION[chosen],
        brier_error=zeros,
        energy=zeros,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 4 / 7),
        ("entropy_confidence", 3.4 / 7),
        ("max_probability", 5.25 / 7),
        # Of fifteen bins 0.55 is in one with two wrong, 0.65 in one with one right of two, 0.95 in
        # one with three right: (1.1 + |1 - 1.3| + |3 - 2.85|) / 7.
        ("expected_calibration_error", 1.55 / 7),
        # Four labels are clean, three of them said; three are noisy, one said, two corrected.
        ("correct_fitting", 3 / 4),
        ("wrong_fitting", 1 / 3),
        ("correction", 2 / 3),
        ("clean_accuracy", 5 / 7),
        ("clean_entropy", 1 - 2.5 / 4),
        ("noisy_entropy", 1 - 0.9 / 3),
    ],
)
def test_each_metric_is_the_one_by_hand(name: str, expected: float) -> None:
    assert summarise(predictions(), LABEL, CLEAN)[name] == pytest.approx(expected)


GENERAL = {"accuracy", "entropy_confidence", "max_probability", "expected_calibration_error"}


def test_there_are_ten_metrics_where_labels_were_corrupted() -> None:
    assert len(summarise(predictions(), LABEL, CLEAN)) == 10


def test_without_corrupted_labels_there_are_only_the_general_ones() -> None:
    assert summarise(predictions(), CLEAN, CLEAN).keys() == GENERAL


def test_where_every_label_is_wrong_the_clean_subset_has_no_numbers() -> None:
    noisy = LABEL != CLEAN
    metrics = summarise(predictions(noisy), LABEL[noisy], CLEAN[noisy])
    undefined = {name for name, value in metrics.items() if math.isnan(value)}
    assert undefined == {"correct_fitting", "clean_entropy"}


def test_an_empty_split_has_no_numbers() -> None:
    none = np.zeros(7, dtype=bool)
    metrics = summarise(predictions(none), LABEL[none], CLEAN[none])
    assert metrics.keys() == GENERAL
    assert all(math.isnan(value) for value in metrics.values())


def test_what_a_loss_says_of_its_examples_is_averaged() -> None:
    described = {"trust": np.array([0, 0, 0, 0, 0, 0, 0.7]), "emphasis": np.arange(7.0)}
    said = replace(predictions(), described=described)
    metrics = summarise(said, LABEL, CLEAN)
    assert metrics["trust"] == pytest.approx(0.1)
    assert metrics["emphasis"] == pytest.approx(3)
    assert metrics["emphasis_variance"] == pytest.approx(4)  # (9 + 4 + 1) * 2 / 7


def test_histograms_count_clean_and_noisy_labels_apart() -> None:
    histograms = label_probability_histograms(predictions(), LABEL, CLEAN)
    # Clean: 0.9, 0.1, 0.8, 0.7; noisy: 0.2, 0.3, 0.4; bins of 0.05, each with its lower edge.
    places = {
        name: [place for place, count in enumerate(counts) for _ in range(int(count))]
        for name, counts in histograms.items()
    }
    assert {name: len(counts) for name, counts in histograms.items()} == {
        "clean_histogram": 20,
        "noisy_histogram": 20,
    }
    assert len(places["clean_histogram"]) == 4
    assert len(places["noisy_histogram"]) == 3
    middles = [(place + 0.5) / 20 for place in places["noisy_histogram"]]
    assert middles == pytest.approx([0.2, 0.3, 0.4], abs=0.051)


def test_without_corrupted_labels_there_is_one_histogram() -> None:
    assert set(label_probability_histograms(predictions(), CLEAN, CLEAN)) == {"clean_histogram"}
