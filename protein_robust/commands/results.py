"""The commands about finished runs: evaluate, compare; and how their tables are shown."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from protein_robust.console import errors, output, print_pairs
from protein_robust.errors import InputError
from protein_robust.report import (
    details_table,
    rich_table,
    talk_table,
    write_figures,
    write_tables,
)
from protein_robust.study import (
    collect_history,
    collect_results,
    evaluate_run,
    find_runs,
    load_data,
    losses_of,
    mark_done,
    read_run,
)


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
    print_tables(results, f"{len(runs)} runs")
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


def print_tables(results: Any, title: str) -> None:
    """Print the talk's table and the details."""
    output.print(rich_table(talk_table(results), title))
    output.print(rich_table(details_table(results), "More of the same networks"))
