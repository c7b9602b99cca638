"""Files to a dataset folder: read Stockholm, FASTA or tables, clean, de-duplicate, divide, store.

The folder's schema is in ``data/README.md``.
"""

from protein_robust.ingest.columns import OnProgress
from protein_robust.ingest.ingestion import ingest, is_current
from protein_robust.ingest.options import (
    EXAMPLE,
    FORMATS,
    OTHER_SPLITS,
    SPLITS,
    STDIN,
    IngestOptions,
    Source,
)
from protein_robust.ingest.store import (
    read_conflicts,
    read_families,
    read_heldout_families,
    read_manifest,
    read_sequences,
)
from protein_robust.ingest.summary import describe

__all__ = [
    "EXAMPLE",
    "FORMATS",
    "OTHER_SPLITS",
    "SPLITS",
    "STDIN",
    "IngestOptions",
    "OnProgress",
    "Source",
    "describe",
    "ingest",
    "is_current",
    "read_conflicts",
    "read_families",
    "read_heldout_families",
    "read_manifest",
    "read_sequences",
]
