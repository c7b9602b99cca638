"""Train one run, and note how it goes: measured during training, kept in `history.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from protein_robust import ranks
from protein_robust.atomic import replace_file
from protein_robust.evaluation import Describe, label_probability_histograms, predict, summarise
from protein_robust.ingest import SPLITS
from protein_robust.losses import Described
from protein_robust.study.data import make_model
from protein_robust.study.objective import make_objective, run_loss
from protein_robust.study.plan import PlannedRun
from protein_robust.study.run_data import RunData
from protein_robust.tracking import TrainingRun
from protein_robust.training import (
    Checkpoints,
    FitOptions,
    Record,
    StepReport,
    TrainingDiverged,
    TrainingState,
    fit,
)

OnStep = Callable[[StepReport], None]


class RunObserver:
    """Measures a run after each epoch: validation data whole, train and test on a fixed part.

    The part is the same in every epoch, so a curve shows the network and nothing else; and the best
    epoch is chosen on all validation data. (The table has all data: `evaluate_run`.)

    Args:
        run: the run.
        data: what it reads.
        tracked: its MLflow run; None for none.
        on_step: told the running figures.
    """

    def __init__(
        self, run: PlannedRun, data: RunData, *, tracked: TrainingRun | None, on_step: OnStep
    ) -> None:
        """Choose the examples that are measured during training."""
        self._run = run
        self._data = data
        self._tracked = tracked
        self._on_step = on_step
        limit = run.inputs["training"]["monitor_size"]
        self._subsets = {
            split: _fixed_subset(data.size(split), limit, seed=run.seed)
            for split in ("train", "test")
        }

    def evaluate(self, model: nn.Module, epoch: int) -> Record:
        """The metrics of every split, by names such as ``test/accuracy``.

        Of the training data also what the loss says of its examples (the trust in them, their
        emphasis), and the histograms of p_y.
        """
        metrics: dict[str, float | list[float]] = {}
        for split in SPLITS:
            if not self._data.size(split):
                continue
            batches = self._data.evaluation_batches(split, self._run, self._subsets.get(split))
            describe = self._describe(epoch) if split == "train" else None
            precision = self._run.inputs["training"]["precision"]
            predictions = predict(model, batches, describe, precision=precision)
            label = self._data.label[split][predictions.index]
            clean = self._data.clean_label[split][predictions.index]
            summary = summarise(predictions, label, clean)
            metrics |= {f"{split}/{name}": value for name, value in summary.items()}
            if split == "train":
                histograms = label_probability_histograms(predictions, label, clean)
                metrics |= {f"train/{name}": counts for name, counts in histograms.items()}
        return metrics

    def _describe(self, epoch: int) -> Describe | None:
        loss, progress = run_loss(self._run), epoch / self._run.inputs["training"]["epochs"]
        if not isinstance(loss, Described):
            return None
        return lambda logits, labels: loss.describe(logits, labels, progress)

    def on_step(self, report: StepReport) -> None:
        """Pass the running figures on."""
        if ranks.rank() == 0:
            self._on_step(report)

    def on_divergence(self, diverged: TrainingDiverged, back_to: TrainingState | None) -> None:
        """Write down the update and its examples in `diverged.jsonl`."""
        if ranks.rank() != 0:
            return
        column, names = self._data.names(self._run, "train")
        content = {
            "epoch": diverged.epoch,
            "update": diverged.step,
            "loss": str(diverged.loss),
            "positions": diverged.examples,
            column: names.take(list(diverged.examples)).to_pylist(),
            "goes_on_from_epoch": None if back_to is None else back_to.epoch,
        }
        with (self._run.folder / "diverged.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
        if back_to is not None:
            _write_history(self._run.folder, back_to.history)

    def on_epoch(self, record: Record) -> None:
        """Append the epoch to `history.jsonl`, and log it."""
        if ranks.rank() != 0:
            return
        with (self._run.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")
        if self._tracked is not None:
            log_record(self._tracked, record)


def log_record(tracked: TrainingRun, record: Mapping[str, Any]) -> None:
    """Log an epoch of the history; histograms are for figures."""
    metrics = {
        name: value
        for name, value in record.items()
        if name != "epoch" and not isinstance(value, list)
    }
    tracked.log_epoch(int(record["epoch"]), metrics)


def train_run(
    run: PlannedRun, data: RunData, *, tracked: TrainingRun | None, on_step: OnStep
) -> None:
    """Train a run to its end, from its last checkpoint where there is one.

    Args:
        run: the run; its folder gets `checkpoints/` and `history.jsonl`.
        data: what it reads.
        tracked: its MLflow run; None for none.
        on_step: told the running figures.

    Raises:
        TrainingDiverged: if the loss is not finite any more; `diverged.jsonl` says where.
    """
    model = make_model(run, data)
    objective = make_objective(run, data)
    keep = run.checkpoints["keep"]
    checkpoints = Checkpoints(run.folder / "checkpoints", checkpoint_metadata(run, data), keep)
    if ranks.rank() == 0:
        _write_history(run.folder, checkpoints.history())
    if tracked is not None:
        # An epoch may have been kept, and the process ended, before it was logged; or it was
        # trained without tracking. What is logged already stays as it is.
        for record in checkpoints.history():
            log_record(tracked, record)
    fit(
        model,
        objective,
        batches=data.training_batches(run),
        options=fit_options(run),
        observer=RunObserver(run, data, tracked=tracked, on_step=on_step),
        checkpoints=checkpoints,
    )


_OWN = {"batch_size", "max_residues", "length_window", "precision", "monitor_size"}
"""Training settings that are about data, network and measuring, not about `fit`."""


def fit_options(run: PlannedRun) -> FitOptions:
    """How a run is trained."""
    chosen: dict[str, Any] = {k: v for k, v in run.inputs["training"].items() if k not in _OWN}
    chosen["milestones"] = tuple(chosen["milestones"])
    times = {f"checkpoint_{name}": run.checkpoints[name] for name in ("every", "minutes")}
    return FitOptions(**chosen, **times)


def checkpoint_metadata(run: PlannedRun, data: RunData) -> dict[str, object]:
    """What a reader of a checkpoint needs besides the weights."""
    return {"key": run.key, "inputs": run.inputs, "families": data.families}


def _fixed_subset(size: int, limit: int, *, seed: int) -> NDArray[np.int64]:
    chosen = np.random.default_rng([seed, 2]).permutation(size)[:limit]
    return np.sort(chosen)


def _write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Bring `history.jsonl` to the state of the checkpoint from which the training goes on."""
    lines = "".join(json.dumps(dict(record)) + "\n" for record in history)
    replace_file(
        folder / "history.jsonl", lambda partial: partial.write_text(lines, encoding="utf-8")
    )
