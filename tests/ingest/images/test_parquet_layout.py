"""Parquet files of images, and images that are none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100
from protein_robust.ingest.images.content import Part
from protein_robust.ingest.images.meter import Meter
from protein_robust.ingest.images.parquet_layout import read_shards

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PIXELS = np.arange(3072, dtype=np.uint64).astype(np.uint8).reshape(32, 32, 3)


def read(*paths: Path, cifar: Any = CIFAR10) -> Part:
    return read_shards(paths, "train", cifar, Meter(None, 1))


def write(path: Path, images: list[Any], labels: list[Any] | pa.Array) -> Path:
    pq.write_table(pa.table({"img": pa.array(images, IMAGE), "label": labels}), path)
    return path


@pytest.mark.parametrize("image", ["img", "image"])
def test_images_are_decoded_in_order(image: str, tiny100: Any, tmp_path: Path) -> None:
    folder = tiny100.write_parquet(tmp_path / "source", image=image)
    part = read(*sorted(folder.glob("train*")), cifar=CIFAR100)
    assert_array_equal(part.images, tiny100.pixels["train"])
    assert part.labels.tolist() == tiny100.labels["train"]
    assert part.coarse is not None
    assert part.coarse.tolist() == tiny100.coarse("train")
    assert part.names == tiny100.names("train")


def test_images_without_a_path_are_numbered(
    tmp_path: Path, encode_png: Callable[..., bytes]
) -> None:
    content = encode_png(PIXELS)
    first = write(tmp_path / "a", [{"bytes": content, "path": "x.png"}], [1])
    second = tmp_path / "b"
    images = pa.array([{"bytes": content}] * 2, pa.struct([("bytes", pa.large_binary())]))
    pq.write_table(pa.table({"img": images, "label": pa.array([2, 3], pa.uint8())}), second)
    third = write(tmp_path / "c", [{"bytes": content, "path": None}], [4])
    part = read(first, second, third)
    assert part.names == ["x.png", "train/00001", "train/00002", "train/00003"]
    assert part.labels.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "how", [{"compress_level": 0}, {"optimize": True}, {"transparency": (1, 2, 3)}], ids=str
)
def test_any_png_of_the_right_kind_is_read(
    how: dict[str, Any], tmp_path: Path, encode_png: Callable[..., bytes]
) -> None:
    content = encode_png(PIXELS, **how)
    part = read(write(tmp_path / "a", [{"bytes": content, "path": "x"}], [0]))
    assert_array_equal(part.images[0], PIXELS)


def chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def png_of(*sizes: tuple[int, int]) -> bytes:
    """A few bytes that say they are so many pixels; of several headers Pillow takes the last."""
    headers = [struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0) for size in sizes]
    chunks = [(b"IHDR", header) for header in headers]
    chunks += [(b"IDAT", zlib.compress(bytes(4000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*content) for content in chunks)


BROKEN: dict[str, tuple[Callable[[Callable[..., bytes]], bytes | None], str]] = {
    "none": (lambda png: None, "got none"),
    "empty": (lambda png: b"", "got a file that begins with b''"),
    "jpeg": (lambda png: png(PIXELS, format="JPEG"), r"got a file that begins with b'\\xff\\xd8"),
    "bmp": (lambda png: png(PIXELS, format="BMP"), "got a file that begins with b'BM"),
    "grey": (lambda png: png(PIXELS[..., 0]), "got one of 32 x 32, 8 bits, colour type 0"),
    "transparent": (
        lambda png: png(np.zeros((32, 32, 4), np.uint8)),
        "got one of 32 x 32, 8 bits, colour type 6",
    ),
    "small": (lambda png: png(PIXELS[:31]), "got one of 32 x 31, 8 bits"),
    "large": (lambda png: png(np.zeros((64, 64, 3), np.uint8)), "got one of 64 x 64, 8 bits"),
    "huge": (lambda png: png_of((100_000, 100_000)), "got one of 100000 x 100000, 8 bits"),
    "small by a second header": (lambda png: png_of((32, 32), (1, 1)), "got one of 1 x 1, mode"),
    "huge by a second header": (
        lambda png: png_of((32, 32), (20_000, 20_000)),
        "got Image size .400000000 pixels. exceeds limit",
    ),
    "large by a second header": (
        lambda png: png_of((32, 32), (10_000, 9_000)),
        "got Image size .90000000 pixels. exceeds limit",
    ),
    "header only": (lambda png: png(PIXELS)[:10], "got a file of 10 bytes"),
    "cut": (lambda png: png(PIXELS)[:-400], "got "),
    "cut after the header": (lambda png: png(PIXELS)[:40], "got "),
    "wrong checksum": (lambda png: png(PIXELS)[:30] + b"\0\0\0" + png(PIXELS)[33:], "got "),
    "no pixels": (lambda png: png(PIXELS)[:33] + png(PIXELS)[-12:], "got "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_row_without_a_right_image_is_named(
    kind: str, tmp_path: Path, encode_png: Callable[..., bytes]
) -> None:
    make, message = BROKEN[kind]
    good = {"bytes": encode_png(PIXELS), "path": "x"}
    bad = {"bytes": make(encode_png), "path": "x"}
    path = write(tmp_path / "a.parquet", [*[good] * 1200, bad, good], [0] * 1202)
    expected = r"a\.parquet:1201: Expected a PNG image of 32 x 32 pixels, RGB, "
    with pytest.raises(InputError, match=expected + message):
        read(path)


@pytest.mark.parametrize(
    ("label", "shown"),
    [(10, "10"), (-1, "-1"), (None, "None"), (2**63 + 5, "9223372036854775813")],
)
def test_a_row_without_a_right_label_is_named(
    label: int | None, shown: str, tmp_path: Path, encode_png: Callable[..., bytes]
) -> None:
    good = {"bytes": encode_png(PIXELS), "path": "x"}
    kind = pa.uint64() if label is not None and label >= 2**63 else pa.int64()
    path = write(tmp_path / "a.parquet", [good] * 3, pa.array([0, 1, label], kind))
    with pytest.raises(
        InputError, match=rf"a\.parquet:3: Expected a label in \[0, 10\), got {shown}"
    ):
        read(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [1]}, "a column 'img' or 'image' of bytes and path, got label: int64"),
        ({"img": [b"x"], "label": [1]}, "a column 'img' or 'image' of bytes and path, got img: bi"),
        ({"img": [{"bytes": "x"}], "label": [1]}, "a column 'img' or 'image' of bytes and path"),
        ({"img": [{"path": "x"}], "label": [1]}, "a column 'img' or 'image' of bytes and path"),
        (
            {"img": [{"bytes": b"x"}]},
            "a column 'label' of integers, got img: struct<bytes: binary>",
        ),
        ({"img": [{"bytes": b"x"}], "label": ["1"]}, "a column 'label' of integers, got img"),
    ],
)
def test_a_table_without_the_columns_is_refused(
    columns: dict[str, list[Any]], message: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet: Expected {message}"):
        read(tmp_path / "a.parquet")


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    empty = pa.schema([("img", IMAGE), ("label", pa.int64())]).empty_table()
    pq.write_table(empty, path)
    with pytest.raises(InputError, match=r"a\.parquet: Expected at least one image, got none"):
        read(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(InputError, match=r"a\.parquet: Expected a Parquet file, got "):
        read(tmp_path / "a.parquet")


def test_a_damaged_column_is_refused(tmp_path: Path, encode_png: Callable[..., bytes]) -> None:
    good = {"bytes": encode_png(PIXELS), "path": "x"}
    path = write(tmp_path / "a.parquet", [good] * 3, [0, 1, 2])
    raw = bytearray(path.read_bytes())
    raw[4:60] = bytes(56)
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.parquet"):
        read(path)
