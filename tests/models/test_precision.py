"""In which precision a network computes."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protein_robust.alphabet import PAD
from protein_robust.models import ProtCNN, ProtCNNConfig, computes_bf16, scores

CPU = torch.device("cpu")


def network() -> ProtCNN:
    return ProtCNN(
        ProtCNNConfig(width=16, dilations=(1, 2)), 5, generator=torch.Generator().manual_seed(0)
    ).eval()


def batch() -> tuple[Tensor, Tensor]:
    inputs = torch.randint(20, (4, 60), generator=torch.Generator().manual_seed(1)).byte()
    inputs[1, 40:] = PAD
    return inputs, inputs != PAD


def test_on_a_cpu_float32_is_what_auto_means() -> None:
    model, (inputs, mask) = network(), batch()
    expected = model(inputs, mask)
    for precision in ("auto", "fp32"):
        logits = scores(model, inputs, mask, precision)  # type: ignore[arg-type]
        assert logits.dtype == torch.float32
        assert torch.equal(logits, expected)


def test_bf16_on_a_cpu_is_close_to_float32() -> None:
    model, (inputs, mask) = network(), batch()
    logits = scores(model, inputs, mask, "bf16")
    assert logits.dtype == torch.bfloat16
    # 8 bits of mantissa: 0.4 % an operation, through eight layers.
    torch.testing.assert_close(logits.float(), model(inputs, mask), rtol=0.05, atol=0.02)


def test_weights_and_their_gradients_stay_in_float32() -> None:
    model = network().train()
    scores(model, *batch(), "bf16").float().square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.dtype == parameter.grad.dtype == torch.float32


def test_the_precision_ends_with_the_call() -> None:
    scores(network(), *batch(), "bf16")
    assert not torch.is_autocast_enabled("cpu")


def test_whether_a_cpu_computes_bf16_is_yes_or_no() -> None:
    assert isinstance(computes_bf16(CPU), bool)


def test_a_cpu_computes_bf16_where_it_says_so() -> None:
    path = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not path.is_file():
        pytest.skip("flags of an x86 processor are needed")
    flags = set(path.read_text(encoding="utf-8").split())
    assert computes_bf16(CPU) is bool(flags & {"avx512_bf16", "amx_bf16"})
