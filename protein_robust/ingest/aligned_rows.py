"""The rows of alignments in a dataset folder, as the sources have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protein_robust.errors import InputError
from protein_robust.ingest.store import ALIGNMENTS, ALIGNMENTS_SCHEMA, read_manifest, read_sequences


def read_alignments(folder: str | Path, split: str) -> pa.Table:
    """Read the aligned rows of one split, a part of the file at a time.

    Args:
        folder: the dataset folder.
        split: as for `read_sequences`.

    Returns:
        A table of `ALIGNMENTS_SCHEMA`, row i of which belongs to row i of the split; all is missing
        where the data set has no alignment.

    Raises:
        ValueError: if the split is unknown.
        InputError: if the folder is no whole dataset.
    """
    num_rows = len(read_sequences(folder, split, columns=["split"]))
    if ALIGNMENTS not in read_manifest(folder).get("files", {}):
        return pa.table({field.name: pa.nulls(num_rows, field.type) for field in ALIGNMENTS_SCHEMA})
    splits = read_sequences(folder, columns=["split"])["split"].to_numpy()
    wanted = np.equal(splits, split)
    path, begin, parts = Path(folder, ALIGNMENTS), 0, []
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            parts.append(batch.filter(pa.array(wanted[begin : begin + len(batch)])))
            begin += len(batch)
    except (OSError, pa.ArrowException) as error:
        actual = str(error).splitlines()[0]
        raise InputError(f"{ALIGNMENTS} of a dataset", actual, path=path) from error
    if begin != len(wanted):
        raise InputError(f"{len(wanted):,} aligned rows, one a sequence", f"{begin:,}", path=path)
    return pa.Table.from_batches(parts, ALIGNMENTS_SCHEMA)
