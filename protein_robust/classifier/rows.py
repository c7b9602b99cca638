"""The rows that a person gets: InterProScan's columns first, ours after them.

Columns 1 to 11 mean what they mean in InterProScan's TSV, in its order: sequence, MD5, length,
analysis, signature accession and description, start, stop, score, status, date. The signature is
the best family, and the match is the whole sequence, since the network sees it as one. The score is
the empirical p value, so that small is good as readers of that column expect; it is no E-value.

References:
    InterProScan, "Output formats", https://interproscan-docs.readthedocs.io.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from protein_robust.classifier.classify import ANSWER_SCHEMA
from protein_robust.classifier.judging import ACCEPT, VERDICTS

ANALYSIS = "protein_robust"
MATCH, NO_MATCH = "T", "?"
"""InterProScan's marks of a match that is true, and of one of which nobody knows."""

ROW_SCHEMA = pa.schema(
    [("sequence_name", pa.string()), ("sequence_md5", pa.string()), *ANSWER_SCHEMA]
)
"""What is known of each sequence before the last one has been read: all but its q value."""

OUTPUT_SCHEMA = pa.schema(
    [
        ("sequence_name", pa.string()),
        ("sequence_md5", pa.string()),
        ("sequence_length", pa.int32()),
        ("analysis", pa.string()),
        ("family", pa.string()),
        ("family_description", pa.string()),
        ("start", pa.int32()),
        ("stop", pa.int32()),
        ("score", pa.float64()),
        ("status", pa.string()),
        ("date", pa.string()),
        ("confidence", pa.float32()),
        ("second_family", pa.string()),
        ("second_confidence", pa.float32()),
        ("clan", pa.string()),
        ("clan_confidence", pa.float32()),
        ("ood_score", pa.float32()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
        ("verdict", pa.string()),
        ("model", pa.string()),
    ]
)
"""The columns of every output."""


def output_rows(rows: pa.Table, q_value: NDArray[np.float64], *, model: str, day: date) -> pa.Table:
    """Complete rows.

    Args:
        rows: a table of `ROW_SCHEMA`, N rows.
        q_value: of each, over all sequences, shape (N,), float64.
        model: the classifier's name.
        day: of the run.

    Returns:
        A table of `OUTPUT_SCHEMA`.
    """
    is_accepted = pc.equal(rows["verdict"], VERDICTS[ACCEPT])
    same = {
        "analysis": ANALYSIS,
        "start": 1,
        "date": day.strftime("%d-%m-%Y"),  # as InterProScan writes it
        "model": model,
    }
    columns = {
        **{name: rows[name] for name in rows.column_names},
        **{
            name: pa.repeat(pa.scalar(value, OUTPUT_SCHEMA.field(name).type), len(rows))
            for name, value in same.items()
        },
        "stop": rows["sequence_length"],
        "score": rows["p_value"],
        "status": pc.if_else(is_accepted, MATCH, NO_MATCH),
        "q_value": pa.array(q_value),
    }
    return pa.table([columns[name] for name in OUTPUT_SCHEMA.names], schema=OUTPUT_SCHEMA)
