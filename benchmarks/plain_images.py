"""Training images as one would first make them in PyTorch: one by one, with Pillow.

The reference of `images.py`. Each image becomes a `PIL.Image`, is padded, cropped at random,
mirrored with probability 1/2, made a float tensor in [0, 1] and normalised; a `DataLoader` stacks
them. Nothing is imported from `protein_robust`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

PAD = 4
"""Black pixels on each side before the crop."""


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images with their classes; each look at one is a new random crop of it.

    Args:
        images: shape (N, H, W, 3), uint8.
        labels: shape (N,), int64.
        mean: of each channel, of values in [0, 1], shape (3,), float32.
        deviation: of each channel, likewise.
        seed: of crops and mirroring.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        *,
        mean: Tensor,
        deviation: Tensor,
        seed: int,
    ) -> None:
        """Keep the arrays."""
        self.images = images
        self.labels = labels
        self.mean = mean.view(-1, 1, 1)
        self.deviation = deviation.view(-1, 1, 1)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """N."""
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """One image, (3, H, W), and its class."""
        top = self._draw(2 * PAD + 1)
        left = self._draw(2 * PAD + 1)
        is_flipped = self._draw(2) == 1
        image = posed(Image.fromarray(self.images[place]), top, left, is_flipped=is_flipped)
        normalised = (to_tensor(image) - self.mean) / self.deviation
        return normalised, int(self.labels[place])

    def _draw(self, size: int) -> int:
        return int(torch.randint(size, (1,), generator=self.generator))


def posed(image: Image.Image, top: int, left: int, *, is_flipped: bool) -> Image.Image:
    """Pad, cut the image's own size from there, and mirror."""
    width, height = image.size
    padded = ImageOps.expand(image, border=PAD)
    cropped = padded.crop((left, top, left + width, top + height))
    return ImageOps.mirror(cropped) if is_flipped else cropped


def to_tensor(image: Image.Image) -> Tensor:
    """Of an image (H, W) with 3 channels: shape (3, H, W), float32 in [0, 1]."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.permute(2, 0, 1).contiguous().float() / 255


def plain_loader(
    dataset: PlainImages, *, batch_size: int, seed: int
) -> DataLoader[tuple[Tensor, int]]:
    """Stacks of images in a random order, made in this process."""
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=0, generator=generator)
