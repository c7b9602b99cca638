"""The data card: what a dataset is, in Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from protein_robust.ingest.markdown import list_of, table_of
from protein_robust.ingest.options import IngestOptions
from protein_robust.ingest.summary import REASONS, describe

_NUM_SHOWN = 20
_RULES = {
    "random": "each family by a keyed hash of the residues: floor(n f) to test and to valid; "
    "a family too small for that is in train only",
    "existing": "as the sources say",
    "clustered": "single-linkage clusters of each family: no test or validation sequence has more "
    "than the stated identity with a training sequence of its family",
}


def data_card(manifest: Mapping[str, Any]) -> str:
    """Say all that the manifest says, as a page.

    Args:
        manifest: of a dataset, complete but for the list of its files.

    Returns:
        Markdown.
    """
    sections = [
        f"# Data card: {manifest['name']}",
        table_of(("what", "value"), describe(manifest)[1:]),
        "## Sources",
        table_of(("file", "bytes", "split", "SHA-256"), _sources(manifest)),
        *_unused_labels(manifest),
        "## Options",
        list_of(_options(manifest["options"])) or "All as by default.",
        "## Splits",
        f"Rule `{manifest['split_rule']}`: {_RULES[manifest['split_rule']]}.",
        *_verification(manifest["verification"]),
        "## Families",
        table_of(("training sequences", "families"), manifest["family_sizes"].items()),
        *_clans(manifest),
        *_held_out(manifest),
        "## Sequences",
        table_of(("length in residues", ""), _rounded(manifest["lengths"])),
        *_letters(manifest),
        "## Not kept",
        _removed(manifest["removed"]),
        *_skipped(manifest["skipped"]),
        "## Conflicting labels",
        _conflicts(manifest["conflicts"], num_dropped=manifest["removed"]["conflicting"]),
        "## Digest",
        f"`{manifest['digest']}` (SHA-256 of the content of sequences and families)",
    ]
    return "\n\n".join(sections) + "\n"


def _sources(manifest: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
    for role, source in [
        *(("", source) for source in manifest["sources"]),
        *manifest["helpers"].items(),
    ]:
        name = f"{source['path']} ({role})" if role else source["path"]
        yield name, source["num_bytes"], source["split"] or "", source["sha256"]


def _unused_labels(manifest: Mapping[str, Any]) -> Iterable[str]:
    if manifest["unused_labels"]:
        yield f"{manifest['unused_labels']:,} names of the table of labels stand in no source."


def _verification(verification: Mapping[str, Any]) -> Iterable[str]:
    yield f"Verified by reading the {verification['num_rows']:,} rows of the written tables again:"
    yield table_of(("check", "found"), verification["checks"].items())
    identity = verification["identity"]
    if identity is not None:
        yield (
            f"Largest identity in the {identity['num_families']:,} families with rows in two "
            f"splits ({identity['method']}; at most {identity['bound']:g} is allowed):"
        )
        largest = [
            (pair.replace("_", " with "), "no pair" if value is None else f"{value:.4f}")
            for pair, value in identity["largest"].items()
        ]
        yield table_of(("splits", "identity"), largest)


def _options(options: Mapping[str, Any]) -> Iterable[str]:
    """What differs from the defaults, and the seed."""
    usual = asdict(IngestOptions())
    for name, value in options.items():
        if name == "seed" or value != usual[name]:
            yield f"`{name}`: {value}"


def _clans(manifest: Mapping[str, Any]) -> Iterable[str]:
    clans = manifest["clans"]
    if clans is not None:
        yield "From the file of clans: " + ", ".join(
            f"{name.replace('_', ' ')} {number:,}" for name, number in clans.items()
        )


def _held_out(manifest: Mapping[str, Any]) -> Iterable[str]:
    counts = manifest["counts"]
    if counts["heldout_families"]:
        yield (
            f"{counts['heldout_families']:,} families with {counts['heldout']:,} sequences are "
            "held out: they are no classes (`heldout_families.parquet`)."
        )


def _rounded(values: Mapping[str, float]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        yield name.replace("_", " "), f"{value:,.1f}".removesuffix(".0")


def _letters(manifest: Mapping[str, Any]) -> Iterable[str]:
    letters, coordinates = manifest["letters"], manifest["coordinates"]
    if manifest["counts"]["aligned"]:
        yield f"{manifest['counts']['aligned']:,} are rows of an alignment (`alignments.parquet`)."
    yield "Of all records read, kept or not:"
    rows = [(f"residue `{letter}`, kept", number) for letter, number in letters["rare"].items()]
    rows += [
        ("lower-case letters, made capitals", letters["lower_case"]),
        ("gaps, dropped", letters["gaps"]),
        ("final stops, dropped", letters["stops"]),
    ]
    yield table_of(("letters", "number"), rows)
    if coordinates["rows"]:
        yield (
            f"{coordinates['rows']:,} names have coordinates (`/start-end`); those of "
            f"{coordinates['not_as_long']:,} do not fit the number of residues."
        )


def _removed(removed: Mapping[str, int]) -> str:
    found = [(REASONS[reason], number) for reason, number in removed.items() if number]
    return table_of(("why", "rows"), found) if found else "Every record read is kept."


def _skipped(skipped: Mapping[str, Any]) -> Iterable[str]:
    if not skipped["records"]:
        return
    yield (
        f"Broken records that were skipped: {skipped['records']:,} with {skipped['rows']:,} "
        "sequences, all in `skipped.parquet`. The first of them:"
    )
    yield list_of(
        f"`{record['path']}{'' if record['line'] is None else ':{line}'.format(**record)}` "
        f"{record['record'] or ''}: {record['reason']}"
        for record in skipped["first"][:_NUM_SHOWN]
    )


def _conflicts(conflicts: Mapping[str, int], *, num_dropped: int) -> str:
    if not conflicts["rows"]:
        return "No sequence stands in two families."
    dropped = f" {num_dropped:,} were dropped for that reason." if num_dropped else ""
    return (
        f"{conflicts['sequences']:,} of the sequences read stand in several families, in "
        f"{conflicts['rows']:,} rows, all in `conflicts.parquet`; {conflicts['kept']:,} of these "
        f"rows are kept.{dropped} Of the labels of one such sequence at most one is right, if "
        "families exclude each other."
    )
