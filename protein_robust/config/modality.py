"""Sequences or images: which schema a section has, and whether all sections are of one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from protein_robust.config.images import AugmentationConfig, ImageDataConfig, ResNetModelConfig
from protein_robust.config.sections import NoiseConfig, Section

IMAGE_DATA, SEQUENCE_DATA = "image data", "sequence data"
IMAGE_MODEL, SEQUENCE_MODEL = "image network", "sequence network"
"""Which schema a section has; as they stand in the places of pydantic's errors."""


def kind_of_data(value: Any) -> str:
    """Which schema a `data` section has, by its keys."""
    is_image = "images" in value if isinstance(value, Mapping) else False
    return IMAGE_DATA if is_image or isinstance(value, ImageDataConfig) else SEQUENCE_DATA


def kind_of_model(value: Any) -> str:
    """Which schema a `model` section has, by its keys."""
    is_image = "architecture" in value if isinstance(value, Mapping) else False
    return IMAGE_MODEL if is_image or isinstance(value, ResNetModelConfig) else SEQUENCE_MODEL


class Sections(Protocol):
    """What is looked at of a study."""

    @property
    def data(self) -> Section: ...  # noqa: D102
    @property
    def model(self) -> Section: ...  # noqa: D102
    @property
    def augmentation(self) -> AugmentationConfig: ...  # noqa: D102
    @property
    def noise(self) -> list[NoiseConfig]: ...  # noqa: D102
    @property
    def baselines(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def trainings(self) -> list[Any]: ...  # noqa: D102


def misfit(study: Sections) -> str | None:
    """What of a study is not meant for the kind of its data, or None."""
    is_of_images = isinstance(study.data, ImageDataConfig)
    return _misfit_of_images(study) if is_of_images else _misfit_of_sequences(study)


_OF_LENGTHS = ("max_residues", "length_window")
"""Training settings that have a meaning only where examples are of several lengths."""


def _misfit_of_images(study: Sections) -> str | None:
    """What of a study of images is meant for sequences, or None."""
    if not isinstance(study.model, ResNetModelConfig):
        return "Expected `model` with an `architecture` such as resnet20 for images, got ProtCNN."
    for name in _OF_LENGTHS:
        default = type(study.trainings[0]).model_fields[name].default
        if any(getattr(training, name) != default for training in study.trainings):
            return f"Expected no `{name}` for images, which are of one size, got a value."
    if any(noise.crop.kind != "none" for noise in study.noise):
        return "Expected no crops for images (`augmentation` shifts them), got some."
    if any(n.label.open_set_rate or n.label.unlabelled != "leave out" for n in study.noise):
        return "Expected no `open_set_rate` and no `unlabelled` for images, got one."
    if study.baselines:
        return f"Expected no `baselines` for images, got {study.baselines[0]}."
    return None


def _misfit_of_sequences(study: Sections) -> str | None:
    """What of a study of sequences is meant for images, or None."""
    if isinstance(study.model, ResNetModelConfig):
        found = study.model.architecture
        return f"Expected `model` of ProtCNN for sequences (`images` in `data`?), got {found}."
    if study.augmentation != AugmentationConfig():
        return "Expected no `augmentation` for sequences (`crop` of `noise` cuts them), got one."
    return None
