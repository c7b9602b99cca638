"""Labels that people gave: CIFAR-10N and CIFAR-100N.

A file has ``clean_label``, which is held against the labels of the images, and annotations of the
same length: all of the official training images, in their order.

References:
    J. Wei et al., "Learning with Noisy Labels Revisited: A Study Using Real-World Human
    Annotations", ICLR 2022. https://arxiv.org/abs/2110.12088
"""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from protein_robust.errors import InputError
from protein_robust.ingest.images.content import Labels, whole_numbers
from protein_robust.ingest.images.unpickling import load_dictionary, load_value

CLEAN = "clean_label"
CLEAN_COARSE = "clean_coarse_label"
_INDEX = "index"
_COARSE = "coarse"
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of a file of ``torch.save`` before version 1.6 says."""
_MOST_BYTES = 2**28
"""Of what an archive holds; that of the published files is a hundredth of it."""
_NO_ARRAY = (ValueError, TypeError, SyntaxError, MemoryError, tokenize.TokenError)
"""What NumPy raises for an array of objects, for one that finds no room, and for a broken one."""
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
"""What an archive raises that is damaged, or made in a way that cannot be read."""


def read_human_labels(
    path: str, truth: Mapping[str, Labels], *, is_coarse: bool, num_classes: int
) -> dict[str, Labels]:
    """Read the annotations of the classes that were chosen.

    Args:
        path: a ``.npz`` file, or one of ``torch.save`` with a dictionary of arrays; no code in it
            is run, and PyTorch is not needed.
        truth: the official labels by the names that the file has for them, each of shape (N,).
        is_coarse: whether superclasses were chosen: their annotations have ``coarse`` in the name.
        num_classes: K.

    Returns:
        By name of the annotation, such as ``worse`` for ``worse_label``, shape (N,), int64.

    Raises:
        InputError: if the file is broken or anything else, lacks ``clean_label`` or annotations of
            the chosen classes, is of another length, or its clean labels are not those of the
            images.
    """
    content = _read(path)
    if CLEAN not in content:
        raise InputError(f"`{CLEAN}` among the human labels", ", ".join(content), path=path)
    num_rows = len(truth[CLEAN])
    for name in (CLEAN, CLEAN_COARSE):
        if name in content and name in truth:
            given = _labels(content[name], name, num_rows=num_rows, path=path)
            _check_clean(given, truth[name], name, path=path)
    found = {}
    for name, value in content.items():
        is_annotation = name not in (CLEAN, CLEAN_COARSE, _INDEX)
        if is_annotation and (_COARSE in name) == is_coarse:
            labels = _labels(value, name, num_rows=num_rows, path=path, limit=num_classes)
            found[name.replace("_label", "")] = labels
    if not found:
        kind = "superclasses" if is_coarse else "classes"
        actual = f"only {', '.join(content)}"
        raise InputError(f"an annotation of the {num_classes} {kind}", actual, path=path)
    return found


def _read(path: str) -> Mapping[str, Any]:
    """What a file of either kind has, by name."""
    try:
        with Path(path).open("rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zip(file, path)
            file.seek(0)
            return _read_old_torch(file, path)
    except OSError as error:
        raise InputError("a readable file", error.strerror or str(error), path=path) from error
    except _BROKEN as error:
        raise InputError("a whole .npz or .pt file", str(error) or "its end", path=path) from error


def _read_zip(file: BinaryIO, path: str) -> Mapping[str, Any]:
    """The arrays of NumPy, or the dictionary of PyTorch."""
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > _MOST_BYTES:
            raise InputError(f"labels of at most {_MOST_BYTES:,} bytes", f"{size:,}", path=path)
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if pickles:
            return load_dictionary(BytesIO(archive.read(pickles[0])), path)
    file.seek(0)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _NO_ARRAY as error:
        raise InputError("arrays of numbers", str(error), path=path) from error


def _read_old_torch(file: BinaryIO, path: str) -> Mapping[str, Any]:
    """The fourth pickle of a stream: a number, a version and a system come before it."""
    expected = "a .npz file, or a .pt file of torch.save"
    try:
        magic = load_value(file, path)
    except InputError as error:
        raise InputError(expected, f"another one ({error.actual})", path=path) from error
    if magic != _TORCH_MAGIC:
        raise InputError(expected, "a pickle", path=path)
    for _ in ("protocol", "system"):
        load_value(file, path)
    return load_dictionary(file, path)


def _labels(
    value: object, name: str, *, num_rows: int, path: str, limit: int | None = None
) -> Labels:
    labels = whole_numbers(value, what=f"`{name}`", path=path, limit=limit)
    if len(labels) != num_rows:
        expected = f"`{name}` of the {num_rows:,} training images of the source"
        raise InputError(expected, f"{len(labels):,} labels", path=path)
    return labels


def _check_clean(given: Labels, right: Labels, name: str, *, path: str) -> None:
    is_other = given != right
    if is_other.any():
        row = int(is_other.argmax())
        expected = f"`{name}` that is the label of each image"
        raise InputError(expected, f"{given[row]} for {right[row]} in row {row}", path=path)
