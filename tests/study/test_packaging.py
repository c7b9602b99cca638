"""A trained run as a classifier: thresholds, decoys and least length from its own data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from protein_robust.alphabet import decode
from protein_robust.classifier import TOLERATED_ERRORS, Classifier
from protein_robust.config import load_study
from protein_robust.datasets import SequenceDataset
from protein_robust.evaluation import predict
from protein_robust.ingest import read_sequences
from protein_robust.noise import Crops
from protein_robust.study import (
    PlannedRun,
    load_data,
    plan_runs,
    prepare_data,
    prepare_noise,
    run_all,
)
from protein_robust.study.data import make_model
from protein_robust.study.packaging import MIN_DECOYS, cropped_tokens, draw_decoys, package_run
from protein_robust.study.sequence_data import SequenceData
from protein_robust.training import load_weights

WriteStudy = Callable[..., Path]


def trained(path: Path, *overrides: str) -> tuple[PlannedRun, SequenceData]:
    study = load_study(path, ["losses=[{name: cross_entropy, label: CCE}]", *overrides])
    manifest, _ = prepare_data(study)
    (run,) = plan_runs(study, manifest["digest"])
    prepare_noise(run)
    failures = run_all([run], jobs=1, experiment=None, on_report=lambda _: None, evaluate=False)
    assert failures == []
    return run, load_data(run)


def packaged(run: PlannedRun, data: SequenceData, temperature: float | None) -> Classifier:
    model = make_model(run, data)
    load_weights(run.folder / "checkpoints" / "last", model)
    return Classifier.load(package_run(run, data, model, temperature))


def test_a_packaged_run_answers_as_its_network_does(write_study: WriteStudy) -> None:
    run, data = trained(write_study())
    classifier = packaged(run, data, 0.7)
    whole = read_sequences(run.dataset_folder, "test", columns=["sequence"])
    sequences = whole["sequence"].to_pylist()
    dataset = data.datasets["test"]
    crops = Crops(np.zeros_like(dataset.lengths), dataset.lengths)
    model = make_model(run, data)
    load_weights(run.folder / "checkpoints" / "last", model)
    expected = predict(model, data.cropped_batches("test", crops, run))
    found = classifier.classify(sequences)
    assert found["family"].tolist() == [data.families[k] for k in expected.prediction]


def test_thresholds_keep_the_error_on_the_validation_data(write_study: WriteStudy) -> None:
    run, data = trained(write_study())
    classifier = packaged(run, data, 0.7)
    valid = read_sequences(run.dataset_folder, "valid", columns=["sequence", "family_accession"])
    crops = data.crops["valid"]
    seen = [
        sequence[start : start + length]
        for sequence, start, length in zip(
            valid["sequence"].to_pylist(), crops.start, crops.length, strict=True
        )
    ]
    table = classifier.classify(seen)
    is_right = table["family"] == valid["family_accession"].to_pandas()
    assert [threshold.tolerated_error for threshold in classifier.thresholds] == [*TOLERATED_ERRORS]
    for threshold in classifier.thresholds:
        accepted = table["confidence"] >= threshold.family - 1e-6
        if accepted.any():
            assert 1 - is_right[accepted].mean() <= threshold.tolerated_error


def test_the_description_says_where_the_model_is_from(write_study: WriteStudy) -> None:
    run, data = trained(write_study())
    classifier = packaged(run, data, 0.7)
    assert classifier.name == f"tiny/{run.folder.name}"
    assert classifier.origin == {
        "study": "tiny",
        "run": run.title,
        "run_key": run.key,
        "dataset_digest": run.inputs["dataset_digest"],
    }
    assert classifier.temperature == 0.7
    assert classifier.least_length == data.crops["train"].length.min()


def test_packaging_again_gives_the_same_files(write_study: WriteStudy) -> None:
    run, data = trained(write_study())
    packaged(run, data, 0.7)
    folder = run.folder / "model"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    packaged(run, data, 0.7)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_without_validation_data_there_are_no_thresholds(write_study: WriteStudy) -> None:
    run, data = trained(write_study(), "data.valid_fraction=0")
    classifier = packaged(run, data, None)
    assert (classifier.thresholds, classifier.temperature) == ((), 1.0)
    assert json.loads((run.folder / "model" / "model.json").read_text())["thresholds"] == []
    assert len(classifier.decoy_score) >= MIN_DECOYS


def test_shuffled_sequences_get_p_values_that_are_uniform(write_study: WriteStudy) -> None:
    run, data = trained(write_study())
    classifier = packaged(run, data, 0.7)
    rng = np.random.default_rng(11)
    train = read_sequences(run.dataset_folder, "train", columns=["sequence"])
    shuffled = ["".join(rng.permutation(list(text))) for text in train["sequence"].to_pylist()]
    p_value = classifier.classify(shuffled * 4)["p_value"]
    # 72 different draws: a uniform mean of 0.5 has a standard error of 0.034.
    assert abs(p_value.mean() - 0.5) < 0.15


def split_of(texts: list[str]) -> SequenceDataset:
    import pyarrow as pa

    return SequenceDataset.from_arrow(pa.array(texts), np.zeros(len(texts), np.int64))


def test_what_is_seen_of_a_sequence_becomes_a_decoy() -> None:
    dataset = split_of(["ACDEFGHIKL", "MNPQRSTVWY"])
    crops = Crops(
        start=np.array([2, 0]),
        length=np.array([4, 5]),
        gap_start=np.array([0, 3]),
        gap_length=np.array([0, 5]),
    )
    tokens, lengths = cropped_tokens(dataset, crops, np.array([1, 0]))
    # MNPQRSTVWY without QRSTV (5 deleted after 3), then 4 residues of ACDEFGHIKL from the third on.
    assert decode(tokens) == "MNPWY" + "DEFG"
    assert lengths.tolist() == [5, 4]


def test_decoys_have_the_residues_of_sequences_in_another_order() -> None:
    texts = {"valid": ["ACDEFGHIKLMN"], "train": ["WWWYYYY", "PPPPPQQQQQ", "RSTV"]}
    data = DataOf(texts)
    decoys = draw_decoys(data, 5)  # type: ignore[arg-type]
    drawn = [
        decode(decoys.tokens[begin : begin + length].numpy())
        for begin, length in zip(decoys.offset.tolist(), decoys.lengths, strict=True)
    ]
    originals = {"".join(sorted(text)) for part in texts.values() for text in part}
    assert {"".join(sorted(text)) for text in drawn} == originals
    assert len(drawn) == MIN_DECOYS  # each of the four 250 times
    assert len({text for text in drawn if len(text) == 12}) > 240
    again = draw_decoys(data, 5)  # type: ignore[arg-type]
    assert torch.equal(again.tokens, decoys.tokens)
    assert not torch.equal(draw_decoys(data, 6).tokens, decoys.tokens)  # type: ignore[arg-type]


class DataOf:
    """What decoys need of `SequenceData`."""

    def __init__(self, texts: dict[str, list[str]]) -> None:
        self.datasets = {split: split_of(part) for split, part in texts.items()}
        self.crops = {
            split: Crops(np.zeros_like(dataset.lengths), dataset.lengths)
            for split, dataset in self.datasets.items()
        }
        self.device = torch.device("cpu")
