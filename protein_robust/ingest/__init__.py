"""Files to a dataset folder: read Stockholm or tables, clean, de-duplicate, divide, store.

The folder's schema is in ``data/README.md``.
"""

from protein_robust.ingest.columns import OnProgress
from protein_robust.ingest.ingestion import ingest, is_current
from protein_robust.ingest.options import EXAMPLE, FORMATS, SPLITS, IngestOptions, Source
from protein_robust.ingest.store import read_families, read_manifest, read_sequences
from protein_robust.ingest.summary import describe

__all__ = [
    "EXAMPLE",
    "FORMATS",
    "SPLITS",
    "IngestOptions",
    "OnProgress",
    "Source",
    "describe",
    "ingest",
    "is_current",
    "read_families",
    "read_manifest",
    "read_sequences",
]
