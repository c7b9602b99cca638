"""What to ingest of which images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from protein_robust.errors import InputError
from protein_robust.ingest.options import check_path

MODALITY = "images"
"""What the manifest of an image dataset folder has as ``modality``."""

Name = Literal["cifar10", "cifar100", "digits"]
Checksums = Literal["official", "skip"]
Classes = Literal["fine", "coarse"]


@dataclass(frozen=True)
class ImageOptions:
    """Which images, and how many of them.

    Attributes:
        name: the set of images; ``digits`` are the 1,797 of scikit-learn.
        source: for CIFAR, the official tarball, a folder of its Python batches (or the folder that
            holds that one), or a folder with ``train*.parquet`` and ``test*.parquet``; None for
            ``digits`` only.
        human_labels: a file of CIFAR-10N or CIFAR-100N: ``.npz``, or the published ``.pt``.
        checksums: whether the tarball, or each batch file, must have its official MD5 sum. Parquet
            files have no such sums.
        classes: of CIFAR-100, the 100 classes or the 20 superclasses.
        num_train: number of images that are drawn from the official training images, valid ones
            included; None for all.
        num_test: number that is drawn from the official test images; None for all.
        valid_fraction: share of each class's drawn training images that goes to valid, in [0, 1).
        seed: of all that is drawn.
    """

    name: Name
    source: str | None = None
    human_labels: str | None = None
    checksums: Checksums = "official"
    classes: Classes = "fine"
    num_train: int | None = None
    num_test: int | None = None
    valid_fraction: float = 0.0
    seed: int = 0


_CHOICES = {"name": Name, "checksums": Checksums, "classes": Classes}


def check_image_options(options: ImageOptions) -> None:
    """Refuse options that cannot be meant.

    Args:
        options: what to check.

    Raises:
        InputError: if a word is none of its choices, a number is out of range, a path cannot be
            written down, or an option does not fit the set of images.
    """
    for name, choices in _CHOICES.items():
        value = getattr(options, name)
        if value not in get_args(choices):
            raise InputError(f"`{name}` one of {', '.join(get_args(choices))}", repr(value))
    _check_numbers(options)
    _check_fit(options)
    for path in (options.source, options.human_labels):
        if path is not None:
            check_path(path)


def _check_numbers(options: ImageOptions) -> None:
    for name in ("num_train", "num_test"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise InputError(f"`{name}` of at least 1", str(number))
    if options.seed < 0:
        raise InputError("`seed` of at least 0", str(options.seed))
    if not 0 <= options.valid_fraction < 1:
        raise InputError("`valid_fraction` in [0, 1)", str(options.valid_fraction))


def _check_fit(options: ImageOptions) -> None:
    """Whether there is a source just where one is needed, and superclasses where they are asked."""
    if options.name == "digits":
        for name in ("source", "human_labels"):
            if getattr(options, name) is not None:
                raise InputError(f"no `{name}` for digits", repr(getattr(options, name)))
    elif options.source is None:
        raise InputError(f"`source`, the files of {options.name}", "none")
    if options.classes == "coarse" and options.name != "cifar100":
        raise InputError(f"`classes` fine for {options.name}", "'coarse'")
