"""A dataset folder comes into being beside its place, and is then renamed: whole or not at all.

Two processes that write one folder at once do not meet: each has a place of its own, and the last
one to finish stays. What a killed process left is removed by the next.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from protein_robust.errors import InputError
from protein_robust.ingest.options import check_path
from protein_robust.ingest.store import FILES, IMAGE_FILES, MANIFEST, files_of

_SCRATCH = "scratch"
_STAGED = "new"
_REPLACED = "old"
_LOCK = "lock"
_RANDOM = "????????"  # what `tempfile` puts behind a prefix


class Staging:
    """A dataset folder in the making.

    Attributes:
        folder: what will be the dataset folder.
        scratch: a folder for what is needed meanwhile.
    """

    def __init__(self, inside: Path, target: Path) -> None:
        """Make both folders."""
        self._inside = inside
        self._target = target
        self.folder = inside / _STAGED
        self.scratch = inside / _SCRATCH
        self.folder.mkdir()  # not `inside` itself, which only its owner may read
        self.scratch.mkdir()

    def put(self) -> None:
        """Rename the new folder to its place; the old one comes back if that fails.

        Raises:
            OSError: if it cannot be renamed.
        """
        aside = self._inside / _REPLACED
        with _alone_in(self._target.parent):
            if self._target.exists():
                self._target.rename(aside)
            try:
                self.folder.rename(self._target)
            except OSError:
                if aside.exists():
                    shutil.move(aside, self._target)
                raise


@contextmanager
def staging(output: str | Path) -> Iterator[Staging]:
    """Prepare a dataset folder beside its place.

    Args:
        output: the folder to be; missing parents are made.

    Yields:
        Where to write; `Staging.put` is the last step.

    Raises:
        InputError: if the folder holds something else or cannot be written; a full disk is such a
            case.
    """
    check_output(output)
    target = Path(output).resolve()  # through a link, to what it stands for
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_folder(target) as inside:
            yield Staging(inside, target)
    except OSError as error:
        # Arrow's errors say more, but not first what is the matter.
        actual = os.strerror(error.errno) if error.errno else str(error)
        raise InputError("a folder to write", actual, path=output) from error


def check_output(output: str | Path) -> None:
    """Refuse a place where a dataset folder cannot be put without harm.

    Args:
        output: the folder to be.

    Raises:
        InputError: if it is a file, a folder with anything but a dataset in it, cannot be written,
            or is no UTF-8 text.
    """
    check_path(output)
    try:
        target = Path(output).resolve()
        parent = next((place for place in target.parents if place.exists()), target)
        if not parent.is_dir():
            raise InputError("a folder to write", f"a file at {parent}", path=output)
        with _alone_in(parent):  # a folder that is being replaced is not there for a moment
            _check_content(Path(output))
        if not os.access(parent, os.W_OK):
            raise InputError("a folder to write", f"no permission in {parent}", path=output)
    except OSError as error:
        raise InputError("a folder to write", error.strerror or str(error), path=output) from error


def _check_content(folder: Path) -> None:
    """Refuse to replace anything but a dataset."""
    expected = "a new, an empty or a dataset folder"
    if folder.is_dir():
        inside = {entry.name for entry in folder.iterdir()}
        manifest = _manifest_of(folder)
        known = {*FILES, *IMAGE_FILES} if manifest is None else {*files_of(manifest)}
        foreign = sorted(inside - {MANIFEST, *known})
        if foreign:
            raise InputError(expected, f"a folder with {foreign[0]!r} in it", path=folder)
        if inside and manifest is None:
            raise InputError(expected, f"a folder without a {MANIFEST} of one", path=folder)
    elif folder.exists():
        raise InputError(expected, "a file", path=folder)


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """A folder that is removed in the end; those that killed processes left, too.

    A process holds a lock inside its folder, which ends with it, whatever ends it.
    """
    with ExitStack() as stack:
        with _alone_in(target.parent):
            _remove_left(target)
            folder = tempfile.TemporaryDirectory(
                prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
            )
            inside = Path(stack.enter_context(folder))
            stack.enter_context(FileLock(inside / _LOCK))
        yield inside


def _remove_left(target: Path) -> None:
    """Remove folders of processes that are no more; a dataset that one had set aside comes back."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.{_RANDOM}"):
        # One may be locked, or vanish at this moment: then its process removes it.
        with suppress(OSError, Timeout):
            entries = {entry.name for entry in left.iterdir()}
            if not entries <= {_LOCK, _STAGED, _SCRATCH, _REPLACED}:
                continue  # nothing is removed that this module did not make
            # Without a lock: its process was killed before it had one, or while removing all.
            with FileLock(left / _LOCK, timeout=0):
                if _REPLACED in entries and not target.exists():
                    (left / _REPLACED).rename(target)
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """Be the only process that renames in a folder, where the system can tell."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    folder = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)  # this ends the lock


def _manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of a dataset, of any schema version; None if there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_one = isinstance(manifest, dict) and manifest.get("kind") == "dataset"
    return manifest if is_one else None
