"""Images as one array of pixels on the device; a batch is augmented and normalised by one gather.

Nothing is done image by image and no process is waited for: where each image of an epoch is shifted
to, whether it is mirrored and how far it is turned are drawn at the beginning of the epoch, and a
batch reads its pixels from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein_robust.datasets.batching import Batch, Share

CHANNELS = (1, 3)
"""Grey or colour."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, anew in each epoch.

    The order is that of the published pipelines: shift, mirror, turn. What a step reads from
    outside of what the one before left is black, before normalisation.

    Attributes:
        pad: largest shift in pixels, down or up and right or left, uniform: a random crop of the
            image's size from the image padded by so much.
        flip: whether left and right are exchanged, with probability 1/2.
        rotate: largest angle in degrees, either way, uniform; pixels are those nearest.

    Raises:
        ValueError: if a value is below 0.
    """

    pad: int = 0
    flip: bool = False
    rotate: float = 0.0

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.pad < 0:
            raise ValueError(f"Expected `pad` of at least 0, got {self.pad}.")
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"Expected `rotate` in [0, 180], got {self.rotate}.")


@dataclass(frozen=True)
class Poses:
    """How each of N images is shown in one epoch.

    Attributes:
        shift: of the part that is seen, down and right, in pixels, shape (N, 2), int64.
        is_flipped: shape (N,), bool.
        angle: counter-clockwise, in radians, shape (N,), float64.
    """

    shift: NDArray[np.int64]
    is_flipped: NDArray[np.bool_]
    angle: NDArray[np.float64]

    @classmethod
    def draw(cls, size: int, augmentation: Augmentation, rng: np.random.Generator) -> Poses:
        """Draw the poses of an epoch, independently for each image."""
        pad = augmentation.pad
        shift = rng.integers(-pad, pad + 1, size=(size, 2))
        is_flipped = (rng.random(size) < 0.5) & augmentation.flip
        angle = np.radians(augmentation.rotate) * rng.uniform(-1, 1, size)
        return cls(shift, is_flipped, angle)


@dataclass(frozen=True)
class ImageDataset:
    """N images of one size with their classes.

    Attributes:
        pixels: one element a pixel, shape (N, H, W): uint8 where an image is grey, int32 where it
            is coloured (red, green, blue and a byte that is not used).
        label: given classes, shape (N,), int64.
        scale: what a byte is multiplied by, shape (C,), float32.
        offset: what is added then, shape (C,), float32.
    """

    pixels: Tensor
    label: Tensor
    scale: Tensor
    offset: Tensor

    @classmethod
    def from_arrays(
        cls,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        *,
        mean: NDArray[np.float64],
        deviation: NDArray[np.float64],
        device: torch.device | str = "cpu",
    ) -> ImageDataset:
        """Put images on a device.

        Args:
            images: shape (N, H, W, C), uint8, C one of `CHANNELS`.
            labels: given classes, shape (N,), int64.
            mean: of each channel, of values in [0, 1], shape (C,): what becomes 0.
            deviation: of each channel, likewise: what becomes 1; a channel without any stays.
            device: where the arrays go.

        Returns:
            The data set.

        Raises:
            ValueError: if there are other channels, or the numbers of images and labels differ.
        """
        size, height, width, channels = images.shape
        if channels not in CHANNELS:
            raise ValueError(f"Expected images of 1 or 3 channels, got {channels}.")
        if size != len(labels):
            raise ValueError(f"Expected {size} labels, got {len(labels)}.")
        if channels == 1:
            pixels = torch.from_numpy(np.array(images[..., 0]))
        else:
            packed = np.zeros((size, height, width, 4), np.uint8)
            packed[..., :channels] = images
            pixels = torch.from_numpy(packed.view(np.int32)[..., 0])
        spread = np.where(deviation > 0, deviation, 1.0)
        return cls(
            pixels.to(device),
            torch.from_numpy(np.array(labels, dtype=np.int64)).to(device),
            torch.from_numpy((1 / (255 * spread)).astype(np.float32)).to(device),
            torch.from_numpy((-mean / spread).astype(np.float32)).to(device),
        )

    def __len__(self) -> int:
        """N."""
        return len(self.label)

    @property
    def num_channels(self) -> int:
        """C."""
        return len(self.scale)

    def cut(self, index: NDArray[np.int64], poses: Poses | None) -> Batch:
        """Gather some images, posed and normalised.

        Args:
            index: which images, shape (B,), int64; may be empty.
            poses: of all N images; None for the images as they are.

        Returns:
            The batch: inputs (B, C, H, W), float32, channels last in memory; without a mask.
        """
        device = self.pixels.device
        chosen = torch.from_numpy(index).to(device, non_blocking=True)
        pixels = self.pixels.index_select(0, chosen)
        if poses is not None and len(index):
            pixels = _posed(pixels, index, poses)
        return Batch(self._normalised(pixels), None, self.label[chosen], chosen)

    def _normalised(self, pixels: Tensor) -> Tensor:
        batch, height, width = pixels.shape
        num_bytes = pixels.element_size()
        bytes_ = pixels.view(torch.uint8).view(batch, height, width, num_bytes)
        values = bytes_[..., : self.num_channels].float()
        # Whole rows at a time: channels alone would be loops of three.
        rows = values.view(batch, height, width * self.num_channels)
        rows = torch.addcmul(self.offset.repeat(width), rows, self.scale.repeat(width))
        return rows.view(values.shape).permute(0, 3, 1, 2)


def _posed(pixels: Tensor, index: NDArray[np.int64], poses: Poses) -> Tensor:
    """Each image as its pose says, (B, H, W): where every pixel comes from, then one read."""
    batch, height, width = pixels.shape
    device = pixels.device
    angle = poses.angle[index]
    turns = bool(angle.any())
    # A frame of black, of at least one pixel where something is turned in from outside.
    border = int(np.abs(poses.shift).max(initial=0)) + turns
    framed = pixels.new_zeros(batch, height + 2 * border, width + 2 * border)
    framed[:, border : border + height, border : border + width] = pixels
    numbers = np.stack([*poses.shift[index].T, poses.is_flipped[index].astype(np.int64)])
    down, right, flip = torch.from_numpy(numbers).to(device, non_blocking=True)[..., None, None]
    row = torch.arange(height, device=device)[:, None]
    column = torch.arange(width, device=device)
    if turns:
        row, column = _turned(row, column, torch.from_numpy(angle).to(device)[:, None, None])
        is_outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
    column = torch.where(flip == 1, width - 1 - column, column)
    row, column = row + (down + border), column + (right + border)
    first = torch.arange(batch, device=device)[:, None, None] * framed[0].numel()
    place = first + row * framed.shape[2] + column
    if turns:
        place = place.masked_fill(is_outside, 0)  # the first pixel of a frame
    return framed.view(-1).index_select(0, place.view(-1)).view(place.shape)


def _turned(row: Tensor, column: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel comes from if the image is turned about its middle, (B, H, W) each."""
    middle = (row.shape[0] - 1) / 2, (column.shape[0] - 1) / 2
    y, x = row - middle[0], column - middle[1]
    cosine, sine = angle.cos(), angle.sin()
    from_row, from_column = cosine * y + sine * x + middle[0], cosine * x - sine * y + middle[1]
    return from_row.round().long(), from_column.round().long()


