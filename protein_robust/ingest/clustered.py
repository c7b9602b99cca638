"""The rule ``clustered``: which clusters a family has, and how they are divided."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.clusters import cluster_aligned, divide_clusters
from protein_robust.ingest.mmseqs import cluster_unaligned
from protein_robust.ingest.options import IngestOptions
from protein_robust.ingest.pool import Pool
from protein_robust.ingest.splits import Distinct, DivideFamily, Rows


def clustered_rule(
    pool: Pool, inside: Rows, options: IngestOptions, *, distinct: Distinct, scratch: Path
) -> DivideFamily:
    """The rule ``clustered``: by aligned rows, or by MMseqs2 where there are none.

    Args:
        pool: all rows.
        inside: those that have a class, shape (n,), int64.
        options: the fractions and the bound.
        distinct: which of them take part.
        scratch: a folder for what MMseqs2 needs.

    Returns:
        The rule for one family.

    Raises:
        InputError: if some rows are aligned and others not, or MMseqs2 is needed and not there;
            from the rule, if a family's aligned rows are not of one alignment.
    """
    aligned = pool.columns.aligned
    kept = inside[distinct.rows]
    cluster_of: NDArray[np.int64] | None = None
    is_aligned = aligned.lengths[kept] > 0
    if is_aligned.any() and not is_aligned.all():
        expected = "aligned rows for all sequences or for none, for the rule `clustered`"
        raise InputError(expected, f"{int(is_aligned.sum()):,} of {len(is_aligned):,} aligned")
    if not is_aligned.any():
        cluster_of = np.full(len(inside), -1, dtype=np.int64)
        cluster_of[distinct.rows] = cluster_unaligned(
            pool.columns.sequences.take(kept),
            pool.labels[kept],
            max_identity=options.max_identity,
            scratch=scratch,
            threads=os.cpu_count() or 1,
        )

    def divide(rows: Rows, is_conflicting: NDArray[np.bool_]) -> NDArray[np.int8]:
        if cluster_of is None:
            clusters = _cluster(pool, inside[rows], options.max_identity)
        else:
            clusters = cluster_of[rows]
        return divide_clusters(
            clusters,
            np.arange(len(rows)),  # the rows come in the order of their hashes
            valid_fraction=options.valid_fraction,
            test_fraction=options.test_fraction,
            # Residues with several labels teach; what is close to them can test nothing.
            pinned=is_conflicting,
        )

    return divide


def _cluster(pool: Pool, rows: Rows, max_identity: float) -> NDArray[np.int64]:
    """Clusters of one family by its aligned rows."""
    texts = pool.columns.aligned.take(rows)
    widths = sorted({len(text) for text in texts})
    numbers = set(np.frombuffer(pool.columns.alignments, dtype=np.int32)[rows].tolist())
    if len(widths) > 1 or len(numbers) > 1:
        code = pool.columns.codes[int(rows[0])]
        name = next(n for n, family in pool.columns.families.items() if family.code == code)
        several = f"rows of {len(numbers)} alignments"
        actual = several if len(numbers) > 1 else f"rows of {widths[0]} to {widths[-1]} columns"
        raise InputError(f"one alignment of family {name}, for the rule `clustered`", actual)
    return cluster_aligned(texts, max_identity)
