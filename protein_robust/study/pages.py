"""The runs of a study on MLflow's pages."""

from __future__ import annotations

from collections.abc import Sequence

from protein_robust.report.styles import loss_styles
from protein_robust.study.plan import PlannedRun
from protein_robust.tracking import Experiment, colour_runs, find_run_ids


def show_runs(experiment: Experiment, runs: Sequence[PlannedRun]) -> list[str]:
    """Give the runs of each loss the colour that it has in the figures.

    Args:
        experiment: where the runs are.
        runs: of the study, in its order.

    Returns:
        MLflow's identifiers of those that the store has, for a page that compares them.
    """
    styles = loss_styles(run.loss_label for run in runs)
    colours = {
        run_id: styles[run.loss_label][0]
        for run in runs
        for run_id in find_run_ids(experiment, [run.folder])
    }
    colour_runs(experiment, colours)
    return list(colours)
