"""The commands about studies and their runs: run, train, evaluate, compare."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protein_robust.atomic import replace_file
from protein_robust.config import StudyConfig, dump_yaml, load_study
from protein_robust.console import ReadingProgress, StudyProgress, errors, output, print_pairs
from protein_robust.errors import InputError
from protein_robust.ingest import describe, read_manifest
from protein_robust.ingest.store import CARD
from protein_robust.report import (
    details_table,
    flat_tables,
    rich_table,
    talk_table,
    write_figures,
    write_tables,
)
from protein_robust.report.data_figures import write_data_figures
from protein_robust.report.noise_figures import write_noise_figures
from protein_robust.study import (
    Failure,
    PlannedRun,
    check_teachers,
    collect_history,
    collect_results,
    evaluate_run,
    find_runs,
    load_data,
    losses_of,
    mark_done,
    plan_runs,
    prepare_data,
    prepare_noise,
    read_run,
    run_all,
    select_runs,
    track_done,
    write_index,
)
from protein_robust.tracking import (
    LOCAL_PAGES,
    Experiment,
    check_store,
    log_summary,
    prepare,
    resolve_uri,
    save_view,
    study_links,
)

DATA = "data"
"""In a study's folder: the data card, figures of data and noise."""


def run_study(parsed: argparse.Namespace) -> int:
    """Carry out a study and print its table."""
    study = load_study(parsed.study, parsed.overrides)
    if parsed.print_config:
        return _print_config(study)
    experiment, runs = _prepare(study)
    failures = _carry_out(study, runs, experiment, jobs=parsed.jobs, evaluate=True)
    if experiment is not None:
        for run in runs:
            if run.is_done:
                track_done(run, experiment)
    if len(failures) < len(runs):
        _conclude(study, experiment)
    return 1 if failures else 0


def train_study(parsed: argparse.Namespace) -> int:
    """Train the chosen runs of a study."""
    study = load_study(parsed.study, parsed.overrides)
    if parsed.print_config:
        return _print_config(study)
    choices: dict[str, list[Any]] = {
        "loss": [loss.label for loss in study.losses],
        "noise": [noise.name for noise in study.noise],
        "seed": list(study.seeds),
    }
    for option, known in choices.items():
        for value in getattr(parsed, option) or []:
            if value not in known:
                listed = ", ".join(map(str, known))
                raise InputError(f"--{option} one of {listed}", repr(value), path=parsed.study)
    experiment, runs = _prepare(study)
    chosen = select_runs(
        runs, loss=parsed.loss or (), noise=parsed.noise or (), seed=parsed.seed or ()
    )
    failures = _carry_out(study, chosen, experiment, jobs=parsed.jobs, evaluate=False)
    for run in chosen:
        output.print(str(run.folder), markup=False, soft_wrap=True)
    return 1 if failures else 0


def evaluate_runs(parsed: argparse.Namespace) -> int:
    """Evaluate trained runs again."""
    for folder in parsed.run:
        run = read_run(folder)
        metrics = evaluate_run(run, load_data(run))
        if not mark_done(run):
            errors.print(f"{folder}: its training is not at its end yet", markup=False)
        output.print(f"{folder}:", markup=False, soft_wrap=True)
        print_pairs(
            [
                (f"{network} {data} {metric}", f"{value:.4f}")
                for network, by_data in metrics.items()
                for data, values in by_data.items()
                for metric, value in values.items()
            ]
        )
    return 0


def compare_folders(parsed: argparse.Namespace) -> int:
    """Print and write the tables of finished runs."""
    target = parsed.output
    runs = find_runs(parsed.folder)
    results = collect_results(runs)
    if target is not None:
        require_place(target)
        written = write_tables(results, target)
        losses = losses_of(runs)
        written += write_figures(results, collect_history(runs), target, losses=losses)
    _print_tables(results, f"{len(runs)} runs")
    if target is not None:
        output.print(f"tables and figures: {target}", markup=False, soft_wrap=True)
    return 0


