"""Where families are in the embedding, against one sequence at a time and float64 NumPy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from test_ranks import together
from torch import Tensor

from protein_robust.alphabet import STANDARD_RESIDUES
from protein_robust.datasets import SequenceBatches, SequenceDataset, Share
from protein_robust.evaluation import centroids as module
from protein_robust.evaluation.centroids import (
    SHRINKAGE,
    Centroids,
    WithEmbedding,
    family_centroids,
)
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule, Crops, draw_crops

N, K, D = 60, 5, 6
EMPTY_FAMILY = 3


def network() -> ProtCNN:
    config = ProtCNNConfig(width=D, dilations=(1,))
    return ProtCNN(config, K, generator=torch.Generator().manual_seed(0))


def dataset() -> SequenceDataset:
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, rng.integers(5, 40))) for _ in range(N)]
    label = rng.choice([k for k in range(K) if k != EMPTY_FAMILY], N)
    return SequenceDataset.from_arrow(pa.array(sequences), label)


def batches(batch_size: int = 16, max_residues: int = 4096) -> SequenceBatches:
    data = dataset()
    rule = CropRule("random", min_fraction=0.5)
    crops = draw_crops(data.lengths, rule=rule, rng=np.random.default_rng(1))
    return SequenceBatches(data, crops, batch_size=batch_size, max_residues=max_residues)


@torch.no_grad()
def one_at_a_time(model: ProtCNN) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The embedding of each sequence, alone, and its label."""
    model.eval()
    source = batches()
    crops = source.crop
    assert isinstance(crops, Crops)
    rows = [source.dataset.cut(np.array([i]), crops) for i in range(N)]
    embedding = torch.cat([model.embed(row.inputs, row.mask) for row in rows])
    return embedding.double().numpy(), source.dataset.label.numpy()


@pytest.fixture(scope="module")
def embedded() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return one_at_a_time(network())


@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_a_centroid_is_the_mean_of_its_family(
    embedded: tuple[NDArray[np.float64], NDArray[np.int64]], batch_size: int
) -> None:
    embedding, label = embedded
    found = family_centroids(network(), batches(batch_size))
    assert found.count.tolist() == np.bincount(label, minlength=K).tolist()
    for family in set(range(K)) - {EMPTY_FAMILY}:
        expected = embedding[label == family].mean(axis=0)
        np.testing.assert_allclose(found.mean[family], expected, rtol=1e-4, atol=1e-5)


def test_a_family_without_an_example_has_no_centroid() -> None:
    found = family_centroids(network(), batches())
    assert found.count[EMPTY_FAMILY] == 0
    assert found.mean[EMPTY_FAMILY].isnan().all()
    assert len(found.directions) == K - 1


def test_whitening_undoes_the_covariance_within_families(
    embedded: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    embedding, label = embedded
    families = np.unique(label)
    within = sum(
        (part - part.mean(0)).T @ (part - part.mean(0))
        for part in (embedding[label == family] for family in families)
    ) / (N - len(families))
    widened = within + SHRINKAGE * np.trace(within) / D * np.eye(D)
    whitening = family_centroids(network(), batches()).whitening.double().numpy()
    np.testing.assert_allclose(whitening.T @ widened @ whitening, np.eye(D), atol=1e-3)


def test_the_distance_is_that_of_all_pairs_in_double_precision() -> None:
    found = family_centroids(network(), batches())
    embedding = torch.randn(40, D, generator=torch.Generator().manual_seed(1))
    mean = found.mean.double().numpy()[found.count.numpy() > 0]
    whitening = found.whitening.double().numpy()
    centre = mean.mean(axis=0)
    ways = (embedding.double().numpy() - centre) @ whitening
    families = (mean - centre) @ whitening
    lengths = np.linalg.norm(ways, axis=1)[:, None] * np.linalg.norm(families, axis=1)
    expected = 1 - (ways @ families.T / lengths).max(axis=1)
    np.testing.assert_allclose(found.distance(embedding), expected, atol=1e-5)


def on_axes() -> Centroids:
    """Two families at 1 and at 3 on the first axis, one that is empty; the centre is at 2."""
    mean = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan], [3.0, 0.0]])
    return Centroids(mean, torch.tensor([4, 0, 4]), torch.eye(2))


@pytest.mark.parametrize(
    ("embedding", "distance"),
    [
        # Directions from (2, 0): along the axis; at right angles; 45 degrees; none.
        pytest.param([9.0, 0.0], 0.0, id="beyond a family"),
        pytest.param([2.0, 5.0], 1.0, id="at a right angle"),
        pytest.param([3.0, 1.0], 1 - 0.5**0.5, id="at half a right angle"),
        pytest.param([2.0, 0.0], 1.0, id="at the centre"),
    ],
)
def test_distances_are_angles_at_the_centre(embedding: list[float], distance: float) -> None:
    assert on_axes().distance(torch.tensor([embedding])).tolist() == pytest.approx([distance])


def test_whitening_counts_wide_directions_less() -> None:
    # Four times the spread along the second axis: from the centre, (3, 2) is then at (1, 0.5).
    wide = Centroids(on_axes().mean, on_axes().count, torch.diag(torch.tensor([1.0, 0.25])))
    expected = 1 - 1 / (1 + 0.5**2) ** 0.5
    assert wide.distance(torch.tensor([[3.0, 2.0]])).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("block", [1, 9, 1000])
