"""Baselines of a study: what one would use instead of a network, on the same data, in its tables.

A baseline is carried out once for each noise setting and seed: it learns from the training
sequences with the labels that the networks are given, and predicts the very sequences, in the very
crops, that they are evaluated on. It learns from whole sequences, where networks see other crops of
them in each epoch. Like a run it is a function of its inputs, whose hash is in its folder's name.

An HMM gives no probability, so a baseline has no confidence and no calibration error.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from protein_robust.atomic import replace_file
from protein_robust.baselines import Profiles, build_profiles, search_profiles
from protein_robust.config import BASELINE_LABELS, slug
from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.ingest import read_manifest
from protein_robust.study.baseline_data import evaluated, sequence_names, training_rows
from protein_robust.study.baseline_metrics import hits_table, measure_hits
from protein_robust.study.data import load_data
from protein_robust.study.measuring import clan_numbers
from protein_robust.study.plan import PlannedRun, write_json
from protein_robust.study.sequence_data import SequenceData

SCHEMA_VERSION = 1
"""Part of a baseline's inputs: raised when the way of building or searching changes."""
SHARED = ("dataset_digest", "noise", "seed")
"""Inputs of a run that are a baseline's too."""
RESULT_FILES = ("predictions.parquet", "metrics.json", "done.json")
MAX_TRAINING_PAIRS = 10_000_000
"""Families times training sequences: beyond, those are not predicted, which would take hours."""

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, the families that are done, and how many there are."""


@dataclass(frozen=True)
class PlannedBaseline:
    """One baseline under one noise setting with one seed.

    Attributes:
        name: of `BASELINE_LABELS`.
        run: a run with the same data, noise and seed, on the CPU; of it no more is used.
        inputs: everything that the result depends on.
    """

    name: str
    run: PlannedRun
    inputs: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Hash of all inputs, hexadecimal."""
        return hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode()).hexdigest()

    @property
    def label(self) -> str:
        """As it stands in tables."""
        return BASELINE_LABELS[self.name]

    @property
    def title(self) -> str:
        """In words, like that of a run."""
        return f"{self.label} | {self.run.noise} | seed {self.run.seed}"

    @property
    def folder(self) -> Path:
        """Where it writes, in the study's folder."""
        stem = f"{slug(self.label).lower()}-{slug(self.run.noise)}-seed{self.run.seed}"
        return self.run.folder.parent.parent / "baselines" / f"{stem}-{self.key[:8]}"

    @property
    def is_done(self) -> bool:
        """Whether it was carried out with these very inputs."""
        return all((self.folder / name).exists() for name in RESULT_FILES)


def plan_baselines(names: Sequence[str], runs: Sequence[PlannedRun]) -> list[PlannedBaseline]:
    """List the baselines of a study: each under every noise setting, with every seed.

    Args:
        names: of `BASELINE_LABELS`.
        runs: of the study; their data set is there.

    Returns:
        The baselines, in the order of the runs.

    Raises:
        InputError: if the data set is not there.
    """
    if not names:
        return []
    cells = {(run.noise, run.seed): run for run in reversed(runs)}
    ordered = dict.fromkeys((run.noise, run.seed) for run in runs)
    return [_plan(name, cells[cell]) for cell in ordered for name in names]


def carry_out_baseline(baseline: PlannedBaseline, on_progress: OnProgress) -> str | None:
    """Build a baseline, predict with it, and write what it gives, `done.json` last.

    Args:
        baseline: which one; where it is done already, nothing happens.
        on_progress: told how far it is.

    Returns:
        Why it failed; None where it did not. As with runs, whatever goes wrong is not raised, so
        that the rest of the study goes on.
    """
    try:
        with _locked(baseline.folder):
            if not baseline.is_done:
                _build_and_search(baseline, on_progress)
    except ProteinRobustError as error:
        return str(error)
    except (OSError, MemoryError, RuntimeError, ValueError) as error:  # as HMMER's errors are
        trace = baseline.folder / "error.txt"
        with suppress(OSError):
            trace.write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {error} (traceback in {trace})"
    return None


def _build_and_search(baseline: PlannedBaseline, on_progress: OnProgress) -> None:
    run = baseline.run
    data = load_data(run)
    assert isinstance(data, SequenceData)  # a study on images has no baselines
    rows = training_rows(run, data)
    started = time.perf_counter()
    told = partial(on_progress, "building")
    profiles = build_profiles(rows, threads=run.threads, on_progress=told)
    build_seconds = time.perf_counter() - started
    metrics, tables = {}, []
    for kind in _kinds(data):
        told = partial(on_progress, f"searching {kind}")
        metrics[kind], table = _search(run, data, kind, profiles, told)
        metrics[kind]["build_seconds"] = build_seconds
        table.insert(0, "data", kind)
        tables.append(table)
    facts = {
        "num_families": len(profiles.family),
        "num_families_aligned_here": profiles.num_aligned_here,
        "num_rows_left_out": profiles.num_left_out,
    }
    _write(baseline, metrics, tables, facts)


def _search(
    run: PlannedRun,
    data: SequenceData,
    kind: str,
    profiles: Profiles,
    on_progress: Callable[[int, int], None],
) -> tuple[dict[str, float], pd.DataFrame]:
    """The metrics and the predictions of one kind of data."""
    label, clean, sequences = evaluated(run, data, kind)
    started = time.perf_counter()
    hits = search_profiles(profiles, sequences, threads=run.threads, on_progress=on_progress)
    seconds = time.perf_counter() - started
    metrics = measure_hits(hits, label, clean, clan_of=clan_numbers(run))
    names = sequence_names(run, data, kind)
    table = hits_table(hits, label, clean, names=names, families=data.families)
    return {**metrics, "search_seconds": seconds}, table


def _plan(name: str, run: PlannedRun) -> PlannedBaseline:
    manifest = read_manifest(run.dataset_folder)
    inputs = {
        "schema_version": SCHEMA_VERSION,
        "baseline": name,
        **{key: run.inputs[key] for key in SHARED},
        # The digest of the data set is that of its sequences and families only.
        "alignments_digest": manifest.get("alignments_digest"),
    }
    return PlannedBaseline(name, replace(run, device="cpu"), inputs)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a baseline's folder; the lock ends with this one."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            "a baseline that nobody is working on", "one at work in another process", path=folder
        ) from error
    try:
        yield
    finally:
        lock.release()


def _kinds(data: SequenceData) -> list[str]:
    """What is predicted."""
    num_pairs = len(data.families) * len(data.datasets["train"])
    kinds = [kind for kind in ("test", "test_whole", "train") if kind in data.crops]
    return [
        kind
        for kind in kinds
        if len(data.crops[kind].length) and (kind != "train" or num_pairs <= MAX_TRAINING_PAIRS)
    ]


def _write(
    baseline: PlannedBaseline,
    metrics: Mapping[str, Any],
    tables: Sequence[pd.DataFrame],
    facts: Mapping[str, int],
) -> None:
    folder = baseline.folder
    predictions = pd.concat(tables, ignore_index=True)
    predictions.insert(0, "checkpoint", "final")
    replace_file(folder / "predictions.parquet", partial(predictions.to_parquet))
    write_json(folder / "metrics.json", {"final": metrics})
    about = {"label": baseline.label, "noise": baseline.run.noise, "inputs": baseline.inputs}
    write_json(folder / "baseline.json", {**about, **facts, "threads": baseline.run.threads})
    write_json(folder / "done.json", {"key": baseline.key})
