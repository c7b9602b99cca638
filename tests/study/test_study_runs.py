"""A study carried out: the same numbers however it is carried out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from torch import nn

from protein_robust.config import load_study
from protein_robust.datasets import SequenceBatches
from protein_robust.errors import InputError
from protein_robust.evaluation import Predictions, predict
from protein_robust.models import Precision
from protein_robust.study import (
    PlannedRun,
    RunReport,
    collect_history,
    collect_results,
    evaluate_run,
    find_runs,
    load_data,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
    write_index,
)
from protein_robust.study.plan import RESULT_FILES
from protein_robust.study.sequence_data import SequenceData

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.slow


def prepared(path: Path, *overrides: str) -> list[PlannedRun]:
    study = load_study(path, overrides)
    manifest, _ = prepare_data(study)
    runs = plan_runs(study, manifest["digest"])
    for run in runs:
        prepare_noise(run)
    write_index(study.folder, runs)
    return runs


def ignore(report: RunReport) -> None:
    """Nobody looks on."""


def carry_out(path: Path, *overrides: str, jobs: int = 1) -> list[PlannedRun]:
    runs = prepared(path, *overrides)
    assert run_all(runs, jobs=jobs, experiment=None, on_report=ignore) == []
    return runs


def metrics_of(run: PlannedRun) -> dict[str, object]:
    content: dict[str, object] = json.loads((run.folder / "metrics.json").read_text())
    return content


def weights_of(run: PlannedRun) -> bytes:
    return (run.folder / "checkpoints" / "last" / "weights.safetensors").read_bytes()


def test_runs_side_by_side_give_what_runs_in_a_row_give(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    path = write_study()
    in_a_row = carry_out(path)
    side_by_side = carry_out(path, f"output={tmp_path / 'parallel'}", jobs=2)
    for one, other in zip(in_a_row, side_by_side, strict=True):
        assert one.folder != other.folder
        assert weights_of(one) == weights_of(other)
        assert metrics_of(one) == metrics_of(other)


@pytest.mark.parametrize("moment", [2, 6, 13])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    write_study: WriteStudy, tmp_path: Path, moment: int
) -> None:
    path = write_study(training="{epochs: 3, batch_size: 16}")
    whole = carry_out(path)[0]
    interrupted = prepared(path, f"output={tmp_path / 'again'}")[0]
    count = 0

    def interrupt(report: RunReport) -> None:
        nonlocal count
        count += 1
        if count == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([interrupted], jobs=1, experiment=None, on_report=interrupt)
    assert not interrupted.is_done
    assert run_all([interrupted], jobs=1, experiment=None, on_report=ignore) == []
    assert weights_of(interrupted) == weights_of(whole)
    assert metrics_of(interrupted) == metrics_of(whole)
    assert collect_history([interrupted])["epoch"].tolist() == [1, 2, 3]


def test_a_run_that_diverges_is_reported_and_the_others_go_on(write_study: WriteStudy) -> None:
    path = write_study(
        training="{epochs: 1, batch_size: 16, learning_rate: 1e30, clip_norm: null, warmup: 0}",
        losses="[{name: cross_entropy, label: CCE}]",
        noise="[{name: a}]",
    )
    good = prepared(path, "training.learning_rate=1e-3")[0]
    bad = prepared(path, "training.optimizer=sgd")[0]
    failures = run_all([bad, good], jobs=1, experiment=None, on_report=ignore)
    assert [failure.run for failure in failures] == [bad]
    assert "Expected a finite loss and gradient" in failures[0].message
    assert good.is_done
    assert not bad.is_done


def test_predictions_have_a_row_for_each_sequence_network_and_kind_of_data(
    write_study: WriteStudy,
) -> None:
    run = carry_out(write_study())[0]
    predictions = pd.read_parquet(run.folder / "predictions.parquet")
    kinds = {"train", "valid", "test"}
    assert set(predictions["data"]) == kinds | {f"{kind}_whole" for kind in kinds}
    assert set(predictions["checkpoint"]) == {"final", "best"}
    manifest = json.loads((run.dataset_folder / "manifest.json").read_text())
    final = predictions[predictions["checkpoint"] == "final"]
    sizes = final.groupby("data").size()
    for split in ("train", "valid", "test"):
        assert sizes[split] == manifest["counts"][split]
    whole = final[final["data"] == "test_whole"]
    assert (whole["crop_length"] == whole["sequence_length"]).all()
    assert not final[~final["data"].str.startswith("train")]["is_corrupted"].any()


def test_metrics_are_those_of_the_predictions(write_study: WriteStudy) -> None:
    run = carry_out(write_study())[0]
    predictions = pd.read_parquet(run.folder / "predictions.parquet")
    metrics = json.loads((run.folder / "metrics.json").read_text())
    for (network, data), part in predictions.groupby(["checkpoint", "data"]):
        right = (part["prediction"] == part["label"]).mean()
        assert metrics[network][data]["accuracy"] == pytest.approx(right)
    train = predictions[(predictions["data"] == "train") & (predictions["checkpoint"] == "final")]
    noisy = train[train["is_corrupted"]]
    corrected = (noisy["prediction"] == noisy["clean_label"]).mean()
    assert metrics["final"]["train"]["correction"] == pytest.approx(corrected)


def test_validation_is_measured_whole_and_the_rest_on_the_same_part(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def noting(
        model: nn.Module, batches: SequenceBatches, *more: Any, precision: Precision
    ) -> Predictions:
        predictions = predict(model, batches, *more, precision=precision)
        measured.append(predictions.index.tolist())
        return predictions

    monkeypatch.setattr("protein_robust.study.training.predict", noting)
    run = carry_out(write_study(training="{epochs: 3, batch_size: 16, monitor_size: 5}"))[0]
    train, valid, test = measured[0], measured[1], measured[2]
    assert measured[:9] == [train, valid, test] * 3
    assert (len(train), len(test)) == (5, 5)
    assert valid == list(range(9))
    history = collect_history([run])
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert history["valid/accuracy"].iloc[-1] == metrics["final"]["valid"]["accuracy"]
    best = history["valid/accuracy"].idxmax()
    assert metrics["best_epoch"] == history["epoch"][best]
    assert metrics["best"]["valid"]["accuracy"] == history["valid/accuracy"][best]


def test_results_are_collected_in_the_order_of_the_study(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    carry_out(write_study())
    runs = find_runs([tmp_path / "results"])
    results = collect_results(runs)
    assert list(results["loss"].unique()) == ["CCE", "PSLC"]
    assert list(results["noise"].unique()) == ["crop + label"]
    assert set(results["checkpoint"]) == {"final", "best"}


def test_runs_of_two_studies_are_told_apart(write_study: WriteStudy, tmp_path: Path) -> None:
    path = write_study(losses="[{name: cross_entropy, label: CCE}]")
    carry_out(path)
    carry_out(path, "name=second", f"output={tmp_path / 'second'}")
    results = collect_results(find_runs([tmp_path / "results", tmp_path / "second"]))
    assert list(results["noise"].unique()) == ["results: crop + label", "second: crop + label"]


def test_a_folder_given_twice_counts_once(write_study: WriteStudy, tmp_path: Path) -> None:
    run = carry_out(write_study())[0]
    folders = [tmp_path / "results", tmp_path / "results", run.folder]
    assert len(find_runs(folders)) == 2


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    path = write_study(losses="[{name: cross_entropy, label: CCE}]")
    one = carry_out(path)
    other = carry_out(path, "seeds=[1]", "training.epochs=1")
    with pytest.raises(InputError, match=r"Expected runs of CCE under crop . label that differ in"):
        collect_results([*one, *other])


def test_a_run_refuses_data_that_are_not_its_own(write_study: WriteStudy, table: Path) -> None:
    path = write_study()
    run = carry_out(path)[0]
    table.write_text(table.read_text() + "PF1,ACDEFGHIKLMNPQRSTVWYWWHCKD\n")
    prepare_data(load_study(path))
    with pytest.raises(InputError, match=r"Expected the data of run .* they were replaced since"):
        load_data(run)


def test_a_run_that_another_process_trains_is_left_to_it(write_study: WriteStudy) -> None:
    run = prepared(write_study())[0]
    with FileLock(run.folder / ".lock"):
        failures = run_all([run])
    assert "got one that another process trains" in failures[0].message
    assert run_all([run]) == []


def test_an_error_in_one_run_is_kept_and_the_others_go_on(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = prepared(write_study())

    def fails_once(run: PlannedRun, data: SequenceData) -> object:
        if run.name == runs[0].name:
            raise OSError(28, "No space left on device")
        return evaluate_run(run, data)

    monkeypatch.setattr("protein_robust.study.one_run.evaluate_run", fails_once)
    failures = run_all(runs)
    assert [failure.run.name for failure in failures] == [runs[0].name]
    assert "No space left on device" in failures[0].message
    assert "Traceback" in (runs[0].folder / "error.txt").read_text()
    assert runs[1].is_done


def test_noise_that_is_half_there_is_drawn_again_to_the_same(write_study: WriteStudy) -> None:
    run = prepared(write_study())[0]
    before = (run.noise_folder / "labels.parquet").read_bytes()
    (run.noise_folder / "labels.parquet").unlink()
    prepare_noise(run)
    assert (run.noise_folder / "labels.parquet").read_bytes() == before


def test_a_run_whose_results_are_lost_is_not_done(write_study: WriteStudy) -> None:
    run = carry_out(write_study())[0]
    (run.folder / "metrics.json").unlink()
    assert not run.is_done
    assert run_all([run]) == []
    assert run.is_done


def test_a_study_folder_may_be_moved(write_study: WriteStudy, tmp_path: Path) -> None:
    carry_out(write_study())
    (tmp_path / "results").rename(tmp_path / "moved")
    run = find_runs([tmp_path / "moved"])[0]
    before = json.loads((run.folder / "metrics.json").read_text())
    assert evaluate_run(run, load_data(run))["final"] == before["final"]


def test_no_other_file_is_left_by_a_finished_run(write_study: WriteStudy) -> None:
    run = carry_out(write_study())[0]
    names = {path.name for path in run.folder.iterdir()} - {".lock"}
    results = {Path(name).parts[0] for name in RESULT_FILES}
    assert names == {*results, "run.json", "checkpoints"}
    tables = {path.stem for path in (run.folder / "evaluation").iterdir()}
    assert tables == {"groups", "kept_fractions", "reliability", "risk_coverage", "unknown"}


def test_a_single_run_folder_can_be_compared(write_study: WriteStudy) -> None:
    run = carry_out(write_study())[0]
    assert [found.key for found in find_runs([run.folder])] == [run.key]


def test_a_folder_with_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got none that has a study\.json or run\.json"):
        find_runs([tmp_path])
    with pytest.raises(InputError, match="got nothing there"):
        find_runs([tmp_path / "absent"])


def test_a_study_without_a_finished_run_is_refused(write_study: WriteStudy, tmp_path: Path) -> None:
    prepared(write_study())
    with pytest.raises(InputError, match="Expected finished runs, got 2 that are not trained"):
        find_runs([tmp_path / "results"])


def test_data_without_a_validation_split_have_no_best_network(write_study: WriteStudy) -> None:
    runs = carry_out(write_study(), "data.valid_fraction=0")
    metrics = json.loads((runs[0].folder / "metrics.json").read_text())
    assert set(metrics) == {"final", "best_epoch"}
    assert set(metrics["final"]) == {"train", "test", "train_whole", "test_whole"}


def test_each_run_side_by_side_is_reported_to_its_end(write_study: WriteStudy) -> None:
    runs = prepared(write_study())
    reports: list[RunReport] = []
    assert run_all(runs, jobs=2, on_report=reports.append) == []
    ended = [report.run.name for report in reports if report.step is None]
    assert sorted(ended) == sorted(run.name for run in runs)
    assert any(report.step is not None for report in reports)
