"""Options of images that cannot be meant."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.images import ImageOptions, ingest_images
from protein_robust.ingest.images.options import check_image_options

CIFAR = ImageOptions("cifar10", "somewhere")


def test_good_options_pass() -> None:
    check_image_options(CIFAR)
    check_image_options(ImageOptions("digits", num_train=10, num_test=1, valid_fraction=0.99))
    check_image_options(ImageOptions("cifar100", "x", "h.pt", "skip", "coarse"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "mnist"}, "`name` one of cifar10, cifar100, digits, got 'mnist'"),
        ({"checksums": "none"}, "`checksums` one of official, skip, got 'none'"),
        ({"classes": "all"}, "`classes` one of fine, coarse, got 'all'"),
        ({"classes": "coarse"}, "`classes` fine for cifar10, got 'coarse'"),
        ({"source": None}, "`source`, the files of cifar10, got none"),
        ({"name": "digits"}, "no `source` for digits, got 'somewhere'"),
        (
            {"name": "digits", "source": None, "human_labels": "h.npz"},
            r"no `human_labels` for digits, got 'h\.npz'",
        ),
        ({"num_train": 0}, "`num_train` of at least 1, got 0"),
        ({"num_test": -1}, "`num_test` of at least 1, got -1"),
        ({"valid_fraction": 1.0}, r"`valid_fraction` in \[0, 1\), got 1\.0"),
        ({"valid_fraction": -0.1}, r"`valid_fraction` in \[0, 1\), got -0\.1"),
        ({"valid_fraction": float("nan")}, r"`valid_fraction` in \[0, 1\), got nan"),
        ({"seed": -1}, "`seed` of at least 0, got -1"),
        ({"source": "a\0"}, "a path without a NUL character"),
        ({"human_labels": "a\udcff"}, "a path that is UTF-8 text"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_meant_is_refused(
    change: dict[str, Any], message: str, tmp_path: Any
) -> None:
    options = dataclasses.replace(CIFAR, **change)
    with pytest.raises(InputError, match=f"Expected {message}"):
        ingest_images(options, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
