"""Which families are classes, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError
from protein_robust.ingest.columns import NO_FAMILY, Columns, Family
from protein_robust.ingest.options import IngestOptions
from protein_robust.ingest.readers.clans import without_version

NO_CLASS, HELD_OUT_CLASS, NOT_DRAWN = -1, -2, -3
"""In place of a label: of unknown family; of a held-out family; of a family that was not drawn."""

_NUM_SHOWN = 5


def choose_names(names: Sequence[str], number: int, *, seed: int, what: str) -> list[str]:
    """Draw families or clans at random.

    Args:
        names: all of them, in any order.
        number: how many to draw.
        seed: same seed and names, same draw.
        what: the option that asks for it, for the message.

    Returns:
        The drawn names, sorted.

    Raises:
        InputError: if there are not so many.
    """
    if number > len(names):
        raise InputError(f"`{what}` of at most {len(names)}, as many as there are", str(number))
    ordered = sorted(names)
    chosen = np.random.default_rng(seed).choice(len(ordered), size=number, replace=False)
    return sorted(ordered[i] for i in chosen)


def held_out_families(families: Mapping[str, Family], options: IngestOptions) -> list[str]:
    """Choose the families that are no classes, by themselves or with their clan.

    Args:
        families: all of them, by accession.
        options: what to hold out.

    Returns:
        Their accessions, sorted.

    Raises:
        InputError: if what is named is not there, or there are not so many.
    """
    members: dict[str, list[str]] = {}
    for accession, family in families.items():
        if family.facts.clan is not None:
            members.setdefault(family.facts.clan, []).append(accession)
    clans = _chosen(options.hold_out_clans, list(members), options.seed, "hold_out_clans")
    of_clans = {accession for clan in clans for accession in members[clan]}
    wanted = options.hold_out_families
    # Drawn from the rest; one that is named may be of a held-out clan too.
    there = [name for name in families if name not in of_clans or not isinstance(wanted, int)]
    alone = _chosen(wanted, there, options.seed, "hold_out_families")
    return sorted(of_clans | set(alone))


def _chosen(
    wanted: int | Sequence[str], there: Sequence[str], seed: int, option: str
) -> Sequence[str]:
    """So many drawn names, or the named ones; an accession may be named without its version."""
    if isinstance(wanted, int):
        return choose_names(there, wanted, seed=seed, what=option)
    by_name = {name: [name] for name in there}
    for name in there:
        if without_version(name) != name:
            by_name.setdefault(without_version(name), []).append(name)
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise InputError(f"`{option}` that the sources have", ", ".join(unknown[:_NUM_SHOWN]))
    return [name for one in wanted for name in by_name[one]]


def class_families(
    families: Mapping[str, Family], held_out: Sequence[str], options: IngestOptions
) -> list[str]:
    """Choose the families that are classes.

    Args:
        families: all of them, by accession.
        held_out: those that are none.
        options: how many to draw.

    Returns:
        Their accessions, sorted: a class's number is its place.

    Raises:
        InputError: if fewer than two are left, or there are not so many.
    """
    accessions = sorted(set(families) - set(held_out))
    if len(accessions) < 2:
        found = f"only {accessions[0]}" if accessions else "none"
        raise InputError("at least two families", found + (" left" if held_out else ""))
    if options.num_families is None:
        return accessions
    return choose_names(accessions, options.num_families, seed=options.seed, what="num_families")


def labels_of(
    columns: Columns, accessions: Sequence[str], held_out: Sequence[str]
) -> NDArray[np.int32]:
    """Number the class of each row.

    Args:
        columns: the rows.
        accessions: the classes.
        held_out: families that are no classes.

    Returns:
        Classes, or `NO_CLASS`, `HELD_OUT_CLASS` or `NOT_DRAWN`, shape (N,), int32.
    """
    families = columns.families
    label_of = np.full(len(families) + 1, NOT_DRAWN, dtype=np.int32)
    label_of[NO_FAMILY] = NO_CLASS  # the last place
    for accession in held_out:
        label_of[families[accession].code] = HELD_OUT_CLASS
    for label, accession in enumerate(accessions):
        label_of[families[accession].code] = label
    return label_of[np.frombuffer(columns.codes, dtype=np.int32)]
