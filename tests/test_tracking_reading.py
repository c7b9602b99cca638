"""A study read back from a real SQLite store: the numbers that its own files have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from protein_robust.errors import InputError
from protein_robust.pipeline import main
from protein_robust.report import display_frame, talk_table
from protein_robust.study import (
    PlannedRun,
    collect_history,
    collect_results,
    collect_tables,
    find_runs,
)
from protein_robust.tracking import prepare
from protein_robust.tracking.reading import read_history, read_results, read_table

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.slow
KEYS = ["noise", "loss", "seed", "checkpoint", "data", "metric"]


@pytest.fixture(scope="module")
def store(study_folder: tuple[Path, WriteStudy]) -> str:
    """A store with a study whose losses and noise settings are not in alphabetical order."""
    folder, write_study = study_folder
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    path = write_study(
        tracking=f"{{uri: '{uri}'}}",
        noise="[{name: none}, {name: label, label: {kind: symmetric, rate: 0.2}}]",
        losses="[{name: proselflc, label: PSLC}, {name: cross_entropy, label: CCE}]",
        baselines="[profile_hmm]",
    )
    assert main(["run", str(path), "--jobs", "1"]) == 0
    return uri


def runs_beside(store: str) -> list[PlannedRun]:
    return find_runs([Path(store.removeprefix("sqlite:///")).parent / "results"])


def test_what_is_read_back_is_what_the_study_has(store: str) -> None:
    runs = runs_beside(store)
    results = collect_results(runs)
    read = read_results(store, "tiny")
    assert not read.duplicated(KEYS).any()
    # Every value that MLflow has is that of the files, to the last bit.
    both = read.merge(results, on=KEYS, suffixes=("_read", ""), how="left")
    assert len(both) == len(read)
    pd.testing.assert_series_equal(both["value_read"], both["value"], check_names=False)
    # And it has what the talk's table needs, in the study's order.
    expected = display_frame(talk_table(results))
    pd.testing.assert_frame_equal(display_frame(talk_table(read)), expected)
    assert list(expected.columns[-3:]) == ["PSLC", "CCE", "HMM"]
    assert list(read["noise"].unique()) == ["none", "label"]


def test_curves_and_tables_are_those_of_the_runs(store: str) -> None:
    runs = runs_beside(store)
    order = ["noise", "seed", "loss", "epoch"]
    for read, kept in (
        (read_history(store, "tiny"), collect_history(runs)),
        (read_table(store, "tiny", "groups"), collect_tables(runs, "groups")),
    ):
        by = [name for name in order if name in read]
        columns = sorted(kept.columns)
        pd.testing.assert_frame_equal(
            read[columns].sort_values(by, kind="stable").reset_index(drop=True),
            kept[columns].sort_values(by, kind="stable").reset_index(drop=True),
        )


def test_a_study_or_a_table_that_is_not_there_is_refused(store: str) -> None:
    with pytest.raises(InputError, match="a study with finished runs in the store, got 'other'"):
        read_results(store, "other")
    with pytest.raises(InputError, match=r"runs with evaluation/nothing\.parquet of study tiny"):
        read_table(store, "tiny", "nothing")


def test_an_empty_store_has_no_study(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'empty.db'}"
    prepare(uri, "tiny")
    with pytest.raises(InputError, match="got 'tiny'"):
        read_history(uri, "tiny")
