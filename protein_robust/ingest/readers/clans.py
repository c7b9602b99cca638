"""Read which clan each Pfam family belongs to: ``Pfam-A.hmm.dat`` or ``Pfam-A.clans.tsv``.

Seed alignments name clans only in part and not in every release. Families are known here by their
accession without its version, so that files of different releases fit together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from protein_robust.errors import InputError
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.readers.lines import Lines, decode
from protein_robust.ingest.records import NO_FACTS, FamilyFacts

_HEADER = b"# STOCKHOLM"
_END = b"//"
_FIELDS = {
    b"ID": "family_id",
    b"DE": "description",
    b"TP": "family_type",
    b"CL": "clan",
    b"GA": "gathering",
}
_NUM_CELLS = 5
_NULL = "\\N"
_VERSIONED = re.compile(r"(PF\d{5})\.\d+")
_NUM_SHOWN = 60


@dataclass(frozen=True)
class MergedClans:
    """What is known of the families once a clan file has been read.

    Attributes:
        facts: by accession, with the version that the family has in the sources.
        num_missing: families that the clan file does not have.
        changed_clans: clan before and clan now, by accession, where they differ.
        differences: in how many families a field differs (``family_id``, ``description``,
            ``family_type``, ``clan``) where both say something.
    """

    facts: dict[str, FamilyFacts]
    num_missing: int
    changed_clans: dict[str, tuple[str, str]]
    differences: Counter[str]


def read_clans(path: str | Path) -> dict[str, FamilyFacts]:
    """Read a clan file.

    Args:
        path: ``Pfam-A.hmm.dat`` or ``Pfam-A.clans.tsv``, also compressed; the first bytes tell
            which.

    Returns:
        What it says of each family, by accession without version; a table of clans says nothing
        of types and thresholds.

    Raises:
        InputError: if the file is neither, is broken, has no family or has one twice.
    """
    facts: dict[str, FamilyFacts] = {}
    with open_source(path) as opened:
        lines = Lines(opened.stream, str(path))
        if opened.head.startswith(_HEADER):
            _read_hmm_dat(lines, facts)
        else:
            _read_table(lines, facts)
    if not facts:
        raise InputError("at least one family", "none", path=path)
    return facts


def without_version(accession: str) -> str:
    """Leave out the version of a Pfam accession; others stay as they are.

    Args:
        accession: such as ``PF10417.14``.

    Returns:
        Such as ``PF10417``.

    Example:
        >>> without_version("PF10417.14"), without_version("1.10.8.10")
        ('PF10417', '1.10.8.10')
    """
    match = _VERSIONED.fullmatch(accession)
    return accession if match is None else match[1]


def merge_facts(known: FamilyFacts, from_clans: FamilyFacts) -> FamilyFacts:
    """Complete what the sources say of a family by what a clan file says.

    The clan is the clan file's, if it gives one, because clans are compared between families and
    so must all be of one release. Everything else is that of the sources, where they say it.

    Args:
        known: from the sources.
        from_clans: from the clan file.

    Returns:
        Both.

    Example:
        >>> before, now = FamilyFacts("NIF3", clan="CL0049"), FamilyFacts("DUF34", clan="CL0010")
        >>> merged = merge_facts(before, now)
        >>> merged.family_id, merged.clan
        ('NIF3', 'CL0010')
    """
    said = {name: text for name in _names() if (text := getattr(known, name)) is not None}
    if from_clans.clan is not None:
        said["clan"] = from_clans.clan
    return replace(from_clans, **said)


def merge_clans(
    families: Mapping[str, FamilyFacts], clans: Mapping[str, FamilyFacts]
) -> MergedClans:
    """Complete what is known of families, and count where the sources and the clan file differ.

    Files of different releases differ in a few names and clans, which is no error.

    Args:
        families: what the sources say of each, by accession.
        clans: from `read_clans`.

    Returns:
        Both, with the differences. Gathering thresholds are not compared: they belong to a
        family's version.
    """
    facts: dict[str, FamilyFacts] = {}
    changed: dict[str, tuple[str, str]] = {}
    differences: Counter[str] = Counter()
    num_missing = 0
    for accession, known in families.items():
        found = clans.get(without_version(accession))
        num_missing += found is None
        other = found or NO_FACTS
        facts[accession] = merge_facts(known, other)
        for name in _names():
            before, now = getattr(known, name), getattr(other, name)
            if name != "gathering" and None not in (before, now) and before != now:
                differences[name] += 1
        if known.clan is not None and other.clan not in (None, known.clan):
            changed[accession] = known.clan, str(other.clan)
    return MergedClans(facts, num_missing, changed, differences)


def _names() -> list[str]:
    return [entry.name for entry in fields(FamilyFacts)]


def _read_hmm_dat(lines: Lines, facts: dict[str, FamilyFacts]) -> None:
    """Stockholm-like records without rows: the ``#=GF`` of each family."""
    said: dict[bytes, str] | None = None
    begin = 0
    for raw in lines:
        line = raw.rstrip()
        if not line:
            continue
        if said is None:
            if not line.startswith(_HEADER):
                raise _unexpected("'# STOCKHOLM 1.0'", line, lines)
            said, begin = {}, lines.number
        elif line == _END:
            _keep_family(said, facts, lines, begin=begin)
            said = None
        else:
            _add_field(said, line, lines)
    if said is not None:
        expected = f"'//' after each family (the last began in line {begin})"
        raise InputError(expected, "the end of the file", path=lines.path, line=lines.number)


