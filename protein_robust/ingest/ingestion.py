"""From sources to a dataset folder: read, clean, divide, write.

Records pass through in batches; what is kept of them is columns, so that a whole Pfam release fits
in memory. Of every record it is known where it went: kept in a split, or counted as removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from protein_robust.errors import InputError
from protein_robust.ingest import store
from protein_robust.ingest.columns import Columns, Family, OnProgress, collect, select
from protein_robust.ingest.options import SPLITS, IngestOptions, Source, check_options
from protein_robust.ingest.sources import check_sources, identify_source
from protein_robust.ingest.splits import (
    TEST,
    TRAIN,
    Allocation,
    LabelledSequences,
    choose_families,
    keep_splits,
    split_at_random,
)
from protein_robust.ingest.summary import count_letters, count_rows

_DEFAULT_OPTIONS = IngestOptions()
_NUM_SHOWN = 5


def ingest(
    sources: Sequence[Source],
    output: str | Path,
    *,
    options: IngestOptions = _DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Read sources and write a dataset folder.

    Args:
        sources: files, or the example alone. If they or their records name splits, these are
            kept (rule ``existing``); otherwise each family is divided (rule ``random``).
        output: the folder; a dataset there is replaced.
        options: how to read and divide.
        on_progress: told how far reading is.

    Returns:
        The manifest.

    Raises:
        InputError: if a source, an option or the folder cannot be used; nothing is written then.
    """
    check_options(options)
    store.check_output(output)
    check_sources(list(sources), output)
    identities = [identify_source(source) for source in sources]
    columns = collect(sources, options, identities=identities, on_progress=on_progress)
    accessions = _choose(columns, options)
    data = select(columns, accessions)
    allocation = _allocate(data, options)
    _check_allocation(data, allocation, accessions=accessions, options=options)
    tables = _tables(data, allocation, accessions=accessions, families=columns.families)
    manifest = {
        "is_synthetic": any(source.is_example for source in sources),
        "sources": identities,
        "options": asdict(options),
        "split_rule": "random" if data.splits is None else "existing",
        **count_rows(tables, num_records=len(columns.names)),
        "removed": {
            "duplicates_within_family": allocation.num_duplicates_within_family,
            "duplicates_across_splits": allocation.num_duplicates_across_splits,
            "families_not_drawn": len(columns.names) - len(data.names),
        },
        "letters": count_letters(columns.letters),
    }
    return store.write_dataset(output, tables, manifest=manifest)


def is_current(
    folder: str | Path, sources: Sequence[Source], *, options: IngestOptions = _DEFAULT_OPTIONS
) -> bool:
    """Tell whether a folder holds just what `ingest` would make of these sources now.

    Args:
        folder: perhaps a dataset folder.
        sources: as for `ingest`.
        options: as for `ingest`.

    Returns:
        True if the dataset is whole and of the same source content, options and schema version.
    """
    try:
        manifest = store.read_manifest(folder)
        if not store.is_complete(folder, manifest) or manifest["options"] != asdict(options):
            return False
        wanted = [identify_source(source) for source in sources]
    except InputError:
        return False  # `ingest` says what is wrong
    # The file's name counts, because it names the sequences; its folder does not.
    for identity in (*wanted, *manifest["sources"]):
        identity["path"] = Path(identity["path"]).name
    return bool(wanted == manifest["sources"])


def _choose(columns: Columns, options: IngestOptions) -> list[str]:
    """The accessions of the dataset's families, sorted."""
    accessions = sorted(columns.families)
    if len(accessions) < 2:
        raise InputError("at least two families", f"only {accessions[0]}")
    if options.num_families is None:
        return accessions
    return choose_families(accessions, options.num_families, seed=options.seed)


def _allocate(data: LabelledSequences, options: IngestOptions) -> Allocation:
    """Divide by the rule that the data asks for."""
    if data.splits is not None:
        return keep_splits(data)
    return split_at_random(
        data,
        options.seed,
        valid_fraction=options.valid_fraction,
        test_fraction=options.test_fraction,
    )


def _check_allocation(
    data: LabelledSequences,
    allocation: Allocation,
    *,
    accessions: Sequence[str],
    options: IngestOptions,
) -> None:
    """Refuse a dataset on which nothing can be tested, or classes without training data."""
    labels = data.labels[allocation.rows]
    in_train = np.bincount(labels[allocation.splits == TRAIN], minlength=len(accessions))
    if not (allocation.splits == TEST).any():
        largest = int(np.bincount(labels).max())
        if data.splits is not None:
            actual = "none"
        elif options.test_fraction == 0:
            actual = "none, because `test_fraction` is 0"
        else:
            actual = (
                f"none: every family is too small for `test_fraction` {options.test_fraction:g}, "
                f"the largest has {largest} distinct sequences"
            )
        raise InputError("at least one test sequence", actual)
    missing = [accessions[label] for label in np.flatnonzero(in_train == 0).tolist()]
    if missing:
        shown = ", ".join(missing[:_NUM_SHOWN]) + (", ..." if len(missing) > _NUM_SHOWN else "")
        actual = f"none in train for {len(missing)} of {len(accessions)}: {shown}"
        raise InputError("training sequences for each family", actual)


def _tables(
    data: LabelledSequences,
    allocation: Allocation,
    *,
    accessions: Sequence[str],
    families: dict[str, Family],
) -> dict[str, pa.Table]:
    """The tables of the dataset folder."""
    rows = allocation.rows.tolist()
    labels = data.labels[allocation.rows]
    accession_column = pa.array(accessions, pa.string()).take(pa.array(labels))
    split_column = pa.array(SPLITS, pa.string()).take(pa.array(allocation.splits))
    sequences = pa.table(
        [
            pa.array([data.names[row] for row in rows], pa.string()),
            pa.array([data.sequences[row] for row in rows], pa.string()),
            accession_column,
            pa.array(labels),
            split_column,
        ],
        schema=store.SEQUENCES_SCHEMA,
    )
    numbers = [
        np.bincount(labels[allocation.splits == split], minlength=len(accessions))
        for split in range(len(SPLITS))
    ]
    family_table = pa.table(
        [
            pa.array(accessions, pa.string()),
            pa.array([families[name].family_id for name in accessions], pa.string()),
            pa.array([families[name].clan for name in accessions], pa.string()),
            *(pa.array(number, pa.int32()) for number in numbers),
        ],
        schema=store.FAMILIES_SCHEMA,
    )
    tables = {store.SEQUENCES: sequences, store.FAMILIES: family_table}
    if allocation.is_conflicting.any():
        tables[store.CONFLICTS] = sequences.filter(pa.array(allocation.is_conflicting))
    return tables
