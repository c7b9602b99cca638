"""A small study that every end-to-end test can afford, and a classifier that nobody trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch

from protein_robust.classifier import Classifier, Families, Threshold
from protein_robust.evaluation.centroids import Centroids
from protein_robust.models import ProtCNN, ProtCNNConfig

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

MOTIFS = {"PF1": "WWHCKD", "PF2": "GGPYEF", "PF3": "MNQRST"}


def write_table(path: Path, *, num_sequences: int = 90) -> Path:
    """A table of three families, each with a motif of its own in random residues."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(num_sequences):
        family = list(MOTIFS)[number % 3]
        residues = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size=rng.integers(20, 60))
        place = rng.integers(0, len(residues))
        sequence = "".join(residues[:place]) + MOTIFS[family] + "".join(residues[place:])
        rows.append(f"{family},{sequence}\n")
    path.write_text("family_accession,sequence\n" + "".join(rows))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv")


def write_study_in(folder: Path, **sections: str) -> Path:
    """A study of two losses and one noise setting; keyword texts replace its sections."""
    content = {
        "name": "tiny",
        "output": str(folder / "results"),
        "data": f"{{source: {folder / 'table.csv'}, output: {folder / 'dataset'}}}",
        "noise": "[{name: crop + label, crop: {kind: random, min_fraction: 0.8}, "
        "label: {kind: symmetric, rate: 0.2}}]",
        "model": "{width: 8, dilations: [1, 2]}",
        "training": "{epochs: 2, batch_size: 16, learning_rate: 1e-2}",
        "losses": "[{name: cross_entropy, label: CCE}, {name: proselflc, label: PSLC}]",
        "tracking": "{enabled: false}",
        **sections,
    }
    path = folder / "tiny.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in content.items()))
    return path


@pytest.fixture
def write_study(tmp_path: Path, table: Path) -> Callable[..., Path]:
    """Writes a study of the table; keyword texts replace its sections."""
    assert table.parent == tmp_path
    return partial(write_study_in, tmp_path)


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[..., Path]]:
    """A folder for the tests of one file, and what writes a study in it, as `write_study`."""
    folder = tmp_path_factory.mktemp("study")
    write_table(folder / "table.csv")
    return folder, partial(write_study_in, folder)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder, since default folders such as results/ are relative."""
    place = tmp_path / "cwd"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place


MakeClassifier = Callable[..., Classifier]


def _make_classifier(**changes: Any) -> Classifier:
    """A classifier of three families with weights that are drawn, not trained."""
    rng = np.random.default_rng(7)
    network = ProtCNN(
        ProtCNNConfig(8, dilations=(1, 2)), 3, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():  # so that logits are some units apart, and norms are not the initial ones
        network.head.weight.mul_(40)
        for name, buffer in network.named_buffers():
            if name.endswith("running_variance"):
                buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(2))
    made = Classifier(
        name="study/run-1",
        network=network.eval(),
        families=Families(
            ("PF1.1", "PF2.3", "PF3.2"),
            ("fam_1", None, "fam_3"),
            ("First family", None, None),
            ("CL1", "CL1", None),
        ),
        temperature=1.5,
        thresholds=(Threshold(0.05, 0.7, 0.6), Threshold(0.2, 0.4, float("inf"))),
        least_length=5,
        centroids=Centroids(
            torch.from_numpy(rng.normal(size=(3, 8)).astype(np.float32)),
            torch.tensor([4, 5, 6]),
            torch.eye(8),
        ),
        decoy_score=rng.uniform(-1.2, -0.2, 60),
        decoy_length=rng.integers(5, 90, 60),
        origin={"study": "study", "run_key": "abc"},
    )
    return replace(made, **changes)


@pytest.fixture
def make_classifier() -> MakeClassifier:
    """Builds the classifier, with other values where some are given."""
    return _make_classifier


@pytest.fixture
def classifier() -> Classifier:
    return _make_classifier()


@pytest.fixture
def sequences() -> list[str]:
    """Random residues, rare letters among them, of lengths in no order."""
    rng = np.random.default_rng(3)
    letters = list("ACDEFGHIKLMNPQRSTVWYBJOUXZ")
    lengths = [40, 1, 300, 7, 7, 129, 4, 64, 5, 1000, 33]
    return ["".join(rng.choice(letters, size)) for size in lengths]
