"""What the headers of a FASTA file say: the name of a sequence, its family, its split.

The family comes from a regular expression, from a table of names and families, or from nowhere:
then every sequence is unlabelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from protein_robust.errors import InputError
from protein_robust.ingest.options import normalize_split
from protein_robust.ingest.readers.cells import (
    PARQUET_MAGIC,
    OpenTable,
    open_parquet_table,
    open_text_table,
)
from protein_robust.ingest.readers.column_roles import choose_columns
from protein_robust.ingest.readers.files import open_source
from protein_robust.ingest.records import UNLABELLED, BadRecords, FamilyFacts

_NUM_SHOWN = 80


@dataclass
class LabelTable:
    """Families by the names of sequences, and which of them were asked for.

    Attributes:
        path: the table.
        families: family of each name; empty text if its cell is empty.
        used: the names that were found in a FASTA file so far.
    """

    path: str
    families: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    @property
    def num_unused(self) -> int:
        """How many names were found in no FASTA file so far."""
        return len(self.families) - len(self.used)

    def look_up(self, name: str) -> str:
        """The family of a name, which is used from now on.

        Args:
            name: any name.

        Returns:
            Its family; empty text if it has none.
        """
        family = self.families.get(name)
        if family is None:
            return ""
        self.used.add(name)
        return family

    def unused(self, limit: int) -> list[str]:
        """Some names that were found in no FASTA file so far.

        Args:
            limit: how many at most.

        Returns:
            The first of them in the order of the alphabet.
        """
        return sorted(self.families.keys() - self.used)[:limit]


@dataclass(frozen=True)
class HeaderRule:
    """How to read a header; without a pattern and a table its first word is an unlabelled name.

    Attributes:
        pattern: searched in each header without its ``>``; with the group ``family`` unless there
            is a table, and perhaps ``name`` (else: the first word) and ``split``.
        labels: the table that gives the families; None for none.
        unlabelled: families that stand for a family that is not known.
        facts: what is known of the families, by their accessions.
    """

    pattern: re.Pattern[str] | None = None
    labels: LabelTable | None = None
    unlabelled: frozenset[str] = frozenset()
    facts: Mapping[str, FamilyFacts] = field(default_factory=dict)


NO_LABELS = HeaderRule()

_PRESETS: Mapping[str, HeaderRule] = {
    # Almagro Armenteros et al. 2017, as distributed: ">Q9H400 Cell.membrane-M test". A place may
    # hold dots, slashes and hyphens; M is for membrane, S for soluble, U for unknown.
    "deeploc": HeaderRule(
        re.compile(r"^(?P<name>\S+)\s+\S+-(?P<family>[MSU])(\s+(?P<split>test))?$"),
        unlabelled=frozenset("U"),
        facts={
            "M": FamilyFacts(description="membrane"),
            "S": FamilyFacts(description="soluble"),
        },
    ),
}


def header_rule(
    *,
    preset: str | None = None,
    pattern: str | None = None,
    labels: str | Path | None = None,
    unknown: str | None = None,
) -> HeaderRule:
    r"""Make a rule from what a user says.

    Args:
        preset: one of `protein_robust.ingest.options.PRESETS`.
        pattern: a regular expression with the group ``family``; beside ``labels`` with the group
            ``name`` and without ``family``.
        labels: a table of names and families, as for `read_labels`.
        unknown: what stands in place of a family that is not known. If it is ``""``, an empty
            family and a name without an entry in the table are unlabelled; else they are bad.

    Returns:
        The rule.

    Raises:
        InputError: if the preset is unknown or not alone, the pattern is no regular expression or
            lacks its group, or the table is broken.

    Example:
        >>> rule = header_rule(pattern=r"family=(?P<family>\w+)")
        >>> parse_header("P1 family=PF1", rule)
        ('P1', 'PF1', '')
    """
    unlabelled = frozenset([] if unknown is None else [unknown])
    if preset is not None:
        if preset not in _PRESETS:
            raise InputError(f"a preset, one of {', '.join(_PRESETS)}", repr(preset))
        if pattern is not None or labels is not None:
            raise InputError("a preset without `label_pattern` or `labels`", "both")
        known = _PRESETS[preset]
        return HeaderRule(known.pattern, None, known.unlabelled | unlabelled, known.facts)
    compiled = None if pattern is None else _compile(pattern)
    if compiled is not None:
        if labels is not None and "family" in compiled.groupindex:
            raise InputError("the family from `label_pattern` or from `labels`", "both")
        _require_group(compiled, "family" if labels is None else "name")
    table = None if labels is None else read_labels(labels)
    return HeaderRule(compiled, table, unlabelled)


def parse_header(
    header: str, rule: HeaderRule, *, path: str | None = None, line: int | None = None
) -> tuple[str, str, str]:
    """Read a header.

    Args:
        header: its text without the ``>`` and without white space at its ends.
        rule: how.
        path: the file, for messages.
        line: its line, for messages.

    Returns:
        The name; the family or `UNLABELLED`; the split as it is spelled, empty for none.

    Raises:
        InputError: if the header is empty or does not match, its name, family or split is empty
            or unknown.
    """
    if not header:
        raise InputError("a name after '>'", "an empty header", path=path, line=line)
    name, family, split = header.split(None, 1)[0], "", ""
    if rule.pattern is not None:
        match = rule.pattern.search(header)
        if match is None:
            expected = f"a header that matches {rule.pattern.pattern!r}"
            raise InputError(expected, repr(header[:_NUM_SHOWN]), path=path, line=line)
        name, family, split = _groups(match, name)
        if not name:
            expected, actual = "a name in each header", repr(header[:_NUM_SHOWN])
            raise InputError(expected, actual, path=path, line=line)
        if split:
            normalize_split(split, path=path, line=line)
    if rule.labels is not None:
        family = rule.labels.look_up(name)
    is_unlabelled = family in rule.unlabelled or (rule.pattern is None and rule.labels is None)
    if not (family or is_unlabelled):
        where = "each header" if rule.labels is None else rule.labels.path
        expected = f"a family for each name in {where}"
        raise InputError(expected, f"none for {name!r}", path=path, line=line)
    return name, UNLABELLED if is_unlabelled else family, split


def read_labels(path: str | Path) -> LabelTable:
    """Read a table of names and families.

    Args:
        path: a CSV, TSV or Parquet file, also compressed, with a column ``sequence_name``,
            ``name`` or ``id`` and a column ``family_accession``, ``family`` or ``label``; others
            are not read.

    Returns:
        The table; an empty cell stays an empty family.

    Raises:
        InputError: if the file or one of its rows is broken, a name is empty, or a name has two
            families.
    """
    families: dict[str, str] = {}
    spellings: dict[str, str] = {}
    with open_source(path) as opened, _open_labels(opened.stream, opened.head, str(path)) as table:
        asked = {"name": None, "family": None}
        places = choose_columns(table.names, str(path), asked=asked, required=list(asked))
        for line, cells in table.rows([places["name"], places["family"]]):
            name, family = cells[0].strip(), cells[1].strip()
            if not name:
                raise InputError("a name", "an empty cell", path=path, line=line)
            # One object for each family: a table of a whole release has 1.3 million rows.
            family = spellings.setdefault(family, family)
            if families.setdefault(name, family) != family:
                expected = f"one family for {name!r} ({families[name]!r} before)"
                raise InputError(expected, repr(family), path=path, line=line)
    if not families:
        raise InputError("rows below the header", "none", path=path)
    return LabelTable(str(path), families)


@contextmanager
def _open_labels(stream: IO[bytes], head: bytes, path: str) -> Iterator[OpenTable]:
    bad = BadRecords()  # a table with holes would silently unlabel sequences
    if head.startswith(PARQUET_MAGIC):
        with open_parquet_table(stream, path, bad=bad) as table:
            yield table
    else:
        yield open_text_table(stream, path, bad=bad)


def _compile(pattern: str) -> re.Pattern[str]:
    """A user's pattern."""
    try:
        return re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise InputError("a regular expression", f"{pattern!r}: {error.msg}{where}") from error
    except (OverflowError, RecursionError) as error:
        raise InputError("a regular expression", f"{pattern[:_NUM_SHOWN]!r}: {error}") from error


def _require_group(compiled: re.Pattern[str], group: str) -> None:
    if group not in compiled.groupindex:
        expected = f"a regular expression with a group (?P<{group}>...)"
        raise InputError(expected, repr(compiled.pattern))


def _groups(match: re.Match[str], first_word: str) -> tuple[str, str, str]:
    """Name, family and split; the first word where the pattern has no name."""
    groups = match.groupdict("")
    name, family = groups.get("name", first_word), groups.get("family", "")
    return name.strip(), family.strip(), groups.get("split", "").strip()
