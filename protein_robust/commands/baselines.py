"""The part of `run` that comes after the trainings: baselines."""

from __future__ import annotations

import time
from collections.abc import Sequence

from protein_robust.console import BaselineProgress
from protein_robust.study import PlannedBaseline, carry_out_baseline, track_baseline
from protein_robust.tracking import Experiment


def carry_out_baselines(
    baselines: Sequence[PlannedBaseline], experiment: Experiment | None
) -> bool:
    """Carry out the baselines that are not done, and give the store what it lacks of them.

    Args:
        baselines: of a study.
        experiment: where MLflow keeps them; None for nowhere.

    Returns:
        Whether all are done.
    """
    waiting = [baseline for baseline in baselines if not baseline.is_done]
    with BaselineProgress(len(waiting)) as progress:
        for baseline in waiting:
            progress.begin(baseline.title)
            started = time.perf_counter()
            failure = carry_out_baseline(baseline, progress)
            progress.end(baseline.title, time.perf_counter() - started, failure)
    done = [baseline for baseline in baselines if baseline.is_done]
    if experiment is not None:
        # Where the store takes no more, the others wait too; the same command goes on.
        all(track_baseline(baseline, experiment) for baseline in done)
    return len(done) == len(baselines)
