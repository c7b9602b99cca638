"""What a baseline reads: the training rows and the evaluation sequences of a run, as letters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from protein_robust.baselines import TrainingRows
from protein_robust.ingest.aligned_rows import read_alignments
from protein_robust.noise import Crops
from protein_robust.study.plan import PlannedRun
from protein_robust.study.sequence_data import SequenceData, read_split


def training_rows(run: PlannedRun, data: SequenceData) -> TrainingRows:
    """Read whole training sequences, also those that noise added, with their given labels.

    Args:
        run: whose data they are.
        data: what it reads.

    Returns:
        The rows. Only rows of one alignment and one family have the same number.

    Raises:
        InputError: if the data set cannot be read.
    """
    table = read_split(run, "train", data.added, columns=["sequence", "family_accession"])
    parts = [read_alignments(run.dataset_folder, "train")]
    parts += [
        read_alignments(run.dataset_folder, origin).take(pa.array(rows))
        for origin, rows in data.added.items()
        if len(rows)
    ]
    aligned = pa.concat_tables(parts)
    # One number for each family of each alignment: those of a table all are number 0.
    keys = pd.DataFrame(
        {"alignment": aligned["alignment"].to_pandas(), "family": table["family_accession"]}
    )
    number = keys.groupby(["alignment", "family"]).ngroup().fillna(-1)  # where one is missing
    return TrainingRows(
        table["sequence"].to_pylist(),
        data.noise.label,
        aligned["aligned_row"].to_pylist(),
        number.to_numpy().astype(np.int64),
    )


def evaluated(
    run: PlannedRun, data: SequenceData, kind: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Read what a baseline predicts.

    Args:
        run: whose data they are.
        data: what it reads.
        kind: of evaluation data, such as ``test``.

    Returns:
        Given and clean labels, shape (N,), int64, and what is seen of each sequence.

    Raises:
        InputError: if the data set cannot be read.
    """
    split = data.split_of(kind)
    label = data.datasets[split].label.numpy()
    whole = read_split(run, split, data.added, columns=["sequence"])["sequence"].to_pylist()
    return label, data.clean_label[split], cropped(whole, data.crops[kind])


def cropped(sequences: Sequence[str], crops: Crops) -> list[str]:
    """What crops leave of sequences.

    Args:
        sequences: N whole ones.
        crops: one for each.

    Returns:
        The residues that are seen.

    Example:
        >>> crops = Crops(np.array([1]), np.array([4]), np.array([2]), np.array([3]))
        >>> cropped(["ACDEFGHIK"], crops)
        ['CDHI']
    """
    ends = zip(sequences, crops.start, crops.length, crops.gap_start, crops.gap_length, strict=True)
    return [
        whole[start : start + gap] + whole[start + gap + missing : start + length + missing]
        for whole, start, length, gap, missing in ends
    ]


def sequence_names(run: PlannedRun, data: SequenceData, kind: str) -> pd.Series[str]:
    """Read the names of the sequences of a kind of evaluation data, in its order."""
    table = read_split(run, data.split_of(kind), data.added, columns=["sequence_name"])
    names: pd.Series[str] = table["sequence_name"].to_pandas()
    return names
