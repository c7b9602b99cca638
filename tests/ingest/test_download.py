"""Downloads from a real HTTP server on this machine that can be made to misbehave."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import importlib
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from protein_robust import console
from protein_robust.errors import InputError
from protein_robust.ingest.download import DATASETS, Downloaded, download, remote_url

MODULE = importlib.import_module("protein_robust.ingest.transfer")
CONTENT = np.random.default_rng(0).bytes(50_000)
NAME = "Pfam-A.seed.gz"
FOLDER = "/releases/Pfam37.4/"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5_line(content: bytes, name: str = NAME) -> bytes:
    return f"{hashlib.md5(content).hexdigest()}  {name}\n".encode()


@dataclass
class Site:
    """What the server has, how it behaves, and what it was asked for.

    Of the lists, each request for a data file takes the first entry.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"one"'
    last_modified: str | None = "Mon, 10 Nov 2025 10:00:00 GMT"
    breaks_after: list[int] = field(default_factory=list)
    resets: bool = False
    statuses: list[int] = field(default_factory=list)
    list_statuses: list[int] = field(default_factory=list)
    content_ranges: list[str] = field(default_factory=list)
    has_ranges: bool = True
    has_if_range: bool = True
    is_chunked: bool = False
    extra_length: int = 0
    redirects: dict[str, str] = field(default_factory=dict)
    silent: threading.Event | None = None
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Path, range and number of bytes sent, of each request."""

    def put(self, content: bytes = CONTENT, folder: str = FOLDER) -> None:
        self.files[folder + NAME] = content
        self.files[folder + "md5_checksums"] = b"0" * 32 + b"  other.gz\n" + md5_line(content)

    def data_requests(self) -> list[tuple[str | None, int]]:
        return [(asked, sent) for path, asked, sent in self.asked if path.endswith(NAME)]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site, is_data = self.site, self.path.endswith(NAME)
        statuses = site.statuses if is_data else site.list_statuses
        asked = self.headers["Range"]
        if self.path in site.redirects:
            self.answer(302, {"Location": site.redirects[self.path]})
        elif statuses:
            self.answer(statuses.pop(0), {})
        elif self.path not in site.files:
            self.answer(404, {})
        elif not is_data:
            content = site.files[self.path]
            self.answer(200, {"Content-Length": str(len(content))}, content)
        else:
            self.answer_data(site.files[self.path], asked)

    def answer_data(self, content: bytes, asked: str | None) -> None:
        site = self.site
        headers = {"ETag": site.etag, "Last-Modified": site.last_modified}
        if_range = self.headers["If-Range"]
        is_old = site.has_if_range and if_range not in (None, site.etag, site.last_modified)
        if asked is None or not site.has_ranges or is_old:
            length = str(len(content) + site.extra_length)
            self.answer(200, {**headers, "Content-Length": length}, content)
            return
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(content):
            headers["Content-Range"] = f"bytes */{len(content)}"
            self.answer(416, headers)
            return
        given = f"bytes {first}-{len(content) - 1}/{len(content)}"
        headers["Content-Range"] = site.content_ranges.pop(0) if site.content_ranges else given
        self.answer(206, {**headers, "Content-Length": str(len(content) - first)}, content[first:])

    def answer(self, status: int, headers: dict[str, str | None], body: bytes = b"") -> None:
        site, is_data = self.site, self.path.endswith(NAME)
        if is_data and site.is_chunked:
            headers.pop("Content-Length", None)
        size = site.breaks_after.pop(0) if is_data and body and site.breaks_after else len(body)
        site.asked.append((self.path, self.headers["Range"], size))
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:size])
        if is_data and size < len(body):
            if site.silent is not None:
                site.silent.wait(5)
            if site.resets:  # the client gets "connection reset" instead of an early end
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.fixture
def site() -> Iterator[Site]:
    """A running server; no proxy of the environment stands before it."""
    site = Site()
    handler = type("BoundHandler", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited."""
    monkeypatch.setenv("no_proxy", "*")
    waits: list[float] = []
    monkeypatch.setattr(MODULE, "sleep", waits.append)
    return waits


