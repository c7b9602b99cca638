"""Which sequences a run's network is asked about, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics
from test_ranks import together

from protein_robust.config import load_study
from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.evaluation import predict
from protein_robust.evaluation.familiarity import SIGNS
from protein_robust.ingest import read_sequences
from protein_robust.study import PlannedRun, load_data, plan_runs, prepare_data, prepare_noise
from protein_robust.study.data import make_model
from protein_robust.study.sequence_data import SequenceData
from protein_robust.study.unknown import COLUMNS, measure_unknown, run_centroids

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.slow

CLANS = {"PF1": "CL1", "PF2": "CL2", "PF3": None, "PF4": "CL1", "PF5": "CL9", "PF6": None}
"""Of six families; the first three are classes."""
NUM_EACH = 30


def write_families(folder: Path) -> str:
    """The sources of a data set that holds out three families; of each 30 different sequences."""
    rng = np.random.default_rng(0)
    rows = ["family_accession,sequence\n"]
    for family in CLANS:
        for _ in range(NUM_EACH):
            residues = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size=rng.integers(20, 60))
            rows.append(f"{family},{''.join(residues)}\n")
    (folder / "families.csv").write_text("".join(rows))
    clans = [f"{family}\t{clan or ''}\tname\tid\ttext\n" for family, clan in CLANS.items()]
    (folder / "clans.tsv").write_text("".join(clans))
    return f"source: {folder / 'families.csv'}, clans: {folder / 'clans.tsv'}"


@pytest.fixture
def plan(write_study: WriteStudy, tmp_path: Path) -> Callable[..., PlannedRun]:
    """Makes the first run of a study of these families; texts replace options and sections."""
    sources = write_families(tmp_path)

    def make(options: str = "hold_out_families: [PF4, PF5, PF6]", **sections: str) -> PlannedRun:
        data = f"{{{sources}, output: {tmp_path / 'held'}, {options}}}"
        study = load_study(write_study(data=data, **sections), [])
        manifest, _ = prepare_data(study)
        run = plan_runs(study, manifest["digest"])[0]
        prepare_noise(run)
        return run

    return make


def measured(run: PlannedRun) -> tuple[SequenceData, pd.DataFrame]:
    """By the network that the run starts from: what is tested here is not how good it is."""
    data = load_data(run)
    return data, measure_unknown(run, data, make_model(run, data))


def numbers_of(table: pd.DataFrame) -> dict[str, int]:
    """How many unknown sequences there are of each kind."""
    counts = table.groupby("kind", sort=False)["num_unknown"].unique()
    return {kind: int(number) for kind, (number,) in counts.items()}


def test_every_kind_meets_every_score(plan: Callable[..., PlannedRun]) -> None:
    data, table = measured(plan())
    num_test = len(data.datasets["test"])
    assert list(table.columns) == list(COLUMNS)
    # PF4 has the clan of a class and PF6 has none; only PF5 is of a clan that no class is of.
    assert numbers_of(table) == {
        "held-out families": 2 * NUM_EACH,
        "held-out clans": NUM_EACH,
        "shuffled": num_test,
        "reversed": num_test,
    }
    assert (table["num_known"] == num_test).all()
    assert (table["checkpoint"] == "final").all()
    assert table["score"].tolist() == list(SIGNS) * 4
    assert table[["auroc", "aupr", "fpr_at_95_tpr"]].to_numpy().min() >= 0
    assert table[["auroc", "aupr", "fpr_at_95_tpr"]].to_numpy().max() <= 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param("reversed", lambda text: text[::-1], id="reversed"),
        pytest.param("held-out clans", None, id="held-out clans"),
    ],
)
def test_numbers_are_those_of_predictions_of_the_same_sequences(
    plan: Callable[..., PlannedRun], kind: str, change: Callable[[str], str] | None
) -> None:
    run = plan(noise="[{name: clean}]")  # uncropped, so that sequences can be written down here
    data, table = measured(run)
    test = read_sequences(run.dataset_folder, "test")["sequence"].to_pylist()
    if change is None:
        rows = read_sequences(run.dataset_folder, "heldout").to_pylist()
        unknown = [row["sequence"] for row in rows if row["family_accession"] == "PF5"]
    else:
        unknown = [change(sequence) for sequence in test]
    said = {"max_probability": [], "energy": []}  # type: dict[str, list[np.ndarray]]
    for sequences in (test, unknown):
        dataset = SequenceDataset.from_arrow(
            pa.array(sequences), np.zeros(len(sequences), np.int64)
        )
        crops = type(data.crops["test"])(np.zeros_like(dataset.lengths), dataset.lengths)
        batches = SequenceBatches(dataset, crops, batch_size=7, max_residues=4096)
        predictions = predict(make_model(run, data), batches)
        said["max_probability"].append(predictions.max_probability)
        said["energy"].append(-predictions.energy)
    labels = np.repeat([1, 0], [len(test), len(unknown)])
    for name, (known, other) in said.items():
        row = table[(table["kind"] == kind) & (table["score"] == name)].iloc[0]
        scores = np.concatenate([known, other])
        assert row["auroc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=0.01)
        expected = metrics.average_precision_score(labels, scores)
        assert row["aupr"] == pytest.approx(expected, abs=0.01)


def test_what_the_noise_added_to_training_is_not_unknown(plan: Callable[..., PlannedRun]) -> None:
    noise = "[{name: open, label: {open_set_rate: 0.3}}]"
    data, table = measured(plan(noise=noise))
    num_added = len(data.added["heldout"])
    found = numbers_of(table)
    assert num_added > 0
    assert found["held-out families"] + found["held-out clans"] == 3 * NUM_EACH - num_added


def test_without_held_out_families_there_are_decoys_alone(plan: Callable[..., PlannedRun]) -> None:
    _, table = measured(plan("hold_out_families: 0"))
    assert list(numbers_of(table)) == ["shuffled", "reversed"]


def test_the_seed_decides(plan: Callable[..., PlannedRun]) -> None:
    run = plan()
    _, table = measured(run)
    pd.testing.assert_frame_equal(measured(run)[1], table)
    _, other = measured(plan(seeds="[1]"))
    assert not other["auroc"].equals(table["auroc"])


def test_centroids_may_be_there_already(plan: Callable[..., PlannedRun]) -> None:
    run = plan()
    data, table = measured(run)
    model = make_model(run, data)
    centroids = run_centroids(run, data, model)
    assert centroids.count.tolist() == np.bincount(data.noise.label, minlength=3).tolist()
    again = measure_unknown(run, data, model, centroids=centroids)
    pd.testing.assert_frame_equal(again, table)


def as_plain(run: PlannedRun) -> dict[str, list[float]]:
    _, table = measured(run)
    return {name: table[name].tolist() for name in ("num_unknown", "auroc", "fpr_at_95_tpr")}


def test_several_processes_measure_what_one_measures(
    plan: Callable[..., PlannedRun], tmp_path: Path
) -> None:
    run = plan()
    first, second = together(tmp_path / "several", 2, partial(as_plain, run))
    one = as_plain(run)
    assert first == second
    assert first["num_unknown"] == one["num_unknown"]
    assert first["auroc"] == pytest.approx(one["auroc"], abs=0.01)
