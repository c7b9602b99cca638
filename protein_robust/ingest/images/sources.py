"""Find the files of a set of images, identify their content, and read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from protein_robust.errors import InputError
from protein_robust.ingest.columns import OnProgress
from protein_robust.ingest.images.cifar import CIFARS, Cifar
from protein_robust.ingest.images.content import Content, Part
from protein_robust.ingest.images.digits import CLASSES, identify_digits, read_digits
from protein_robust.ingest.images.human import CLEAN, CLEAN_COARSE
from protein_robust.ingest.images.meter import Meter
from protein_robust.ingest.images.options import ImageOptions
from protein_robust.ingest.images.parquet_layout import read_shards
from protein_robust.ingest.images.python_layout import read_folder, read_tarball
from protein_robust.ingest.readers.files import check_is_file
from protein_robust.ingest.transfer import digests

_EXPECTED = "a tarball, or a folder of Python batches or of train*.parquet and test*.parquet"


@dataclass(frozen=True)
class Layout:
    """Where the images are.

    Attributes:
        kind: how they are stored.
        place: the tarball, or the folder that holds the files.
        files: all that is read, in order.
    """

    kind: Literal["tarball", "python", "parquet", "digits"]
    place: Path
    files: tuple[Path, ...]


def find_layout(options: ImageOptions) -> Layout:
    """Find out how a source is stored.

    Args:
        options: which set, and where.

    Returns:
        The files.

    Raises:
        InputError: if there is nothing, or it is of no known layout, or of two.
    """
    if options.source is None:
        return Layout("digits", Path(), ())
    place, cifar = Path(options.source), CIFARS[options.name]
    if not place.is_dir():
        check_is_file(place)
        return Layout("tarball", place, (place,))
    found = [*_find_python(place, cifar), *_find_parquet(place)]
    if len(found) != 1:
        actual = "both kinds" if found else f"a folder without {cifar.folder} or such files"
        raise InputError(f"{_EXPECTED} of {options.name}", actual, path=place)
    for path in found[0].files:
        check_is_file(path)
    return found[0]


def _find_python(place: Path, cifar: Cifar) -> list[Layout]:
    """The folder of batches, or the one in it."""
    for folder in (place, place / cifar.folder):
        if any((folder / name).is_file() for name in cifar.train):
            names = (*cifar.files, cifar.meta)
            files = tuple(folder / name for name in names if (folder / name).exists())
            return [Layout("python", folder, files)]
    return []


def _find_parquet(place: Path) -> list[Layout]:
    """The folder of shards, or its folder ``data``."""
    for folder in (place, place / "data"):
        train, test = (_shards(folder, word) for word in ("train", "test"))
        if train and test:
            return [Layout("parquet", folder, (*train, *test))]
    return []


def _shards(folder: Path, word: str) -> list[Path]:
    return sorted(folder.glob(f"{word}*.parquet"), key=lambda path: path.name)


def identify(layout: Layout, options: ImageOptions) -> list[dict[str, Any]]:
    """Say which content the files have, and hold them against the official sums.

    Args:
        layout: the files.
        options: which set, and whether sums are compared.

    Returns:
        For the manifest: ``path``, ``sha256`` and ``num_bytes`` of each.

    Raises:
        InputError: if a file cannot be read, or has another MD5 sum than the official one.
    """
    if layout.kind == "digits":
        return [identify_digits()]
    official = _official_md5(layout, CIFARS[options.name])
    identities = []
    for path in layout.files:
        sums = _digests(path)
        right = official.get(path) if options.checksums == "official" else None
        if right is not None and right != sums["md5"]:
            expected = f"the official file, MD5 {right} (with `checksums: skip` any is read)"
            raise InputError(expected, f"MD5 {sums['md5']}", path=path)
        num_bytes = path.stat().st_size
        identities.append({"path": str(path), "sha256": sums["sha256"], "num_bytes": num_bytes})
    return identities


def identify_helpers(options: ImageOptions) -> dict[str, dict[str, Any]]:
    """Say which content the files have that options name beside the source.

    Args:
        options: with the file of human labels, or without.

    Returns:
        As `identify`, by role.

    Raises:
        InputError: if a file cannot be read.
    """
    if options.human_labels is None:
        return {}
    path = Path(options.human_labels)
    check_is_file(path)
    sha256, num_bytes = _digests(path)["sha256"], path.stat().st_size
    return {"human_labels": {"path": str(path), "sha256": sha256, "num_bytes": num_bytes}}


def read_content(layout: Layout, options: ImageOptions, on_progress: OnProgress | None) -> Content:
    """Read all images and labels.

    Args:
        layout: the files.
        options: which set, and which classes of it.
        on_progress: told how far it is.

    Returns:
        The content, with the chosen classes as labels.

    Raises:
        InputError: if a file is broken.
    """
    if layout.kind == "digits":
        return Content(read_digits(), None, CLASSES, (None,) * len(CLASSES))
    cifar = CIFARS[options.name]
    meter = Meter(on_progress, sum(path.stat().st_size for path in layout.files))
    train, test = _read_parts(layout, cifar, meter)
    meter.finish()
    truth = {CLEAN: train.labels}
    if train.coarse is None:
        return Content(train, test, cifar.classes, (None,) * len(cifar.classes), truth)
    for part, word in ((train, "training"), (test, "test")):
        _check_superclasses(part, cifar, word=word, place=layout.place)
    truth[CLEAN_COARSE] = train.coarse
    if options.classes == "coarse":
        clans = (None,) * len(cifar.superclasses)
        coarse = [Part(part.images, _coarse(part), part.names) for part in (train, test)]
        return Content(coarse[0], coarse[1], cifar.superclasses, clans, truth)
    names = tuple(cifar.superclasses[number] for number in cifar.superclass_of)
    return Content(train, test, cifar.classes, names, truth)


def _read_parts(layout: Layout, cifar: Cifar, meter: Meter) -> tuple[Part, Part]:
    if layout.kind == "tarball":
        return read_tarball(layout.place, cifar, meter)
    if layout.kind == "python":
        return read_folder(layout.place, cifar, meter)
    shards: Sequence[list[Path]] = [_shards(layout.place, word) for word in ("train", "test")]
    train = read_shards(shards[0], "train", cifar, meter)
    return train, read_shards(shards[1], "test", cifar, meter)


def _check_superclasses(part: Part, cifar: Cifar, *, word: str, place: Path) -> None:
    """Whether the superclasses of a source are those that its classes have."""
    right = np.array(cifar.superclass_of, dtype=np.int64)[part.labels]
    is_other = right != _coarse(part)
    if is_other.any():
        row = int(is_other.argmax())
        expected = f"superclass {right[row]} for {cifar.classes[part.labels[row]]}"
        actual = f"{_coarse(part)[row]} in row {row} of the {word} images"
        raise InputError(expected, actual, path=place)


def _coarse(part: Part) -> Any:
    assert part.coarse is not None  # asked of CIFAR-100 only
    return part.coarse


def _official_md5(layout: Layout, cifar: Cifar) -> dict[Path, str]:
    """The sums that are known, by file."""
    if layout.kind == "tarball":
        return {layout.place: cifar.tarball_md5}
    if layout.kind == "python":
        return {path: cifar.md5[path.name] for path in layout.files}
    return {}


def _digests(path: Path) -> dict[str, str]:
    try:
        return digests(path)
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error
