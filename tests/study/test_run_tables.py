"""The tables that MLflow shows of a run, from evaluation tables that are laid out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from protein_robust.study.run_tables import run_tables

METRICS: Any = {
    "final": {"valid": {"accuracy": 0.5, "temperature": 1.5}, "test": {"accuracy": None}},
    "best": {"test": {"accuracy": 0.75}},
    "best_epoch": 3,
}


def group(checkpoint: str, data: str, group_by: str, name: str, place: int) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "data": data,
        "group_by": group_by,
        "group": name,
        "place": place,
        "num_examples": 4,
        "accuracy": 0.5,
        "accuracy_low": 0.15,
        "accuracy_high": 0.85,
        "entropy_confidence": 0.6,
        "max_probability": 0.9,
        "calibrated_max_probability": 0.7,
        "expected_calibration_error": 0.4,
        "calibrated_expected_calibration_error": 0.2,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "evaluation").mkdir()
    return tmp_path


def test_metrics_name_data_metric_and_network_in_one_column(tmp_path: Path) -> None:
    tables = run_tables(tmp_path, METRICS)
    assert list(tables) == ["all_metrics"]  # there is no evaluation folder
    assert tables["all_metrics"]["metric"].tolist() == [
        "valid | accuracy | final",
        "valid | temperature | final",
        "test | accuracy | final",
        "test | accuracy | best",
    ]
    assert tables["all_metrics"]["value"].fillna(-1).tolist() == [0.5, 1.5, -1, 0.75]


def test_groups_of_the_final_network_are_in_order(folder: Path) -> None:
    rows = [
        group("final", "test", "family_size", "> 200", 3),
        group("final", "test", "family_size", "11-50", 1),
        group("final", "valid", "family_size", "11-50", 1),
        group("final", "train", "family_size", "11-50", 1),
        group("best", "test", "family_size", "<= 10", 0),
        group("final", "test", "length", "1-50", 0),
    ]
    pd.DataFrame(rows).to_parquet(folder / "evaluation" / "groups.parquet")
    tables = run_tables(folder, METRICS)
    assert list(tables) == ["all_metrics", "by_family_size", "by_length"]
    sizes = tables["by_family_size"]
    assert sizes["family size"].tolist() == ["valid | 11-50", "test | 11-50", "test | > 200"]
    assert sizes.iloc[0].tolist()[1:] == [4, 0.5, 0.15, 0.85, 0.7, 0.2]
    assert tables["by_length"]["length"].tolist() == ["test | 1-50"]


def test_groups_that_are_not_there_have_no_table(folder: Path) -> None:
    rows = [group("final", "test", "family", "PF00001.21", 0)]
    pd.DataFrame(rows).to_parquet(folder / "evaluation" / "groups.parquet")
    assert list(run_tables(folder, METRICS)) == ["all_metrics"]


def test_reliability_has_the_bins_of_equal_width_that_hold_something(folder: Path) -> None:
    columns = ["checkpoint", "data", "is_calibrated", "binning", "place", "low", "high"]
    columns += ["num_examples", "confidence", "accuracy"]
    rows = [
        ("final", "test", False, "equal_width", 1, 0.9, 1.0, 5, 0.95, 0.8),
        ("final", "test", True, "equal_width", 1, 0.9, 1.0, 4, 0.93, 0.9),
        ("final", "test", True, "equal_width", 0, 0.8, 0.9, 2, 0.85, 0.5),
        ("final", "test", True, "equal_width", 2, 0.0, 0.1, 0, None, None),
        ("final", "test", True, "equal_mass", 0, 0.8, 0.9, 2, 0.85, 0.5),
        ("best", "test", True, "equal_width", 0, 0.8, 0.9, 2, 0.85, 0.5),
        ("final", "valid", True, "equal_width", 0, 0.8, 0.9, 2, 0.85, 0.5),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    frame.to_parquet(folder / "evaluation" / "reliability.parquet")
    table = run_tables(folder, METRICS)["reliability"]
    assert table.to_numpy().tolist() == [
        ["calibrated | 0.800 to 0.900", 2, 0.85, 0.5],
        ["calibrated | 0.900 to 1.000", 4, 0.93, 0.9],
        ["as trained | 0.900 to 1.000", 5, 0.95, 0.8],
    ]
