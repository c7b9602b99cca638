"""A classifier of three families with weights that are drawn, not trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from protein_robust.classifier import Classifier, Families, Threshold
from protein_robust.evaluation.centroids import Centroids
from protein_robust.models import ProtCNN, ProtCNNConfig

MakeClassifier = Callable[..., Classifier]


def _make(**changes: Any) -> Classifier:
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
    return _make


@pytest.fixture
def classifier() -> Classifier:
    return _make()


@pytest.fixture
def sequences() -> list[str]:
    """Random residues, rare letters among them, of lengths in no order."""
    rng = np.random.default_rng(3)
    letters = list("ACDEFGHIKLMNPQRSTVWYBJOUXZ")
    lengths = [40, 1, 300, 7, 7, 129, 4, 64, 5, 1000, 33]
    return ["".join(rng.choice(letters, size)) for size in lengths]
