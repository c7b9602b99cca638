"""What `images.py` times: passes that only make batches, and training steps on one batch."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

# From this folder, where a script finds its neighbours.
import numpy as np
import torch
from numpy.typing import NDArray
from plain_images import PAD, PlainImages, plain_loader
from race import Contestant
from torch import Tensor, nn
from torch.nn import functional

from protein_robust.datasets import Augmentation, Batch, ImageBatches, ImageDataset, Share
from protein_robust.models.resnet import ResNet, ResNetConfig

SIDE = 32
"""Pixels of an image, in height and in width."""
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of the channels of CIFAR-10's training images."""
OURS = "one gather a batch"
PLAIN = "image by image, Pillow and a DataLoader"
MODES = ("eager", "compiled", "graphs")
"""``compiled`` is `torch.compile`; ``graphs`` are its CUDA graphs, for a GPU."""


def random_images(options: Namespace) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Random pixels (N, 32, 32, 3) and classes (N,)."""
    rng = np.random.default_rng(options.seed)
    pixels = rng.integers(0, 256, (options.images, SIDE, SIDE, 3), dtype=np.uint8)
    return pixels, rng.integers(0, options.classes, options.images)


def our_batches(options: Namespace) -> ImageBatches:
    """Batches as training has them, on the device."""
    dataset = ImageDataset.from_arrays(
        *random_images(options),
        mean=np.array(MEAN),
        deviation=np.array(DEVIATION),
        device=options.device,
    )
    augmentation = Augmentation(pad=PAD, flip=True)
    return ImageBatches(dataset, options.batch_size, augmentation, options.seed)


def ours(options: Namespace) -> Contestant:
    """Passes over the images by `ImageBatches`, drawing of order and poses included."""
    batches = our_batches(options)

    def work(number: int) -> Iterator[Batch]:
        epoch = batches.epoch(number)
        for place in range(len(epoch)):
            for part in epoch.parts(place, Share()):
                yield part()

    return work


def plain(options: Namespace) -> Contestant:
    """Passes by the plain pipeline, each batch brought to the device."""
    mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
    dataset = PlainImages(
        *random_images(options), mean=mean, deviation=deviation, seed=options.seed
    )
    loader = plain_loader(dataset, batch_size=options.batch_size, seed=options.seed)

    def work(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, label in loader:
            yield inputs.to(options.device), label.to(options.device)

    return work


CONTESTANTS: dict[str, Callable[[Namespace], Contestant]] = {PLAIN: plain, OURS: ours}


def build(options: Namespace, name: str) -> Contestant:
    """The contestant of a name, in a process of its own."""
    prepare(options)
    return CONTESTANTS[name](options)


def prepare(options: Namespace) -> None:
    """Settings of a process."""
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = options.cudnn_benchmark


@dataclass(frozen=True)
class Setting:
    """One way to run the same training step.

    Attributes:
        precision: ``fp32``, or ``bf16`` autocast.
        mode: one of `MODES`.
        is_channels_last: how images and weights lie in memory.
    """

    precision: str = "fp32"
    mode: str = "eager"
    is_channels_last: bool = True

    def __str__(self) -> str:
        """As it stands in the table."""
        layout = "channels last" if self.is_channels_last else "channels first"
        return f"{self.mode}, {self.precision}, {layout}"


BASELINE = Setting(is_channels_last=False)
"""The plain step: what PyTorch does unless it is told otherwise."""


def step(options: Namespace, architecture: str, setting: Setting) -> Callable[[], Tensor]:
    """Make a training step: forward, cross entropy, backward, SGD with momentum.

    Args:
        options: ``device``, ``classes``, ``batch_size`` and ``seed``; a setting gets the same
            weights and the same batch as another.
        architecture: of `protein_robust.models.resnet.ResNetConfig`.
        setting: how it is run.

    Returns:
        The step; gives the loss, shape ().
    """
    one_batch = Namespace(**{**vars(options), "images": options.batch_size})
    (part,) = our_batches(one_batch).epoch(0).parts(0, Share())
    batch = part()
    layout = torch.channels_last if setting.is_channels_last else torch.contiguous_format
    inputs, label = batch.inputs.contiguous(memory_format=layout), batch.label
    generator = torch.Generator().manual_seed(options.seed)
    model = ResNet(ResNetConfig(architecture), options.classes, generator=generator)
    model = nn.utils.convert_conv2d_weight_memory_format(model, layout).to(options.device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    forward = compiled(model, setting.mode)
    autocast = torch.autocast(torch.device(options.device).type, dtype=torch.bfloat16)
    context = nullcontext() if setting.precision == "fp32" else autocast

    def run() -> Tensor:
        if setting.mode == "graphs":
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        with context:
            logits = forward(inputs)
        loss = functional.cross_entropy(logits.float(), label)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def compiled(model: nn.Module, mode: str) -> Callable[[Tensor], Tensor]:
    """The network, run as a mode says; shapes are fixed."""
    if mode == "eager":
        return model
    how = "reduce-overhead" if mode == "graphs" else "default"
    made: Callable[[Tensor], Tensor] = torch.compile(model, mode=how, dynamic=False)
    return made


def several(run: Callable[[], object], number: int) -> Callable[[], None]:
    """The same step so many times, without waiting for the device in between."""

    def repeat() -> None:
        for _ in range(number):
            run()

    return repeat
