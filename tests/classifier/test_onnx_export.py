"""The network as ONNX says what it says in PyTorch, for every batch and length."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from protein_robust.alphabet import PAD, encode
from protein_robust.classifier import Classifier
from protein_robust.classifier import onnx_export as exporting
from protein_robust.classifier.onnx_export import export_onnx
from protein_robust.errors import InputError, ProteinRobustError

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
pytestmark = pytest.mark.slow


def batch(texts: list[str], padding: int) -> tuple[np.ndarray, np.ndarray]:
    length = max(map(len, texts)) + padding
    tokens = np.full((len(texts), length), PAD, np.uint8)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = encode(text)
    return tokens, tokens != PAD


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from protein_robust.classifier import Families
    from protein_robust.evaluation.centroids import Centroids
    from protein_robust.models import ProtCNN, ProtCNNConfig

    generator = torch.Generator().manual_seed(3)
    network = ProtCNN(ProtCNNConfig(12, dilations=(1, 3)), 5, generator=generator).eval()
    with torch.no_grad():
        network.head.weight.mul_(60)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.uniform_(-0.3, 0.3, generator=generator)
    names = ("A", "B", "C", "D", "E")
    none = (None,) * 5
    made = Classifier(
        name="x/y",
        network=network,
        families=Families(names, none, none, none),
        temperature=2.0,
        thresholds=(),
        least_length=1,
        centroids=Centroids(torch.ones(5, 12), torch.ones(5, dtype=torch.int64), torch.eye(12)),
        decoy_score=np.zeros(1),
        decoy_length=np.ones(1, np.int64),
    )
    folder = tmp_path_factory.mktemp("onnx")
    made.save(folder / "model")
    difference = export_onnx(made, folder / "model.onnx")
    assert 0 <= difference <= 1e-4
    return folder


BATCHES = {
    "one residue": (["M"], 0),
    "one sequence": (["ACDEFGHIKLMNPQRSTVWY" * 9], 0),
    "rare letters": (["BJOUXZ", "XXXX", "MKVU"], 0),
    "much padding": (["MKV", "ACDEFGHIKL" * 30, "W"], 100),
    "many": (["ACDEF" * number for number in range(1, 40)], 3),
    "long": (["ACDEFGHIKLMNPQRSTVWY" * 500], 0),
}


@pytest.mark.parametrize(("texts", "padding"), BATCHES.values(), ids=BATCHES.keys())
def test_logits_are_those_of_pytorch(exported: Path, texts: list[str], padding: int) -> None:
    tokens, mask = batch(texts, padding)
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    (found,) = session.run(["logits"], {"tokens": tokens, "mask": mask})
    network = Classifier.load(exported / "model").network
    with torch.inference_mode():
        expected = network(torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
    assert np.abs(expected).max() > 0.5  # so that 1e-4 means something
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_the_file_says_what_its_numbers_mean(exported: Path) -> None:
    model = onnx.load(exported / "model.onnx")
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["name"] == "x/y"
    assert json.loads(said["temperature"]) == 2.0
    assert json.loads(said["families"]) == ["A", "B", "C", "D", "E"]
    assert [value.name for value in model.graph.input] == ["tokens", "mask"]
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        assert all(size.dim_param for size in sizes)  # names, not numbers


def test_a_file_that_differs_from_the_network_is_not_kept(
    make_classifier: Callable[..., Classifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)  # no difference is small enough
    with pytest.raises(ProteinRobustError, match="Expected logits of ONNX Runtime within"):
        export_onnx(make_classifier(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_it_says_what_to_install(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"pip install 'protein-robust\[onnx\]'.*no onnxscript"):
        export_onnx(classifier, tmp_path / "model.onnx")