def require_place(folder: Path) -> None:
    """Find out whether a folder can be made and written, without making it.

    Raises:
        InputError: if not.
    """
    for place in (folder, *folder.absolute().parents):
        if place.exists():
            break
    if not place.is_dir():
        raise InputError("a folder that can be written", f"the file {place}", path=folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError("a folder that can be written", f"no permission in {place}", path=folder)


def _prepare(study: StudyConfig) -> tuple[Experiment | None, list[PlannedRun]]:
    """Everything before the first training; whatever the user got wrong shows here.

    What can be wrong is looked at before anything is made, and the data before the rest.
    """
    require_place(study.folder / "runs")
    if study.dataset_folder.resolve() == (study.folder / DATA).resolve():
        expected = f"a dataset folder that is not {DATA!r} in the study's own"
        raise InputError(expected, "this one", path=study.dataset_folder)
    if study.device == "cuda":
        _require_cuda()
    uri = resolve_uri(study.tracking.uri) if study.tracking.enabled else None
    if uri is not None:
        check_store(uri)
    with ReadingProgress() as progress:
        manifest, is_new = prepare_data(study, progress)
    _say_data(study, manifest, is_new)
    experiment = None
    if uri is not None:
        name = study.tracking.experiment or study.name
        experiment = prepare(uri, name, note=study.description or None)
        save_view(experiment, study.name)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    check_teachers(runs)
    write_index(study.folder, runs)
    text = dump_yaml(study)
    replace_file(study.folder / "study.yaml", lambda partial: partial.write_text(text, "utf-8"))
    return experiment, runs


def _print_config(study: StudyConfig) -> int:
    output.print(dump_yaml(study), markup=False, soft_wrap=True, end="")
    return 0


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise InputError("`device: cuda` on a machine with a GPU that PyTorch can use", "none")


def _say_data(study: StudyConfig, manifest: Mapping[str, Any], is_new: bool) -> None:
    what = "synthetic data" if manifest["is_synthetic"] else "data"
    state = "ingested" if is_new else "ingested before, unchanged"
    output.print(f"{what} ({study.dataset_folder}, {state}):", markup=False, soft_wrap=True)
    print_pairs(describe(manifest))


def _carry_out(
    study: StudyConfig,
    runs: Sequence[PlannedRun],
    experiment: Experiment | None,
    *,
    jobs: int | None,
    evaluate: bool,
) -> list[Failure]:
    waiting = [run for run in runs if not run.is_done]
    if len(waiting) < len(runs):
        errors.print(f"{len(runs) - len(waiting)} of {len(runs)} runs are done already")
    with StudyProgress(len(waiting)) as progress:
        return run_all(
            waiting,
            jobs=jobs or _default_jobs(study),
            experiment=experiment,
            on_report=progress,
            evaluate=evaluate,
        )


def _default_jobs(study: StudyConfig) -> int:
    import torch

    if study.device == "cuda" or (study.device == "auto" and torch.cuda.is_available()):
        return 1
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cpus or 1) // study.threads)


def _conclude(study: StudyConfig, experiment: Experiment | None) -> None:
    """Tables and figures of a study: printed, on disk, in MLflow."""
    runs = find_runs([study.folder])
    results, history = collect_results(runs), collect_history(runs)
    subject = study.name
    if read_manifest(study.dataset_folder)["is_synthetic"]:
        subject += " (synthetic data)"
    tables = write_tables(results, study.folder, subject=subject)
    figures = write_figures(results, history, study.folder / "figures", losses=losses_of(runs))
    _print_tables(results, subject)
    output.print(f"tables and figures: {study.folder}", markup=False, soft_wrap=True)
    if experiment is None:
        return
    data = study.folder / DATA
    for old in data.glob("*_*.[ps][nv]g"):
        old.unlink()  # other data may have had other figures
    write_data_figures(study.dataset_folder, data)
    noises = {run.noise: run.noise_folder for run in reversed(runs)}  # those of the first seed
    write_noise_figures(dict(reversed(noises.items())), study.dataset_folder, data)
    replace_file(data / CARD, lambda to: shutil.copyfile(study.dataset_folder / CARD, to))
    summary_id = log_summary(
        experiment,
        study.name,
        tables=flat_tables(results),
        figures=[path for path in figures if path.suffix == ".png"],
        files=[*tables, study.folder / "study.yaml", data],
        note=study.description or None,
    )
    _say_links(experiment, study.name, summary_id)


def _say_links(experiment: Experiment, study: str, summary_id: str | None) -> None:
    """Where to look; a store of this machine needs its pages started first."""
    is_server = experiment.uri.startswith("http")
    output.print("MLflow:" if is_server else "MLflow: `make ui` (Ctrl-C ends it), then")
    pages = experiment.uri if is_server else LOCAL_PAGES
    links = study_links(experiment.experiment_id, study, summary_id=summary_id, pages=pages)
    for name, link in links.items():
        output.print(f"  {name}: {link}", markup=False, soft_wrap=True)


def _print_tables(results: Any, title: str) -> None:
    output.print(rich_table(talk_table(results), title))
    output.print(rich_table(details_table(results), "More of the same networks"))
