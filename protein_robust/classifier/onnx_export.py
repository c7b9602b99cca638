"""The network as ONNX, for programs without PyTorch; and the proof that it says the same."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from protein_robust.alphabet import NUM_TOKENS, PAD
from protein_robust.atomic import replace_file
from protein_robust.errors import InputError, ProteinRobustError
from protein_robust.models import ProtCNN

if TYPE_CHECKING:
    from protein_robust.classifier.package import Classifier

TOLERANCE = 1e-4
"""Largest difference of a logit, over the largest logit of its sequence where that is above 1."""

OPSET = 18
CHECKED_SHAPES = ((1, 1), (1, 300), (3, 17), (5, 128), (2, 1031))
"""Batch size and padded length of what an exported network is tried on."""


def export_onnx(classifier: Classifier, path: Path) -> float:
    """Write the network of a classifier, and try it before the file takes its name.

    Inputs ``tokens`` (B, L) uint8 (of `protein_robust.alphabet`, `PAD` beyond the end) and ``mask``
    (B, L) bool, true at residues; output ``logits`` (B, K) float32. B and L may be any number. The
    families, the temperature and the name are metadata of the file, as JSON texts.

    Args:
        classifier: has the network.
        path: the file; its folder is there.

    Returns:
        The largest difference from PyTorch's logits that was found.

    Raises:
        InputError: if the packages of the extra ``onnx`` are not installed.
        ProteinRobustError: if ONNX Runtime's logits differ by more than `TOLERANCE`.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        expected = "ONNX (`pip install 'protein-robust[onnx]'`) for `export`"
        raise InputError(expected, f"no {error.name}") from error
    difference = 0.0

    def write(partial: Path) -> None:
        nonlocal difference
        network = classifier.network.cpu()
        _write(network, partial)
        _describe(classifier, partial)
        difference = largest_difference(network, partial)
        if not difference <= TOLERANCE:
            raise ProteinRobustError(
                f"Expected logits of ONNX Runtime within {TOLERANCE:g} of PyTorch's, "
                f"got a difference of {difference:.2g}."
            )

    replace_file(path, write)
    return difference


def largest_difference(network: ProtCNN, path: Path) -> float:
    """Compare a file with the network that it was made of, on random sequences of several lengths.

    Args:
        network: on the CPU, in evaluation mode.
        path: the file.

    Returns:
        The largest difference of a logit, relative to the largest logit of its sequence if that is
        over 1.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    found = 0.0
    for shape in CHECKED_SHAPES:
        tokens, mask = _random_batch(shape, rng)
        (logits,) = session.run(None, {"tokens": tokens.numpy(), "mask": mask.numpy()})
        with torch.inference_mode():
            expected = network(tokens, mask).numpy()
        scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1)
        found = max(found, float((np.abs(logits - expected) / scale).max()))
    return found


def _random_batch(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Tokens of all letters, rare ones too; the first sequence fills the length, others may not."""
    lengths = rng.integers(1, shape[1], size=shape[0], endpoint=True)
    lengths[0] = shape[1]
    mask = np.arange(shape[1]) < lengths[:, None]
    tokens = rng.integers(0, NUM_TOKENS - 1, size=shape)
    return torch.from_numpy(np.where(mask, tokens, PAD).astype(np.uint8)), torch.from_numpy(mask)


class _Exportable(torch.nn.Module):
    """The network in operations that ONNX has: its own write in place, and count what is empty."""

    def __init__(self, network: ProtCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        network, is_residue = self.network, mask[:, None, None]  # (B, 1, 1, L)
        profiles = torch.nn.functional.embedding(tokens.to(torch.int64), network.profiles)
        x = network.stem(profiles.permute(0, 2, 1)[:, :, None])  # (B, C, 1, L)
        for block in network.blocks:
            x = x + _change(block, x, is_residue)
        lowest = torch.full_like(x, -torch.inf)
        embedding = torch.where(is_residue, x, lowest).amax(dim=(2, 3))
        logits: Tensor = network.head(embedding)
        return logits


def _change(block: Any, x: Tensor, is_residue: Tensor) -> Tensor:
    """What a block adds; the same formula as `ResidualBlock.forward` in evaluation mode."""
    for norm, convolution in ((block.norm_in, block.dilated), (block.norm_out, block.widen)):
        scale, shift = (part[:, None, None] for part in norm.affine())
        x = convolution((x * scale + shift).relu() * is_residue)
    return x


def _write(network: ProtCNN, path: Path) -> None:
    # Two sizes above 1, which the exporter would take for constants.
    tokens, mask = _random_batch((2, 11), np.random.default_rng(0))
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own code
        torch.onnx.export(
            _Exportable(network).eval(),
            (tokens, mask),
            path,
            input_names=["tokens", "mask"],
            output_names=["logits"],
            dynamic_shapes={"tokens": {0: batch, 1: length}, "mask": {0: batch, 1: length}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _describe(classifier: Classifier, path: Path) -> None:
    """Add what a reader of the logits needs."""
    import json

    import onnx

    model = onnx.load(path)
    entries = {
        "name": classifier.name,
        "temperature": json.dumps(classifier.temperature),
        "families": json.dumps(classifier.families.accession),
    }
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
