"""Classified sequences as GFF3, for genome browsers and annotation pipelines.

Every sequence has its ``##sequence-region``; a feature ``protein_match`` over the whole sequence
only where the verdict is ``accept`` (named after the family) or ``clan-only`` (named after the
clan). Its score is the empirical p value.

References:
    Stein, "Generic Feature Format Version 3 (GFF3)", version 1.26,
    https://github.com/The-Sequence-Ontology/Specifications/blob/master/gff3.md.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from protein_robust.classifier.judging import ACCEPT, CLAN_ONLY, VERDICTS
from protein_robust.classifier.rows import ANALYSIS

HEAD = b"##gff-version 3\n"
FEATURE = "protein_match"
"""Of the Sequence Ontology, SO:0000349."""

_SAFE_IN_NAME = ".:^*$@!+_?-|"
"""What may stand in the first column as it is, besides letters and digits."""
_RESERVED = re.compile(r"[\x00-\x1f\x7f%;=&,]")
"""What may not stand in the value of an attribute."""


def gff3_lines(rows: pa.Table) -> bytes:
    """Write down rows.

    Args:
        rows: a table of `protein_robust.classifier.rows.OUTPUT_SCHEMA`.

    Returns:
        Lines of UTF-8, each with its end.
    """
    return "".join(_of_row(row) for row in rows.to_pylist()).encode()


def _of_row(row: dict[str, Any]) -> str:
    name = quote(row["sequence_name"], safe=_SAFE_IN_NAME).replace("~", "%7E")
    region = f"##sequence-region {name} 1 {row['sequence_length']}\n"
    if row["verdict"] == VERDICTS[ACCEPT]:
        what = {"Name": row["family"], "signature_desc": row["family_description"]}
    elif row["verdict"] == VERDICTS[CLAN_ONLY]:
        what = {"Name": row["clan"]}
    else:
        return region
    numbers = ("confidence", "clan_confidence", "ood_score", "p_value", "q_value")
    attributes = {
        "ID": f"match.{row['sequence_name']}",  # names are unique in a file
        **what,
        "clan": row["clan"],
        "verdict": row["verdict"],
        **{name: f"{row[name]:.6g}" for name in numbers},
        "md5": row["sequence_md5"],
        "date": row["date"],
        "model": row["model"],
    }
    written = ";".join(
        f"{key}={_escaped(value)}" for key, value in attributes.items() if value is not None
    )
    places = f"{row['start']}\t{row['stop']}\t{row['score']:.6g}\t.\t."
    return f"{region}{name}\t{ANALYSIS}\t{FEATURE}\t{places}\t{written}\n"


def _escaped(text: str) -> str:
    return _RESERVED.sub(lambda found: f"%{ord(found[0]):02X}", text)
