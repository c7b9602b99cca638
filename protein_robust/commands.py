"""What each command of the command line does, in terms of the rooms below."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protein_robust.config import StudyConfig, dump_yaml, load_study
from protein_robust.console import ReadingProgress, StudyProgress, errors, output, print_pairs
from protein_robust.errors import InputError
from protein_robust.ingest import IngestOptions, Source, describe, ingest
from protein_robust.report import (
    details_table,
    flat_tables,
    rich_table,
    talk_table,
    write_figures,
    write_tables,
)
from protein_robust.study import (
    Failure,
    PlannedRun,
    collect_history,
    collect_results,
    find_runs,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
    select_runs,
    write_index,
)
from protein_robust.tracking import (
    LOCAL_PAGES,
    Experiment,
    list_studies,
    log_summary,
    prepare,
    resolve_uri,
    save_view,
    serve_ui,
    study_links,
)


def run_study(path: Path, overrides: Sequence[str], print_config: bool, jobs: int | None) -> int:
    """Carry out a study and print its table."""
    study = load_study(path, overrides)
    if print_config:
        output.print(dump_yaml(study), markup=False, soft_wrap=True, end="")
        return 0
    experiment, runs = _prepare(study)
    write_index(study.folder, runs)
    failures = _carry_out(study, runs, experiment, jobs=jobs, evaluate=True)
    if len(failures) < len(runs):
        _conclude(study, experiment)
    return 1 if failures else 0


def train_study(parsed: argparse.Namespace) -> int:
    """Train the chosen runs of a study."""
    study = load_study(parsed.study, parsed.overrides)
    if parsed.print_config:
        output.print(dump_yaml(study), markup=False, soft_wrap=True, end="")
        return 0
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
    write_index(study.folder, runs)
    chosen = select_runs(
        runs, loss=parsed.loss or (), noise=parsed.noise or (), seed=parsed.seed or ()
    )
    failures = _carry_out(study, chosen, experiment, jobs=parsed.jobs, evaluate=False)
    for run in chosen:
        output.print(str(run.folder), markup=False, soft_wrap=True)
    return 1 if failures else 0


def ingest_files(parsed: argparse.Namespace) -> int:
    """Make a dataset folder and describe it."""
    options = IngestOptions(
        format=parsed.format,
        sequence_column=parsed.sequence_column,
        family_column=parsed.family_column,
        name_column=parsed.name_column,
        split_column=parsed.split_column,
        valid_fraction=parsed.valid_fraction,
        test_fraction=parsed.test_fraction,
        seed=parsed.seed,
        num_families=parsed.num_families,
    )
    sources, folder = _sources(parsed), parsed.output
    if len(parsed.source) == 1 and Path(parsed.source[0]).suffix in (".yaml", ".yml"):
        study = load_study(Path(parsed.source[0]))
        sources, options = study.sources(), study.ingest_options()
        folder = folder or study.dataset_folder
    if folder is None:
        raise InputError("--output DIR, the dataset folder to write", "none")
    with ReadingProgress() as progress:
        manifest = ingest(sources, folder, options=options, on_progress=progress)
    output.print(f"{folder}:", markup=False, soft_wrap=True)
    print_pairs(describe(manifest))
    return 0


def _sources(parsed: argparse.Namespace) -> list[Source]:
    by_split = {split: getattr(parsed, split) for split in ("train", "valid", "test")}
    named = [Source(path, split) for split, path in by_split.items() if path is not None]
    if bool(named) == bool(parsed.source):
        found = "both" if named else "neither"
        raise InputError("either SOURCE files or --train, --valid and --test files", found)
    return named or [Source(path) for path in parsed.source]


def evaluate_runs(folders: Sequence[Path]) -> int:
    """Evaluate trained runs again."""
    from protein_robust.study import evaluate_run, read_run
    from protein_robust.study.data import load_data

    for folder in folders:
        run = read_run(folder)
        metrics = evaluate_run(run, load_data(run))
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


def compare_folders(folders: Sequence[Path], target: Path | None) -> int:
    """Print and write the tables of finished runs."""
    runs = find_runs(folders)
    results = collect_results(runs)
    if target is not None:
        require_writable(target)
        written = write_tables(results, target)
        written += write_figures(results, collect_history(runs), target)
    _print_tables(results, f"{len(runs)} runs")
    if target is not None:
        output.print(f"tables and figures: {target}", markup=False, soft_wrap=True)
    return 0


def open_ui(uri: str | None, port: int) -> int:
    """Serve MLflow's pages until Ctrl-C."""
    resolved = resolve_uri(uri)
    server = serve_ui(resolved, port=port)
    try:
        output.print(f"MLflow at http://127.0.0.1:{port} in about 15 s; Ctrl-C ends it.")
        for experiment_id, study in list_studies(resolved):
            link = study_links(experiment_id, study, pages=f"http://127.0.0.1:{port}")["charts"]
            output.print(f"  {study}: {link}", markup=False, soft_wrap=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def require_writable(folder: Path) -> None:
    """Make a folder, and find out whether files can be written in it.

    Raises:
        InputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("a folder that can be written", reason, path=folder) from error


def _prepare(study: StudyConfig) -> tuple[Experiment | None, list[PlannedRun]]:
    """Everything before the first training; whatever the user got wrong shows here."""
    experiment = None
    require_writable(study.folder)
    if study.tracking.enabled:
        uri = resolve_uri(study.tracking.uri)
        name = study.tracking.experiment or study.name
        experiment = prepare(uri, name, note=study.description or None)
        save_view(experiment, study.name)
    with ReadingProgress() as progress:
        manifest, is_new = prepare_data(study, progress)
    _say_data(study, manifest, is_new)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    (study.folder / "study.yaml").write_text(dump_yaml(study), encoding="utf-8")
    return experiment, runs


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
    tables = write_tables(results, study.folder)
    figures = write_figures(results, history, study.folder / "figures")
    _print_tables(results, study.name)
    output.print(f"tables and figures: {study.folder}", markup=False, soft_wrap=True)
    if experiment is None:
        return
    summary_id = log_summary(
        experiment,
        study.name,
        tables=flat_tables(results),
        figures=[path for path in figures if path.suffix == ".png"],
        files=[*tables, study.folder / "study.yaml"],
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
