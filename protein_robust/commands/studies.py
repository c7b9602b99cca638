"""The commands about studies and their runs: run, train, evaluate, compare."""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protein_robust import ranks
from protein_robust.atomic import replace_file
from protein_robust.baselines import require_pyhmmer
from protein_robust.commands.baselines import carry_out_baselines
from protein_robust.commands.results import print_tables, require_place
from protein_robust.config import StudyConfig, dump_yaml, load_study
from protein_robust.console import ReadingProgress, StudyProgress, errors, output, print_pairs
from protein_robust.errors import InputError
from protein_robust.ingest import describe, read_manifest
from protein_robust.ingest.store import CARD
from protein_robust.models import computes_bf16
from protein_robust.report import StudyFacts, flat_tables, write_study
from protein_robust.report.data_figures import write_data_figures
from protein_robust.report.noise_figures import write_noise_figures
from protein_robust.report.writing import FIGURES
from protein_robust.study import (
    Engine,
    Failure,
    PlannedRun,
    check_teachers,
    collect_frames,
    find_candidates,
    find_runs,
    losses_of,
    make_engine,
    plan_baselines,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
    select_runs,
    show_runs,
    track_done,
    write_index,
)
from protein_robust.tracking import (
    LOCAL_PAGES,
    Experiment,
    check_store,
    log_summary,
    prepare,
    register_models,
    resolve_uri,
    save_view,
    study_links,
)
from protein_robust.tracking.source import source_tags

if TYPE_CHECKING:
    import pandas as pd

DATA = "data"
"""In a study's folder: the data card, figures of data and noise."""


def run_study(parsed: argparse.Namespace) -> int:
    """Carry out a study and print its table."""
    study = load_study(parsed.study, parsed.overrides, preset=parsed.preset)
    if parsed.print_config:
        return _print_config(study)
    if study.baselines:
        require_pyhmmer()
    with _together(study):
        engine = make_engine(parsed.engine, parsed.engine_option, study.folder)
        experiment, runs = _prepare(study, is_here=parsed.engine == "local")
        failures = _carry_out(runs, experiment, engine=engine, jobs=parsed.jobs, evaluate=True)
        all_done = not failures
        if ranks.rank() == 0:
            all_done &= carry_out_baselines(plan_baselines(study.baselines, runs), experiment)
            if experiment is not None:
                # Where the store takes no more, the others wait too; the same command goes on.
                all(track_done(run, experiment) for run in runs if run.is_done)
            if len(failures) < len(runs):
                _conclude(study, experiment, _command(parsed))
    return 0 if all_done else 1


def _command(parsed: argparse.Namespace) -> str:
    """What gives the same numbers again."""
    overrides = [part for entry in parsed.overrides for part in ("--set", entry)]
    preset = [] if parsed.preset is None else ["--preset", parsed.preset]
    words = ["python", "-m", "protein_robust.pipeline", "run", str(parsed.study)]
    return shlex.join([*words, *preset, *overrides])


def train_study(parsed: argparse.Namespace) -> int:
    """Train the chosen runs of a study."""
    study = load_study(parsed.study, parsed.overrides, preset=parsed.preset)
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
    with _together(study):
        engine = make_engine(parsed.engine, parsed.engine_option, study.folder)
        experiment, runs = _prepare(study, is_here=parsed.engine == "local")
        chosen = select_runs(
            runs, loss=parsed.loss or (), noise=parsed.noise or (), seed=parsed.seed or ()
        )
        failures = _carry_out(chosen, experiment, engine=engine, jobs=parsed.jobs, evaluate=False)
    for run in chosen:
        output.print(str(run.folder), markup=False, soft_wrap=True)
    return 1 if failures else 0


@contextmanager
def _together(study: StudyConfig) -> Iterator[None]:
    """Meet the other processes of `torchrun`, if there are some; only the first one speaks."""
    with ranks.join(use_cuda=False if study.device == "cpu" else None):
        quiet = ranks.rank() != 0
        output.quiet, errors.quiet = output.quiet or quiet, errors.quiet or quiet
        yield
        ranks.wait_for_all()  # a process that left would take the first one with it


def _prepare(study: StudyConfig, *, is_here: bool) -> tuple[Experiment | None, list[PlannedRun]]:
    """Everything before the first training, by the first process; the others wait for it."""
    if ranks.rank() == 0:
        try:
            prepared = _prepare_alone(study, is_here=is_here)
        except BaseException:
            ranks.from_first(False)
            raise
        ranks.from_first(True)
        return prepared
    if not ranks.from_first(False):
        raise SystemExit(2)  # the first process says why
    return None, plan_runs(study, read_manifest(study.dataset_folder)["digest"])


def _prepare_alone(
    study: StudyConfig, *, is_here: bool
) -> tuple[Experiment | None, list[PlannedRun]]:
    """Everything before the first training; whatever the user got wrong shows here.

    What can be wrong is looked at before anything is made, and the data before the rest.
    """
    require_place(study.folder / "runs")
    if study.dataset_folder.resolve() == (study.folder / DATA).resolve():
        expected = f"a dataset folder that is not {DATA!r} in the study's own"
        raise InputError(expected, "this one", path=study.dataset_folder)
    if is_here:  # else the machines that train have the device
        _check_device(study)
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
    write_index(study.folder, runs, plan_baselines(study.baselines, runs))
    text = dump_yaml(study)
    replace_file(study.folder / "study.yaml", lambda partial: partial.write_text(text, "utf-8"))
    return experiment, runs


