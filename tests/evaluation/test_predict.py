"""What is kept of a network's answers, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protein_robust.datasets import Batch, Share
from protein_robust.evaluation import entropy_confidence, predict
from protein_robust.evaluation.predict import predict_at
from protein_robust.evaluation.scoring import BLOCK, COLUMNS, score

N, K = 11, 5
LOGITS = 2 * torch.randn(N, K, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(N) % K


class Lookup(nn.Module):
    """Its logits are its inputs; with dropout, to tell training from evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.had_gradients: bool | None = None

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        self.had_gradients = torch.is_grad_enabled()
        assert mask is None
        logits: Tensor = self.dropout(inputs)
        return logits


@dataclass(frozen=True)
class Listed:
    """Hand-made batches of the positions that are given."""

    batches: Sequence[Sequence[int]]

    def epoch(self, number: int) -> Listed:
        assert number == 0
        return self

    def __len__(self) -> int:
        return len(self.batches)

    def examples(self, number: int) -> NDArray[np.int64]:
        return np.array(self.batches[number], dtype=np.int64)

    unit = "residues"

    def num_units(self, number: int) -> int:
        return K * len(self.batches[number])

    def parts(self, number: int, share: Share) -> list[Callable[[], Batch]]:
        return [partial(self.cut, torch.from_numpy(self.examples(number)))]

    def cut(self, index: Tensor) -> Batch:
        return Batch(LOGITS[index], None, LABEL[index], index)


ORDERS = [
    pytest.param([list(range(N))], id="one batch"),
    pytest.param([[10, 3], [0], [4, 5, 6, 7, 8, 9], [2, 1]], id="many batches"),
    pytest.param([[i] for i in reversed(range(N))], id="backwards"),
]


@pytest.mark.parametrize("order", ORDERS)
def test_everything_is_a_softmax_away_in_the_order_of_the_data_set(order: list[list[int]]) -> None:
    said = predict(Lookup(), Listed(order))
    probs = LOGITS.double().softmax(dim=1)
    assert said.index.tolist() == list(range(N))
    assert said.prediction.tolist() == LOGITS.argmax(dim=1).tolist()
    np.testing.assert_allclose(said.max_probability, probs.amax(dim=1), rtol=1e-5)
    np.testing.assert_allclose(said.label_probability, probs[torch.arange(N), LABEL], rtol=1e-5)
    np.testing.assert_allclose(
        said.entropy_confidence, entropy_confidence(probs.log()), rtol=1e-5, atol=1e-6
    )


def test_a_part_of_a_data_set_keeps_its_positions() -> None:
    said = predict(Lookup(), Listed([[9, 2], [4]]))
    assert said.index.tolist() == [2, 4, 9]
    assert said.prediction.tolist() == LOGITS.argmax(dim=1)[[2, 4, 9]].tolist()


def test_numbers_have_the_promised_types() -> None:
    said = predict(Lookup(), Listed([[0, 1]]))
    assert {said.index.dtype.name, said.prediction.dtype.name} == {"int64"}
    floats = (said.max_probability, said.entropy_confidence, said.label_probability)
    assert {values.dtype.name for values in floats} == {"float64"}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_mode_of_the_network_is_restored(training: bool) -> None:
    model = Lookup().train(training)
    predict(model, Listed([[0, 1]]))
    assert model.training is training
    assert model.dropout.training is training


def test_no_gradients_are_kept() -> None:
    model = Lookup()
    predict(model, Listed([[0]]))
    assert model.had_gradients is False


def test_no_examples_give_no_predictions() -> None:
    said = predict(Lookup(), Listed([]))
    assert [len(values) for values in vars(said).values()] == [0] * 12


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_described_stands_in_the_same_order(order: list[list[int]]) -> None:
    def describe(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"label": labels, "first": logits[:, 0]}

    said = predict(Lookup(), Listed(order), describe)
    assert said.described["label"].tolist() == LABEL.tolist()
    np.testing.assert_allclose(said.described["first"], LOGITS[:, 0])


