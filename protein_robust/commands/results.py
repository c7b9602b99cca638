"""The commands about finished runs: evaluate, compare; and how their tables are shown."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

import numpy as np

from protein_robust.console import errors, output, print_pairs
from protein_robust.errors import InputError
from protein_robust.report import (
    StudyFacts,
    StudyFrames,
    details_table,
    rich_table,
    talk_table,
    write_study,
)
from protein_robust.report.comparisons import plain_statements
from protein_robust.study import (
    collect_frames,
    evaluate_run,
    find_runs,
    load_data,
    losses_of,
    mark_done,
    read_run,
)
from protein_robust.tracking import reopen


def evaluate_runs(parsed: argparse.Namespace) -> int:
    """Evaluate trained runs again."""
    for folder in parsed.run:
        run = read_run(folder)
        metrics = evaluate_run(run, load_data(run))
        reopen(run.folder)
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
    frames = collect_frames(runs, np.random.default_rng(0))
    subject = f"{len(runs)} runs"
    if target is not None:
        require_place(target)
        words = ["python", "-m", "protein_robust.pipeline", "compare", *map(str, parsed.folder)]
        facts = StudyFacts(subject, command=shlex.join([*words, "--output", str(target)]))
        write_study(frames, target, facts=facts, losses=losses_of(runs))
    print_tables(frames, subject)
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


def print_tables(frames: StudyFrames, title: str) -> None:
    """Print the talk's table, the details, and which differences are real."""
    output.print(rich_table(talk_table(frames.results), title))
    output.print(rich_table(details_table(frames.results), "More of the same networks"))
    if len(frames.comparisons):
        output.print("Which differences of test accuracy are real (Holm's correction, 5 %):")
    for noise, sentences in plain_statements(frames.comparisons, most=4).items():
        output.print(f"  {noise}: {' '.join(sentences)}", markup=False, soft_wrap=True)
