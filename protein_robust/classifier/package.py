"""A classifier as it is handed on: the network and what is needed to read its answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.classifier.classify import classify
from protein_robust.classifier.families import Families
from protein_robust.classifier.folder import (
    CONTENT_FILE,
    REFERENCE_FILE,
    WEIGHTS_FILE,
    read_content,
    read_tensors,
    write_folder,
)
from protein_robust.classifier.judging import TOLERATED_ERROR, UNKNOWN_LEVEL
from protein_robust.classifier.thresholds import Threshold
from protein_robust.errors import InputError
from protein_robust.evaluation.centroids import Centroids
from protein_robust.evaluation.p_values import Decoys
from protein_robust.models import ProtCNN, ProtCNNConfig


@dataclass(frozen=True)
class Classifier:
    """A trained network that says how sure it is, and when it does not know.

    Attributes:
        name: what its answers are signed with.
        network: in evaluation mode.
        families: its K classes.
        temperature: what its logits are divided by, so that confidence is calibrated; fitted on
            validation data.
        thresholds: by tolerated error; none where there was no validation data.
        least_length: residues of the shortest training example as the network saw it.
        centroids: where the families are in the embedding, on the network's device.
        decoy_score: minus the distance of shuffled sequences from the nearest family, shape (n,),
            float64; p values compare with them.
        decoy_length: residues of each that the network saw, shape (n,), int64.
        origin: where it comes from: the run's key, the study, the data set's digest.
    """

    name: str
    network: ProtCNN
    families: Families
    temperature: float
    thresholds: tuple[Threshold, ...]
    least_length: int
    centroids: Centroids
    decoy_score: NDArray[np.float64]
    decoy_length: NDArray[np.int64]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def classify(
        self,
        sequences: Sequence[str],
        *,
        tolerated_error: float | None = TOLERATED_ERROR,
        unknown_level: float = UNKNOWN_LEVEL,
    ) -> pd.DataFrame:
        """Say which family each sequence is of, and whether to believe it.

        Args:
            sequences: residues, cleaned as ingestion does it: lower case, gaps and a final ``*``
                are allowed.
            tolerated_error: one that the model has thresholds for; None: confidence does not
                count for the verdict.
            unknown_level: p value above which a sequence is unknown, in [0, 1].

        Returns:
            A row for each sequence, in their order, with the columns of
            `protein_robust.classifier.classify.ANSWER_SCHEMA`, and ``q_value`` (over these
            sequences) before ``verdict``, and ``model`` last.

        Raises:
            InputError: if one holds something else than residues, the model has no threshold for
                the tolerated error, or the level is outside [0, 1].
        """
        return classify(self, sequences, tolerated_error, unknown_level)

    @cached_property
    def decoys(self) -> Decoys:
        """The decoys by length."""
        return Decoys.of(self.decoy_score, self.decoy_length)

    def on(self, device: torch.device | str) -> Classifier:
        """The same on a device; the network is moved, not copied."""
        network = self.network.to(device)
        return replace(self, network=network, centroids=self.centroids.to(device))

    def save(self, folder: str | Path) -> Path:
        """Write it as a folder, which takes its name only when it is whole.

        Args:
            folder: where to; a model that is there is replaced.

        Returns:
            The folder.

        Raises:
            InputError: if the folder holds other files, or cannot be written.
        """
        reference = {
            **{f"centroid_{name}": value for name, value in _tensors_of(self.centroids).items()},
            "decoy_score": torch.from_numpy(self.decoy_score),
            "decoy_length": torch.from_numpy(self.decoy_length),
        }
        content = {
            "name": self.name,
            "origin": dict(self.origin),
            "network": asdict(self.network.config),
            "temperature": self.temperature,
            "least_length": self.least_length,
            "thresholds": [
                {name: value if math.isfinite(value) else None for name, value in row.items()}
                for row in map(asdict, self.thresholds)
            ],
            "families": asdict(self.families),
        }
        weights = self.network.state_dict()
        write_folder(Path(folder), {WEIGHTS_FILE: weights, REFERENCE_FILE: reference}, content)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """Read what `save` wrote; no code from the folder is executed.

        Args:
            folder: of the model.

        Returns:
            The classifier, on the CPU.

        Raises:
            InputError: if the folder is no model, of another schema version, damaged or changed.
        """
        place = Path(folder)
        content = read_content(place)
        try:
            weights, reference = (
                read_tensors(place, name, content) for name in (WEIGHTS_FILE, REFERENCE_FILE)
            )
            families = Families.from_columns(content["families"])
            classifier = cls(
                name=str(content["name"]),
                network=_network(content["network"], len(families), weights),
                families=families,
                temperature=float(content["temperature"]),
                thresholds=tuple(_threshold(row) for row in content["thresholds"]),
                least_length=int(content["least_length"]),
                centroids=_centroids(reference),
                decoy_score=reference["decoy_score"].numpy(),
                decoy_length=reference["decoy_length"].numpy(),
                origin=content["origin"],
            )
            _check(classifier)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            path = place / CONTENT_FILE
            raise InputError("the content of a model", reason, path=path) from error
        return classifier


def _network(shape: Mapping[str, Any], num_classes: int, weights: Mapping[str, Tensor]) -> ProtCNN:
    config = ProtCNNConfig(**{**shape, "dilations": tuple(shape["dilations"])})
    network = ProtCNN(config, num_classes, generator=torch.Generator().manual_seed(0))
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _tensors_of(centroids: Centroids) -> dict[str, Tensor]:
    return {part.name: getattr(centroids, part.name) for part in fields(Centroids)}


def _centroids(reference: Mapping[str, Tensor]) -> Centroids:
    return Centroids(*(reference[f"centroid_{part.name}"] for part in fields(Centroids)))


def _threshold(row: Mapping[str, float | None]) -> Threshold:
    """Null stands for infinity, which JSON does not have."""
    return Threshold(**{k: math.inf if value is None else value for k, value in row.items()})


def _check(classifier: Classifier) -> None:
    """Refuse values that a whole model does not have."""
    shape = (len(classifier.families), classifier.network.config.width)
    found = tuple(classifier.centroids.mean.shape)
    if found != shape:
        raise ValueError(f"centroids of shape {found}, not {shape}")
    if not 0 < classifier.temperature < math.inf:
        raise ValueError(f"a temperature of {classifier.temperature}")
    assert classifier.decoys  # or `Decoys` says what is wrong with the scores
