"""Measure ingestion on a synthetic Pfam release: the reader, the whole release, and its growth.

Each job runs in a process of its own, which says what it took; jobs that are compared take turns.
Seconds depend on the machine, ratios hardly. Nothing is printed that was not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

# From this folder, where a script finds its neighbours.
from turns import Seconds, Table, interleave, ratio, show, spread

FOLDER = Path(__file__).parent
PARTS = ("reader", "release", "linear")
READERS = {
    "names, labels, aligned rows": {
        "ours": "",
        "AlignIO": "at least 10",
        "MSAFile": "at least 1",
        "MSAFile, nothing taken out": "",
    },
    "names, labels, aligned rows, residues": {
        "ours, residues": "",
        "AlignIO, residues": "at least 10",
        "MSAFile, residues": "at least 1",
    },
}
"""Of each question: who answers it, ours first, and how many times as long as ours it should take.
"""
PEAK_TARGET = "at most 500"
RELEASE_TARGETS = {
    "ingest": "at most 60",
    "noise": "at most 5",
    "noise, clan-aware": "at most 5",
    "open": "at most 2",
}
FRACTIONS = (0.1, 0.3, 1.0)
MEGABYTE = 1_000_000

Result = dict[str, float]
"""What a job took and counted."""


def main() -> int:
    """Measure the parts asked for and print them."""
    options = parse()
    tables: dict[str, Table] = {}
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or Path(temporary)
        options.folder.mkdir(parents=True, exist_ok=True)
        if "reader" in options.part:
            path = seed_file(options, options.reader_families)
            size = f"{path.stat().st_size / MEGABYTE:.0f} MB, {options.rounds} rounds"
            for question, targets in READERS.items():
                table = measure_readers(options, path, targets)
                tables[f"reader, {size}: {question}"] = table
        results: dict[int, Result] = {}
        if "release" in options.part:
            path = seed_file(options, options.families)
            title = f"release: {path.stat().st_size / MEGABYTE:.0f} MB"
            tables[title], results[options.families] = measure_release(options, path)
        if "linear" in options.part:
            tables["linear: ingest of a part of the families"] = measure_growth(options, results)
    show(describe(options), tables, as_json=options.json)
    return 0


def parse() -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat; all")
    parser.add_argument("--families", type=int, default=19600, help="of the release (19600)")
    parser.add_argument(
        "--reader-families", type=int, default=4000, help="of the file that is read"
    )
    parser.add_argument("--rounds", type=int, default=5, help="measured, of each reader (5)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before those (1)")
    parser.add_argument("--gzip", action="store_true", help="the release is compressed")
    parser.add_argument("--folder", type=Path, help="where files are made and found again")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    options = parser.parse_args()
    if options.rounds < 1 or options.warmup < 0:
        parser.error("expected --rounds of at least 1, --warmup of at least 0")
    if min(options.reader_families, min(FRACTIONS) * options.families) < 2:
        parser.error("expected at least 20 --families and at least 2 --reader-families")
    options.part = options.part or list(PARTS)
    return options


def seed_file(options: Namespace, num_families: int) -> Path:
    """The file of so many families; made where it is not there yet."""
    # Readers are compared on plain text: pyhmmer's own way to decompress is not the question.
    zipped = options.gzip and num_families != options.reader_families
    suffix = ".seed.gz" if zipped else ".seed"
    path = Path(options.folder, f"{num_families}_families_seed_{options.seed}{suffix}")
    if not path.exists():
        partial = path.with_name(f"partial_{path.name}")
        arguments = ["--families", str(num_families), "--seed", str(options.seed)]
        run("seed_file.py", str(partial), *arguments, *(["--gzip"] if zipped else []))
        partial.rename(path)  # so that a file of this name is whole
    return path


def run(script: str, *arguments: str) -> str:
    """What a script of this folder prints; one thread in each of its libraries."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def run_job(name: str, *places: Path) -> Result:
    """Do one job of `ingest_jobs.py` in a process of its own."""
    result: Result = json.loads(run("ingest_jobs.py", name, *map(str, places)))
    return result


def measure_readers(options: Namespace, path: Path, targets: dict[str, str]) -> Table:
    """Read a file with each reader in turns, and see that all find the same."""
    results: dict[str, list[Result]] = {name: [] for name in targets}

    def reading(name: str) -> Callable[[], object]:
        return lambda: results[name].append(run_job(name, path))

    runs = {name: reading(name) for name in targets}
    interleave(runs, rounds=options.rounds, warmup=options.warmup, device="cpu")
    found = {name: {key: every[0].get(key) for key in COUNTS} for name, every in results.items()}
    ours = next(iter(targets))
    if any(counts != found[ours] for counts in found.values()):
        raise RuntimeError(f"the readers disagree: {found}")
    seconds: Seconds = {
        name: [result["cpu_seconds"] for result in every[options.warmup :]]
        for name, every in results.items()
    }
    return [
        {
            "reader": name,
            "CPU s": statistics.median(seconds[name]),
            "MB a second": path.stat().st_size / MEGABYTE / statistics.median(seconds[name]),
            "times ours": ratio(seconds, name, ours),
            "quartiles": spread(seconds, name, ours),
            "target": target,
            "peak MB": megabytes(results[name]),
        }
        for name, target in targets.items()
    ]


COUNTS = ("families", "rows", "cells", "residues")
"""What all readers must find alike."""


def measure_release(options: Namespace, path: Path) -> tuple[Table, Result]:
    """Ingest a release, add noise, and open it for training.

    Returns:
        The table, and what ingestion took.
    """
    folders = [options.folder / name for name in ("dataset", "noise", "clan_noise")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    dataset, noise, clan_noise = folders
    results = {
        "ingest": run_job("ingest", path, dataset),
        "noise": run_job("noise", dataset, noise),
        "noise, clan-aware": run_job("noise, clan-aware", dataset, clan_noise),
        "open": run_job("open", dataset, noise),
    }
    if results["open"]["rows"] != results["ingest"]["rows"]:
        raise RuntimeError(f"rows were lost: {results}")
    table: Table = [
        {
            "job": name,
            "wall s": result["wall_seconds"],
            "target, s": RELEASE_TARGETS[name],
            "CPU s": result["cpu_seconds"],
            "peak MB": megabytes([result]),
            "target, MB": PEAK_TARGET if name == "ingest" else "",
        }
        for name, result in results.items()
    ]
    return table, results["ingest"]


def measure_growth(options: Namespace, known: dict[int, Result]) -> Table:
    """Ingest parts of a release: seconds a million rows should stay the same."""
    table: Table = []
    for fraction in FRACTIONS:
        num_families = round(fraction * options.families)
        result = known.get(num_families)
        if result is None:
            path = seed_file(options, num_families)
            folder = options.folder / "part"
            shutil.rmtree(folder, ignore_errors=True)
            result = run_job("ingest", path, folder)
        row = {
            "part": f"{fraction:.0%}",
            "families": num_families,
            "sequences": f"{result['read']:.0f}",
            "wall s": result["wall_seconds"],
            "s a million sequences": result["wall_seconds"] / result["read"] * 1e6,
            "peak MB": megabytes([result]),
        }
        table.append(row)
    return table


def megabytes(results: list[Result]) -> str:
    """The largest peak."""
    return f"{max(result['peak_bytes'] for result in results) / MEGABYTE:.0f}"


def describe(options: Namespace) -> dict[str, object]:
    """What is measured, on what."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "Python": platform.python_version(),
        "seed": options.seed,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(1)
