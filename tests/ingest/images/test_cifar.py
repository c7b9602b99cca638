"""The constants of CIFAR."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100, CIFARS, Cifar


def test_every_superclass_has_five_classes() -> None:
    assert len(CIFAR100.classes) == len({*CIFAR100.classes}) == 100
    assert len(CIFAR100.superclasses) == 20
    assert {*Counter(CIFAR100.superclass_of).values()} == {5}


def test_classes_are_in_the_order_of_the_alphabet() -> None:
    for cifar in CIFARS.values():
        assert list(cifar.classes) == sorted(cifar.classes)


@pytest.mark.parametrize("cifar", CIFARS.values(), ids=CIFARS)
def test_every_file_has_a_sum_of_its_own(cifar: Cifar) -> None:
    assert {*cifar.md5} == {*cifar.files, cifar.meta}
    sums = [cifar.tarball_md5, *cifar.md5.values()]
    assert len({*sums}) == len(sums)
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in sums)


def test_cifar_10_has_no_superclasses() -> None:
    assert (CIFAR10.superclasses, CIFAR10.superclass_of) == ((), ())
