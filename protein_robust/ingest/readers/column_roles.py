"""Which columns of a table mean what, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protein_robust.errors import InputError

ALIGNED = "aligned_sequence"
FACTS = ("family_id", "description", "family_type", "clan")
RECOGNISED: Mapping[str, tuple[str, ...]] = {
    "sequence": ("sequence",),
    "aligned": (ALIGNED,),
    "family": ("family_accession", "family", "label"),
    "name": ("sequence_name", "name", "id"),
    "accession": ("sequence_accession",),
    "split": ("split",),
    **{fact: (fact,) for fact in FACTS},
}
"""Names of columns that are recognised for each role, the first choice first."""


def choose_columns(
    names: Sequence[str], path: str, *, asked: Mapping[str, str | None], required: Sequence[str]
) -> dict[str, int]:
    """Find where the columns stand; those that are not required only if they are there.

    Args:
        names: the table's columns.
        path: the file, for messages.
        asked: the wanted roles of `RECOGNISED`; name of the column, None for a recognised one.
        required: the roles that must be there.

    Returns:
        Place of each role's column.

    Raises:
        InputError: if a required column or one that was asked for is missing, or stands twice.
    """
    where: dict[str, int] = {}
    for role, explicit in asked.items():
        candidates = RECOGNISED[role] if explicit is None else (explicit,)
        found = [name for name in candidates if name in names]
        shown = ", ".join(map(repr, names))[:300]
        if found:
            if names.count(found[0]) > 1:
                raise InputError(f"one column {found[0]!r}", f"columns {shown}", path=path)
            where[role] = names.index(found[0])
        elif role in required or explicit is not None:
            expected = f"a {role} column ({' or '.join(map(repr, candidates))})"
            raise InputError(expected, f"columns {shown}" if names else "no columns", path=path)
    return where
