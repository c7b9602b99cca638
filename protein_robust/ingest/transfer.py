"""One file over HTTP: continued where it broke off, tried again, verified, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from time import sleep
from typing import IO, Any, TypeVar, cast
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from protein_robust.atomic import replace_file
from protein_robust.errors import InputError

CHUNK_BYTES = 1 << 18
SILENCE_SECONDS = 60.0
WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)  # from the start again once the file has grown
_PASSING = {408, 429, 500, 502, 503, 504}
_PARTIAL = {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
_T = TypeVar("_T")
OnProgress = Callable[[int, int | None], None]


class _BrokenError(Exception):
    """An attempt that failed in a way that may pass."""


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects to http(s) only, and never from https to http."""

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        """Look at where it leads before following; the parameters are urllib's."""
        there = headers.get("Location", "")
        if scheme_of(there, base=req.full_url) not in {"https", req.type}:
            fp.close()
            raise InputError(f"a redirect from {req.full_url} to https", repr(there))
        response: HTTPResponse | None = super().http_error_302(req, fp, code, msg, headers)
        return response

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class Server:
    """Requests; once there has been an answer, those that fail are made again."""

    def __init__(self) -> None:
        """Not connected yet."""
        self._opener = build_opener(_SafeRedirects)
        self._has_answered = False

    def open(self, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        """The response, of whatever status."""
        request = Request(url, headers={"User-Agent": "protein-robust", **headers})
        with _network_errors():
            try:
                response: HTTPResponse = self._opener.open(request, timeout=SILENCE_SECONDS)
            except HTTPError as answer:  # is a response too
                response = cast(HTTPResponse, answer)
        self._has_answered = True
        if response.status in _PASSING:
            response.close()
            raise _BrokenError(f"HTTP {response.status} {response.reason}")
        return response

    def patiently(self, url: str, attempt: Callable[[], _T], size: Callable[[], int]) -> _T:
        """Attempt until it works, or has failed too often without ``size`` growing."""
        failures, furthest = 0, size()
        while True:
            try:
                return attempt()
            except _BrokenError as error:
                if not self._has_answered:
                    raise InputError(f"a connection to {url}", str(error)) from error
                if size() > furthest:
                    failures, furthest = 0, size()
                if failures == len(WAITS_SECONDS):
                    actual = f"{error} ({failures + 1} attempts; the same command goes on)"
                    raise InputError(f"the whole of {url}", actual) from error
                sleep(WAITS_SECONDS[failures])
                failures += 1

    def listed_md5(self, url: str, checksums: str) -> str | None:
        """The MD5 sum that the server's list has for a file, if any."""
        listing, file_name = urljoin(url, checksums), PurePosixPath(urlsplit(url).path).name

        def attempt() -> str:
            with self.open(listing, {}) as response, _network_errors():
                if response.status == HTTPStatus.NOT_FOUND:
                    return ""
                if response.status != HTTPStatus.OK:
                    raise _refusal(listing, response)
                return response.read().decode("utf-8", "replace")

        text = self.patiently(listing, attempt, lambda: 0)
        line = rf"^([0-9a-fA-F]{{32}})[ \t]+\*?(?:\./)?{re.escape(file_name)}[ \t\r]*$"
        sums = {digits.lower() for digits in re.findall(line, text, re.MULTILINE)}
        if len(sums) > 1:
            raise InputError(f"one MD5 of {file_name} in {listing}", ", ".join(sorted(sums)))
        return min(sums, default=None)


@dataclass(frozen=True)
class _Known:
    """What the server says of a file; None for what it does not say."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    num_bytes: int | None = None

    def may_be(self, other: _Known) -> bool:
        """Whether nothing speaks against these being the same file."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return all(mine == its for mine, its in pairs if None not in (mine, its))


class Transfer:
    """One file on its way."""

    def __init__(
        self, server: Server, url: str, target: Path, on_progress: OnProgress | None
    ) -> None:
        """Look at what is there of it."""
        self._server, self._url, self._target = server, url, target
        self._on_progress = on_progress or (lambda num_bytes, total: None)
        self._partial = target.with_name(f"{target.name}.partial")
        self._state = target.with_name(f"{target.name}.partial.json")
        self._kept = 0
        stored = read_json(self._state)
        is_ours = stored.keys() == asdict(_Known(url)).keys() and stored["url"] == url
        self.known = _Known(**stored) if is_ours else _Known(url)
        if not is_ours:
            self.forget()

    def run(self, right: str | None) -> tuple[int, dict[str, str]]:
        """Fetch what is missing, verify, rename; the bytes kept from earlier and the checksums."""
        self._kept = self._size()
        self._server.patiently(self._url, self._attempt, self._size)
        size, expected = self._size(), self.known.num_bytes
        if expected is not None and size != expected:  # which one process alone does not see
            actual = f"{size:,}: is another process fetching it, too?"
            raise InputError(f"{expected:,} bytes", actual, path=self._partial)
        sums = digests(self._partial)
        if right is not None and right not in sums.values():
            self.forget()
            actual = f"{compare(sums, right)} from {self._url}: what was fetched is removed"
            raise InputError("the right checksum", actual, path=self._target)
        self._partial.rename(self._target)
        return self._kept, sums

    def forget(self) -> None:
        """Remove what belongs to an unfinished file."""
        self._partial.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _attempt(self) -> None:
        """One request, from where the partial file ends."""
        offset = self._size()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        validator = self.known.etag or self.known.last_modified
        if offset and validator and not validator.startswith("W/"):
            headers["If-Range"] = validator  # if the file has changed, the answer is all of it
        with self._server.open(self._url, headers) as response:
            first, said = self._described(response)
            if response.status == HTTPStatus.OK:
                offset = 0
                self._begin(said)
            elif not offset or response.status not in _PARTIAL:
                raise _refusal(self._url, response)
            elif first != offset or not self.known.may_be(said):
                self._kept = 0
                self._partial.unlink()
                raise _BrokenError("another file than before")
            self._kept = min(self._kept, offset)
            self._on_progress(offset, said.num_bytes)
            if response.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._copy(response, offset, said.num_bytes)

    def _described(self, response: HTTPResponse) -> tuple[int | None, _Known]:
        """Where the bytes of a response begin, and of what file they are."""
        headers = response.headers
        if response.status == HTTPStatus.OK:
            total = headers.get("Content-Length")
            start: str | None = "0"
        else:  # `bytes 5-9/10`, or of a range that begins after the end `bytes */10`
            pattern = r"bytes (?:([0-9]+)-[0-9]+|\*)/(?:([0-9]+)|\*)"
            found = re.fullmatch(pattern, headers.get("Content-Range", ""))
            start, total = found.groups() if found else (None, None)
        said = _Known(self._url, headers.get("ETag"), headers.get("Last-Modified"), _int(total))
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return (self.known.num_bytes if said.num_bytes is None else said.num_bytes), said
        return _int(start), said

    def _begin(self, said: _Known) -> None:
        """Begin anew. A new file: another process may be writing to the old one."""
        self._partial.unlink(missing_ok=True)  # first, so that the note is never of other bytes
        self._partial.touch()
        write_json(self._state, asdict(said))
        self.known = said

    def _copy(self, response: HTTPResponse, offset: int, total: int | None) -> None:
        """Append what the response has."""
        with self._partial.open("r+b") as file:
            file.seek(offset)
            while total is None or offset < total:
                size = CHUNK_BYTES if total is None else min(CHUNK_BYTES, total - offset)
                with _network_errors():
                    chunk = response.read1(size)  # what is there: nothing is lost if it breaks
                if not chunk:
                    break
                file.write(chunk)
                offset += len(chunk)
                self._on_progress(offset, total)
        if total is not None and offset < total:
            raise _BrokenError(f"the connection ended after {offset:,} of {total:,} bytes")


def _refusal(url: str, response: HTTPResponse) -> InputError:
    return InputError(f"a file at {url}", f"HTTP {response.status} {response.reason}")


def scheme_of(url: str, base: str = "") -> str | None:
    """The scheme of an address that may be relative; None if it is none."""
    try:
        return urlsplit(urljoin(base, url)).scheme
    except ValueError:  # such as half an IPv6 address
        return None


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def digests(path: Path) -> dict[str, str]:
    """MD5 and SHA-256 of a file, in one pass."""
    hashes = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            for one in hashes.values():
                one.update(chunk)
    return {kind: one.hexdigest() for kind, one in hashes.items()}


def compare(sums: Mapping[str, str], right: str | None) -> str:
    """What a checksum is, and what it should be."""
    if right is None:
        return "nothing to verify it by"
    kind = "md5" if len(right) == len(sums["md5"]) else "sha256"
    return f"{kind} {sums[kind]} instead of {right}"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write an object, whole or not at all."""
    text = json.dumps(content, indent=2) + "\n"
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


@contextmanager
def _network_errors() -> Iterator[None]:
    """What the network does becomes `_BrokenError`."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise _BrokenError(str(getattr(error, "reason", error)) or type(error).__name__) from error


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the disk does becomes `InputError`; the network's errors are another kind by then."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            actual = f"a full disk ({reason}); what is there is kept, the same command goes on"
            raise InputError("room for the file", actual, path=path) from error
        raise InputError("a folder that can be written", reason, path=path) from error
