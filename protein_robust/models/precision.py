"""In which precision a network computes; its weights and the losses are float32 throughout."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "fp32", "bf16"]
"""``auto``: bf16 on a GPU, fp32 on a CPU. fp32 on a GPU means TF32 in products."""


def scores(
    model: nn.Module, inputs: Tensor, mask: Tensor | None, precision: Precision = "auto"
) -> Tensor:
    """Run a network.

    Args:
        model: maps (inputs, mask) to logits.
        inputs: as the model takes them.
        mask: as the model takes it.
        precision: of convolutions and matrix products.

    Returns:
        Logits, shape (B, K), floating.
    """
    kind = inputs.device.type
    use_bf16 = precision == "bf16" or (precision == "auto" and kind == "cuda")
    if not use_bf16 and kind == "cuda":
        torch.set_float32_matmul_precision("high")
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=use_bf16):
        logits: Tensor = model(inputs, mask)
    return logits


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16; without, it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16"))
