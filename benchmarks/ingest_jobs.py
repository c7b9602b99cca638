"""One job of the benchmark of ingestion, in a process of its own, so that its memory is its own.

``python ingest_jobs.py JOB FILE ...`` prints what it took as JSON. What a job imports is imported
before the clock is started, and counts in the peak memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each job imports what it needs, and no more
    from protein_robust.ingest.records import Block
    from protein_robust.study.plan import PlannedRun

Counted = dict[str, int]
Job = Callable[[], Counted]
"""What is timed; gives what it has seen."""
Rows = tuple[Sequence[Sized], ...]
"""Names, aligned rows, and perhaps residues, of one family."""
LABEL_RULES: dict[str, dict[str, object]] = {
    "symmetric": {"kind": "symmetric", "rate": 0.2},
    "clan": {"kind": "clan", "rate": 0.2, "in_clan_share": 0.8},
}
CAPITALS = bytes.maketrans(bytes(range(97, 123)), bytes(range(65, 91)))


def main() -> int:
    """Run the job that is asked for."""
    name, *places = sys.argv[1:]
    job = JOBS[name](*map(Path, places))
    print(json.dumps(measure(job)))
    return 0


def measure(job: Job) -> dict[str, float]:
    """Run a job.

    Returns:
        ``wall_seconds``; ``cpu_seconds`` of this process and of those it has started;
        ``peak_bytes`` of this process since its start, and of the largest that it has started; and
        what the job counted.
    """
    before, started = cpu_seconds(), time.perf_counter()
    counted = job()
    wall, cpu = time.perf_counter() - started, cpu_seconds() - before
    return {"wall_seconds": wall, "cpu_seconds": cpu, "peak_bytes": peak_bytes(), **counted}


def peak_bytes() -> int:
    """Most memory of this process, and of the largest of those it has started and waited for."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, others = (
        resource.getrusage(kind).ru_maxrss * unit
        for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # Linux counts there what the starting process held when it started this one.
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        own = next(int(line.split()[1]) * unit for line in lines if line.startswith("VmHWM:"))
    return own + others


