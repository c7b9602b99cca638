"""From sources to a dataset folder: read, clean, divide, write, verify.

Texts pass through files beside the folder; what stays in memory is some 100 bytes a row, so that a
whole Pfam release fits a laptop. Of every record it is known where it went: kept in a split, or
counted as removed or skipped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protein_robust.errors import InputError
from protein_robust.ingest import store
from protein_robust.ingest.allocation import Allocation, allocate
from protein_robust.ingest.card import data_card
from protein_robust.ingest.columns import Columns, OnProgress, collect, open_columns
from protein_robust.ingest.options import STDIN, IngestOptions, Source, check_options
from protein_robust.ingest.readers.clans import merge_clans, read_clans
from protein_robust.ingest.readers.headers import header_rule
from protein_robust.ingest.records import BadRecords
from protein_robust.ingest.sources import (
    Reading,
    check_sources,
    expand_sources,
    identify_source,
)
from protein_robust.ingest.staging import Staging, check_output, staging
from protein_robust.ingest.summary import describe_rows
from protein_robust.ingest.verification import verify_dataset
from protein_robust.ingest.writing import write_tables

_DEFAULT_OPTIONS = IngestOptions()


@dataclass(frozen=True)
class _Request:
    """What is to be ingested.

    Attributes:
        sources: files, or the example.
        reading: how they are read.
        identities: content of the sources.
        helpers: content of the files that options name.
    """

    sources: list[Source]
    reading: Reading
    identities: list[dict[str, Any]]
    helpers: dict[str, Any]


def ingest(
    sources: Sequence[Source],
    output: str | Path,
    *,
    options: IngestOptions = _DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Read sources and write a dataset folder.

    Args:
        sources: files and folders of shards, or the example alone.
        output: the folder; a dataset there is replaced.
        options: how to read and divide.
        on_progress: told how far reading is.

    Returns:
        The manifest.

    Raises:
        InputError: if a source, an option or the folder cannot be used; nothing is written then.
    """
    check_options(options)
    check_output(output)
    files = expand_sources(list(sources))
    check_sources(files, output)
    if options.split in ("random", "clustered") and any(source.split for source in sources):
        expected = "`split` existing where files are given as train, valid or test"
        raise InputError(expected, options.split)
    request = _request(files, options)
    reading = request.reading
    with staging(output) as staged, ExitStack() as open_files:
        columns = open_columns(staged.scratch, open_files, bad=reading.bad)
        collect(columns, files, reading, identities=request.identities, on_progress=on_progress)
        clans = _add_clans(columns, options)
        allocation = allocate(columns, options, scratch=staged.scratch)
        written = write_tables(staged.folder, columns, allocation)
        manifest = {
            **_manifest(request, columns, allocation, clans=clans),
            "coordinates": written.coordinates,
            "verification": _verify(staged, allocation, options),
            "digest": written.digest,
            "alignments_digest": written.alignments_digest,
        }
        name = Path(output).absolute().name
        card = data_card({"name": name, **manifest})
        (staged.folder / store.CARD).write_text(card, encoding="utf-8")
        whole = store.write_manifest(staged.folder, manifest, name=name)
        staged.put()
    return whole


def is_current(
    folder: str | Path, sources: Sequence[Source], *, options: IngestOptions = _DEFAULT_OPTIONS
) -> bool:
    """Tell whether a folder holds just what `ingest` would make of these sources now.

    Args:
        folder: perhaps a dataset folder.
        sources: as for `ingest`.
        options: as for `ingest`.

    Returns:
        True if the dataset is whole and of the same source content, options and schema version;
        False for standard input, which can be read only once.
    """
    if any(source.path == STDIN for source in sources):
        return False
    try:
        manifest = store.read_manifest(folder)
        if not store.is_complete(folder, manifest) or manifest.get("options") != _as_json(options):
            return False
        wanted, helpers = _identify(expand_sources(list(sources)), options)
    except InputError:
        return False  # `ingest` says what is wrong
    # The file's name counts, because it names the sequences; its folder does not.
    for identity in (*wanted, *manifest["sources"]):
        identity["path"] = Path(identity["path"]).name
    return bool(wanted == manifest["sources"] and helpers == manifest["helpers"])


def _request(files: list[Source], options: IngestOptions) -> _Request:
    """All that can be known before the first source is read."""
    identities, helpers = _identify(files, options)
    rule = header_rule(
        preset=options.preset,
        pattern=options.label_pattern,
        labels=options.labels,
        unknown=options.unknown,
    )
    reading = Reading(options, rule, BadRecords(options.on_bad_record))
    return _Request(files, reading, identities, helpers)


def _identify(
    files: list[Source], options: IngestOptions
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The content of the sources, and of the files that options name."""
    named = {"labels": options.labels, "clans": options.clans}
    helpers = {
        role: identify_source(Source(Path(path)))  # never the example or standard input
        for role, path in named.items()
        if path is not None
    }
    return [identify_source(source) for source in files], helpers


def _as_json(options: IngestOptions) -> dict[str, Any]:
    """Options as the manifest has them: JSON knows lists, not tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(options).items()
    }


def _manifest(
    request: _Request, columns: Columns, allocation: Allocation, *, clans: dict[str, int] | None
) -> dict[str, Any]:
    """All that is known before the dataset is verified and named."""
    skipped = columns.bad.skipped
    labels = request.reading.rule.labels
    return {
        "is_synthetic": any(source.is_example for source in request.sources),
        "sources": request.identities,
        "helpers": request.helpers,
        "options": _as_json(request.reading.options),
        "split_rule": allocation.rule,
        **describe_rows(columns, allocation),
        "skipped": {
            "records": len(skipped),
            "rows": sum(record.num_rows for record in skipped),
            "first": [asdict(record) for record in skipped[:20]],
        },
        "clans": clans,
        "unused_labels": 0 if labels is None else labels.num_unused,
    }


def _add_clans(columns: Columns, options: IngestOptions) -> dict[str, int] | None:
    """Complete what is known of the families by a clan file; how they compare."""
    if options.clans is None:
        return None
    known = {accession: family.facts for accession, family in columns.families.items()}
    merged = merge_clans(known, read_clans(options.clans))
    if merged.num_missing == len(known):
        expected = "a file of clans that names at least one family of the sources"
        raise InputError(expected, f"none of {len(known)}", path=options.clans)
    for accession, facts in merged.facts.items():
        columns.families[accession].facts = facts
    return {
        "families": len(known),
        "without_entry": merged.num_missing,
        "changed_clans": len(merged.changed_clans),
        **{
            f"other_{name}": number
            for name, number in sorted(merged.differences.items())
            if name != "clan"
        },
    }


def _verify(staged: Staging, allocation: Allocation, options: IngestOptions) -> dict[str, Any]:
    """Read what was written again; a dataset that fails would be a mistake of this program."""
    bound = options.max_identity if allocation.rule == "clustered" else None
    threads = os.cpu_count() or 1
    verification = verify_dataset(
        staged.folder, max_identity=bound, threads=threads, scratch=staged.scratch
    )
    if not verification["passed"]:
        failed = {name: found for name, found in verification["checks"].items() if found}
        raise InputError(
            "a dataset that passes its own verification (this is a bug, please report it)",
            str(failed),
        )
    return verification
