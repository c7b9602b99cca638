"""The networks of a study that may become versions of its registered model."""

from __future__ import annotations

import json
from collections.abc import Iterable

from protein_robust.ingest import read_sequences
from protein_robust.study.plan import PlannedRun
from protein_robust.tracking import Candidate

NUM_EXAMPLES = 3
"""Sequences that show what the model takes."""


def find_candidates(runs: Iterable[PlannedRun]) -> list[Candidate]:
    """Gather the final networks that were packaged, and have a validation accuracy.

    Args:
        runs: of the study.

    Returns:
        A candidate for each finished run that has both, in their order.
    """
    examples: dict[str, list[str]] = {}  # the runs of a study read the same data set
    candidates = []
    for run in runs:
        if not run.is_done or not (run.folder / "model" / "model.json").is_file():
            continue
        metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        accuracy = metrics["final"].get("valid", {}).get("accuracy")
        if accuracy is None:
            continue
        dataset = str(run.dataset_folder)
        if dataset not in examples:
            examples[dataset] = _example(run)
        candidates.append(Candidate(run.folder, run.title, accuracy, _tags(run), examples[dataset]))
    return candidates


def _tags(run: PlannedRun) -> dict[str, str]:
    return {
        "loss": run.loss_label,
        "noise": run.noise,
        "seed": str(run.seed),
        "run_key": run.key,
        "dataset_digest": str(run.inputs["dataset_digest"]),
    }


def _example(run: PlannedRun) -> list[str]:
    """The first validation sequences of the data set."""
    table = read_sequences(run.dataset_folder, "valid", columns=["sequence"])
    sequences: list[str] = table["sequence"].slice(0, NUM_EXAMPLES).to_pylist()
    return sequences
