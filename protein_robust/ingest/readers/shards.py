"""Find the files of a folder of numbered shards, such as those of Pfam's random split.

A shard is called ``<prefix>-<number>-of-<how many>``, with or without the suffix of a table. The
folder holds either shards, or folders of shards that are called after the splits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

from protein_robust.errors import InputError
from protein_robust.ingest.options import SPLITS, Source, normalize_split

_SHARD = re.compile(
    r"(?P<prefix>.+)-(?P<number>\d{5,9})-of-(?P<total>\d{5,9})"
    r"(?P<suffix>(\.(csv|tsv|tab|parquet))?(\.(gz|zst))?)"
)
_NUM_SHOWN = 5


def expand_folder(folder: str | Path) -> list[Source]:
    """List the shards of a folder.

    Folders ``train``, ``dev`` (or ``valid``, ``validation``) and ``test`` give their shards that
    split; so does such a word as the prefix of a shard's name.

    Args:
        folder: holds the shards, or folders of shards.

    Returns:
        The shards: those of training first, in the order of their numbers.

    Raises:
        InputError: if the folder cannot be read, is empty, holds anything else, lacks a shard, has
            one twice or outside of it (by a symbolic link), has two folders of one split, or only
            some shards have a split.
    """
    place = Path(folder)
    entries = _entries(place)
    subfolders = [entry for entry in entries if entry.is_dir()]
    if not subfolders:
        sources = _shards(entries, None)
        if len({source.split is None for source in sources}) > 1:
            actual = f"{place.name}/: some with and some without the name of a split"
            raise InputError("a split for all shards or for none", actual, path=place)
    else:
        _refuse([entry for entry in entries if not entry.is_dir()], "folders of splits only")
        found: dict[str, list[Source]] = {}
        for entry in subfolders:
            split = normalize_split(entry.name, path=str(entry))
            if split in found:
                raise InputError(f"one folder of the split {split}", "another", path=entry)
            found[split] = _shards(_entries(entry), split)
        sources = [source for split in SPLITS for source in found.get(split, [])]
    _check_places(sources, place)
    return sources


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, in a fixed order."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError("a folder of shards", error.strerror or str(error), path=folder) from error
    if not entries:
        raise InputError("a folder of shards", "an empty folder", path=folder)
    return entries


def _shards(entries: Sequence[Path], split: str | None) -> list[Source]:
    """The shards of one folder; ``split`` is what its name says."""
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    totals: dict[str, int] = {}
    _refuse([entry for entry in entries if not _SHARD.fullmatch(entry.name)], "shards only")
    for entry in entries:
        match = _SHARD.fullmatch(entry.name)
        if match is None or not entry.is_file():
            raise InputError("shards only", "no file", path=entry)
        prefix, number, total = match["prefix"], int(match["number"]), int(match["total"])
        if total != totals.setdefault(prefix, total) or number >= total:
            expected = f"numbers below {totals[prefix]:05d}, all of {totals[prefix]:05d}"
            raise InputError(expected, entry.name, path=entry)
        if number in groups[prefix]:
            other = groups[prefix][number].name
            raise InputError("each shard once", f"{entry.name} beside {other}", path=entry)
        groups[prefix][number] = entry
    sources = []
    for prefix, shards in groups.items():
        _check_whole(prefix, shards, totals[prefix])
        own = _split_of(prefix)
        if split is not None and own not in (None, split):
            first = shards[0]
            raise InputError(f"shards of the split {split}", first.name, path=first)
        sources += [Source(shards[number], split or own) for number in sorted(shards)]
    return sorted(sources, key=lambda source: SPLITS.index(source.split or SPLITS[0]))


def _split_of(prefix: str) -> str | None:
    """The split that a prefix names, if it names one."""
    try:
        return normalize_split(prefix)
    except InputError:
        return None


def _check_whole(prefix: str, shards: dict[int, Path], total: int) -> None:
    """Refuse a series that lacks a shard."""
    num_missing = total - len(shards)
    if num_missing:
        first = islice((number for number in count() if number not in shards), _NUM_SHOWN)
        shown = [f"{prefix}-{number:05d}-of-{total:05d}" for number in first if number < total]
        more = f" and {num_missing - len(shown)} more" if num_missing > len(shown) else ""
        folder = next(iter(shards.values())).parent
        actual = f"{len(shards)}: {', '.join(shown)}{more} not there"
        raise InputError(f"all {total} shards", actual, path=folder)


def _check_places(sources: Sequence[Source], folder: Path) -> None:
    """Refuse symbolic links that lead out of the folder, or twice to one file."""
    root = folder.resolve()
    seen: dict[Path, Path] = {}
    for source in sources:
        path = Path(source.path)
        target = path.resolve()
        if not target.is_relative_to(root):
            expected = "shards inside the folder"
            raise InputError(expected, f"a symbolic link to {target}", path=path)
        if target in seen:
            raise InputError("each shard once", f"the same file as {seen[target]}", path=path)
        seen[target] = path


def _refuse(entries: Sequence[Path], expected: str) -> None:
    """Name what does not belong into a folder."""
    if entries:
        names = ", ".join(repr(entry.name) for entry in entries[:_NUM_SHOWN])
        more = f" and {len(entries) - _NUM_SHOWN} more" if len(entries) > _NUM_SHOWN else ""
        raise InputError(f"{expected} in a folder of shards", names + more, path=entries[0].parent)
