"""The dataset folder: Parquet tables and a manifest.

The manifest is the mark of a dataset folder and is written last. ``digest`` in it is computed from
the content, not from the Parquet bytes, so it is the same for every version of Parquet's writer.
A folder holds sequences, or images where its manifest has ``modality`` images (`ingest.images`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest.options import OTHER_SPLITS, SPLITS

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
CARD = "data_card.md"
SEQUENCES = "sequences.parquet"
FAMILIES = "families.parquet"
CONFLICTS = "conflicts.parquet"
ALIGNMENTS = "alignments.parquet"
HELD_OUT = "heldout_families.parquet"
SKIPPED = "skipped.parquet"
IMAGES = "images.npy"
IMAGE_TABLE = "images.parquet"
TABLES = (SEQUENCES, FAMILIES, CONFLICTS, ALIGNMENTS, HELD_OUT, SKIPPED)
FILES = (*TABLES, CARD)
IMAGE_FILES = (IMAGES, IMAGE_TABLE, FAMILIES, CARD)
_FILES_OF = {"sequences": FILES, "images": IMAGE_FILES}
_NEEDED_OF = {"sequences": {SEQUENCES, FAMILIES}, "images": {IMAGES, IMAGE_TABLE, FAMILIES}}

SEQUENCES_SCHEMA = pa.schema(
    [
        ("sequence_name", pa.string()),
        ("sequence_accession", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("sequence", pa.string()),
        ("family_accession", pa.string()),
        ("label", pa.int32()),
        ("split", pa.string()),
    ]
)
_FACTS = [
    (name, pa.string()) for name in ("family_id", "description", "family_type", "clan", "gathering")
]
FAMILIES_SCHEMA = pa.schema(
    [
        ("family_accession", pa.string()),
        *_FACTS,
        *((f"num_{split}", pa.int32()) for split in SPLITS),
    ]
)
HELD_OUT_SCHEMA = pa.schema(
    [("family_accession", pa.string()), *_FACTS, ("num_sequences", pa.int32())]
)
ALIGNMENTS_SCHEMA = pa.schema([("aligned_row", pa.string()), ("alignment", pa.int32())])
CONFLICTS_SCHEMA = pa.schema(
    [
        ("sequence_name", pa.string()),
        ("sequence", pa.string()),
        ("family_accession", pa.string()),
        ("split", pa.string()),
    ]
)
SKIPPED_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("line", pa.int64()),
        ("record", pa.string()),
        ("num_rows", pa.int64()),
        ("reason", pa.string()),
    ]
)


def write_table(folder: Path, name: str, table: pa.Table) -> None:
    """Write one table of a dataset folder.

    Args:
        folder: the folder.
        name: of `TABLES`.
        table: the rows.

    Raises:
        OSError: if it cannot be written.
    """
    with table_writer(folder, name, table.schema) as writer:
        writer.write_table(table)


def table_writer(folder: Path, name: str, schema: pa.Schema) -> pq.ParquetWriter:
    """Open one table of a dataset folder for writing.

    Args:
        folder: the folder.
        name: of `TABLES`.
        schema: its columns.

    Returns:
        The writer, a context manager.
    """
    # Sequences and names are all different: a dictionary of them would cost time and bytes.
    repeated = [field.name for field in schema if field.name in ("family_accession", "split")]
    return pq.ParquetWriter(
        folder / name, schema, compression="zstd", compression_level=1, use_dictionary=repeated
    )


def write_manifest(folder: Path, manifest: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Write the manifest, after everything else.

    Args:
        folder: the folder.
        manifest: all but what this function adds: schema version, kind, name and files.
        name: of the data set.

    Returns:
        The manifest as written.

    Raises:
        OSError: if it cannot be written.
    """
    whole = {
        "schema_version": SCHEMA_VERSION,
        "kind": "dataset",
        "name": name,
        **manifest,
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return whole


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the manifest of a dataset folder.

    Args:
        folder: the dataset folder.

    Returns:
        The manifest.

    Raises:
        InputError: if there is none, or it is not a dataset's or of another schema version.
    """
    path = Path(folder, MANIFEST)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        actual = f"none ({error.strerror or error})"
        raise InputError(f"a dataset folder with a {MANIFEST}", actual, path=folder) from error
    except ValueError as error:
        raise InputError("a manifest in JSON", str(error), path=path) from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "dataset":
        raise InputError("the manifest of a dataset", "another one", path=path)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        expected = f"schema version {SCHEMA_VERSION} (ingest again)"
        raise InputError(expected, str(version), path=path)
    return manifest


def read_families(folder: str | Path) -> pa.Table:
    """Read the families of a dataset folder.

    Args:
        folder: the dataset folder.

    Returns:
        A table of `FAMILIES_SCHEMA`; row i is class i.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    return _read_table(folder, FAMILIES)


def read_sequences(
    folder: str | Path, split: str | None = None, *, columns: list[str] | None = None
) -> pa.Table:
    """Read the sequences of a dataset folder.

    Args:
        folder: the dataset folder.
        split: of `SPLITS` or `OTHER_SPLITS`; None for all.
        columns: names of the wanted columns; None for all.

    Returns:
        A table of `SEQUENCES_SCHEMA`, in the order of the file.

    Raises:
        ValueError: if the split is unknown.
        InputError: if the folder is no whole dataset.
    """
    known = (*SPLITS, *OTHER_SPLITS)
    if split is not None and split not in known:
        raise ValueError(f"Expected `split` one of {', '.join(known)}, got {split!r}.")
    # Row groups that hold other splits only are not even read.
    chosen = None if split is None else pc.field("split") == split
    return _read_table(folder, SEQUENCES, columns=columns, filters=chosen)


def read_conflicts(folder: str | Path) -> pa.Table:
    """Read the rows whose residues stand in several families.

    Args:
        folder: the dataset folder.

    Returns:
        A table of `CONFLICTS_SCHEMA`; without rows if there are none. Rows that were not kept have
        no split.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    if CONFLICTS not in read_manifest(folder).get("files", {}):
        return CONFLICTS_SCHEMA.empty_table()
    return _read_table(folder, CONFLICTS)


def read_heldout_families(folder: str | Path) -> pa.Table:
    """Read the families that are no classes of a dataset folder.

    Args:
        folder: the dataset folder.

    Returns:
        A table of `HELD_OUT_SCHEMA`; without rows if there are none.

    Raises:
        InputError: if the folder is no whole dataset.
    """
    if HELD_OUT not in read_manifest(folder).get("files", {}):
        return HELD_OUT_SCHEMA.empty_table()
    return _read_table(folder, HELD_OUT)


def is_complete(folder: str | Path, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the files that a manifest names are there, with their sizes.

    Args:
        folder: the dataset folder.
        manifest: its manifest.

    Returns:
        True if they are; False also if it names a file that no dataset folder has.
    """
    files, allowed = manifest.get("files"), files_of(manifest)
    if not isinstance(files, dict) or not allowed:
        return False
    if not _NEEDED_OF[manifest.get("modality", "sequences")] <= set(files) <= set(allowed):
        return False
    paths = [(Path(folder, name), num_bytes) for name, num_bytes in files.items()]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def files_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Tell which files a dataset folder may have beside its manifest.

    Args:
        manifest: of a dataset folder, of any schema version.

    Returns:
        `FILES` for sequences, `IMAGE_FILES` for images; none for another ``modality``.
    """
    modality = manifest.get("modality", "sequences")
    return _FILES_OF.get(modality, ()) if isinstance(modality, str) else ()


def _read_table(folder: str | Path, name: str, **how: Any) -> pa.Table:
    """One table of a dataset folder whose manifest is there."""
    read_manifest(folder)
    path = Path(folder, name)
    try:
        return pq.read_table(path, **how)
    except (OSError, pa.ArrowException) as error:
        actual = str(error).splitlines()[0]
        raise InputError(f"{name} of a dataset", actual, path=path) from error
