"""What may stand in the sections of a study on images: data, network, augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from protein_robust.config.sections import Count, Section, Seed
from protein_robust.ingest.images import ImageOptions
from protein_robust.models.resnet import Architecture, Compile


class ImageDataConfig(Section):
    """Which images; see `protein_robust.ingest.images.ImageOptions`."""

    images: Literal["cifar10", "cifar100", "digits"] = Field(
        description="which data set; digits are embedded"
    )
    source: str | None = Field(
        None, description="tarball or folder, official python or Parquet layout; not of digits"
    )
    folder: str | None = Field(None, description="where relative paths begin")
    output: str | None = Field(
        None, description="dataset folder; data/processed/STUDY if not given"
    )
    human_labels: str | None = Field(None, description="CIFAR-10N or CIFAR-100N, .npz or .pt")
    checksums: Literal["official", "skip"] = Field(
        "official", description="skip: read what is not the official file, such as a part of it"
    )
    classes: Literal["fine", "coarse"] = Field("fine", description="of cifar100")
    num_train: Count | None = Field(
        None, description="draw this many at random, equally of each class"
    )
    num_test: Count | None = Field(None, description="likewise")
    valid_fraction: float = Field(0.0, ge=0, lt=1, description="of the training images of a class")
    seed: Seed = Field(0, description="of all that is drawn")

    @property
    def dataset(self) -> None:
        """No dataset folder is named as a source: images are ingested by their study."""
        return

    def image_options(self) -> ImageOptions:
        """How to read them."""
        values = self.model_dump(exclude={"images", "folder", "output"})
        for name in ("source", "human_labels"):
            if values[name] is not None:
                values[name] = str(Path(self.folder or "") / values[name])
        return ImageOptions(name=self.images, **values)


class ResNetModelConfig(Section):
    """A residual network for images; its name alone will do."""

    architecture: Architecture = Field(
        description="resnet20, 32, 44, 56, 110 of He et al. (also 8 and 14), or the wide resnet18"
    )
    compile: Compile = Field(
        "none", description="kernels, or graphs (of CUDA) too: by torch.compile, for a GPU"
    )


class AugmentationConfig(Section):
    """What is done to training images; see `protein_robust.datasets.Augmentation`."""

    pad: int = Field(0, ge=0, description="largest shift in pixels, either way")
    flip: bool = Field(False, description="exchange left and right of half of the images")
    rotate: float = Field(0.0, ge=0, le=180, description="largest angle in degrees, either way")
