"""Everything that finished runs gave, as what a study's tables, figures and page are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from protein_robust.ingest import read_families
from protein_robust.report.comparisons import compare_methods
from protein_robust.report.frames import StudyFrames
from protein_robust.study.noise_rates import rate_groups
from protein_robust.study.plan import PlannedRun
from protein_robust.study.results import (
    collect_history,
    collect_predictions,
    collect_results,
    collect_tables,
)

TABLES = ("groups", "reliability", "risk_coverage", "kept_fractions", "unknown")
"""Of each run's folder `evaluation`, under the names that `StudyFrames` has for them."""


def collect_frames(runs: Sequence[PlannedRun], generator: np.random.Generator) -> StudyFrames:
    """Collect the frames of finished runs, and compare their methods.

    Args:
        runs: finished runs.
        generator: source of the draws of the bootstrap between methods.

    Returns:
        The frames; those that the runs have nothing for are without rows.

    Raises:
        InputError: if runs of one noise, loss and seed are several, or runs that differ in more
            than their seed would be averaged.
    """
    predictions = collect_predictions(runs, columns=["clean_label", "prediction"])
    return StudyFrames(
        results=collect_results(runs),
        history=collect_history(runs),
        predictions=predictions,
        comparisons=compare_methods(predictions, generator) if len(predictions) else pd.DataFrame(),
        rates=rate_groups(runs),
        clans=_clans(runs),
        **{name: collect_tables(runs, name) for name in TABLES},
    )


def _clans(runs: Sequence[PlannedRun]) -> dict[str, str | None]:
    """The clan of each family of the runs' data sets."""
    clans: dict[str, str | None] = {}
    for folder in dict.fromkeys(run.dataset_folder for run in runs):
        table = read_families(folder)
        names, of_names = table["family_accession"].to_pylist(), table["clan"].to_pylist()
        clans |= dict(zip(names, of_names, strict=True))
    return clans
