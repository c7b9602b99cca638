"""From what a network says to a verdict: believe the family, only the clan, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.classifier.answers import Answers
from protein_robust.classifier.families import Families
from protein_robust.classifier.thresholds import Threshold, choose_threshold
from protein_robust.errors import InputError

VERDICTS = ("accept", "clan-only", "unknown", "too-short")
ACCEPT, CLAN_ONLY, UNKNOWN, TOO_SHORT = range(len(VERDICTS))

TOLERATED_ERROR = 0.05
"""The one that verdicts are given for, unless somebody asks for another."""

UNKNOWN_LEVEL = 0.05
"""The p value above which a sequence is unknown, unless somebody asks for another."""


@dataclass(frozen=True)
class Criteria:
    """What a verdict depends on.

    Attributes:
        threshold: on confidence.
        unknown_level: p value above which a sequence is unknown, in [0, 1].
    """

    threshold: Threshold
    unknown_level: float


def make_criteria(
    thresholds: Sequence[Threshold], tolerated_error: float | None, unknown_level: float
) -> Criteria:
    """Choose what verdicts depend on.

    Args:
        thresholds: of the classifier.
        tolerated_error: one that there is a threshold for; None: every confidence is enough.
        unknown_level: p value above which a sequence is unknown.

    Raises:
        InputError: if there is no such threshold, or the level is outside [0, 1].
    """
    if not 0 <= unknown_level <= 1:
        raise InputError("a level of unknown in [0, 1]", f"{unknown_level:g}")
    return Criteria(choose_threshold(thresholds, tolerated_error), unknown_level)


def judge(
    answers: Answers,
    *,
    p_value: NDArray[np.float64],
    length: NDArray[np.int64],
    families: Families,
    least_length: int,
    criteria: Criteria,
) -> NDArray[np.int64]:
    """Give verdicts; the first rule that applies counts.

    1. too-short: fewer residues than the shortest training example that the network saw.
    2. unknown: a decoy of its length scores as well with a chance above ``unknown_level``.
    3. accept: the confidence of the family reaches its threshold.
    4. clan-only: the best clan is one (not a single family), and its confidence reaches the
       threshold of clans.
    5. unknown.

    Args:
        answers: of N sequences.
        p_value: of each, shape (N,), float64.
        length: residues of each, shape (N,), int64.
        families: that the answers are of.
        least_length: residues of the shortest training example.
        criteria: thresholds.

    Returns:
        Places in `VERDICTS`, shape (N,), int64.
    """
    is_clan = np.array([clan is not None for clan in families.group_clan])
    rules = [
        (length < least_length, TOO_SHORT),
        (p_value > criteria.unknown_level, UNKNOWN),
        (answers.confidence >= criteria.threshold.family, ACCEPT),
        (
            is_clan[answers.group] & (answers.clan_confidence >= criteria.threshold.clan),
            CLAN_ONLY,
        ),
    ]
    conditions, verdicts = zip(*rules, strict=True)
    chosen: NDArray[np.int64] = np.select(conditions, verdicts, default=UNKNOWN)
    return chosen
