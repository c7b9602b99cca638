"""Verdicts from confidence, p values and lengths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from protein_robust.classifier import VERDICTS, Classifier
from protein_robust.classifier.answers import Answers
from protein_robust.classifier.judging import judge, make_criteria
from protein_robust.errors import InputError

# Of the fixture: thresholds 0.7 for a family and 0.6 for a clan; clans: CL1 (group 0), none (1).
CASES = {
    "all is well": (0.9, 0, 0.95, 0.01, 9, "accept"),
    "at the thresholds": (0.7, 0, 0.7, 0.05, 5, "accept"),
    "the clan is sure, the family is not": (0.5, 0, 0.6, 0.01, 9, "clan-only"),
    "neither is sure": (0.5, 0, 0.59, 0.01, 9, "unknown"),
    "a single family is no clan": (0.65, 1, 0.65, 0.01, 9, "unknown"),
    "a decoy looks as familiar": (0.99, 0, 0.99, 0.051, 9, "unknown"),
    "shorter than training": (0.99, 0, 0.99, 0.01, 4, "too-short"),
    "short and like a decoy": (0.1, 0, 0.1, 0.9, 4, "too-short"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_first_rule_that_applies_gives_the_verdict(
    case: tuple[float, int, float, float, int, str], classifier: Classifier
) -> None:
    confidence, group, clan_confidence, p_value, length, expected = case
    one = np.ones(1, np.int64)
    answers = Answers(
        family=one,
        confidence=np.array([confidence]),
        second_family=one,
        second_confidence=np.zeros(1),
        group=group * one,
        clan_confidence=np.array([clan_confidence]),
        distance=np.zeros(1),
    )
    verdict = judge(
        answers,
        p_value=np.array([p_value]),
        length=length * one,
        families=classifier.families,
        least_length=classifier.least_length,
        criteria=make_criteria(classifier.thresholds, 0.05, 0.05),
    )
    assert VERDICTS[verdict[0]] == expected


@pytest.mark.parametrize("level", [-0.1, 1.5, float("nan")])
def test_a_level_outside_of_0_to_1_is_refused(level: float, classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"a level of unknown in \[0, 1\], got"):
        make_criteria(classifier.thresholds, 0.05, level)


def test_a_model_without_thresholds_judges_by_p_values_where_that_is_asked_for(
    make_classifier: Callable[..., Classifier], sequences: list[str]
) -> None:
    bare = make_classifier(thresholds=(), least_length=1)
    with pytest.raises(InputError, match="without validation data"):
        bare.classify(sequences)
    p_value = bare.classify(sequences, tolerated_error=None)["p_value"]
    level = float(p_value.median())
    found = bare.classify(sequences, tolerated_error=None, unknown_level=level)
    expected = np.where(p_value > level, "unknown", "accept")
    assert found["verdict"].tolist() == expected.tolist()
    assert set(expected) == {"unknown", "accept"}
