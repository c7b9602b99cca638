"""All rows that were read, as the rules that divide them see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein_robust.ingest.columns import Columns
from protein_robust.ingest.splits import Rows, Sequences


@dataclass(frozen=True)
class Pool:
    """All rows that were read; N of them.

    Attributes:
        columns: what is known of them.
        labels: class of each, or why there is none (see `classes`), shape (N,), int32.
        high: first half of the keyed hash of the residues, shape (N,), uint64.
        low: second half, shape (N,), uint64.
        is_conflicting: whether the same residues stand in another family too, shape (N,), bool.
        splits: given code of each one's split, shape (N,), int8; None where none is given.
    """

    columns: Columns
    labels: NDArray[np.int32]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    is_conflicting: NDArray[np.bool_]
    splits: NDArray[np.int8] | None

    def take(self, rows: Rows, *, labels: NDArray[np.int32], with_splits: bool) -> Sequences:
        """Hand some rows to the rules.

        Args:
            rows: their places, shape (n,), int64.
            labels: what they are grouped by, shape (n,), int32.
            with_splits: whether the given splits count.

        Returns:
            The rows.
        """
        given = self.splits[rows] if with_splits and self.splits is not None else None
        return Sequences(
            labels,
            self.high[rows],
            self.low[rows],
            lambda some: self.names(rows[some]),
            self.is_conflicting[rows],
            given,
        )

    def names(self, rows: Rows) -> list[tuple[bytes, ...]]:
        """Read what tells rows with the same residues apart.

        Args:
            rows: their places, shape (n,), int64.

        Returns:
            Name, accession and aligned row of each.
        """
        texts = (self.columns.names, self.columns.accessions, self.columns.aligned)
        return list(zip(*(text.take(rows) for text in texts), strict=True))
