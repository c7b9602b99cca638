"""A whole study: which trainings it consists of, running them, and collecting what they gave."""

from protein_robust.study.baseline import PlannedBaseline, carry_out_baseline, plan_baselines
from protein_robust.study.baseline_results import track_baseline
from protein_robust.study.candidates import find_candidates
from protein_robust.study.data import load_data
from protein_robust.study.engines import Engine, Failure, make_engine, run_all
from protein_robust.study.evaluating import evaluate_run, mark_done
from protein_robust.study.frames import collect_frames
from protein_robust.study.noise import prepare_noise
from protein_robust.study.objective import check_teachers, losses_of
from protein_robust.study.one_run import RunReport, track_done
from protein_robust.study.pages import show_runs
from protein_robust.study.plan import (
    PlannedRun,
    plan_runs,
    prepare_data,
    read_run,
    select_runs,
)
from protein_robust.study.results import (
    collect_history,
    collect_predictions,
    collect_results,
    collect_tables,
    find_runs,
    write_index,
)
from protein_robust.study.training import train_run

__all__ = [
    "Engine",
    "Failure",
    "PlannedBaseline",
    "PlannedRun",
    "RunReport",
    "carry_out_baseline",
    "check_teachers",
    "collect_frames",
    "collect_history",
    "collect_predictions",
    "collect_results",
    "collect_tables",
    "evaluate_run",
    "find_candidates",
    "find_runs",
    "load_data",
    "losses_of",
    "make_engine",
    "mark_done",
    "plan_baselines",
    "plan_runs",
    "prepare_data",
    "prepare_noise",
    "read_run",
    "run_all",
    "select_runs",
    "show_runs",
    "track_baseline",
    "track_done",
    "train_run",
    "write_index",
]