def _print_config(study: StudyConfig) -> int:
    output.print(dump_yaml(study), markup=False, soft_wrap=True, end="")
    return 0


def _check_device(study: StudyConfig) -> None:
    import torch

    has_gpu = torch.cuda.is_available()
    if study.device == "cuda" and not has_gpu:
        raise InputError("`device: cuda` on a machine with a GPU that PyTorch can use", "none")
    device = torch.device("cuda" if has_gpu and study.device != "cpu" else "cpu")
    wants_bf16 = any(study.training_of(loss).precision == "bf16" for loss in study.losses)
    if wants_bf16 and not computes_bf16(device):
        raise InputError(
            "`precision: bf16` on hardware that computes in bf16", f"a {device} without"
        )


def _say_data(study: StudyConfig, manifest: Mapping[str, Any], is_new: bool) -> None:
    what = "synthetic data" if manifest["is_synthetic"] else "data"
    state = "ingested" if is_new else "ingested before, unchanged"
    output.print(f"{what} ({study.dataset_folder}, {state}):", markup=False, soft_wrap=True)
    print_pairs(describe(manifest))


def _carry_out(
    runs: Sequence[PlannedRun],
    experiment: Experiment | None,
    *,
    engine: Engine,
    jobs: int | None,
    evaluate: bool,
) -> list[Failure]:
    names = ranks.from_first([run.name for run in runs if not run.is_done])
    waiting = [run for run in runs if run.name in names]
    if len(waiting) < len(runs):
        errors.print(f"{len(runs) - len(waiting)} of {len(runs)} runs are done already")
    with StudyProgress(len(waiting)) as progress:
        return run_all(
            waiting,
            engine=engine,
            jobs=jobs,
            experiment=experiment,
            on_report=progress,
            evaluate=evaluate,
        )


def _conclude(study: StudyConfig, experiment: Experiment | None, command: str) -> None:
    """Tables, figures and page of a study: printed, on disk, in MLflow."""
    runs = find_runs([study.folder])
    frames = collect_frames(runs, np.random.default_rng(0))
    manifest = read_manifest(study.dataset_folder)
    facts = StudyFacts(
        name=study.name,
        description=study.description,
        is_synthetic=manifest["is_synthetic"],
        digest=manifest["digest"],
        data=describe(manifest),
        command=command,
        commit=source_tags().get("mlflow.source.git.commit", ""),
    )
    for old in (study.folder / FIGURES).glob("*.[ps][nv]g"):
        old.unlink()  # other runs may have had other figures
    written = write_study(frames, study.folder, facts=facts, losses=losses_of(runs))
    print_tables(frames, facts.subject)
    page = study.folder / "report.html"
    output.print(f"tables and figures: {study.folder}, {page}", markup=False, soft_wrap=True)
    if experiment is not None:
        _track(study, experiment, runs, frames.results, written)


def _track(
    study: StudyConfig,
    experiment: Experiment,
    runs: Sequence[PlannedRun],
    results: pd.DataFrame,
    written: Sequence[Path],
) -> None:
    """Put the outcome in MLflow: the summary, and the best two networks as a registered model."""
    data = study.folder / DATA
    for old in data.glob("*_*.[ps][nv]g"):
        old.unlink()  # other data may have had other figures
    write_data_figures(study.dataset_folder, data)
    noises = {run.noise: run.noise_folder for run in reversed(runs)}  # those of the first seed
    write_noise_figures(dict(reversed(noises.items())), study.dataset_folder, data)
    replace_file(data / CARD, lambda to: shutil.copyfile(study.dataset_folder / CARD, to))
    figures = [path for path in written if path.suffix == ".png"]
    files = [path for path in written if path.suffix not in (".png", ".svg")]
    summary_id = log_summary(
        experiment,
        study.name,
        tables=flat_tables(results),
        figures=figures,
        files=[*files, study.folder / "study.yaml", data],
        note=study.description or None,
    )
    aliases = register_models(experiment, study.name, find_candidates(runs))
    for alias, version in aliases.items():
        output.print(f"model: models:/{study.name}@{alias} is version {version}", markup=False)
    links = {
        "summary_id": summary_id,
        "run_ids": show_runs(experiment, runs),
        "model": study.name if aliases else None,
    }
    _say_links(experiment, study.name, links)


def _say_links(experiment: Experiment, study: str, shown: Mapping[str, Any]) -> None:
    """Where to look; a store of this machine needs its pages started first."""
    is_server = experiment.uri.startswith("http")
    output.print("MLflow:" if is_server else "MLflow: `make ui` (Ctrl-C ends it), then")
    pages = experiment.uri if is_server else LOCAL_PAGES
    links = study_links(experiment.experiment_id, study, pages=pages, **shown)
    for name, link in links.items():
        output.print(f"  {name}: {link}", markup=False, soft_wrap=True)
