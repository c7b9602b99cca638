"""Files of images to a dataset folder: CIFAR-10, CIFAR-100 and the digits of scikit-learn.

The folder's schema is in ``data/README.md``.
"""

from protein_robust.ingest.images.ingestion import are_current, ingest_images
from protein_robust.ingest.images.options import MODALITY, ImageOptions
from protein_robust.ingest.images.reading import human_labels_of, read_image_table, read_images
from protein_robust.ingest.images.summary import describe_images

__all__ = [
    "MODALITY",
    "ImageOptions",
    "are_current",
    "describe_images",
    "human_labels_of",
    "ingest_images",
    "read_image_table",
    "read_images",
]