@dataclass(frozen=True)
class ImageBatches:
    """Batches of a data set: a fresh order and fresh poses each epoch, or all as they are.

    Attributes:
        dataset: the images.
        batch_size: images a batch.
        augmentation: from which every epoch draws; without effect where ``seed`` is None.
        seed: of order and poses; None for the order of the data set, as it is (evaluation).
        subset: positions of the images that take part, shape (M,), int64; None for all.
    """

    dataset: ImageDataset
    batch_size: int
    augmentation: Augmentation = Augmentation()
    seed: int | None = None
    subset: NDArray[np.int64] | None = None

    def epoch(self, number: int) -> ImageEpoch:
        """Every image once, in the order of that epoch, counted from 0."""
        order = np.arange(len(self.dataset)) if self.subset is None else self.subset
        poses = None
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, number])
            order = rng.permutation(order)
            if self.augmentation != Augmentation():
                poses = Poses.draw(len(self.dataset), self.augmentation, rng)
        return ImageEpoch(self.dataset, poses, order, self.batch_size)


@dataclass(frozen=True)
class ImageEpoch:
    """One pass over a data set.

    Attributes:
        dataset: the images.
        poses: of each image in this pass; None for all as they are.
        order: positions of the examples, shape (M,), int64.
        batch_size: images a batch; the last one may have fewer.
    """

    dataset: ImageDataset
    poses: Poses | None
    order: NDArray[np.int64]
    batch_size: int

    def __len__(self) -> int:
        """How many batches."""
        return -(-len(self.order) // self.batch_size)

    def examples(self, number: int) -> NDArray[np.int64]:
        """Positions in the data set of the examples of batch `number`, in all processes."""
        begin = number * self.batch_size
        return self.order[begin : begin + self.batch_size]

    @property
    def unit(self) -> str:
        """What the data are counted in."""
        return "images"

    def num_units(self, number: int) -> int:
        """How many images batch `number` has, in all processes."""
        return len(self.examples(number))

    def parts(self, number: int, share: Share) -> list[Callable[[], Batch]]:
        """What cuts the parts of batch `number`; see `protein_robust.datasets.Epoch`.

        A batch is one part, unless memory ran out: then as many as it takes. Each process takes
        every ``num_ranks``-th image of each part.
        """
        index = self.examples(number)
        size = max(share.num_ranks, -(-self.batch_size >> share.halvings))
        begins = range(0, max(1, len(index)), size)
        return [
            partial(
                self.dataset.cut,
                index[begin : begin + size][share.rank :: share.num_ranks],
                self.poses,
            )
            for begin in begins
        ]