def test_rows_are_worked_on_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    found = family_centroids(network(), batches())
    embedding = torch.randn(11, D, generator=torch.Generator().manual_seed(2))
    expected = found.distance(embedding)
    monkeypatch.setattr(module, "BLOCK", block)
    torch.testing.assert_close(found.distance(embedding), expected)


def test_a_move_to_where_they_are_is_none() -> None:
    found = on_axes()
    assert found.to("cpu") is found


def test_no_rows_have_no_distances() -> None:
    assert on_axes().distance(torch.zeros(0, 2)).shape == (0,)


def test_families_of_one_sequence_are_compared_without_whitening() -> None:
    source = batches()
    chosen = np.array([int(np.argmax(source.dataset.label.numpy() == k)) for k in (0, 1, 2)])
    single = SequenceBatches(
        source.dataset, source.crop, batch_size=2, max_residues=4096, subset=chosen
    )
    found = family_centroids(network(), single)
    assert found.count.tolist() == [1, 1, 1, 0, 0]
    torch.testing.assert_close(found.whitening, torch.eye(D))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_mode_of_the_network_is_restored(training: bool) -> None:
    model = network().train(training)
    before = model.blocks[0].norm_in.running_mean.clone()  # type: ignore[union-attr, operator]
    found = family_centroids(model, batches())
    assert {part.training for part in model.modules()} == {training}
    torch.testing.assert_close(model.blocks[0].norm_in.running_mean, before)  # type: ignore[union-attr]
    assert not found.mean.requires_grad


@pytest.mark.slow
def test_what_was_done_before_memory_ran_out_counts_once() -> None:
    class Crowded(ProtCNN):
        """Has no room for more than five sequences, which shows in each batch at first."""

        def embed(self, inputs: Tensor, mask: Tensor) -> Tensor:
            if len(inputs) > 5:
                raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB.")
            return super().embed(inputs, mask)

    config = ProtCNNConfig(width=D, dilations=(1,))
    crowded = Crowded(config, K, generator=torch.Generator().manual_seed(0))
    found, expected = family_centroids(crowded, batches()), family_centroids(network(), batches())
    assert found.count.tolist() == expected.count.tolist()
    torch.testing.assert_close(found.mean, expected.mean, equal_nan=True)
    torch.testing.assert_close(
        found.whitening.abs(), expected.whitening.abs(), rtol=1e-3, atol=1e-3
    )


def test_sums_are_double_where_the_network_is_not() -> None:
    exact = family_centroids(network(), batches())
    rough = family_centroids(network(), batches(), precision="bf16")
    some = exact.count > 0
    assert rough.mean.dtype == torch.float32
    torch.testing.assert_close(rough.mean[some], exact.mean[some], rtol=0.02, atol=0.02)
    assert not torch.equal(rough.mean[some], exact.mean[some])


def test_both_outputs_are_those_of_the_network() -> None:
    model = network().eval()
    source = batches()
    part = source.epoch(0)
    with torch.no_grad():
        (cut,) = part.parts(0, Share())
        batch = cut()
        assert batch.mask is not None
        found = WithEmbedding(model)(batch.inputs, batch.mask)
        torch.testing.assert_close(found[:, :D], model.embed(batch.inputs, batch.mask))
        torch.testing.assert_close(found[:, D:], model(batch.inputs, batch.mask))


@pytest.mark.parametrize(
    ("mean", "count", "whitening", "message"),
    [
        (
            (3, 2),
            [1, 1],
            (2, 2),
            r"Expected `count` and `whitening` of shapes \(\(3,\), \(2, 2\)\)",
        ),
        ((3, 2), [1, 1, 1], (3, 3), r"got \(\(3,\), \(3, 3\)\)"),
        ((2, 2), [0, 0], (2, 2), "Expected a family with an example, got none"),
    ],
    ids=["counts", "whitening", "no example"],
)
def test_what_does_not_fit_is_refused(
    mean: tuple[int, int], count: list[int], whitening: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Centroids(torch.zeros(mean), torch.tensor(count), torch.zeros(whitening))


def found_by(num_ranks: int, folder: Path) -> list[dict[str, Tensor]]:
    return together(folder / str(num_ranks), num_ranks, task)


def task() -> dict[str, Tensor]:
    found = family_centroids(network(), batches(7))
    return {"mean": found.mean, "count": found.count, "whitening": found.whitening}


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_several_processes_find_what_one_finds(tmp_path: Path, num_ranks: int) -> None:
    several = found_by(num_ranks, tmp_path)
    (one,) = found_by(1, tmp_path)
    same = partial(torch.testing.assert_close, equal_nan=True)
    for result in several:
        same(result, several[0], rtol=0, atol=0)  # each goes on from its own copy
    same(several[0]["mean"], one["mean"])
    assert several[0]["count"].tolist() == one["count"].tolist()
    cosines = Centroids(**several[0]), Centroids(**one)
    rows = torch.randn(20, D, generator=torch.Generator().manual_seed(3))
    same(cosines[0].distance(rows), cosines[1].distance(rows), rtol=1e-3, atol=1e-3)
