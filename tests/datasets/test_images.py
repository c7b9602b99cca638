"""Images on the device, and the batches that are cut from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from protein_robust.datasets import Augmentation, Epoch, ImageBatches, ImageDataset, Share
from protein_robust.datasets.images import Poses

MEAN, DEVIATION = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.5])


def images_of(size: int, *, side: int = 8, channels: int = 3) -> NDArray[np.uint8]:
    shape = (size, side, side, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def dataset_of(images: NDArray[np.uint8]) -> ImageDataset:
    channels = images.shape[-1]
    return ImageDataset.from_arrays(
        images,
        np.arange(len(images)),
        mean=MEAN[:channels],
        deviation=DEVIATION[:channels],
    )


def normalised(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(B, H, W, C) bytes -> (B, C, H, W), in float64."""
    channels = images.shape[-1]
    values = (images / 255 - MEAN[:channels]) / DEVIATION[:channels]
    return values.transpose(0, 3, 1, 2)


def by_pillow(
    image: NDArray[np.uint8], pad: int, shift: tuple[int, int], flip: bool
) -> Image.Image:
    """Pad with black, crop at an offset, mirror: the published pipeline, for one image."""
    framed = ImageOps.expand(Image.fromarray(image), pad)
    top, left = shift[0] + pad, shift[1] + pad
    height, width = image.shape[:2]
    cropped = framed.crop((left, top, left + width, top + height))
    return ImageOps.mirror(cropped) if flip else cropped


def poses_of(shift: list[tuple[int, int]], flip: list[bool], angle: list[float]) -> Poses:
    return Poses(np.array(shift), np.array(flip), np.array(angle, np.float64))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_unposed_batch_is_the_normalised_images(channels: int) -> None:
    images = images_of(5, channels=channels)
    batch = dataset_of(images).cut(np.array([3, 0]), None)
    assert batch.mask is None
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(batch.inputs, normalised(images[[3, 0]]), atol=1e-5)
    assert batch.label.tolist() == batch.index.tolist() == [3, 0]


@settings(deadline=None)
@given(st.data())
def test_shift_and_mirror_are_those_of_pillow(data: st.DataObject) -> None:
    images = images_of(3)
    steps = st.tuples(st.integers(-4, 4), st.integers(-4, 4))
    shift = data.draw(st.lists(steps, min_size=3, max_size=3))
    flip = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    batch = dataset_of(images).cut(np.arange(3), poses_of(shift, flip, [0.0] * 3))
    expected = np.stack([np.asarray(by_pillow(images[i], 4, shift[i], flip[i])) for i in range(3)])
    np.testing.assert_allclose(batch.inputs, normalised(expected), atol=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_a_quarter_turn_goes_counter_clockwise_after_the_mirror(quarters: int, flip: bool) -> None:
    images = images_of(2)
    batch = dataset_of(images).cut(
        np.arange(2), poses_of([(0, 0)] * 2, [flip] * 2, [quarters * np.pi / 2] * 2)
    )
    mirrored = images[:, :, ::-1] if flip else images
    expected = np.rot90(mirrored, quarters, axes=(1, 2))
    np.testing.assert_allclose(batch.inputs, normalised(expected), atol=1e-5)


def test_what_was_shifted_out_is_not_turned_in_again() -> None:
    # The published steps crop before they turn. Shifted by 4 and 4 and turned by 15 degrees, one
    # pixel in 20 would else be of the image where theirs is black.
    images = images_of(8, side=32) | 1
    shift = [(down, right) for down in (-4, 4) for right in (-4, 4)] * 2
    flip, angles = [False] * 4 + [True] * 4, [15.0, -15.0] * 4
    poses = poses_of(shift, flip, np.radians(angles).tolist())
    batch = dataset_of(images).cut(np.arange(8), poses)
    turned = [
        np.asarray(by_pillow(image, 4, step, is_flipped).rotate(angle, Image.Resampling.NEAREST))
        for image, step, is_flipped, angle in zip(images, shift, flip, angles, strict=True)
    ]
    differs = np.abs(batch.inputs.numpy() - normalised(np.stack(turned))).max(axis=1) > 1e-4
    assert differs.mean() < 0.005


def test_a_turn_is_about_that_of_pillow() -> None:
    # Pillow rounds other pixels where a source lies half-way between two: a few may differ.
    images = images_of(20, side=32)
    angles = np.random.default_rng(1).uniform(-15, 15, 20)
    poses = poses_of([(0, 0)] * 20, [False] * 20, np.radians(angles).tolist())
    batch = dataset_of(images).cut(np.arange(20), poses)
    turned = [
        np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.NEAREST))
        for image, angle in zip(images, angles, strict=True)
    ]
    differs = np.abs(batch.inputs.numpy() - normalised(np.stack(turned))).max(axis=1) > 1e-4
    assert differs.mean() < 0.02


