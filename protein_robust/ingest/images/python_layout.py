"""The official Python batches of CIFAR: a folder of pickles, or the tarball of one.

Members of the tarball are looked up by the names that are expected; no name in it becomes a path,
and nothing is unpacked. A row of 3,072 bytes is an image: 1,024 red ones, green ones, blue ones.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.images.cifar import (
    CHANNELS,
    COARSE_LABEL_KEY,
    COARSE_NAME_KEY,
    SIZE,
    Cifar,
)
from protein_robust.ingest.images.content import Labels, Part, whole_numbers
from protein_robust.ingest.images.meter import Meter
from protein_robust.ingest.images.unpickling import load_dictionary

_ROW = CHANNELS * SIZE * SIZE
_MOST_BYTES = 2**30
"""Of a member of a tarball; the largest official one has 155,249,918."""


@dataclass(frozen=True)
class _Batch:
    """The images of one file, as rows of it, shape (N, 3072)."""

    rows: NDArray[np.uint8]
    labels: Labels
    coarse: Labels | None
    names: list[str] | None


def read_folder(folder: Path, cifar: Cifar, meter: Meter) -> tuple[Part, Part]:
    """Read the batches of a folder.

    Args:
        folder: the folder of the files.
        cifar: which set it is.
        meter: told how far it is.

    Returns:
        Training images and test images.

    Raises:
        InputError: if a file is missing or broken, or names other classes.
    """
    with _read_errors(folder):
        return _read_members(_members_of_folder(folder, cifar, meter), folder, cifar, meter)


def read_tarball(tarball: Path, cifar: Cifar, meter: Meter) -> tuple[Part, Part]:
    """Read the batches of a tarball in one pass.

    Args:
        tarball: the file, compressed or not.
        cifar: which set it is.
        meter: told how far it is.

    Returns:
        Training images and test images.

    Raises:
        InputError: if it is no archive, or a member is missing, broken or there twice, or names
            other classes.
    """
    with _read_errors(tarball):
        return _read_members(_members_of_tarball(tarball, cifar, meter), tarball, cifar, meter)


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """What the disk or an archive does becomes `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError("a whole tar archive", str(error) or "its end", path=path) from error


def _members_of_folder(folder: Path, cifar: Cifar, meter: Meter) -> Iterator[tuple[str, BinaryIO]]:
    for name in (*cifar.files, cifar.meta):
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                yield name, file
            meter.add(0, path.stat().st_size)


def _members_of_tarball(
    tarball: Path, cifar: Cifar, meter: Meter
) -> Iterator[tuple[str, BinaryIO]]:
    wanted = {f"{cifar.folder}/{name}": name for name in (*cifar.files, cifar.meta)}
    with tarball.open("rb") as packed, tarfile.open(fileobj=packed, mode="r|*") as archive:
        begin = 0
        for member in archive:
            name = wanted.get(member.name.removeprefix("./"))
            file = archive.extractfile(member) if name is not None and member.isreg() else None
            if name is not None and file is not None:
                if member.size > _MOST_BYTES:
                    expected = f"a member {name} of at most {_MOST_BYTES:,} bytes"
                    raise InputError(expected, f"{member.size:,}", path=tarball)
                yield name, file  # type: ignore[misc]
                meter.add(0, packed.tell() - begin)
                begin = packed.tell()


def _read_members(
    members: Iterator[tuple[str, BinaryIO]], where: Path, cifar: Cifar, meter: Meter
) -> tuple[Part, Part]:
    batches: dict[str, _Batch] = {}
    for name, file in members:
        path = str(where / name)
        if name in batches:
            raise InputError(f"one member {name}", "another one", path=where)
        content = load_dictionary(file, path)
        if name == cifar.meta:
            _check_names(content, cifar, path)
        else:
            batches[name] = _batch(content, cifar, path)
            meter.add(len(batches[name].rows), 0)
    for name in cifar.files:
        if name not in batches:
            raise InputError(f"a file {name} of {cifar.folder}", "none", path=where)
    train = _join([batches.pop(name) for name in cifar.train], "train")
    return train, _join([batches.pop(cifar.test)], "test")


def _check_names(content: Mapping[str, Any], cifar: Cifar, path: str) -> None:
    """Whether the file of names has the classes in the known order."""
    for key, right in ((cifar.name_key, cifar.classes), (COARSE_NAME_KEY, cifar.superclasses)):
        found = content.get(key, [])
        names = tuple(_text(name) for name in found) if isinstance(found, list) else ()
        if names != right:
            wrong = next(
                (pair for pair in zip(right, names, strict=False) if len({*pair}) == 2), None
            )
            actual = f"{len(names)} names" if wrong is None else f"{wrong[1]!r} for {wrong[0]}"
            raise InputError(f"the names of {len(right)} classes in {key}", actual, path=path)


def _batch(content: Mapping[str, Any], cifar: Cifar, path: str) -> _Batch:
    """Check the content of a file of images."""
    rows = content.get("data")
    is_right = isinstance(rows, np.ndarray) and rows.dtype == np.uint8 and rows.shape[1:] == (_ROW,)
    if rows is None or not is_right or not len(rows):
        raise InputError(f"`data` of bytes, {_ROW} for each image", _shape(rows), path=path)
    key = cifar.label_key
    labels = whole_numbers(content.get(key), what=f"`{key}`", path=path, limit=len(cifar.classes))
    coarse = None
    if cifar.superclasses:
        found = content.get(COARSE_LABEL_KEY)
        what = f"`{COARSE_LABEL_KEY}`"
        coarse = whole_numbers(found, what=what, path=path, limit=len(cifar.superclasses))
    names = content.get("filenames")
    if names is not None:
        names = [_text(name) for name in names] if isinstance(names, list) else []
    for what, column in ((key, labels), (COARSE_LABEL_KEY, coarse), ("filenames", names)):
        if column is not None and len(column) != len(rows):
            expected = f"{len(rows)} `{what}`, one for each image"
            raise InputError(expected, str(len(column)), path=path)
    return _Batch(rows, labels, coarse, names)


def _join(batches: list[_Batch], word: str) -> Part:
    """Put batches behind each other, as images of shape (H, W, C)."""
    num_rows = sum(len(batch.rows) for batch in batches)
    images = np.empty((num_rows, SIZE, SIZE, CHANNELS), dtype=np.uint8)
    labels = np.concatenate([batch.labels for batch in batches])
    coarse = [batch.coarse for batch in batches if batch.coarse is not None]
    names: list[str] = []
    while batches:  # their memory is given back one by one
        batch = batches.pop(0)
        place = slice(len(names), len(names) + len(batch.rows))
        planes = batch.rows.reshape(-1, CHANNELS, SIZE, SIZE)
        images[place] = planes.transpose(0, 2, 3, 1)  # (N, H, W, C)
        names += batch.names or [f"{word}/{row:05d}" for row in range(place.start, place.stop)]
    return Part(images, labels, names, np.concatenate(coarse) if coarse else None)


def _text(text: object) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _shape(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return "none" if value is None else f"a {type(value).__name__}"
