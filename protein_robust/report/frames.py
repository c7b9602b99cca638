"""Everything that a study found, as plain frames: what its tables, figures and page are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd


def _empty() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True)
class StudyFrames:
    """Tidy frames with ``noise``, ``loss`` and ``seed`` in front; an empty one is left out.

    Attributes:
        results: one row a value.
        history: one row an epoch.
        predictions: of the test data by the final networks; ``row`` is the same example in every
            run of a noise setting; ``clean_label`` and ``prediction`` are accessions of classes.
        comparisons: of `protein_robust.report.comparisons.compare_methods`, from predictions.
        groups: accuracy and calibration by group of examples.
        reliability: bins of confidence.
        risk_coverage: risk at each coverage.
        kept_fractions: measures of test sequences cut to a fixed share.
        unknown: how well each score tells unknown sequences.
        rates: ``noise``, ``group``, ``label_rate``: settings that differ in the rate only.
        clans: clan of each class by accession, of an image its superclass; None for none.
    """

    results: pd.DataFrame
    history: pd.DataFrame = field(default_factory=_empty)
    predictions: pd.DataFrame = field(default_factory=_empty)
    comparisons: pd.DataFrame = field(default_factory=_empty)
    groups: pd.DataFrame = field(default_factory=_empty)
    reliability: pd.DataFrame = field(default_factory=_empty)
    risk_coverage: pd.DataFrame = field(default_factory=_empty)
    kept_fractions: pd.DataFrame = field(default_factory=_empty)
    unknown: pd.DataFrame = field(default_factory=_empty)
    rates: pd.DataFrame = field(default_factory=_empty)
    clans: Mapping[str, str | None] = field(default_factory=dict)
