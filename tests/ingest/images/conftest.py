"""Tiny sources of images: the layouts of CIFAR with a few images of random pixels."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100, Cifar


@dataclass
class Tiny:
    """A set of images as its files are made from it; ``pixels`` are (N, 32, 32, 3)."""

    cifar: Cifar
    pixels: dict[str, NDArray[np.uint8]]
    labels: dict[str, list[int]]

    def coarse(self, word: str) -> list[int]:
        return [self.cifar.superclass_of[label] for label in self.labels[word]]

    def names(self, word: str) -> list[str]:
        return [f"{word}_s_{number:06d}.png" for number in range(len(self.labels[word]))]

    def batch(self, word: str, place: slice = slice(None)) -> dict[bytes, Any]:
        """What the official files hold: rows of 1,024 red, 1,024 green and 1,024 blue values."""
        planes = self.pixels[word][place].transpose(0, 3, 1, 2)
        content: dict[bytes, Any] = {
            b"data": planes.reshape(len(planes), 3072).copy(),
            self.cifar.label_key.encode(): self.labels[word][place],
            b"filenames": [name.encode() for name in self.names(word)[place]],
        }
        if self.cifar.superclasses:
            content[b"coarse_labels"] = self.coarse(word)[place]
        return content

    def files(self) -> dict[str, dict[bytes, Any]]:
        size = len(self.labels["train"]) // len(self.cifar.train)
        files = {
            name: self.batch("train", slice(number * size, (number + 1) * size))
            for number, name in enumerate(self.cifar.train)
        }
        names: dict[bytes, Any] = {
            self.cifar.name_key.encode(): [name.encode() for name in self.cifar.classes]
        }
        if self.cifar.superclasses:
            names[b"coarse_label_names"] = [name.encode() for name in self.cifar.superclasses]
        return {**files, self.cifar.test: self.batch("test"), self.cifar.meta: names}

    def write_python(self, parent: Path, changes: dict[str, Any] | None = None) -> Path:
        """Write the folder of batches into a folder; changes replace files, None leaves one out."""
        folder = parent / self.cifar.folder
        folder.mkdir(parents=True)
        for name, content in {**self.files(), **(changes or {})}.items():
            if content is not None:
                (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return folder

    def write_tarball(self, path: Path) -> Path:
        """Write the tarball, its members in another order than they are read."""
        with tarfile.open(path, "w:gz") as archive:
            for name, content in reversed(self.files().items()):
                raw = pickle.dumps(content, protocol=2)
                member = tarfile.TarInfo(f"{self.cifar.folder}/{name}")
                member.size = len(raw)
                archive.addfile(member, io.BytesIO(raw))
        return path

    def table(self, word: str, place: slice = slice(None), image: str = "img") -> pa.Table:
        rows = zip(self.pixels[word][place], self.names(word)[place], strict=True)
        columns: dict[str, Any] = {
            image: [{"bytes": png(pixels), "path": name} for pixels, name in rows],
            self.cifar.label_column: self.labels[word][place],
        }
        if self.cifar.superclasses:
            columns["coarse_label"] = self.coarse(word)[place]
        return pa.table(columns)

    def write_parquet(self, folder: Path, image: str = "img") -> Path:
        """Write two shards of training images and one of test images."""
        folder.mkdir(parents=True)
        half = len(self.labels["train"]) // 2
        for number, place in enumerate([slice(half), slice(half, None)]):
            path = folder / f"train-{number:05d}-of-00002.parquet"
            pq.write_table(self.table("train", place, image), path, row_group_size=7)
        pq.write_table(self.table("test", image=image), folder / "test-00000-of-00001.parquet")
        return folder


def png(pixels: NDArray[np.uint8], **how: Any) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, how.pop("format", "PNG"), **how)
    return buffer.getvalue()


def make_tiny(cifar: Cifar, *, of_each: int) -> Tiny:
    """So many training images of each class in random order, and one test image of each."""
    rng = np.random.default_rng(len(cifar.classes))
    labels = {
        "train": rng.permutation(np.repeat(np.arange(len(cifar.classes)), of_each)).tolist(),
        "test": rng.permutation(len(cifar.classes)).tolist(),
    }
    pixels = {
        word: rng.integers(0, 256, (len(numbers), 32, 32, 3), dtype=np.uint8)
        for word, numbers in labels.items()
    }
    return Tiny(cifar, pixels, labels)


@pytest.fixture
def tiny10() -> Tiny:
    """50 training and 10 test images of CIFAR-10's classes."""
    return make_tiny(CIFAR10, of_each=5)


@pytest.fixture
def tiny100() -> Tiny:
    """200 training and 100 test images of CIFAR-100's classes."""
    return make_tiny(CIFAR100, of_each=2)


@pytest.fixture
def encode_png() -> Callable[..., bytes]:
    """Encodes pixels as a file, of PNG unless ``format`` says otherwise."""
    return png