def test_what_is_shifted_or_turned_in_is_black() -> None:
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    dataset = dataset_of(white)
    batch = dataset.cut(np.arange(1), poses_of([(4, 0)], [False], [0.0]))
    black = normalised(np.zeros((1, 1, 1, 3), np.uint8))
    np.testing.assert_allclose(batch.inputs[:, :, 4:].numpy() - black, 0, atol=1e-5)
    turned = dataset.cut(np.arange(1), poses_of([(0, 0)], [False], [np.pi / 4])).inputs.numpy()
    corners = turned[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners - black[:, :, 0], 0, atol=1e-5)


def test_poses_cover_every_shift_equally_and_half_are_mirrored() -> None:
    drawn = Poses.draw(81_000, Augmentation(pad=4, flip=True, rotate=15), np.random.default_rng(3))
    numbers, counts = np.unique(drawn.shift, axis=0, return_counts=True)
    assert len(numbers) == 81
    # 1,000 expected of each; 5 standard deviations are 158.
    assert np.abs(counts - 1000).max() < 158
    assert abs(drawn.is_flipped.mean() - 0.5) < 0.01
    assert np.abs(np.degrees(drawn.angle)).max() <= 15
    assert abs(np.degrees(drawn.angle).std() - 15 / np.sqrt(3)) < 0.1


@given(
    st.integers(1, 30),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_every_image_once_whatever_the_batch_the_processes_and_the_parts(
    size: int, batch_size: int, num_ranks: int, halvings: int
) -> None:
    batches = ImageBatches(dataset_of(images_of(size)), batch_size, seed=1)
    epoch: Epoch = batches.epoch(0)
    seen: list[int] = []
    for number in range(len(epoch)):
        parts = [epoch.parts(number, Share(rank, num_ranks, halvings)) for rank in range(num_ranks)]
        assert len({len(of_rank) for of_rank in parts}) == 1
        found = [i for of_rank in parts for part in of_rank for i in part().index.tolist()]
        assert sorted(found) == sorted(epoch.examples(number).tolist())
        assert epoch.num_units(number) == len(found)
        seen += found
    assert sorted(seen) == list(range(size))


def test_epochs_differ_and_each_is_the_same_when_asked_again() -> None:
    batches = ImageBatches(dataset_of(images_of(40)), 16, Augmentation(2, True, 10.0), seed=5)

    def inputs(number: int) -> torch.Tensor:
        epoch = batches.epoch(number)
        cut = [part() for n in range(len(epoch)) for part in epoch.parts(n, Share())]
        return torch.cat([batch.inputs[batch.index.argsort()] for batch in cut])

    assert torch.equal(inputs(3), inputs(3))
    assert not torch.equal(inputs(3), inputs(4))


def test_a_pose_does_not_depend_on_how_a_batch_is_cut() -> None:
    batches = ImageBatches(dataset_of(images_of(12)), 12, Augmentation(2, True, 10.0), seed=5)
    epoch = batches.epoch(0)
    (whole,) = [part() for part in epoch.parts(0, Share())]
    halves = [part() for part in epoch.parts(0, Share(halvings=1))]
    assert len(halves) == 2
    assert torch.equal(torch.cat([half.inputs for half in halves]), whole.inputs)


def test_evaluation_takes_a_subset_in_order_and_as_it_is() -> None:
    images = images_of(9)
    batches = ImageBatches(dataset_of(images), 4, Augmentation(4, True), subset=np.array([1, 5, 6]))
    epoch = batches.epoch(0)
    (batch,) = [part() for part in epoch.parts(0, Share())]
    assert batch.index.tolist() == [1, 5, 6]
    np.testing.assert_allclose(batch.inputs, normalised(images[[1, 5, 6]]), atol=1e-5)


def test_a_channel_without_deviation_is_only_shifted() -> None:
    images = np.full((2, 4, 4, 1), 51, np.uint8)
    dataset = ImageDataset.from_arrays(
        images, np.zeros(2, np.int64), mean=np.array([0.2]), deviation=np.array([0.0])
    )
    np.testing.assert_allclose(dataset.cut(np.arange(2), None).inputs, 0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_data_set_may_be_empty(channels: int) -> None:
    dataset = dataset_of(images_of(0, channels=channels))
    assert len(ImageBatches(dataset, 4).epoch(0)) == 0


def test_an_empty_cut_has_no_images() -> None:
    poses = poses_of([(1, 1)] * 3, [True] * 3, [0.1] * 3)
    batch = dataset_of(images_of(3)).cut(np.zeros(0, np.int64), poses)
    assert batch.inputs.shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pad": -1}, "Expected `pad` of at least 0, got -1."),
        ({"rotate": 181.0}, r"Expected `rotate` in \[0, 180\], got 181.0."),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**values)  # type: ignore[arg-type]


def test_other_channels_and_other_numbers_of_labels_are_refused() -> None:
    ones = np.ones(2)
    with pytest.raises(ValueError, match=r"Expected images of 1 or 3 channels, got 2\."):
        ImageDataset.from_arrays(
            images_of(1, channels=2), np.zeros(1, np.int64), mean=ones, deviation=ones
        )
    with pytest.raises(ValueError, match=r"Expected 2 labels, got 1\."):
        ImageDataset.from_arrays(images_of(2), np.zeros(1, np.int64), mean=MEAN, deviation=MEAN)
