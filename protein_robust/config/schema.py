"""What may stand in a study: each section, each key with its meaning, default and range.

The functions that do the work take plain values; `StudyConfig.protcnn` and its neighbours
translate.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from protein_robust.config.images import AugmentationConfig, ImageDataConfig, ResNetModelConfig
from protein_robust.config.modality import (
    IMAGE_DATA,
    IMAGE_MODEL,
    SEQUENCE_DATA,
    SEQUENCE_MODEL,
    kind_of_data,
    kind_of_model,
    misfit,
)
from protein_robust.config.sections import (
    Count,
    DataConfig,
    Fraction,
    Name,
    NoiseConfig,
    Section,
    Seed,
)
from protein_robust.models import Precision, ProtCNNConfig

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
T = TypeVar("T")

BASELINE_LABELS = {"profile_hmm": "HMM"}
"""Each baseline as it stands in tables, among the losses."""


class ModelConfig(Section):
    """Shape of ProtCNN; the word `paper` stands for the published size."""

    width: Count = Field(48, description="channels of the residual stream")
    bottleneck: float = Field(0.5, gt=0, le=1, description="channels in a block / width")
    kernel_size: Count = Field(5, description="residues that a convolution sees, odd")
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (1, 2, 4), description="one residual block each"
    )
    norm_momentum: float = Field(0.1, gt=0, le=1, description="of running statistics")

    @field_validator("kernel_size")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"Expected an odd number, got {value}.")
        return value


class TrainingConfig(Section):
    """How a network is trained; see `protein_robust.training.FitOptions`."""

    epochs: Count = Field(20, description="passes over the training data")
    batch_size: int = Field(32, ge=2, description="examples an update")
    max_residues: Count = Field(
        65536,
        description="positions at a time, padding included; a larger batch is done in parts "
        "(sequences)",
    )
    length_window: Count | Literal["auto"] = Field(
        "auto",
        description="batches sorted by length together: more means less padding and less mixing; "
        "auto: the number of families, 32 to 512 (sequences)",
    )
    precision: Precision = Field("auto", description="bf16 on a GPU, else fp32")
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = Field(2e-3, description="the peak")
    weight_decay: float = Field(1e-2, ge=0, allow_inf_nan=False)
    weight_decay_of: Literal["kernels", "all"] = Field(
        "kernels", description="all: of norms and biases too, as in many published recipes"
    )
    momentum: float = Field(0.9, gt=0, lt=1, description="of sgd")
    nesterov: bool = Field(True, description="of sgd")
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the training")
    milestones: tuple[Fraction, ...] = Field((0.5, 0.75), description="of `step`, fractions")
    gamma: float = Field(0.1, gt=0, le=1, description="of `step`")
    accumulate: Count = Field(1, description="batches whose gradients make one update")
    clip_norm: Positive | None = Field(1.0, description="of the gradient")
    on_divergence: Literal["stop", "roll back"] = Field(
        "stop", description="roll back: to the last checkpoint, on with half the rate, 5 times"
    )
    evaluate_every: Count = Field(1, description="epochs")
    monitor_size: Count = Field(
        2048, description="examples of train and of test that are measured during training"
    )

    @field_validator("length_window", mode="before")
    @classmethod
    def _is_number_or_auto(cls, value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if value != "auto" and not is_number:
            raise ValueError(f"Expected `auto` or an integer of at least 1, got {value!r}.")
        return value


class LossConfig(Section):
    """One loss of the study with its parameters; the name alone will do."""

    name: str
    label: Name = Field(description="as it stands in tables; the name if not given")
    teacher: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="label of an earlier loss, or folder of a run, that this one learns from"
    )
    training: TrainingConfig | None = Field(
        None, description="what differs from the study's `training`"
    )
    parameters: dict[str, Any] = Field(description="the others keep their defaults")

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, value: Any) -> Any:
        """`cross_entropy` or `{name: proselflc, exp_base: 12}` -> name, label and parameters."""
        entry = {"name": value} if isinstance(value, str) else value
        if not isinstance(entry, Mapping) or "name" not in entry:
            raise ValueError(f"Expected a loss with its `name`, got {value!r}.")
        own = {k: entry[k] for k in ("name", "label", "teacher", "training") if k in entry}
        parameters = {k: v for k, v in entry.items() if k not in own}
        return {"label": entry["name"], **own, "parameters": parameters}


class CheckpointConfig(Section):
    """When a training writes checkpoints, and how many of the last ones are kept meanwhile."""

    every: Count = Field(1, description="epochs")
    minutes: Positive = Field(10.0, description="within an epoch")
    keep: Count = 2


class TrackingConfig(Section):
    """Where MLflow keeps the runs."""

    enabled: bool = True
    uri: str | None = Field(
        None, description="else $MLFLOW_TRACKING_URI, else sqlite mlflow.db of this folder"
    )
    experiment: str | None = Field(None, description="the name of the study if not given")


class StudyConfig(Section):
    """Every loss, under every noise setting, with every seed, on one data set."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80, description="of the study"
    )
    description: str = ""
    output: str | None = Field(None, description="folder; results/NAME if not given")
    data: Annotated[
        Annotated[DataConfig, Tag(SEQUENCE_DATA)] | Annotated[ImageDataConfig, Tag(IMAGE_DATA)],
        Discriminator(kind_of_data),
    ]
    noise: Annotated[list[NoiseConfig], Field(min_length=1)]
    model: Annotated[
        Annotated[ModelConfig, Tag(SEQUENCE_MODEL)]
        | Annotated[ResNetModelConfig, Tag(IMAGE_MODEL)],
        Discriminator(kind_of_model),
    ] = ModelConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    losses: Annotated[list[LossConfig], Field(min_length=1)]
    baselines: list[Literal["profile_hmm"]] = Field(
        [], description="what stands beside the losses; profile_hmm needs pyhmmer"
    )
    seeds: list[Seed] = Field([0], min_length=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of one training")
    checkpoints: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()

    @field_validator("model", mode="before")
    @classmethod
    def _paper(cls, value: Any) -> Any:
        if value == "paper":
            return dataclasses.asdict(ProtCNNConfig.paper())
        return {"architecture": value} if isinstance(value, str) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        return _require_different(value, value)

    @field_validator("baselines")
    @classmethod
    def _baselines_differ(cls, value: list[str], info: ValidationInfo) -> list[str]:
        labels = [BASELINE_LABELS[name] for name in value]
        losses = [loss.label for loss in info.data.get("losses", [])]
        taken = {slug(label) for label in losses} & {slug(label) for label in labels}
        if taken:
            raise ValueError(f"Expected no loss with the label {taken.pop()}, got one.")
        return _require_different(value, value)

    @field_validator("noise")
    @classmethod
    def _noise_names_differ(cls, value: list[NoiseConfig]) -> list[NoiseConfig]:
        return _require_different(value, [noise.name for noise in value])

    @field_validator("losses")
    @classmethod
    def _labels_differ(cls, value: list[LossConfig]) -> list[LossConfig]:
        return _require_different(value, [loss.label for loss in value])

    @model_validator(mode="after")
    def _fits_its_data(self) -> StudyConfig:
        problem = misfit(self)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def trainings(self) -> list[TrainingConfig]:
        """That of the study, and what losses have of their own."""
        return [self.training, *(loss.training for loss in self.losses if loss.training)]

    @property
    def is_of_images(self) -> bool:
        """Whether the examples are images, not sequences."""
        return isinstance(self.data, ImageDataConfig)

    @property
    def folder(self) -> Path:
        """Where everything that the study makes is written."""
        return Path(self.output) if self.output else Path("results") / self.name

    @property
    def dataset_folder(self) -> Path:
        """Where the ingested data set is."""
        if self.data.dataset is not None:
            return self.data.dataset
        return Path(self.data.output) if self.data.output else Path("data/processed") / self.name

    def training_of(self, loss: LossConfig) -> TrainingConfig:
        """How a loss is trained: as the study says, but for what the loss has of its own."""
        own = {} if loss.training is None else loss.training.model_dump(exclude_unset=True)
        return self.training.model_copy(update=own)


def slug(text: str) -> str:
    """A name as it stands in a path.

    Example:
        >>> slug("crop + label 40%")
        'crop-label-40'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def _require_different(values: list[T], names: list[Any]) -> list[T]:
    """Refuse what would have the same name in a table or in a path."""
    slugs = [slug(str(name)) for name in names]
    again = sorted({str(n) for n, s in zip(names, slugs, strict=True) if slugs.count(s) > 1})
    if again:
        raise ValueError(
            f"Expected each name, label or seed once (punctuation apart), "
            f"got {', '.join(again)} several times."
        )
    return values
