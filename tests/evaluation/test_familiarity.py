"""Four scores of each example, all of which say the same thing in the same direction."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from protein_robust.datasets import SequenceBatches, SequenceDataset
from protein_robust.evaluation import predict
from protein_robust.evaluation.centroids import Centroids, family_centroids
from protein_robust.evaluation.familiarity import SIGNS, familiarity
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule, draw_crops

N, K, D = 23, 4, 6


def network() -> ProtCNN:
    config = ProtCNNConfig(width=D, dilations=(1,))
    return ProtCNN(config, K, generator=torch.Generator().manual_seed(0))


def batches(labels: np.ndarray, batch_size: int = 5) -> SequenceBatches:
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFWY"), rng.integers(3, 30))) for _ in range(N)]
    data = SequenceDataset.from_arrow(pa.array(sequences), labels)
    crops = draw_crops(data.lengths, rule=CropRule(), rng=rng)
    return SequenceBatches(data, crops, batch_size=batch_size, max_residues=4096)


LABELS = np.arange(N) % K


@pytest.fixture(scope="module")
def centroids() -> Centroids:
    return family_centroids(network(), batches(LABELS))


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_scores_of_the_logits_are_those_of_predictions(
    centroids: Centroids, batch_size: int
) -> None:
    found = familiarity(network(), batches(LABELS, batch_size), centroids)
    said = predict(network(), batches(LABELS))
    np.testing.assert_allclose(found["max_probability"], said.max_probability, rtol=1e-5)
    np.testing.assert_allclose(found["entropy_confidence"], said.entropy_confidence, atol=1e-5)
    np.testing.assert_allclose(found["energy"], -said.energy, rtol=1e-5, atol=1e-5)


def test_the_distance_of_the_embedding_counts_negative(centroids: Centroids) -> None:
    model, source = network().eval(), batches(LABELS)
    rows = [source.dataset.cut(np.array([i]), source.crop) for i in range(N)]  # type: ignore[arg-type]
    with torch.no_grad():
        embedding = torch.cat([model.embed(row.inputs, row.mask) for row in rows])  # type: ignore[arg-type]
    found = familiarity(model, source, centroids)
    np.testing.assert_allclose(
        found["centroid_distance"], -centroids.distance(embedding), atol=1e-4
    )


def test_labels_do_not_count_and_may_be_none(centroids: Centroids) -> None:
    found = familiarity(network(), batches(LABELS), centroids)
    other = familiarity(network(), batches(np.full(N, -1)), centroids)
    for name in SIGNS:
        np.testing.assert_array_equal(found[name], other[name])


def test_a_part_of_the_data_is_scored_in_its_order(centroids: Centroids) -> None:
    whole = batches(LABELS)
    chosen = np.array([2, 3, 11, 20])
    part = SequenceBatches(
        whole.dataset, whole.crop, batch_size=3, max_residues=4096, subset=chosen
    )
    found = familiarity(network(), part, centroids)
    for name, values in familiarity(network(), whole, centroids).items():
        np.testing.assert_allclose(found[name], values[chosen], rtol=1e-4, atol=1e-5)


def test_nothing_has_no_scores(centroids: Centroids) -> None:
    whole = batches(LABELS)
    empty = np.zeros(0, np.int64)
    none = SequenceBatches(whole.dataset, whole.crop, 3, 4096, subset=empty)
    found = familiarity(network(), none, centroids)
    assert list(found) == list(SIGNS)
    assert {values.shape for values in found.values()} == {(0,)}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_mode_of_the_network_is_restored(centroids: Centroids, training: bool) -> None:
    model = network().train(training)
    familiarity(model, batches(LABELS), centroids)
    assert {part.training for part in model.modules()} == {training}
