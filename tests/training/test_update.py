"""One update: the same for a batch that is whole, in parts, or accumulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.alphabet import PAD, STANDARD_RESIDUES
from protein_robust.datasets import Batch, SequenceDataset
from protein_robust.losses import LossContext, make_loss
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.noise import CropRule, draw_crops
from protein_robust.training import Objective
from protein_robust.training.update import spread, update

N, K = 12, 5
CPU = torch.device("cpu")


class Composition(nn.Module):
    """A linear classifier of how often each residue occurs; it has no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(PAD + 1, K)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        seen = functional.one_hot(inputs.long(), PAD + 1) * mask[:, :, None]
        logits: Tensor = self.linear(seen.sum(dim=1) / mask.sum(dim=1, keepdim=True))
        return logits


def with_fixed_norms() -> nn.Module:
    """A network whose norms use their running statistics, as in evaluation."""
    return in_training().eval()


def in_training() -> nn.Module:
    config = ProtCNNConfig(width=8, dilations=(1, 2))
    return ProtCNN(config, K, generator=torch.Generator().manual_seed(0))


MODELS = [
    pytest.param(Composition, id="no norms"),
    pytest.param(with_fixed_norms, id="norms as in evaluation"),
]
LOSSES = [
    pytest.param(make_loss("cross_entropy"), id="CCE"),
    pytest.param(make_loss("proselflc", temperature=0.5), id="ProSelfLC"),
    pytest.param(make_loss("derivative_manipulation", beta=12), id="DM"),
    pytest.param(
        make_loss("derivative_manipulation", beta=12, vanish_at_one=False), id="DM, not vanishing"
    ),
    pytest.param(make_loss("imae", temperature=8), id="IMAE"),
]


def cutters(*parts: Sequence[int]) -> list[Callable[[], Batch]]:
    """What cuts these examples out of twelve sequences."""
    rng = np.random.default_rng(0)
    letters = np.array(list(STANDARD_RESIDUES))
    sequences = ["".join(rng.choice(letters, length)) for length in range(9, 9 + 2 * N, 2)]
    dataset = SequenceDataset.from_arrow(pa.array(sequences), np.arange(N) % K)
    crops = draw_crops(dataset.lengths, rule=CropRule(), rng=rng)
    return [partial(dataset.cut, np.array(part, dtype=np.int64), crops) for part in parts]


WHOLE = cutters(range(N))
DIVISIONS = [
    pytest.param(cutters(range(6), range(6, N)), id="halves"),
    pytest.param(cutters(range(9), range(9, 11), [11]), id="unequal"),
    pytest.param(cutters(range(5), [], range(5, N)), id="one without examples"),
    pytest.param(cutters(*([i] for i in range(N))), id="one by one"),
]


def updated(
    model: nn.Module,
    loss: Any,
    parts: Sequence[Callable[[], Batch]],
    *,
    clip_norm: float | None = None,
    rate: float = 1.0,
) -> tuple[dict[str, Tensor], Tensor]:
    """The weights of a model after one update, and the update's figures."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    objective = loss if isinstance(loss, Objective) else Objective(loss)
    figures = update(model, objective, optimizer, parts, progress=0.5, clip_norm=clip_norm)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}, figures


@pytest.mark.parametrize("division", DIVISIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make", MODELS)
def test_several_parts_are_one_batch(
    make: Callable[[], nn.Module], loss: Any, division: list[Callable[[], Batch]]
) -> None:
    # The normaliser of DM and IMAE is that of the whole batch, not of each part.
    whole, figures = updated(make(), loss, WHOLE)
    parts, figures_of_parts = updated(make(), loss, division)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(figures_of_parts, figures, rtol=1e-6, atol=1e-6)
    moved = [(whole[name] - value).abs().max() for name, value in make().state_dict().items()]
    assert max(moved) > 1e-3


def test_in_training_a_norm_takes_its_statistics_over_a_part() -> None:
    # So there a batch in parts is another update than a whole one, though of the same examples.
    whole, figures = updated(in_training(), make_loss("cross_entropy"), WHOLE)
    parts, figures_of_parts = updated(
        in_training(), make_loss("cross_entropy"), cutters(range(6), range(6, N))
    )
    assert (parts["stem.weight"] - whole["stem.weight"]).abs().max() > 1e-4
    torch.testing.assert_close(figures_of_parts[0], figures[0], rtol=0.1, atol=0)


def test_figures_are_sums_over_the_examples() -> None:
    model = Composition()
    (cut,) = WHOLE
    batch = cut()
    assert batch.mask is not None
    logits = model(batch.inputs, batch.mask)
    expected = functional.cross_entropy(logits, batch.label, reduction="sum")
    gradients = torch.autograd.grad(expected / N, list(model.parameters()))
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    _, figures = updated(model, make_loss("cross_entropy"), WHOLE)
    assert figures.dtype == torch.float64
    correct = (logits.argmax(dim=1) == batch.label).sum()
    torch.testing.assert_close(
        figures, torch.stack([expected, correct, norm]).double(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("division", [WHOLE, cutters(range(4), range(4, N))], ids=["one", "two"])
def test_the_gradient_of_all_parts_is_limited_and_its_norm_is_that_of_before(
    division: list[Callable[[], Batch]],
) -> None:
    model = Composition()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    _, figures = updated(model, make_loss("cross_entropy"), division, clip_norm=0.01)
    moved = nn.utils.parameters_to_vector(model.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)
    _, free = updated(Composition(), make_loss("cross_entropy"), division)
    assert free[2] > 0.02
    torch.testing.assert_close(figures, free)


class Weightless:
    """Cross entropy whose weights have underflown."""

    def __call__(self, logits: Tensor, labels: Tensor, context: LossContext) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="none") * 0

    def example_weights(self, values: Tensor) -> Tensor:
        return torch.zeros_like(values)


def test_where_no_example_has_a_weight_nothing_changes() -> None:
    weights, figures = updated(Composition(), Weightless(), WHOLE)
    torch.testing.assert_close(weights, dict(Composition().state_dict()), rtol=0, atol=0)
    assert figures.isfinite().all()


def test_a_second_update_starts_from_gradients_of_zero() -> None:
    model = Composition()
    updated(model, make_loss("cross_entropy"), WHOLE, rate=0.0)
    again, _ = updated(model, make_loss("cross_entropy"), WHOLE)
    once, _ = updated(Composition(), make_loss("cross_entropy"), WHOLE)
    torch.testing.assert_close(again, once, rtol=0, atol=0)


def failing() -> Batch:
    raise RuntimeError("no more")


def test_an_update_that_fails_leaves_weights_statistics_and_memory_as_they_were() -> None:
    loss = make_loss("early_learning_regularization")
    memory = loss.new_memory(N, K, CPU)  # type: ignore[attr-defined]
    objective, model = Objective(loss, memory), in_training()
    updated(model, objective, WHOLE)
    before = {**model.state_dict(), **memory}
    before = {name: value.clone() for name, value in before.items()}
    with pytest.raises(RuntimeError, match="no more"):
        updated(model, objective, [*cutters(range(4), range(4, N)), failing])
    torch.testing.assert_close({**model.state_dict(), **memory}, before, rtol=0, atol=0)


def test_a_process_alone_calls_the_network_itself() -> None:
    model = Composition()
    assert spread(model) is model
