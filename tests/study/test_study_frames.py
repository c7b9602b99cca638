"""From finished runs to a study's page: its numbers are those of the runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protein_robust.config import load_study
from protein_robust.report import StudyFacts, write_study
from protein_robust.study import (
    PlannedRun,
    RunReport,
    losses_of,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
)
from protein_robust.study.frames import collect_frames

pytestmark = pytest.mark.slow

NOISE = (
    "[{name: crop, crop: {kind: random, min_fraction: 0.6}}, {name: crop + label, "
    "crop: {kind: random, min_fraction: 0.6}, label: {kind: symmetric, rate: 0.4}}]"
)


def ignore(report: RunReport) -> None:
    """Nobody looks on."""


@pytest.fixture
def runs(write_study: Callable[..., Path]) -> list[PlannedRun]:
    study = load_study(write_study(noise=NOISE))
    planned = plan_runs(study, prepare_data(study)[0]["digest"])
    for run in planned:
        prepare_noise(run)
    assert run_all(planned, jobs=1, experiment=None, on_report=ignore) == []
    return planned


def test_page_and_tables_tell_the_numbers_of_the_runs(
    runs: list[PlannedRun], tmp_path: Path
) -> None:
    frames = collect_frames(runs, np.random.default_rng(0))
    written = write_study(frames, tmp_path / "o", facts=StudyFacts("tiny"), losses=losses_of(runs))
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    table = pd.read_csv(tmp_path / "o" / "table.csv")
    test = table[(table["metric"] == "accuracy") & (table["data"] == "test")]
    for run in runs:
        metrics = json.loads((run.folder / "metrics.json").read_text())
        accuracy = metrics["final"]["test"]["accuracy"]
        [value] = test.loc[test["noise"] == run.noise, f"{run.loss_label} mean"]
        assert value == accuracy
        assert f">{100 * accuracy:.1f}</td>" in page
    kinds = {path.stem.split("_crop")[0] for path in written if path.suffix == ".svg"}
    assert {"reliability", "risk_coverage", "accuracy_by_group", "unknown_detection"} <= kinds
    assert "robustness_by_rate_symmetric_label_noise_random" in " ".join(map(str, written))

    # Every pair counts exactly what the predictions of both networks say.
    pair = frames.comparisons.iloc[0]
    right = {}
    for run in runs[:2]:
        said = pd.read_parquet(run.folder / "predictions.parquet")
        said = said[(said["checkpoint"] == "final") & (said["data"] == "test")]
        right[run.loss_label] = (said["prediction"] == said["clean_label"]).to_numpy()
    first, second = right[pair["first"]], right[pair["second"]]
    assert pair["first_only"] == (first & ~second).sum()
    assert pair["second_only"] == (second & ~first).sum()
    assert pair["num_examples"] == len(first)