class Halved(Listed):
    """Two parts a batch."""

    def parts(self, number: int, share: Share) -> list[Callable[[], Batch]]:
        index = torch.from_numpy(self.examples(number))
        return [partial(self.cut, part) for part in index.tensor_split(2)]


def test_parts_and_batches_without_examples_are_no_hindrance() -> None:
    said = predict(Lookup(), Halved([[3], [], [7, 1, 2]]), lambda logits, _: {"a": logits[:, 1]})
    assert said.index.tolist() == [1, 2, 3, 7]
    assert said.prediction.tolist() == LOGITS.argmax(dim=1)[[1, 2, 3, 7]].tolist()
    np.testing.assert_allclose(said.described["a"], LOGITS[[1, 2, 3, 7], 1])


def test_the_network_computes_in_the_precision_that_is_asked_for() -> None:
    seen: list[torch.dtype] = []

    def describe(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        seen.append(logits.dtype)
        return {}

    layer = nn.Linear(K, K)

    class Linear(nn.Module):
        def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
            logits: Tensor = layer(inputs)
            return logits

    exact = predict(Linear(), Listed([[0, 1]]), describe)
    rough = predict(Linear(), Listed([[0, 1]]), describe, precision="bf16")
    assert seen == [torch.float32, torch.bfloat16]
    np.testing.assert_allclose(rough.max_probability, exact.max_probability, rtol=0.03)
    assert rough.max_probability.dtype == np.float64


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("order", ORDERS)
def test_at_a_temperature_everything_is_of_the_softmax_of_scaled_scores(
    order: list[list[int]], temperature: float
) -> None:
    # In float64, from the definitions.
    z = LOGITS.double().numpy() / temperature
    probs = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    label, rows = LABEL.numpy(), np.arange(N)
    ranked = np.argsort(-probs, axis=1)
    expected = {
        "prediction": ranked[:, 0],
        "max_probability": probs[rows, ranked[:, 0]],
        "second_prediction": ranked[:, 1],
        "second_probability": probs[rows, ranked[:, 1]],
        "entropy_confidence": 1 + (probs * np.log(probs)).sum(axis=1) / np.log(K),
        "label_probability": probs[rows, label],
        "log_label_probability": np.log(probs[rows, label]),
        "label_rank": np.argsort(ranked, axis=1)[rows, label],
        "brier_error": ((probs - np.eye(K)[label]) ** 2).sum(axis=1),
        "energy": -temperature * np.log(np.exp(z).sum(axis=1)),
    }
    one, said = predict_at(Lookup(), Listed(order), [1.0, temperature])
    assert set(COLUMNS) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(said, name), values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        one.max_probability, predict(Lookup(), Listed(order)).max_probability
    )


def test_rows_that_are_worked_on_in_blocks_are_those_worked_on_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, BLOCK // 3, generator=generator)  # three rows at a time
    label = torch.randint(0, BLOCK // 3, (7,), generator=generator)
    alone = torch.cat([score(logits[i : i + 1], label[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(score(logits, label), alone, rtol=0, atol=0)


def test_a_surprise_too_great_for_a_probability_is_still_a_number() -> None:
    row = score(torch.tensor([[0.0, 5000.0]]), torch.tensor([0]))[0].tolist()
    said = dict(zip(COLUMNS, row, strict=True))
    assert said["label_probability"] == 0
    assert said["log_label_probability"] == -5000
    assert said["brier_error"] == 2
    assert said["entropy_confidence"] == 1


def test_equal_scores_are_lower_than_that_of_the_label() -> None:
    row = score(torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([1]))[0].tolist()
    assert dict(zip(COLUMNS, row, strict=True))["label_rank"] == 1


@pytest.mark.parametrize("temperatures", [[], [1.0, 0.0], [-1.0], [float("nan")]])
def test_a_temperature_is_above_zero(temperatures: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected `temperatures` above 0, got"):
        predict_at(Lookup(), Listed([[0]]), temperatures)
