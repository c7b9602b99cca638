"""What noise needs to know of a data set: labels, lengths, classes, and what people annotated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.noise.classes import Classes
from protein_robust.noise.labels import ORIGINS
from protein_robust.noise.rules import LabelRule

SPLITS = ("train", "valid", "test")
ADDED = ORIGINS[1:]

Arrays = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class NoiseInputs:
    """What noise needs to know of a data set.

    Attributes:
        labels: clean classes of ``train`` and, if they are there, ``valid`` and ``test``, arrays of
            shape (N_split,), int64.
        lengths: residues of each sequence of these, and of ``unlabelled`` and ``heldout`` if there
            are any, arrays of shape (N_split,), int64.
        classes: the K classes.
        dataset_digest: of the data set that the noise belongs to.
        conflicts: an id for each row of ``train`` that rows with the same residues share, -1 for
            the others, shape (N_train,), int64; None if that is not known.
        annotations: labels that people gave, by name: a class for each row of ``train``, shape
            (N_train,), int64.

    Raises:
        ValueError: if ``train`` is missing, a split is not known, or shapes differ.
    """

    labels: Arrays
    lengths: Arrays
    classes: Classes
    dataset_digest: str
    conflicts: NDArray[np.int64] | None = None
    annotations: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names and shapes."""
        if "train" not in self.labels or set(self.labels) - set(SPLITS):
            expected = f"train and no others than {', '.join(SPLITS)}"
            raise ValueError(f"Expected `labels` of {expected}, got {', '.join(self.labels)}.")
        if set(self.lengths) - set(ADDED) != set(self.labels):
            expected = f"{', '.join(self.labels)}, and no others than {', '.join(ADDED)}"
            raise ValueError(f"Expected `lengths` of {expected}, got {', '.join(self.lengths)}.")
        shapes = {split: (self.lengths[split], part) for split, part in self.labels.items()}
        if self.conflicts is not None:
            shapes["conflicts"] = (self.labels["train"], self.conflicts)
        for name, given in self.annotations.items():
            shapes[f"annotations[{name!r}]"] = (self.labels["train"], given)
        for name, (first, second) in shapes.items():
            if first.shape != second.shape:
                found = f"{first.shape} and {second.shape}"
                raise ValueError(f"Expected `{name}` in arrays of one shape, got {found}.")

    def annotation_for(self, rule: LabelRule) -> NDArray[np.int64] | None:
        """The labels that the rule gives, shape (N_train,), int64; None unless it is ``human``.

        Raises:
            InputError: if there are none of this name.
        """
        if rule.kind != "human":
            return None
        if not self.annotations:
            expected = f"labels {rule.annotation!r} that people gave"
            raise InputError(expected, "none in the data set (see `human_labels` of `data`)")
        if rule.annotation not in self.annotations:
            expected = f"`annotation` one of {', '.join(self.annotations)}"
            raise InputError(expected, repr(rule.annotation))
        return self.annotations[rule.annotation]