def cpu_seconds() -> float:
    """Of this process and of those it has started and waited for, user and system."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def ours(path: Path) -> Job:
    """Names, labels and aligned rows, as ingestion reads them."""
    read = block_reader(path)
    return lambda: count((block.names, block.letters) for block in read())


def ours_residues(path: Path) -> Job:
    """The same, and residues: letters checked, in capitals, without gaps."""
    from protein_robust.ingest.records import BadRecords, clean_block

    bad, read_blocks = BadRecords(), block_reader(path)

    def read() -> Iterator[Rows]:
        for block in read_blocks():
            clean = clean_block(block, bad)
            assert clean is not None  # or an error would have come
            yield block.names, block.letters, clean.sequences

    return lambda: count(read())


def block_reader(path: Path) -> Callable[[], Iterator[Block]]:
    """Gives the families of a Stockholm file, one after the other; all imports are done."""
    from protein_robust.ingest.readers.files import open_source
    from protein_robust.ingest.readers.stockholm import read_stockholm
    from protein_robust.ingest.records import BadRecords

    def read() -> Iterator[Block]:
        with open_source(path) as opened:
            yield from read_stockholm(opened.stream, str(path), bad=BadRecords())

    return read


def alignio(path: Path) -> Job:
    """Names and aligned rows by `Bio.AlignIO`, which gives no labels."""
    from Bio import AlignIO

    return lambda: count(
        ([row.id for row in family], [row.seq for row in family])
        for family in AlignIO.parse(path, "stockholm")
    )


def alignio_residues(path: Path) -> Job:
    """The same, and residues: in capitals, without gaps."""
    from Bio import AlignIO

    def read() -> Iterator[Rows]:
        for family in AlignIO.parse(path, "stockholm"):
            aligned = [bytes(row.seq) for row in family]
            yield [row.id for row in family], aligned, without_gaps(aligned)

    return lambda: count(read())


def easel(path: Path) -> Job:
    """Names, labels and aligned rows by `pyhmmer.easel.MSAFile`, each as a Python string."""
    from pyhmmer.easel import MSAFile

    def run() -> Counted:
        with closing(MSAFile(path, format="pfam")) as file:
            return count((list(family.names), list(family.alignment)) for family in file)

    return run


def easel_residues(path: Path) -> Job:
    """The same, and residues: in capitals, without gaps."""
    from pyhmmer.easel import MSAFile

    def read() -> Iterator[Rows]:
        with closing(MSAFile(path, format="pfam")) as file:
            for family in file:
                aligned = list(family.alignment)
                residues = without_gaps([row.encode() for row in aligned])
                yield list(family.names), aligned, residues

    return lambda: count(read())


def easel_alone(path: Path) -> Job:
    """By `pyhmmer.easel.MSAFile`, but nothing taken out of its C structures: no Python strings."""
    from pyhmmer.easel import MSAFile

    def run() -> Counted:
        families = rows = cells = 0
        with closing(MSAFile(path, format="pfam")) as file:
            for family in file:
                families += 1
                rows += len(family.names)
                cells += len(family.names) * len(family)
        return {"families": families, "rows": rows, "cells": cells}

    return run


def without_gaps(aligned: Sequence[bytes]) -> list[bytes]:
    """The residues of aligned rows, in the fastest way that Python has."""
    return [row.translate(CAPITALS, b".-") for row in aligned]


def count(families: Iterable[Rows]) -> Counted:
    """Count what has been read, one family after the other."""
    counted: Counted = {"families": 0, "rows": 0, "cells": 0}
    for names, aligned, *residues in families:
        counted["families"] += 1
        counted["rows"] += len(names)
        counted["cells"] += sum(map(len, aligned))
        for rows in residues:
            counted["residues"] = counted.get("residues", 0) + sum(map(len, rows))
    return counted


def ingestion(path: Path, dataset: Path) -> Job:
    """A dataset folder with the random split, verified."""
    from protein_robust.ingest import SPLITS, IngestOptions, Source, ingest

    def run() -> Counted:
        manifest = ingest([Source(path)], dataset, options=IngestOptions(split="random"))
        counts = manifest["counts"]
        return {"rows": sum(counts[split] for split in SPLITS), "read": counts["records"]}

    return run


def noise(dataset: Path, folder: Path, *, kind: str = "symmetric") -> Job:
    """Read a dataset, change 20 % of its labels, crop its sequences, write a noise folder."""
    from protein_robust.study.noise import prepare_noise

    run = planned_run(dataset, folder, kind=kind)

    def prepare() -> Counted:
        prepare_noise(run)
        return {}

    return prepare


def opening(dataset: Path, folder: Path) -> Job:
    """Read a dataset and its noise into the arrays that training cuts its batches from."""
    from protein_robust.study.data import load_data

    run = planned_run(dataset, folder)
    return lambda: {"rows": sum(len(part.lengths) for part in load_data(run).datasets.values())}


def planned_run(dataset: Path, folder: Path, *, kind: str = "symmetric") -> PlannedRun:
    """A run of a study, as far as its data are concerned."""
    from protein_robust.ingest import read_manifest
    from protein_robust.study.plan import PlannedRun

    inputs = {
        "seed": 0,
        "dataset_digest": read_manifest(dataset)["digest"],
        "noise": {"label": LABEL_RULES[kind], "crop": {"kind": "random"}},
    }
    return PlannedRun(
        study="benchmark",
        name="benchmark",
        key="",
        folder=folder,
        dataset_folder=dataset,
        noise_folder=folder,
        noise=kind,
        loss_label="",
        inputs=inputs,
        teacher=None,
        teacher_name=None,
        device="cpu",
        threads=1,
        checkpoints={},
    )


JOBS: dict[str, Callable[..., Job]] = {
    "ours": ours,
    "AlignIO": alignio,
    "MSAFile": easel,
    "MSAFile, nothing taken out": easel_alone,
    "ours, residues": ours_residues,
    "AlignIO, residues": alignio_residues,
    "MSAFile, residues": easel_residues,
    "ingest": ingestion,
    "noise": noise,
    "noise, clan-aware": partial(noise, kind="clan"),
    "open": opening,
}

if __name__ == "__main__":
    sys.exit(main())
