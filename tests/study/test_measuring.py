"""What is measured of a trained network: on which data, from which labels, and written whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from protein_robust.config import load_study
from protein_robust.datasets import SequenceDataset
from protein_robust.evaluation.predict import predict_at
from protein_robust.evaluation.temperature import collect_logits, fit_temperature
from protein_robust.ingest import read_families
from protein_robust.study import (
    PlannedRun,
    evaluate_run,
    load_data,
    mark_done,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
)
from protein_robust.study.data import make_model
from protein_robust.study.measuring import find_temperature, measure_kept_fractions
from protein_robust.study.sequence_data import SequenceData
from protein_robust.training import load_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(study_folder: tuple[Path, Callable[..., Path]]) -> PlannedRun:
    """A finished run of three families, the first and the last of one clan, unequal in size."""
    folder, write_study = study_folder
    table = pd.read_csv(folder / "table.csv")
    table["clan"] = table["family_accession"].map({"PF1": "CL1", "PF2": "", "PF3": "CL1"})
    keep = (table["family_accession"] != "PF2") | (table.index < 36)
    table[keep].to_csv(folder / "table.csv", index=False)
    study = load_study(write_study(losses="[cross_entropy]"), [])
    manifest, _ = prepare_data(study)
    [run] = plan_runs(study, manifest["digest"])
    prepare_noise(run)
    assert run_all([run]) == []
    return run


def metrics_of(run: PlannedRun) -> dict[str, dict[str, dict[str, float]]]:
    content: dict[str, dict[str, dict[str, float]]] = json.loads(
        (run.folder / "metrics.json").read_text()
    )
    return content


def predictions_of(run: PlannedRun, data: str) -> pd.DataFrame:
    table = pd.read_parquet(run.folder / "predictions.parquet")
    return table[(table["checkpoint"] == "final") & (table["data"] == data)]


def final_network(run: PlannedRun, data: SequenceData) -> torch.nn.Module:
    model = make_model(run, data)
    load_weights(run.folder / "checkpoints" / "last", model)
    return model


def with_labels(data: SequenceData, split: str) -> SequenceData:
    """The same data, but for every label of one split."""
    dataset = data.datasets[split]
    other = (dataset.label + 1) % len(data.families)
    changed = SequenceDataset(dataset.tokens, dataset.offset, other, dataset.lengths)
    return replace(data, datasets={**data.datasets, split: changed})


def test_the_temperature_is_that_of_the_validation_data_and_of_no_other(run: PlannedRun) -> None:
    data = load_data(run)
    model = final_network(run, data)
    logits, label = collect_logits(model, data.evaluation_batches("valid", run))
    expected = fit_temperature(logits, label)
    assert metrics_of(run)["final"]["valid"]["temperature"] == pytest.approx(expected)
    assert find_temperature(run, with_labels(data, "test"), model) == expected  # type: ignore[arg-type]
    assert find_temperature(run, with_labels(data, "train"), model) == expected  # type: ignore[arg-type]
    assert find_temperature(run, with_labels(data, "valid"), model) != expected  # type: ignore[arg-type]


def test_calibrated_numbers_are_those_at_the_temperature(run: PlannedRun) -> None:
    data = load_data(run)
    model = final_network(run, data)
    temperature = metrics_of(run)["final"]["valid"]["temperature"]
    [scaled] = predict_at(model, data.evaluation_batches("test", run), [temperature])
    kept = predictions_of(run, "test")["calibrated_max_probability"]
    np.testing.assert_allclose(kept, scaled.max_probability)
    found = metrics_of(run)["final"]["test"]
    assert found["calibrated_max_probability"] == pytest.approx(scaled.max_probability.mean())


def test_accuracy_by_clan_is_that_of_the_predicted_families_clans(run: PlannedRun) -> None:
    families = read_families(run.dataset_folder).to_pandas()
    assert families["clan"].fillna("").tolist() == ["CL1", "", "CL1"]
    clan = dict(zip(families["family_accession"], families["clan"], strict=True))
    table = predictions_of(run, "test")
    right = [
        said == label or (clan[said] is not None and clan[said] == clan[label])
        for said, label in zip(table["prediction"], table["label"], strict=True)
    ]
    found = metrics_of(run)["final"]["test"]
    assert found["clan_accuracy"] == pytest.approx(np.mean(right))
    assert found["clan_accuracy"] > found["accuracy"]  # or this data would not show a mistake


def test_groups_are_of_the_family_s_training_size_and_of_what_is_seen(run: PlannedRun) -> None:
    groups = pd.read_parquet(run.folder / "evaluation" / "groups.parquet")
    groups = groups[(groups["checkpoint"] == "final") & (groups["data"] == "test")]
    table = predictions_of(run, "test")
    families = read_families(run.dataset_folder).to_pandas().set_index("family_accession")
    is_right = table["prediction"] == table["label"]
    sizes = table["label"].map(families["num_train"])
    assert sizes.min() <= 10 < sizes.max()
    kept = table["crop_length"] / table["sequence_length"]
    ends = {
        "family_size": (sizes, [0, 10, 50, 200, np.inf]),
        "length": (table["crop_length"], [0, 50, 100, 200, 400, np.inf]),
        "kept_fraction": (kept, [0, 0.2, 0.4, 0.6, 0.8, np.inf]),
    }
    for kind, (values, borders) in ends.items():
        place = pd.cut(values, borders, labels=False)
        expected = is_right.groupby(place).agg(["size", "mean"])
        found = groups[groups["group_by"] == kind].set_index("place")
        assert found["num_examples"].tolist() == expected["size"].tolist(), kind
        assert found["accuracy"].tolist() == pytest.approx(expected["mean"].tolist()), kind
    by_family = groups[groups["group_by"] == "family"].set_index("group")["accuracy"]
    assert by_family.to_dict() == pytest.approx(is_right.groupby(table["label"]).mean().to_dict())


def test_the_whole_sequence_is_the_whole_and_a_part_is_that_part(run: PlannedRun) -> None:
    kept = pd.read_parquet(run.folder / "evaluation" / "kept_fractions.parquet")
    assert kept["kept_fraction"].tolist() == [1.0, 0.8, 0.6, 0.4, 0.2]
    whole = metrics_of(run)["final"]["test_whole"]
    for name in ("accuracy", "max_probability", "calibrated_expected_calibration_error"):
        assert kept[name].iloc[0] == pytest.approx(whole[name])
    assert kept["max_probability"].nunique() == 5


def test_parts_are_cut_to_their_fraction(run: PlannedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_data(run)
    seen = []
    cut = SequenceData.cropped_batches

    def watched(self: SequenceData, split: str, crops: object, *rest: object) -> object:
        seen.append(crops.length / self.datasets[split].lengths)  # type: ignore[attr-defined]
        return cut(self, split, crops, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(SequenceData, "cropped_batches", watched)
    measure_kept_fractions(run, data, final_network(run, data), None)
    lengths = data.datasets["test"].lengths
    for fraction, kept in zip((1.0, 0.8, 0.6, 0.4, 0.2), seen, strict=True):
        np.testing.assert_allclose(kept, np.ceil(fraction * lengths - 1e-9) / lengths)


def test_an_evaluation_that_is_interrupted_leaves_a_run_that_is_not_done(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.is_done
    before = metrics_of(run)
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("protein_robust.study.evaluating.write_json", interrupt)
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(run, load_data(run))
    assert not run.is_done
    evaluate_run(run, load_data(run))
    assert mark_done(run)
    assert run.is_done
    assert metrics_of(run) == before


def test_a_run_without_its_tables_is_evaluated_again_and_not_trained(run: PlannedRun) -> None:
    weights = run.folder / "checkpoints" / "last" / "weights.safetensors"
    before = (weights.read_bytes(), metrics_of(run))
    (run.folder / "evaluation" / "groups.parquet").unlink()
    assert not run.is_done
    assert run_all([run]) == []
    assert run.is_done
    assert (weights.read_bytes(), metrics_of(run)) == before