def _add_field(said: dict[bytes, str], line: bytes, lines: Lines) -> None:
    """Keep a field that is wanted; the others are of no use here."""
    parts = line.split(None, 2)
    if parts[0] != b"#=GF" or len(parts) < 3:
        raise _unexpected("'#=GF <tag> <text>' or '//'", line, lines)
    tag = parts[1]
    if tag == b"AC" or tag in _FIELDS:
        if tag in said:
            raise _unexpected(f"one '#=GF {tag.decode()}' in each family", line, lines)
        said[tag] = decode(parts[2])


def _keep_family(
    said: dict[bytes, str], facts: dict[str, FamilyFacts], lines: Lines, *, begin: int
) -> None:
    """Turn a record into facts."""
    if b"AC" not in said:
        raise InputError("'#=GF AC' in each family", "none", path=lines.path, line=begin)
    found = FamilyFacts(**{name: said[tag] for tag, name in _FIELDS.items() if tag in said})
    _keep(said[b"AC"], found, facts, lines)


def _read_table(lines: Lines, facts: dict[str, FamilyFacts]) -> None:
    """Rows of family, clan, clan's name, family's name, description; there is no header."""
    for raw in lines:
        cells = [cell.strip() for cell in decode(raw).rstrip("\r\n").split("\t")]
        if cells == [""]:
            continue
        if len(cells) != _NUM_CELLS or not cells[0]:
            expected = (
                "Pfam-A.hmm.dat or a row of Pfam-A.clans.tsv (family, clan, its name, the "
                "family's name and description, separated by tabs)"
            )
            raise _unexpected(expected, raw, lines)
        clan, family_id, description = (
            None if cell in ("", _NULL) else cell for cell in (cells[1], cells[3], cells[4])
        )
        _keep(cells[0], FamilyFacts(family_id, description, None, clan), facts, lines)


def _keep(accession: str, found: FamilyFacts, facts: dict[str, FamilyFacts], lines: Lines) -> None:
    """Add a family."""
    family = without_version(accession)
    if family in facts:
        expected = "each family once"
        raise InputError(expected, f"{family} again", path=lines.path, line=lines.number)
    facts[family] = found


def _unexpected(expected: str, line: bytes, lines: Lines) -> InputError:
    """The error for a line that should have been something else."""
    shown = decode(line[:_NUM_SHOWN])
    return InputError(expected, repr(shown), path=lines.path, line=lines.number)