def fetch(site: Site, folder: Path, release: str = "37.4", **options: object) -> Downloaded:
    return download("pfam-seed", release, folder, base_url=site.url, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def manifest(folder: Path) -> dict[str, object]:
    content = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


# Addresses.


@pytest.mark.parametrize(
    ("name", "release", "url"),
    [
        (
            "pfam-hmm-dat",
            "37.4",
            "https://ftp.ebi.ac.uk/pub/databases/Pfam/releases/Pfam37.4/Pfam-A.hmm.dat.gz",
        ),
        (
            "pfam-clans",
            "current",
            "https://ftp.ebi.ac.uk/pub/databases/Pfam/current_release/Pfam-A.clans.tsv.gz",
        ),
        (
            "deeploc",
            "1.0",
            "https://services.healthtech.dtu.dk/services/DeepLoc-1.0/deeploc_data.fasta",
        ),
        ("cifar10", "python", "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"),
        ("cifar100", "python", "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"),
    ],
)
def test_the_addresses_are_the_official_ones(name: str, release: str, url: str) -> None:
    assert remote_url(name, release) == url


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_a_release_under_https_and_a_licence(name: str) -> None:
    assert remote_url(name, DATASETS[name].example).startswith("https://")
    assert DATASETS[name].licence


def test_a_mirror_needs_no_final_slash() -> None:
    url = remote_url("pfam-seed", "37.4", "https://mirror.example/Pfam")
    assert url == "https://mirror.example/Pfam/releases/Pfam37.4/Pfam-A.seed.gz"


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one of pfam-seed, .*, got 'pfam'"):
        download("pfam", "37.4", tmp_path)


@pytest.mark.parametrize(
    "release", ["../x", "37.4/..", "37", "", "37.4\n", "٣٧.٤", "37.4?", "Current", "%2e%2e"]
)
def test_a_release_that_is_none_is_refused_before_anything_is_made(
    release: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"a release of pfam-seed such as 37\.4 or current, got"):
        download("pfam-seed", release, tmp_path / "raw")
    assert names(tmp_path) == []


def test_a_data_set_of_one_release_has_no_current_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a release of deeploc such as 1\.0, got 'current'"):
        download("deeploc", "current", tmp_path)


@pytest.mark.parametrize("base", ["file:///etc/", "ftp://ftp.ebi.ac.uk/", "mirror"])
def test_a_mirror_of_another_scheme_is_refused(base: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an address that begins with https://, got"):
        download("pfam-seed", "37.4", tmp_path, base_url=base)


def test_a_checksum_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a SHA-256 of 64 hexadecimal digits, got 'abc'"):
        download("pfam-seed", "37.4", tmp_path, sha256="abc")


# A whole file.


def test_a_file_is_fetched_and_verified_by_the_servers_list(site: Site, tmp_path: Path) -> None:
    site.put()
    done = fetch(site, tmp_path / "new" / "raw")
    target = tmp_path / "new" / "raw" / NAME
    assert done == Downloaded(
        path=target,
        num_bytes=50_000,
        sha256=sha256(CONTENT),
        verified_by="md5_checksums",
        licence="CC0 1.0",
        url=site.url + FOLDER[1:] + NAME,
        resumed_from=0,
    )
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == [NAME, f"{NAME}.json"]


def test_the_manifest_says_what_the_file_is(site: Site, tmp_path: Path) -> None:
    site.put()
    fetch(site, tmp_path)
    assert manifest(tmp_path) == {
        "name": "pfam-seed",
        "release": "37.4",
        "url": site.url + FOLDER[1:] + NAME,
        "md5": hashlib.md5(CONTENT).hexdigest(),
        "sha256": sha256(CONTENT),
        "num_bytes": 50_000,
        "verified_by": "md5_checksums",
        "licence": "CC0 1.0",
        "last_modified": "Mon, 10 Nov 2025 10:00:00 GMT",
    }


def test_the_current_release_is_in_a_folder_of_its_own(site: Site, tmp_path: Path) -> None:
    site.put(folder="/current_release/")
    assert fetch(site, tmp_path, "current").verified_by == "md5_checksums"


def test_a_given_checksum_is_used_instead_of_the_list(site: Site, tmp_path: Path) -> None:
    site.files[FOLDER + NAME] = CONTENT
    done = fetch(site, tmp_path, sha256=sha256(CONTENT).upper())
    assert done.verified_by == manifest(tmp_path)["verified_by"] == "sha256"
    assert [path for path, _, _ in site.asked] == [FOLDER + NAME]


@pytest.mark.parametrize("listing", [None, b"", b"<html>not a list</html>", md5_line(b"", "x.gz")])
def test_a_file_without_a_listed_checksum_is_not_called_verified(
    listing: bytes | None, site: Site, tmp_path: Path
) -> None:
    site.files[FOLDER + NAME] = CONTENT
    if listing is not None:
        site.files[FOLDER + "md5_checksums"] = listing
    done = fetch(site, tmp_path)
    assert (done.verified_by, done.sha256) == (None, sha256(CONTENT))
    assert manifest(tmp_path)["verified_by"] is None


def test_a_data_set_without_a_list_is_not_asked_for_one(site: Site, tmp_path: Path) -> None:
    site.files["/DeepLoc-1.0/deeploc_data.fasta"] = b">A Nucleus-S\nMK\n"
    done = download("deeploc", "1.0", tmp_path, base_url=site.url)
    assert (done.verified_by, done.licence) == (None, "no terms stated")
    assert len(site.asked) == 1


@pytest.mark.parametrize("style", ["{} *{}", "{}  ./{}", "{}\t{}\r", "{}  {}  "])
def test_the_usual_styles_of_a_list_are_understood(style: str, site: Site, tmp_path: Path) -> None:
    site.put()
    line = style.format(hashlib.md5(CONTENT).hexdigest().upper(), NAME)
    junk = (
        f"md5sum: database_files: Is a directory\n{'0' * 32}  old-{NAME}\n{'0' * 32}  {NAME}.old\n"
    )
    site.files[FOLDER + "md5_checksums"] = f"{junk}{line}\n".encode()
    assert fetch(site, tmp_path).verified_by == "md5_checksums"


def test_a_list_that_contradicts_itself_is_refused(site: Site, tmp_path: Path) -> None:
    site.put()
    site.files[FOLDER + "md5_checksums"] += md5_line(b"other")
    with pytest.raises(InputError, match=r"one MD5 of Pfam-A\.seed\.gz in http.*, got \w{32}, \w"):
        fetch(site, tmp_path)


def test_an_empty_file_is_a_file(site: Site, tmp_path: Path) -> None:
    site.put(b"")
    assert fetch(site, tmp_path).num_bytes == 0


def test_a_server_that_tells_no_length_is_read_to_its_end(site: Site, tmp_path: Path) -> None:
    site.put()
    site.is_chunked = True
    seen: list[tuple[int, int | None]] = []
    fetch(site, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert seen[-1] == (50_000, None)


def test_progress_goes_from_nothing_to_the_whole(site: Site, tmp_path: Path) -> None:
    site.put()
    seen: list[tuple[int, int | None]] = []
    fetch(site, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((0, 50_000), (50_000, 50_000))
    assert seen == sorted(seen)


def test_a_terminal_shows_a_bar_that_begins_with_what_was_there(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "errors", Console(file=screen, force_terminal=True, width=120))
    site.put()
    interrupt(site, tmp_path)
    with console.DownloadProgress(NAME) as progress:
        fetch(site, tmp_path, on_progress=progress)
    assert f"{NAME} " in screen.getvalue()
    assert "50.0/50.0 kB" in screen.getvalue()
    (task,) = progress._progress.tasks
    assert (task.total, task.completed) == (50_000, 50_000)
    # What was there already does not count as speed.
    assert sum(sample.completed for sample in task._progress) == 30_000


# A file whose MD5 sum is published.

TARBALL = "cifar-10-python.tar.gz"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `CONTENT` be the published tarball."""
    known = dataclasses.replace(DATASETS["cifar10"], md5=hashlib.md5(CONTENT).hexdigest())
    monkeypatch.setitem(DATASETS, "cifar10", known)  # type: ignore[arg-type]


@pytest.mark.usefixtures("published")
def test_a_published_sum_is_used_without_a_list(site: Site, tmp_path: Path) -> None:
    site.files[f"/{TARBALL}"] = CONTENT
    done = download("cifar10", "python", tmp_path, base_url=site.url)
    assert (done.verified_by, done.licence) == ("md5", "no terms stated")
    assert json.loads((tmp_path / f"{TARBALL}.json").read_text())["verified_by"] == "md5"
    assert (tmp_path / TARBALL).read_bytes() == CONTENT
    assert [path for path, _, _ in site.asked] == [f"/{TARBALL}"]


def test_a_file_that_is_not_the_published_one_is_removed(site: Site, tmp_path: Path) -> None:
    site.files[f"/{TARBALL}"] = CONTENT
    message = "the right checksum, got md5 .* instead of c58f30108f718f92721af3b95e74349a from"
    with pytest.raises(InputError, match=message):
        download("cifar10", "python", tmp_path, base_url=site.url)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("published")
def test_a_given_checksum_is_used_instead_of_the_published_one(site: Site, tmp_path: Path) -> None:
    site.files[f"/{TARBALL}"] = b"another"
    done = download("cifar10", "python", tmp_path, base_url=site.url, sha256=sha256(b"another"))
    assert done.verified_by == "sha256"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("content", [CONTENT, b"another"], ids=["the same", "another"])
def test_a_file_that_is_there_is_held_against_the_published_sum(
    content: bytes, site: Site, tmp_path: Path
) -> None:
    (tmp_path / TARBALL).write_bytes(content)
    if content == CONTENT:
        done = download("cifar10", "python", tmp_path, base_url=site.url)
        assert (done.verified_by, done.resumed_from) == ("md5", 50_000)
    else:
        with pytest.raises(
            InputError, match=r"no other cifar-10-python\.tar\.gz, got one with md5"
        ):
            download("cifar10", "python", tmp_path, base_url=site.url)
    assert site.asked == []


@pytest.mark.parametrize("release", ["1.0", "current", "binary", "python/.."])
def test_cifar_has_one_release(release: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a release of cifar100 such as python, got"):
        download("cifar100", release, tmp_path)


# Broken connections within one call.


@pytest.mark.parametrize("resets", [False, True], ids=["ends early", "is reset"])
def test_after_a_broken_connection_only_the_missing_bytes_are_asked_for(
    resets: bool, site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.put()
    site.breaks_after, site.resets = [20_000, 5_000], resets
    done = fetch(site, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert done.resumed_from == 0  # nothing was there before this call
    if not resets:  # a reset may also destroy bytes that are on their way
        requests = [(None, 20_000), ("bytes=20000-", 5_000), ("bytes=25000-", 25_000)]
        assert site.data_requests() == requests
        assert waits == [1, 1]  # each attempt got on, so the waits did not grow


def test_a_server_that_never_gets_on_is_given_up_after_growing_waits(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.put()
    site.breaks_after = [10_000, *[0] * 6]
    with pytest.raises(
        InputError, match=r"the whole of http.*ended after 10,000 of 50,000 bytes \(6 attempts"
    ):
        fetch(site, tmp_path)
    assert waits == [1, 2, 4, 8, 16]
    assert (tmp_path / f"{NAME}.partial").read_bytes() == CONTENT[:10_000]


def test_a_server_without_ranges_that_always_breaks_is_given_up(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.put()
    site.has_ranges, site.breaks_after = False, [10_000] * 20
    with pytest.raises(InputError, match="the whole of"):
        fetch(site, tmp_path)
    assert waits == [1, 2, 4, 8, 16]  # 10,000 bytes again are no progress


def test_silence_counts_as_a_broken_connection(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "SILENCE_SECONDS", 0.25)
    site.put()
    site.breaks_after, site.silent = [30_000], threading.Event()
    fetch(site, tmp_path)
    site.silent.set()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert site.data_requests()[1] == ("bytes=30000-", 20_000)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_that_may_pass_is_tried_again(
    status: int, site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.put()
    site.list_statuses, site.statuses = [status], [status, status]
    assert fetch(site, tmp_path).num_bytes == 50_000
    assert waits == [1, 1, 2]


# From one call to the next.


def interrupt(site: Site, folder: Path, after: int = 20_000) -> None:
    """Leave a part of a file behind, as Ctrl-C does."""

    def stop(done: int, total: int | None) -> None:
        if done >= after:
            raise KeyboardInterrupt

    site.breaks_after = [after]
    with pytest.raises(KeyboardInterrupt):
        fetch(site, folder, on_progress=stop)
    site.breaks_after = []
    site.asked.clear()


def test_an_interruption_keeps_what_is_there(site: Site, tmp_path: Path) -> None:
    site.put()
    interrupt(site, tmp_path)
    assert names(tmp_path) == [f"{NAME}.partial", f"{NAME}.partial.json"]
    assert (tmp_path / f"{NAME}.partial").read_bytes() == CONTENT[:20_000]


def test_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    site.put()
    interrupt(site, tmp_path)
    seen: list[int] = []
    done = fetch(site, tmp_path, on_progress=lambda num_bytes, _: seen.append(num_bytes))
    assert site.data_requests() == [("bytes=20000-", 30_000)]
    assert (done.resumed_from, seen[0]) == (20_000, 20_000)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME, f"{NAME}.json"]
    assert manifest(tmp_path)["last_modified"] == site.last_modified


def test_what_is_complete_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    site.put()
    interrupt(site, tmp_path, after=50_000)  # before it was verified
    assert fetch(site, tmp_path).resumed_from == 50_000
    assert site.data_requests() == [("bytes=50000-", 0)]


@pytest.mark.parametrize("has_if_range", [True, False], ids=["new file at once", "range of it"])
def test_a_file_that_changed_on_the_server_is_fetched_anew(
    has_if_range: bool, site: Site, tmp_path: Path
) -> None:
    site.put()
    interrupt(site, tmp_path)
    changed = CONTENT[::-1]
    site.put(changed)
    site.etag, site.has_if_range = '"two"', has_if_range
    done = fetch(site, tmp_path)
    assert (tmp_path / NAME).read_bytes() == changed
    assert done.resumed_from == 0


@pytest.mark.parametrize("length", [60_000, 10_000], ids=["longer", "shorter than the part"])
def test_another_length_shows_a_change_where_the_server_tells_nothing_else(
    length: int, site: Site, tmp_path: Path
) -> None:
    site.etag = site.last_modified = None
    site.put()
    interrupt(site, tmp_path)
    changed = (CONTENT[::-1] * 2)[:length]
    site.put(changed)
    assert fetch(site, tmp_path).resumed_from == 0
    assert (tmp_path / NAME).read_bytes() == changed


def test_a_part_is_continued_where_the_server_tells_nothing_of_it(
    site: Site, tmp_path: Path
) -> None:
    site.etag = site.last_modified = None
    site.put()
    interrupt(site, tmp_path)
    assert fetch(site, tmp_path).resumed_from == 20_000


def test_a_weak_etag_is_compared_but_not_sent(site: Site, tmp_path: Path) -> None:
    site.etag = 'W/"one"'
    site.put()
    interrupt(site, tmp_path)
    site.put(CONTENT[::-1])
    site.etag = 'W/"two"'
    assert fetch(site, tmp_path).resumed_from == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT[::-1]


def test_a_server_that_ignores_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.put()
    interrupt(site, tmp_path)
    site.has_ranges = False
    assert fetch(site, tmp_path).resumed_from == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("answer", ["bytes 19999-49999/50000", "bytes 20000-49999/50001", "x"])
def test_a_range_that_was_not_asked_for_is_not_appended(
    answer: str, site: Site, tmp_path: Path
) -> None:
    site.put()
    interrupt(site, tmp_path)
    site.content_ranges = [answer]
    assert fetch(site, tmp_path).resumed_from == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("note", [None, "", "{", "[]", '{"url": "http://elsewhere/"}'])
def test_a_part_of_unknown_origin_is_not_used(note: str | None, site: Site, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.partial").write_bytes(b"something else")
    if note is not None:
        (tmp_path / f"{NAME}.partial.json").write_text(note)
    site.put()
    assert fetch(site, tmp_path).resumed_from == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_part_of_another_release_is_not_used(site: Site, tmp_path: Path) -> None:
    site.put()
    interrupt(site, tmp_path)
    site.put(CONTENT[::-1], folder="/releases/Pfam36.0/")
    assert fetch(site, tmp_path, "36.0").resumed_from == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT[::-1]


@pytest.mark.slow
def test_a_killed_download_goes_on(site: Site, tmp_path: Path) -> None:
    site.put()
    site.breaks_after, site.silent = [30_000], threading.Event()
    code = (
        "import sys; from pathlib import Path; from protein_robust.ingest.download import download;"
        "download('pfam-seed', '37.4', Path(sys.argv[1]), base_url=sys.argv[2],"
        " on_progress=lambda done, _: print(done, flush=True))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), site.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 30_000:
                break
        process.send_signal(signal.SIGKILL)
    site.silent.set()
    kept = (tmp_path / f"{NAME}.partial").stat().st_size
    assert 0 < kept <= 30_000
    assert fetch(site, tmp_path).resumed_from == kept
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_two_downloads_at_once_do_not_mix(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "CHUNK_BYTES", 10_000)
    site.put()
    of_second: list[Downloaded] = []

    def begin_another(done: int, total: int | None) -> None:
        if done >= 10_000 and not of_second:
            of_second.append(fetch(site, tmp_path))

    with pytest.raises(InputError, match="50,000 bytes, got 0: is another process fetching it"):
        fetch(site, tmp_path, on_progress=begin_another)
    assert of_second[0].resumed_from > 0
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME, f"{NAME}.json"]


# A file that is there already.


def test_a_file_that_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    site.put()
    first = fetch(site, tmp_path)
    site.asked.clear()
    again = fetch(site, tmp_path)
    assert site.asked == []
    assert (again.resumed_from, again.num_bytes) == (50_000, 50_000)
    assert (again.sha256, again.verified_by) == (first.sha256, "md5_checksums")


def test_the_current_release_is_compared_with_the_list_each_time(
    site: Site, tmp_path: Path
) -> None:
    site.put(folder="/current_release/")
    fetch(site, tmp_path, "current")
    before = manifest(tmp_path)
    fetch(site, tmp_path, "current")
    assert len(site.data_requests()) == 1
    assert manifest(tmp_path) == before
    site.put(CONTENT[::-1], folder="/current_release/")
    with pytest.raises(InputError, match=r"no other Pfam-A\.seed\.gz, got one with md5 \w{32} ins"):
        fetch(site, tmp_path, "current")
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_from_elsewhere_is_accepted_if_its_checksum_is_right(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    site.put()
    assert fetch(site, tmp_path).verified_by == "md5_checksums"
    assert site.data_requests() == []
    assert manifest(tmp_path)["sha256"] == sha256(CONTENT)


def test_with_a_checksum_a_file_that_is_there_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    base_url = f"http://127.0.0.1:{unused_port()}/"
    done = download("pfam-seed", "37.4", tmp_path, base_url=base_url, sha256=sha256(CONTENT))
    assert (done.verified_by, done.resumed_from) == ("sha256", 50_000)


def test_another_file_of_that_name_is_never_replaced(site: Site, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    site.put()
    with pytest.raises(InputError, match=r"no other .* move it away or choose another folder"):
        fetch(site, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"mine"


def test_a_file_that_nothing_verifies_is_not_taken_for_the_right_one(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    site.files[FOLDER + NAME] = CONTENT
    with pytest.raises(InputError, match="got one with nothing to verify it by: move it away"):
        fetch(site, tmp_path)


def test_a_file_of_another_release_is_not_taken_for_this_one(site: Site, tmp_path: Path) -> None:
    site.put()
    fetch(site, tmp_path)
    site.put(CONTENT[::-1], folder="/releases/Pfam36.0/")
    with pytest.raises(InputError, match="no other"):
        fetch(site, tmp_path, "36.0")


# What goes wrong for good.


def test_a_wrong_checksum_removes_what_was_fetched(site: Site, tmp_path: Path) -> None:
    site.put()
    site.files[FOLDER + NAME] = CONTENT[::-1]
    got, right = (hashlib.md5(data).hexdigest() for data in (CONTENT[::-1], CONTENT))
    with pytest.raises(InputError, match=f"got md5 {got} instead of {right} from http.*: what was"):
        fetch(site, tmp_path)
    assert names(tmp_path) == []


def test_a_given_checksum_that_is_wrong_is_shown_with_the_right_one(
    site: Site, tmp_path: Path
) -> None:
    site.put()
    with pytest.raises(InputError, match=f"sha256 {sha256(CONTENT)} instead of {'0' * 64}"):
        fetch(site, tmp_path, sha256="0" * 64)
    assert names(tmp_path) == []


def test_a_length_that_is_never_reached_is_an_error(site: Site, tmp_path: Path) -> None:
    site.put()
    site.extra_length = 10
    with pytest.raises(InputError, match=r"the whole of http.*, got .* \(6 attempts"):
        fetch(site, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_a_missing_file_is_named(site: Site, tmp_path: Path) -> None:
    url = site.url + FOLDER[1:] + NAME
    with pytest.raises(InputError, match=re.escape(f"a file at {url}, got HTTP 404 Not Found")):
        fetch(site, tmp_path)


@pytest.mark.parametrize("status", [403, 401])
def test_a_list_that_is_refused_is_an_error(status: int, site: Site, tmp_path: Path) -> None:
    site.put()
    site.list_statuses = [status]
    with pytest.raises(InputError, match=f"a file at .*md5_checksums, got HTTP {status}"):
        fetch(site, tmp_path)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_without_a_connection_there_is_no_waiting(tmp_path: Path, waits: list[float]) -> None:
    base_url = f"http://127.0.0.1:{unused_port()}/"
    with pytest.raises(InputError, match=r"a connection to http.*, got .*refused"):
        download("pfam-seed", "37.4", tmp_path, base_url=base_url)
    assert waits == []


def test_a_server_that_speaks_no_http_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 welcome\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(InputError, match=r"a connection to http.*, got 220 welcome"):
            download("pfam-seed", "37.4", tmp_path, base_url=base_url)
        thread.join()


@pytest.mark.parametrize("there", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "//[x"])
def test_a_redirect_to_another_scheme_is_refused(there: str, site: Site, tmp_path: Path) -> None:
    site.redirects = {FOLDER + NAME: there}
    with pytest.raises(InputError, match=r"a redirect from http.* to https?, got"):
        fetch(site, tmp_path)
    assert names(tmp_path) == []


def test_a_redirect_to_http_is_followed_with_its_range(site: Site, tmp_path: Path) -> None:
    site.put()
    site.redirects = {FOLDER + NAME: f"/mirror/{NAME}"}
    site.files[f"/mirror/{NAME}"] = CONTENT
    site.breaks_after = [20_000]
    # The redirects themselves are requests, too.
    fetch(site, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert ("/mirror/" + NAME, "bytes=20000-", 30_000) in site.asked


def test_redirects_in_a_circle_end(site: Site, tmp_path: Path) -> None:
    site.redirects = {FOLDER + NAME: FOLDER + NAME}
    with pytest.raises(InputError, match=r"a file at .*, got HTTP 302"):
        fetch(site, tmp_path)


def test_a_folder_that_cannot_be_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"seed\.gz: Expected a folder that can be written, got"):
        fetch(site, tmp_path / "file" / "raw")
    assert site.asked == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error(site: Site, tmp_path: Path) -> None:
    site.put()
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="a folder that can be written, got Permission denied"):
        fetch(site, tmp_path)
    tmp_path.chmod(0o700)


def test_a_full_disk_keeps_what_is_there(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    interrupt(site, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_disk(Path.open))
        with pytest.raises(InputError, match=r"room for the file, got a full disk .*goes on"):
            fetch(site, tmp_path)
    assert fetch(site, tmp_path).resumed_from == 20_000


def full_disk(open_file):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """`Path.open` that cannot append, as on a full disk."""

    def opened(path: Path, mode: str = "r", *args: object, **options: object) -> object:
        if mode == "r+b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open_file(path, mode, *args, **options)

    return opened
