"""Labels that people gave: taken as they are, and checked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from protein_robust.noise import Classes, LabelRule, corrupt_labels, expected_rate
from protein_robust.noise.labels import Labels

THREE = Classes(("A", "B", "C"), (None,) * 3)
WORSE = LabelRule("human", annotation="worse")
CLEAN = np.array([0, 1, 2, 2])


def given_labels(
    annotation: Labels | None, rule: LabelRule = WORSE, clean: Labels = CLEAN
) -> Labels:
    rng = np.random.default_rng(0)
    return corrupt_labels(clean, THREE, rule=rule, rng=rng, annotation=annotation).label


def test_the_labels_are_those_of_the_annotation_in_an_array_of_their_own() -> None:
    annotation = np.array([0, 2, 2, 1])
    label = given_labels(annotation)
    assert label.tolist() == [0, 2, 2, 1]
    label[0] = 2
    assert annotation.tolist() == [0, 2, 2, 1]


def test_nothing_is_drawn() -> None:
    rng = np.random.default_rng(3)
    corrupt_labels(CLEAN, THREE, rule=WORSE, rng=rng, annotation=np.array([0, 2, 2, 1]))
    assert rng.random() == np.random.default_rng(3).random()


def test_the_expected_rate_is_the_part_that_differs() -> None:
    annotation = np.array([0, 2, 2, 1])
    assert expected_rate(CLEAN, THREE, rule=WORSE, annotation=annotation) == 0.5
    none = np.zeros(0, np.int64)
    assert expected_rate(none, THREE, rule=WORSE, annotation=none) == 0.0


def test_narrow_integers_become_int64() -> None:
    label = given_labels(np.array([0, 2, 2, 1], np.uint8))  # type: ignore[arg-type]
    assert label.dtype == np.int64


def test_an_annotation_that_is_missing_is_refused() -> None:
    expected = r"Expected `annotation` with labels where `kind` is human, got None\."
    with pytest.raises(ValueError, match=expected):
        given_labels(None)
    with pytest.raises(ValueError, match=expected):
        expected_rate(CLEAN, THREE, rule=WORSE)


def test_an_annotation_without_use_is_refused() -> None:
    expected = r"Expected `annotation` with None where `kind` is pair, got labels\."
    with pytest.raises(ValueError, match=expected):
        given_labels(CLEAN, LabelRule("pair", 0.2))
    with pytest.raises(ValueError, match=expected):
        expected_rate(CLEAN, THREE, rule=LabelRule("pair", 0.2), annotation=CLEAN)


def test_an_annotation_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`annotation` of shape \(4,\), got \(3,\)\."):
        given_labels(CLEAN[1:])


@pytest.mark.parametrize(("place", "found"), [(3, "0 to 3"), (-1, "-1 to 2")])
def test_an_annotation_that_is_no_class_is_refused(place: int, found: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `annotation` in \[0, 3\), got {found}\."):
        given_labels(np.array([0, 1, 2, place]))


def cifar10n() -> Path:
    folder = os.environ.get("PROTEIN_ROBUST_TEST_DATA")
    data = Path(folder) if folder else Path(__file__).parents[3] / "shared" / "data"
    path = data / "cifar10-full" / "cifar10n_labels.npz"
    if not path.is_file():
        pytest.skip("the labels of CIFAR-10N are not there: set PROTEIN_ROBUST_TEST_DATA")
    return path


@pytest.mark.parametrize(
    ("name", "percent"),
    # Wei et al. 2022, Table 1, in percent of 50,000 labels.
    [
        ("worse_label", 40.21),
        ("aggre_label", 9.01),
        ("random_label1", 17.23),
        ("random_label2", 18.12),
        ("random_label3", 17.64),
    ],
)
def test_labels_of_cifar10n_are_as_wrong_as_published(name: str, percent: float) -> None:
    with np.load(cifar10n()) as stored:
        clean, given = (stored[key].astype(np.int64) for key in ("clean_label", name))
    classes = Classes(tuple(f"class {number}" for number in range(10)), (None,) * 10)
    rule = LabelRule("human", annotation=name)
    rng = np.random.default_rng(0)
    noise = corrupt_labels(clean, classes, rule=rule, rng=rng, annotation=given)
    assert len(noise.label) == 50_000
    assert round(100 * noise.actual_rate, 2) == percent
    rate = expected_rate(clean, classes, rule=rule, annotation=given)
    assert rate == noise.actual_rate
