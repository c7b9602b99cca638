"""Fetch a named data set from its official address: resumed, verified, put in place at the end.

``NAME.partial`` grows beside the target, and ``NAME.partial.json`` says of which remote file it is
a part. The final name means: complete, its checksum right. ``NAME.json`` is written after that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from protein_robust.errors import InputError
from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100, Cifar
from protein_robust.ingest.transfer import (
    OnProgress,
    Server,
    Transfer,
    compare,
    digests,
    disk_errors,
    read_json,
    scheme_of,
    write_json,
)

CURRENT = "current"


@dataclass(frozen=True)
class RemoteFile:
    """One official file of a data set.

    Attributes:
        file_name: its name, there and here.
        base_url: the folder of all releases, ending with a slash.
        release_folder: the folder of one release in it; ``{release}`` stands for the release.
        release_pattern: regular expression of the releases, which keeps slashes out of the URL.
        example: a release.
        licence: under which terms the data stand.
        current_folder: the folder that follows the newest release, if there is one.
        checksums: name of the file of MD5 sums in the same folder, if there is one.
        md5: the MD5 sum that the publisher states of a file that never changes, if there is one.
    """

    file_name: str
    base_url: str
    release_folder: str
    release_pattern: str
    example: str
    licence: str
    current_folder: str | None = None
    checksums: str | None = None
    md5: str | None = None


def _pfam(file_name: str) -> RemoteFile:
    return RemoteFile(
        file_name,
        base_url="https://ftp.ebi.ac.uk/pub/databases/Pfam/",
        release_folder="releases/Pfam{release}/",
        release_pattern=r"[0-9]{1,3}\.[0-9]{1,2}",
        example="37.4",
        licence="CC0 1.0",
        current_folder="current_release/",
        checksums="md5_checksums",
    )


def _cifar(cifar: Cifar) -> RemoteFile:
    return RemoteFile(
        cifar.tarball,
        base_url="https://www.cs.toronto.edu/~kriz/",
        release_folder="",
        release_pattern="python",
        example="python",
        licence="no terms stated",
        md5=cifar.tarball_md5,
    )


DATASETS: Mapping[str, RemoteFile] = {
    "pfam-seed": _pfam("Pfam-A.seed.gz"),
    "pfam-hmm-dat": _pfam("Pfam-A.hmm.dat.gz"),
    "pfam-clans": _pfam("Pfam-A.clans.tsv.gz"),
    "deeploc": RemoteFile(
        "deeploc_data.fasta",
        base_url="https://services.healthtech.dtu.dk/services/",
        release_folder="DeepLoc-{release}/",
        release_pattern=r"1\.0",
        example="1.0",
        licence="no terms stated",
    ),
    "cifar10": _cifar(CIFAR10),
    "cifar100": _cifar(CIFAR100),
}
"""What can be fetched, by the name of the command line."""


@dataclass(frozen=True)
class Downloaded:
    """A file that is in its place.

    Attributes:
        path: where.
        num_bytes: its size.
        sha256: of its bytes as they are, 64 hexadecimal digits.
        verified_by: what its checksum was compared with: the list beside it on the server, which
            shows damage on the way, the published MD5 sum, or the caller's SHA-256, which shows any
            change; None if nothing.
        licence: under which terms the data stand.
        url: where it is from.
        resumed_from: bytes that were there before; ``num_bytes`` if nothing had to be fetched.
    """

    path: Path
    num_bytes: int
    sha256: str
    verified_by: Literal["md5_checksums", "md5", "sha256"] | None
    licence: str
    url: str
    resumed_from: int


def download(
    name: str,
    release: str,
    folder: Path,
    *,
    base_url: str | None = None,
    sha256: str | None = None,
    on_progress: OnProgress | None = None,
) -> Downloaded:
    """Fetch a file, or what is missing of it; a whole file that is there already is kept.

    What was interrupted goes on with the next call. ``NAME.json`` beside the file has the keys
    name, release, url, md5, sha256, num_bytes, verified_by, licence and last_modified (as the
    server says it; no date of today, so that equal files have equal manifests).

    Args:
        name: one of `DATASETS`.
        release: such as ``37.4``; ``current`` for Pfam's newest; ``python`` for CIFAR.
        folder: where to put it; made if missing.
        base_url: a mirror, instead of the official folder of all releases.
        sha256: the right checksum; if not given, the published one of the file, or that in the
            server's file of MD5 sums.
        on_progress: called with the bytes that are there and, if known, those of the whole file.

    Returns:
        Where it is, and what it was verified by.

    Raises:
        InputError: if the name, release or checksum is none; the server cannot be reached, has no
            such file, or redirects elsewhere than to http(s); the checksum is wrong; another file
            has the name; the disk is full or the folder not writable.
    """
    url = remote_url(name, release, base_url)
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError("a SHA-256 of 64 hexadecimal digits", repr(sha256))
    remote, server = DATASETS[name], Server()
    target = Path(folder, remote.file_name)
    record = target.with_name(f"{target.name}.json")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        transfer = Transfer(server, url, target, on_progress)
        is_there, old = target.exists(), read_json(record)
        if is_there:
            kept, sums = target.stat().st_size, digests(target)
            is_recorded = (old.get("url"), old.get("sha256")) == (url, sums["sha256"])
            if is_recorded and release != CURRENT and sha256 is None:
                return _result(target, remote, old, kept)  # without asking the server
        right = sha256.lower() if sha256 else remote.md5
        if right is None and remote.checksums is not None:
            right = server.listed_md5(url, remote.checksums)
        if not is_there:
            kept, sums = transfer.run(right)
        elif right not in sums.values():
            actual = f"one with {compare(sums, right)}: move it away or choose another folder"
            raise InputError(f"no other {target.name}", actual, path=target)
        manifest: dict[str, object] = {"name": name, "release": release, "url": url, **sums}
        manifest["num_bytes"] = target.stat().st_size
        manifest["verified_by"] = _source_of_sum(remote, sha256) if right else None
        manifest["licence"] = remote.licence
        date = old.get("last_modified") if is_there and is_recorded else None
        manifest["last_modified"] = date or transfer.known.last_modified
        write_json(record, manifest)
        transfer.forget()
    return _result(target, remote, manifest, kept)


def remote_url(name: str, release: str, base_url: str | None = None) -> str:
    """Compose the address of a data set.

    Args:
        name: one of `DATASETS`.
        release: such as ``37.4``, or ``current``.
        base_url: a mirror, instead of the official folder of all releases.

    Returns:
        The URL.

    Raises:
        InputError: if the name or the release is none, or the mirror's scheme not http(s).

    Example:
        >>> remote_url("pfam-seed", "37.4")
        'https://ftp.ebi.ac.uk/pub/databases/Pfam/releases/Pfam37.4/Pfam-A.seed.gz'
    """
    if name not in DATASETS:
        raise InputError(f"a data set, one of {', '.join(DATASETS)}", repr(name))
    remote = DATASETS[name]
    base = (base_url or remote.base_url).rstrip("/") + "/"
    if scheme_of(base) not in ("http", "https"):
        raise InputError("an address that begins with https://", repr(base_url))
    if release == CURRENT and remote.current_folder is not None:
        return base + remote.current_folder + remote.file_name
    if not re.fullmatch(remote.release_pattern, release):
        newest = f" or {CURRENT}" if remote.current_folder else ""
        raise InputError(f"a release of {name} such as {remote.example}{newest}", repr(release))
    return base + remote.release_folder.format(release=release) + remote.file_name


def _source_of_sum(remote: RemoteFile, sha256: str | None) -> str | None:
    """Where the checksum came from that a file was compared with."""
    if sha256 is not None:
        return "sha256"
    return "md5" if remote.md5 is not None else remote.checksums


def _result(target: Path, remote: RemoteFile, manifest: Mapping[str, Any], kept: int) -> Downloaded:
    return Downloaded(
        path=target,
        num_bytes=target.stat().st_size,
        sha256=manifest["sha256"],
        verified_by=manifest.get("verified_by"),
        licence=remote.licence,
        url=manifest["url"],
        resumed_from=kept,
    )
