"""Global and local trust: hand values and limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from protein_robust.errors import InputError
from protein_robust.losses import ProSelfLC, global_trust, local_trust
from protein_robust.losses.trust import TRUST_KINDS, TrustKind


def local(loss: ProSelfLC, logits: Tensor, progress: float = 0.5) -> Tensor:
    """The local trust, shape (B,)."""
    return loss.describe(logits, torch.zeros(len(logits), dtype=torch.int64), progress)[
        "local_trust"
    ]


@pytest.mark.parametrize(
    ("progress", "exp_base", "transit_time_ratio", "expected"),
    [
        # 1 / (1 + exp(-B (t - tau))); the first is 1 / (1 + e^8)
        (0.0, 16, 0.5, 0.000335),
        (0.25, 16, 0.5, 0.017986),
        (0.5, 16, 0.5, 0.5),
        (0.75, 16, 0.5, 0.982014),
        (1.0, 16, 0.5, 0.999665),
        (1.0, 8, 0.5, 0.982014),
        (1.0, 12, 0.5, 0.997527),
        (0.0, 6, 0.3, 0.1419),
        (0.75, 6, 0.3, 0.937027),
    ],
)
def test_global_trust_is_the_logistic_curve(
    progress: float, exp_base: float, transit_time_ratio: float, expected: float
) -> None:
    trust = global_trust(progress, exp_base, transit_time_ratio)
    assert trust == pytest.approx(expected, abs=5e-5 if expected == 0.1419 else 1e-6)


def test_global_trust_of_a_very_steep_curve_does_not_overflow() -> None:
    assert [global_trust(progress, 1e6, 0.5) for progress in (0.0, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("temperature", "probs", "entropy_trust"),
    [
        # p_T is proportional to p^(1/T); at T = 0.5: 9 : 4 : 1
        (1.0, [1 / 2, 1 / 3, 1 / 6], 0.079380),
        (0.5, [0.642857, 0.285714, 0.071429], 0.244072),
        (0.4, [0.700752, 0.254294, 0.044953], 0.329304),
        (0.2, [0.880435, 0.115942, 0.003623], 0.652021),
    ],
)
def test_a_lower_temperature_sharpens_and_raises_the_trust(
    worked_logits: Tensor, temperature: float, probs: list[float], entropy_trust: float
) -> None:
    highest = ProSelfLC(temperature=temperature, trust="max_probability")
    assert local(highest, worked_logits).item() == pytest.approx(probs[0], abs=1e-6)
    loss = ProSelfLC(temperature=temperature)
    assert local(loss, worked_logits).item() == pytest.approx(entropy_trust, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("entropy", 0.0), ("max_probability", 1 / 17929), ("global", 1.0), ("local", 0.0)],
)
def test_local_trust_in_a_uniform_prediction(kind: TrustKind, expected: float) -> None:
    logits = torch.zeros(1, 17929)
    assert local(ProSelfLC(trust=kind), logits).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", TRUST_KINDS)
def test_local_trust_in_a_certain_prediction_is_one(kind: TrustKind) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]])  # p exactly 1, 0, 0
    assert local(ProSelfLC(trust=kind), logits).item() == 1


@pytest.mark.parametrize("kind", TRUST_KINDS)
def test_local_trust_stays_in_its_interval(kind: TrustKind) -> None:
    generator = torch.Generator().manual_seed(1)
    scale = torch.logspace(-6, 4, 200).unsqueeze(1)  # (200, 1): from uniform to one-hot
    trust = local(ProSelfLC(trust=kind), scale * torch.randn(200, 11, generator=generator))
    assert trust.shape == (200,)
    assert trust.min() >= 0
    assert trust.max() <= 1


def test_the_parts_of_the_trust_multiply(worked_logits: Tensor) -> None:
    loss = ProSelfLC(exp_base=16)
    trust = loss.describe(worked_logits, torch.tensor([2]), 0.75)
    assert trust["global_trust"].item() == pytest.approx(0.982014, abs=1e-6)
    assert trust["trust"].item() == pytest.approx(0.077952, abs=1e-6)


def test_local_trust_alone_does_not_depend_on_the_time(worked_logits: Tensor) -> None:
    loss = ProSelfLC(trust="local")
    values = [loss.describe(worked_logits, torch.tensor([2]), t)["trust"].item() for t in (0, 1)]
    assert values == pytest.approx([0.079380, 0.079380], abs=1e-6)


def test_an_unknown_kind_of_trust_is_refused() -> None:
    kind: TrustKind = "both"  # type: ignore[assignment]
    facts = {"entropy": torch.zeros(1), "max_probability": torch.ones(1)}
    with pytest.raises(InputError, match=r"Expected `trust` out of .*, got 'both'\."):
        local_trust(kind, **facts, num_classes=2)


@pytest.mark.parametrize(("kind", "trust"), [("entropy", 0.239682), ("max_probability", 0.631295)])
def test_trust_at_low_temperature_by_hand(
    worked_logits: Tensor, kind: TrustKind, trust: float
) -> None:
    loss = ProSelfLC(exp_base=16, temperature=0.5, trust=kind)
    described = loss.describe(worked_logits, torch.tensor([2]), 0.75)
    assert described["trust"].item() == pytest.approx(trust, abs=1e-6)


def test_trust_is_described_in_full_precision() -> None:
    # In half precision 6e4 / 0.2 would be infinite.
    loss = ProSelfLC(temperature=0.2)
    described = loss.describe(torch.tensor([[6e4, 0.0]]).half(), torch.tensor([0]), 1.0)
    assert described["local_trust"].item() == 1
