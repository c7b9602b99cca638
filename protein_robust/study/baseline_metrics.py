"""What is said of the hits of a baseline: those metrics of a network that need no probability."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protein_robust.baselines import Hits
from protein_robust.evaluation.classification import (
    accuracy_score,
    balanced_accuracy_score,
    macro_f1_score,
    wilson_interval,
)

Labels = NDArray[np.int64]


def measure_hits(
    hits: Hits, label: Labels, clean_label: Labels, *, clan_of: Labels
) -> dict[str, float]:
    """Measure the predictions of a baseline; no hit is wrong.

    Args:
        hits: of N sequences.
        label: given classes, shape (N,), int64.
        clean_label: classes before corruption, shape (N,), int64; -1 where there is none.
        clan_of: number of each class's clan, shape (K,), int64, as `clan_numbers` gives them.

    Returns:
        ``accuracy``, its Wilson interval ``accuracy_low`` and ``accuracy_high``,
        ``balanced_accuracy``, ``macro_f1``, ``clan_accuracy``; ``coverage``, the fraction with a
        hit, and ``covered_accuracy``, the accuracy among these; ``first_pass_coverage`` and
        ``first_pass_accuracy``, the same of those that HMMER finds with its defaults. Where labels
        were corrupted also ``correct_fitting``, ``wrong_fitting``, ``correction`` and
        ``clean_accuracy``, as `protein_robust.evaluation.summarise` defines them.
    """
    prediction, is_covered = hits.prediction, hits.prediction >= 0
    first = hits.is_first_pass
    low, high = wilson_interval(int((prediction == label).sum()), len(label))
    clan = np.where(is_covered, clan_of[prediction], -1)
    metrics = {
        "accuracy": accuracy_score(prediction, label),
        "accuracy_low": float(low),
        "accuracy_high": float(high),
        "balanced_accuracy": balanced_accuracy_score(prediction, label),
        "macro_f1": _macro_f1(prediction, label, len(clan_of)),
        "clan_accuracy": accuracy_score(clan, clan_of[label]),
        "coverage": float(is_covered.mean()) if len(label) else math.nan,
        "covered_accuracy": accuracy_score(prediction[is_covered], label[is_covered]),
        "first_pass_coverage": float(first.mean()) if len(label) else math.nan,
        "first_pass_accuracy": accuracy_score(prediction[first], label[first]),
    }
    known = clean_label >= 0
    noisy, clean = known & (label != clean_label), label == clean_label
    if noisy.any():
        metrics |= {
            "correct_fitting": accuracy_score(prediction[clean], label[clean]),
            "wrong_fitting": accuracy_score(prediction[noisy], label[noisy]),
            "correction": accuracy_score(prediction[noisy], clean_label[noisy]),
            "clean_accuracy": accuracy_score(prediction[known], clean_label[known]),
        }
    return metrics


def hits_table(
    hits: Hits,
    label: Labels,
    clean_label: Labels,
    *,
    names: pd.Series[str],
    families: list[str],
) -> pd.DataFrame:
    """Lay out the hits, a row for each sequence; families by accession, missing for none.

    Args:
        hits: of N sequences.
        label: given classes, shape (N,), int64.
        clean_label: classes before corruption, shape (N,), int64; -1 where there is none.
        names: of the sequences.
        families: accession of each class.

    Returns:
        ``sequence_name``, ``label``, ``clean_label``, ``prediction``, ``bit_score``,
        ``second_prediction``, ``second_bit_score``, ``is_first_pass``.
    """
    family = np.array([*families, None], dtype=object)  # the last place is that of -1
    return pd.DataFrame(
        {
            "sequence_name": names,
            "label": family[label],
            "clean_label": family[clean_label],
            "prediction": family[hits.prediction],
            "bit_score": hits.bit_score,
            "second_prediction": family[hits.second_prediction],
            "second_bit_score": hits.second_bit_score,
            "is_first_pass": hits.is_first_pass,
        }
    )


def _macro_f1(prediction: Labels, label: Labels, num_classes: int) -> float:
    """Macro F1 over the families, to which "no hit" does not belong."""
    is_covered = prediction >= 0
    if is_covered.all():
        return macro_f1_score(prediction, label)
    # As a class of its own it has no example, so an F1 of 0; n / (n - 1) takes it out of the mean.
    named = np.where(is_covered, prediction, num_classes)
    size = len(np.union1d(named, label))
    return macro_f1_score(named, label) * size / (size - 1)
