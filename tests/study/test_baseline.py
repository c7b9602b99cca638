"""Baselines of a study: the same data, crops and labels as the networks, in the same tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from protein_robust.baselines import Hits
from protein_robust.config import load_study
from protein_robust.errors import ConfigError
from protein_robust.ingest import read_sequences
from protein_robust.noise import CropRule, draw_crops
from protein_robust.pipeline import main
from protein_robust.study import (
    PlannedBaseline,
    carry_out_baseline,
    plan_baselines,
    plan_runs,
    prepare_data,
    prepare_noise,
    track_baseline,
)
from protein_robust.study.baseline_data import cropped
from protein_robust.study.baseline_metrics import hits_table, measure_hits
from protein_robust.study.data import load_data
from protein_robust.study.measuring import clan_numbers
from protein_robust.tracking import prepare

WriteStudy = Callable[..., Path]
LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    """A table of three families of 20 rows of 50 residues, each with its aligned rows."""
    rng = np.random.default_rng(0)
    lines = ["family_accession,sequence,aligned_sequence\n"]
    for family in ("PF1", "PF2", "PF3"):
        ancestor = rng.choice(LETTERS, 50)
        for _ in range(20):
            row = "".join(np.where(rng.random(50) < 0.7, ancestor, rng.choice(LETTERS, 50)))
            lines.append(f"{family},{row},{row[:10]}--{row[10:]}\n")
    path = tmp_path / "aligned.csv"
    path.write_text("".join(lines))
    return path


def planned(path: Path, *overrides: str) -> list[PlannedBaseline]:
    study = load_study(path, ["baselines=[profile_hmm]", *overrides])
    manifest, _ = prepare_data(study)
    baselines = plan_baselines(study.baselines, plan_runs(study, manifest["digest"]))
    for baseline in baselines:
        prepare_noise(baseline.run)
    return baselines


def ignore(*_: object) -> None:
    """Nobody looks on."""


def carry_out(path: Path, *overrides: str) -> list[PlannedBaseline]:
    baselines = planned(path, *overrides)
    assert [carry_out_baseline(baseline, ignore) for baseline in baselines] == [None] * len(
        baselines
    )
    return baselines


def about(baseline: PlannedBaseline) -> dict[str, int]:
    content: dict[str, int] = json.loads((baseline.folder / "baseline.json").read_text())
    return content


def without_times(baseline: PlannedBaseline) -> dict[str, dict[str, float]]:
    content = json.loads((baseline.folder / "metrics.json").read_text())["final"]
    return {
        data: {k: v for k, v in values.items() if not k.endswith("_seconds")}
        for data, values in content.items()
    }


def data_of(table: Path, tmp_path: Path) -> str:
    return f"{{source: {table}, output: {tmp_path / 'dataset'}}}"


def test_one_for_each_noise_setting_and_seed_and_not_for_each_loss(write_study: WriteStudy) -> None:
    path = write_study(noise="[{name: a}, {name: b, label: {kind: symmetric, rate: 0.2}}]")
    titles = [baseline.title for baseline in planned(path, "seeds=[0, 1]")]
    assert titles == [f"HMM | {noise} | seed {seed}" for noise in "ab" for seed in (0, 1)]


def test_rows_of_clean_families_are_used_as_they_are_aligned(
    write_study: WriteStudy, aligned: Path, tmp_path: Path
) -> None:
    path = write_study(data=data_of(aligned, tmp_path), noise="[{name: clean}]")
    baseline = carry_out(path)[0]
    assert about(baseline)["num_families_aligned_here"] == 0
    assert without_times(baseline)["test"]["accuracy"] == 1.0


@pytest.mark.slow
def test_families_with_wrong_labels_are_aligned_anew(
    write_study: WriteStudy, aligned: Path, tmp_path: Path
) -> None:
    noise = "[{name: noisy, label: {kind: symmetric, rate: 0.4}}]"
    baseline = carry_out(write_study(data=data_of(aligned, tmp_path), noise=noise))[0]
    assert about(baseline)["num_families_aligned_here"] == 3
    metrics = without_times(baseline)
    assert metrics["test"]["accuracy"] == 1.0
    # floor(0.4 * 48) = 19 of 48 training labels are wrong: who finds all families agrees with 29.
    assert metrics["train"]["accuracy"] == pytest.approx(29 / 48)
    assert metrics["train"]["correction"] == 1.0
    assert metrics["train"]["wrong_fitting"] == 0.0


@pytest.mark.slow
def test_it_predicts_the_sequences_and_crops_of_the_networks(write_study: WriteStudy) -> None:
    baseline = carry_out(write_study())[0]
    table = pd.read_parquet(baseline.folder / "predictions.parquet")
    data = load_data(baseline.run)
    assert set(table["data"]) == {"train", "test", "test_whole"}
    for kind, part in table.groupby("data"):
        split = data.split_of(str(kind))
        names = read_sequences(baseline.run.dataset_folder, split)["sequence_name"].to_pylist()
        assert part["sequence_name"].tolist() == names
        given = np.array(data.families)[data.datasets[split].label.numpy()]
        assert part["label"].tolist() == given.tolist()


def test_crops_of_letters_are_those_of_tokens(write_study: WriteStudy) -> None:
    noise = "[{name: cut, crop: {kind: internal_deletion, min_fraction: 0.4}}]"
    run = planned(write_study(noise=noise))[0].run
    data = load_data(run)
    whole = read_sequences(run.dataset_folder, "test")["sequence"].to_pylist()
    dataset = data.datasets["test"]
    seen = cropped(whole, data.crops["test"])
    crops = data.crops["test"]
    for number, part in enumerate(seen):
        kept = np.arange(crops.length[number])
        gap = np.where(kept < crops.gap_start[number], 0, crops.gap_length[number])
        place = crops.start[number] + kept + gap
        assert part == "".join(whole[number][spot] for spot in place)
    assert [len(part) for part in seen] == crops.length.tolist()
    assert len(dataset) == len(seen)


def test_no_crop_leaves_everything() -> None:
    crops = draw_crops(np.array([3, 1]), rule=CropRule(), rng=np.random.default_rng(0))
    assert cropped(["ACD", "W"], crops) == ["ACD", "W"]


@pytest.mark.slow
def test_the_same_inputs_give_the_same_numbers(write_study: WriteStudy, tmp_path: Path) -> None:
    path = write_study()
    one, other = carry_out(path)[0], carry_out(path, f"output={tmp_path / 'again'}", "threads=2")[0]
    assert one.folder != other.folder
    assert without_times(one) == without_times(other)
    pd.testing.assert_frame_equal(
        pd.read_parquet(one.folder / "predictions.parquet"),
        pd.read_parquet(other.folder / "predictions.parquet"),
    )


@pytest.mark.slow
def test_what_is_done_is_not_done_again(write_study: WriteStudy) -> None:
    baseline = carry_out(write_study())[0]
    before = (baseline.folder / "metrics.json").stat().st_mtime_ns
    told: list[str] = []
    assert carry_out_baseline(baseline, lambda what, *_: told.append(what)) is None
    assert told == []
    assert (baseline.folder / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_an_interrupted_one_is_not_done_and_is_carried_out_again(write_study: WriteStudy) -> None:
    baseline = planned(write_study())[0]

    def interrupt(what: str, *_: int) -> None:
        if what == "searching test":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out_baseline(baseline, interrupt)
    assert not baseline.is_done
    assert carry_out_baseline(baseline, ignore) is None
    assert baseline.is_done


def test_other_noise_is_another_baseline(write_study: WriteStudy) -> None:
    path = write_study()
    keys = {
        planned(path, *overrides)[0].key
        for overrides in ([], ["seeds=[5]"], ["noise.0.label.rate=0.3"], ["training.epochs=9"])
    }
    assert len(keys) == 3  # the training of networks is none of its inputs


def test_what_goes_wrong_is_told_and_not_raised(write_study: WriteStudy) -> None:
    baseline = planned(write_study())[0]
    (baseline.run.noise_folder / "manifest.json").unlink()
    failure = carry_out_baseline(baseline, ignore)
    assert failure is not None
    assert "Expected a complete noise folder" in failure


def test_measures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label, prediction = rng.integers(0, 5, 200), rng.integers(-1, 5, 200)
    score = np.where(prediction < 0, np.nan, 1.0)
    hits = Hits(prediction, score, np.full(200, -1), np.full(200, np.nan), prediction > 1)
    metrics = measure_hits(hits, label, label, clan_of=np.array([0, 0, 1, 2, 3]))
    covered = prediction >= 0
    assert metrics["accuracy"] == pytest.approx((prediction == label).mean())
    assert metrics["coverage"] == pytest.approx(covered.mean())
    assert metrics["covered_accuracy"] == pytest.approx((prediction == label)[covered].mean())
    assert metrics["first_pass_coverage"] == pytest.approx((prediction > 1).mean())
    in_clan = (prediction == label) | ((prediction >= 0) & (prediction < 2) & (label < 2))
    assert metrics["clan_accuracy"] == pytest.approx(in_clan.mean())
    # Recall of a family counts what has no hit; the mean F1 is over the families only.
    f1 = f1_score(label, prediction, labels=range(5), average="macro")
    assert metrics["macro_f1"] == pytest.approx(f1)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        recall = balanced_accuracy_score(label, prediction)
    assert metrics["balanced_accuracy"] == pytest.approx(recall)


def test_a_sequence_without_a_hit_has_no_family_in_the_table() -> None:
    hits = Hits(
        np.array([-1, 1]),
        np.array([np.nan, 7.5]),
        np.array([-1, 0]),
        np.array([np.nan, 2.5]),
        np.array([False, True]),
    )
    one = np.array([1, 1])
    table = hits_table(hits, one, one, names=pd.Series(["a", "b"]), families=["PF1", "PF2"])
    assert table["prediction"].isna().tolist() == [True, False]
    assert table.loc[1, ["prediction", "second_prediction"]].tolist() == ["PF2", "PF1"]


def test_clans_of_a_data_set_without_clans_are_its_families(write_study: WriteStudy) -> None:
    assert clan_numbers(planned(write_study())[0].run).tolist() == [0, 1, 2]


def test_an_unknown_baseline_is_a_mistake_with_its_line(write_study: WriteStudy) -> None:
    path = write_study(baselines="[profile_hm]")
    line = path.read_text().splitlines().index("baselines: [profile_hm]") + 1
    with pytest.raises(ConfigError, match=rf":{line}: baselines.0: Expected 'profile_hmm'"):
        load_study(path)


def test_a_loss_may_not_have_the_label_of_a_baseline(write_study: WriteStudy) -> None:
    losses = "[{name: cross_entropy, label: HMM}]"
    path = write_study(losses=losses, baselines="[profile_hmm]")
    with pytest.raises(ConfigError, match="Expected no loss with the label HMM, got one"):
        load_study(path)


def test_without_pyhmmer_the_study_ends_before_anything_is_made(
    write_study: WriteStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pyhmmer", None)
    assert main(["run", str(write_study(baselines="[profile_hmm]"))]) == 2
    assert "pip install 'protein-robust[hmm]'" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_tables_and_figures_of_a_study_have_the_column(
    write_study: WriteStudy, aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(
        data=data_of(aligned, tmp_path),
        training="{epochs: 1, batch_size: 16}",
        losses="[{name: cross_entropy, label: CCE}]",
        baselines="[profile_hmm]",
    )
    assert main(["run", str(path)]) == 0
    printed = capsys.readouterr()
    assert "[1/1] HMM | crop + label | seed 0" in printed.err
    table = pd.read_csv(tmp_path / "results" / "table.csv").set_index(["metric", "data"])
    found = table.loc[("accuracy", "test"), "HMM mean"]
    results = pd.read_parquet(tmp_path / "results" / "results.parquet")
    of_hmm = results[(results["loss"] == "HMM") & (results["data"] == "test")]
    assert found == of_hmm.set_index("metric").loc["accuracy", "value"]
    assert np.isnan(table.loc[("max_probability", "test"), "HMM mean"])
    assert "time to search" in printed.out
    assert main(["compare", str(tmp_path / "results"), "--output", str(tmp_path / "c")]) == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "c" / "results.parquet"), results, check_like=True
    )


@pytest.mark.slow
def test_a_baseline_is_a_flat_run_of_mlflow_once(write_study: WriteStudy, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    baseline = carry_out(write_study())[0]
    experiment = prepare(store, "tiny")
    assert track_baseline(baseline, experiment)
    assert track_baseline(baseline, experiment)  # nothing left to do: no new run
    client = MlflowClient(store)
    (run,) = client.search_runs([experiment.experiment_id], "tags.stage = 'train'")
    assert run.info.run_name == "HMM | crop + label | seed 0"
    assert run.info.status == "FINISHED"
    assert (run.data.params["loss.label"], run.data.params["noise.rate"]) == ("HMM", "0.2")
    found = without_times(baseline)["test"]["coverage"]
    assert run.data.metrics["final/test_coverage"] == pytest.approx(found)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"baseline.json", "metrics.json", "predictions.parquet"} <= files
