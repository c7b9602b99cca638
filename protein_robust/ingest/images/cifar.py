"""What is fixed about CIFAR-10 and CIFAR-100: names of files, keys and classes, official MD5 sums.

References:
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SIZE = 32
"""Height and width of an image, pixels."""
CHANNELS = 3


@dataclass(frozen=True)
class Cifar:
    """One of the two sets.

    Attributes:
        tarball: name of the official archive of Python batches.
        tarball_md5: its MD5 sum.
        folder: the folder in it.
        train: files of the training images, in order.
        test: file of the test images.
        meta: file of the names of the classes.
        md5: MD5 sum of each of these files.
        classes: names of the classes; place i is class i.
        superclasses: names of the superclasses; without any, there are none.
        superclass_of: of each class, the number of its superclass.
        name_key: key of the names of the classes in ``meta``.
        label_key: key of the classes in a batch.
        label_column: column of the classes in the Parquet layout.
    """

    tarball: str
    tarball_md5: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    md5: Mapping[str, str]
    classes: tuple[str, ...]
    superclasses: tuple[str, ...]
    superclass_of: tuple[int, ...]
    name_key: str
    label_key: str
    label_column: str

    @property
    def files(self) -> tuple[str, ...]:
        """Files of images, in order."""
        return (*self.train, self.test)


_MEMBERS = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
"""The five classes of each superclass; superclasses in the order of their numbers."""

_FINE = tuple(sorted(name for members in _MEMBERS.values() for name in members.split()))
_SUPERCLASS_OF = {
    name: number for number, members in enumerate(_MEMBERS.values()) for name in members.split()
}

CIFAR10 = Cifar(
    tarball="cifar-10-python.tar.gz",
    tarball_md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    classes=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    superclasses=(),
    superclass_of=(),
    name_key="label_names",
    label_key="labels",
    label_column="label",
)

CIFAR100 = Cifar(
    tarball="cifar-100-python.tar.gz",
    tarball_md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
    classes=_FINE,
    superclasses=tuple(_MEMBERS),
    superclass_of=tuple(_SUPERCLASS_OF[name] for name in _FINE),
    name_key="fine_label_names",
    label_key="fine_labels",
    label_column="fine_label",
)

COARSE_NAME_KEY = "coarse_label_names"
COARSE_LABEL_KEY = "coarse_labels"
COARSE_LABEL_COLUMN = "coarse_label"

CIFARS: Mapping[str, Cifar] = {"cifar10": CIFAR10, "cifar100": CIFAR100}
