"""The dataset folder: two Parquet tables and a manifest, written whole or not at all.

The manifest is the mark of a dataset folder and is written last. ``digest`` in it is computed from
the content, not from the Parquet bytes, so it is the same for every version of Parquet's writer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest.options import SPLITS

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SEQUENCES = "sequences.parquet"
FAMILIES = "families.parquet"
CONFLICTS = "conflicts.parquet"
_TABLES = (SEQUENCES, FAMILIES, CONFLICTS)

SEQUENCES_SCHEMA = pa.schema(
    [
        ("sequence_name", pa.string()),
        ("sequence", pa.string()),
        ("family_accession", pa.string()),
        ("label", pa.int32()),
        ("split", pa.string()),
    ]
)
FAMILIES_SCHEMA = pa.schema(
    [
        ("family_accession", pa.string()),
        ("family_id", pa.string()),
        ("clan", pa.string()),
        ("num_train", pa.int32()),
        ("num_valid", pa.int32()),
        ("num_test", pa.int32()),
    ]
)


def check_output(output: str | Path) -> None:
    """Refuse a place where a dataset folder cannot be put without harm.

    Args:
        output: the folder to be.

    Raises:
        InputError: if it is a file, a folder with anything but a dataset in it, or cannot be
            written.
    """
    folder = Path(output)
    expected = "a new, an empty or a dataset folder"
    try:
        if folder.is_dir():
            inside = {entry.name for entry in folder.iterdir()}
            foreign = sorted(inside - {MANIFEST, *_TABLES})
            if foreign:
                raise InputError(expected, f"a folder with {foreign[0]!r} in it", path=output)
            if inside and not _is_dataset(folder):
                raise InputError(expected, f"a folder without a {MANIFEST} of one", path=output)
        elif folder.exists():
            raise InputError(expected, "a file", path=output)
        parent = next(place for place in folder.resolve().parents if place.exists())
    except OSError as error:
        raise InputError("a folder to write", error.strerror or str(error), path=output) from error
    if not parent.is_dir():
        raise InputError("a folder to write", f"a file at {parent}", path=output)
    if not os.access(parent, os.W_OK):
        raise InputError("a folder to write", f"no permission in {parent}", path=output)


def write_dataset(
    output: str | Path, tables: Mapping[str, pa.Table], *, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a dataset folder beside its place, then rename it; an old dataset is replaced.

    Args:
        output: the folder; missing parents are made.
        tables: `SEQUENCES` and `FAMILIES`, in their schemas, and `CONFLICTS` if there are any.
        manifest: all but what this function adds: schema version, kind, name, files and digest.

    Returns:
        The manifest as written.

    Raises:
        InputError: if the folder holds something else or cannot be written.
    """
    check_output(output)
    folder = Path(output).resolve()  # through a link, to what it stands for
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            staged = Path(scratch, "new")
            staged.mkdir()  # not the scratch folder itself, which only its owner may read
            for name, table in tables.items():
                pq.write_table(table, staged / name, compression="zstd")
            whole = {
                "schema_version": SCHEMA_VERSION,
                "kind": "dataset",
                "name": Path(output).absolute().name,
                **manifest,
                "files": {name: (staged / name).stat().st_size for name in sorted(tables)},
                "digest": dataset_digest(tables[SEQUENCES], tables[FAMILIES]),
            }
            text = json.dumps(whole, indent=2, ensure_ascii=False)
            (staged / MANIFEST).write_text(text + "\n", encoding="utf-8")
            _put(staged, folder, aside=Path(scratch, "old"))
    except OSError as error:
        raise InputError("a folder to write", error.strerror or str(error), path=output) from error
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
        raise InputError(f"schema version {SCHEMA_VERSION}", str(version), path=path)
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


def read_sequences(folder: str | Path, split: str | None = None) -> pa.Table:
    """Read the sequences of a dataset folder.

    Args:
        folder: the dataset folder.
        split: ``train``, ``valid`` or ``test``; None for all.

    Returns:
        A table of `SEQUENCES_SCHEMA`, in the order of the file.

    Raises:
        ValueError: if the split is unknown.
        InputError: if the folder is no whole dataset.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"Expected `split` one of {', '.join(SPLITS)}, got {split!r}.")
    table = _read_table(folder, SEQUENCES)
    return table if split is None else table.filter(pc.equal(table["split"], split))


def is_complete(folder: str | Path, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the files that a manifest names are there, with their sizes.

    Args:
        folder: the dataset folder.
        manifest: its manifest.

    Returns:
        True if they are.
    """
    files = manifest.get("files", {})
    paths = [(Path(folder, name), num_bytes) for name, num_bytes in files.items()]
    present = all(path.is_file() and path.stat().st_size == size for path, size in paths)
    return present and {SEQUENCES, FAMILIES} <= set(files)


def dataset_digest(sequences: pa.Table, families: pa.Table) -> str:
    """Compute the SHA-256 of a dataset's content, independent of how it is stored.

    Of each column: its name, the number of its values, their lengths in bytes as little-endian
    int32 (-1 for a missing value), then the UTF-8 text of all of them; numbers are written in
    decimal.

    Args:
        sequences: table of `SEQUENCES_SCHEMA`.
        families: table of `FAMILIES_SCHEMA`.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for table in (sequences, families):
        for name in table.column_names:
            column = table[name].cast(pa.large_string())
            digest.update(f"{name}\n{len(column)}\n".encode())
            lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy()
            digest.update(lengths.astype(np.dtype("<i4")).tobytes())
            for chunk in column.chunks:
                digest.update("".join(text for text in chunk.to_pylist() if text).encode())
    return digest.hexdigest()


def _read_table(folder: str | Path, name: str) -> pa.Table:
    """One table of a dataset folder whose manifest is there."""
    read_manifest(folder)
    path = Path(folder, name)
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        actual = str(error).splitlines()[0]
        raise InputError(f"{name} of a dataset", actual, path=path) from error


def _is_dataset(folder: Path) -> bool:
    """Whether there is a manifest of a dataset, of any schema version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == "dataset"


def _put(staged: Path, folder: Path, *, aside: Path) -> None:
    """Rename the new folder to its place; the old one comes back if that fails."""
    if folder.exists():
        folder.rename(aside)
    try:
        staged.rename(folder)
    except OSError:
        if aside.exists():
            shutil.move(aside, folder)
        raise
