"""The digits of scikit-learn: 1,797 grey images of 8 x 8 pixels, which come with it.

Their pixels count the dots of a 4 x 4 field, 0 to 16; here they are 0 to 255, each count times
255/16 (15.9375), rounded. Nothing says which are for testing: a quarter of them is drawn.

References:
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    https://doi.org/10.24432/C50P49
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from protein_robust.ingest.images.content import Labels, Part, Pixels

CLASSES = tuple("0123456789")
TEST_FRACTION = 0.25
_DOTS = 16


def read_digits() -> Part:
    """Take the images from scikit-learn.

    Returns:
        All images, shape (1797, 8, 8, 1).
    """
    dots, labels = _load()
    images = np.rint(dots * (255 / _DOTS)).astype(np.uint8)[..., np.newaxis]  # (N, H, W, 1)
    return Part(images, labels, [f"digits/{row:05d}" for row in range(len(labels))])


def identify_digits() -> dict[str, Any]:
    """Say which content the digits have, for the manifest.

    Returns:
        ``path``, ``sha256`` and ``num_bytes`` of the counts of dots and labels, one byte each.
    """
    dots, labels = _load()
    content = dots.tobytes() + labels.astype(np.uint8).tobytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return {"path": "sklearn.datasets.load_digits", "sha256": sha256, "num_bytes": len(content)}


def _load() -> tuple[Pixels, Labels]:
    """Counts of dots, shape (N, 8, 8), and labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.int64)
