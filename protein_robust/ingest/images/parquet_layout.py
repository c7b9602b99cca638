"""CIFAR as Parquet files: a PNG image and its label in each row."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest.images.cifar import CHANNELS, COARSE_LABEL_COLUMN, SIZE, Cifar
from protein_robust.ingest.images.content import Labels, Part, Pixels
from protein_robust.ingest.images.meter import Meter

IMAGE_COLUMNS = ("img", "image")
_BATCH = 1000
_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">4x4sIIBB")
"""The first chunk of a PNG file: its name, width, height, bits and type of colour."""
_RIGHT_HEADER = (b"IHDR", SIZE, SIZE, 8, 2)  # type 2: red, green, blue


def read_shards(shards: Sequence[Path], word: str, cifar: Cifar, meter: Meter) -> Part:
    """Read the images of some files, one after the other.

    Args:
        shards: the files.
        word: what they are of, train or test, for images without a name.
        cifar: which set it is.
        meter: told how far it is.

    Returns:
        The images, in the order of the files and rows.

    Raises:
        InputError: if a file is broken or lacks a column, a label is none, or a row has no PNG
            image of 32 x 32 pixels in colour; rows are counted from 1.
    """
    files = [_open(path, cifar) for path in shards]
    num_rows = sum(file.metadata.num_rows for file in files)
    if not num_rows:
        raise InputError("at least one image", "none", path=shards[0])
    images = np.empty((num_rows, SIZE, SIZE, CHANNELS), dtype=np.uint8)
    columns = _label_columns(cifar)
    labels = {name: np.empty(num_rows, dtype=np.int64) for name in columns}
    names: list[str] = []
    for path, file in zip(shards, files, strict=True):
        begin = len(names)
        for batch in _batches(path, file, columns):
            first, row = len(names), len(names) - begin
            place = slice(first, first + len(batch))
            for name, limit in columns.items():
                labels[name][place] = _labels(batch[name], limit, path=path, row=row)
            _decode_all(batch["image"], images[place], path=path, row=row)
            found = pc.struct_field(batch["image"], "path").to_pylist() if _has_path(batch) else []
            found = found or [None] * len(batch)
            names += [name or f"{word}/{first + i:05d}" for i, name in enumerate(found)]
            meter.add(len(batch), path.stat().st_size * len(batch) / file.metadata.num_rows)
    return Part(images, labels[cifar.label_column], names, labels.get(COARSE_LABEL_COLUMN))


def _label_columns(cifar: Cifar) -> dict[str, int]:
    """Columns of labels, and how many classes each has."""
    columns = {cifar.label_column: len(cifar.classes)}
    return columns | ({COARSE_LABEL_COLUMN: len(cifar.superclasses)} if cifar.superclasses else {})


def _open(path: Path, cifar: Cifar) -> pq.ParquetFile:
    """A file that has the columns."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    schema = file.schema_arrow
    _image_column(schema, path)
    for name in _label_columns(cifar):
        if name not in schema.names or not pa.types.is_integer(schema.field(name).type):
            raise InputError(f"a column {name!r} of integers", _columns(schema), path=path)
    return file


def _image_column(schema: pa.Schema, path: Path) -> str:
    for name in IMAGE_COLUMNS:
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            content = kind.field("bytes").type
            if pa.types.is_binary(content) or pa.types.is_large_binary(content):
                return name
    raise InputError("a column 'img' or 'image' of bytes and path", _columns(schema), path=path)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _batches(path: Path, file: pq.ParquetFile, columns: dict[str, int]) -> Iterator[pa.RecordBatch]:
    """Some rows at a time; the column of images is called ``image``."""
    name = _image_column(file.schema_arrow, path)
    wanted = [name, *columns]
    try:
        for batch in file.iter_batches(_BATCH, columns=wanted, use_threads=False):
            yield batch.select(wanted).rename_columns(["image", *columns])
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _has_path(batch: pa.RecordBatch) -> bool:
    index = batch["image"].type.get_field_index("path")
    return bool(index >= 0 and pa.types.is_string(batch["image"].type.field(index).type))


def _labels(column: pa.Array, limit: int, *, path: Path, row: int) -> Labels:
    # What is too large for 64 bits becomes negative, and so is refused too.
    labels: Labels = pc.fill_null(column.cast(pa.int64(), safe=False), -1).to_numpy()
    is_wrong = (labels < 0) | (labels >= limit)
    if is_wrong.any():
        place = int(is_wrong.argmax())
        actual = str(column[place].as_py())
        raise InputError(f"a label in [0, {limit})", actual, path=path, line=row + place + 1)
    return labels


def _decode_all(column: pa.Array, images: Pixels, *, path: Path, row: int) -> None:
    """Fill in the images of some rows."""
    from PIL import Image, UnidentifiedImageError

    too_large = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    # What Pillow raises for a damaged file, depending on what is damaged.
    damaged = (OSError, SyntaxError, ValueError, struct.error, EOFError, *too_large)
    for place, content in enumerate(pc.struct_field(column, "bytes").to_pylist()):
        try:
            _decode(content, images[place], Image)
        except damaged as error:
            is_unknown = isinstance(error, UnidentifiedImageError)  # whose text has an address
            actual = "a damaged one" if is_unknown else str(error) or type(error).__name__
            expected = f"a PNG image of {SIZE} x {SIZE} pixels, RGB"
            raise InputError(expected, actual, path=path, line=row + place + 1) from error


def _decode(content: bytes | None, image: Pixels, pillow: ModuleType) -> None:
    """Fill in one image; nothing is decoded before its size is known to be right."""
    if content is None:
        raise ValueError("none")
    if not content.startswith(_PNG):
        raise ValueError(f"a file that begins with {content[:8]!r}")
    if len(content) < len(_PNG) + _HEADER.size:
        raise ValueError(f"a file of {len(content)} bytes")
    header = _HEADER.unpack_from(content, len(_PNG))
    if header != _RIGHT_HEADER:
        _, width, height, bits, colour = header
        raise ValueError(f"one of {width} x {height}, {bits} bits, colour type {colour}")
    with pillow.open(BytesIO(content), formats=("PNG",)) as opened:
        if (opened.size, opened.mode) != ((SIZE, SIZE), "RGB"):  # by a second header
            raise ValueError(f"one of {opened.width} x {opened.height}, mode {opened.mode}")
        image[:] = np.asarray(opened)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError("a Parquet file", str(error).splitlines()[0], path=path)
