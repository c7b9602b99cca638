import gzip
import hashlib
import io
import lzma
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.readers import files
from protein_robust.ingest.readers.files import check_is_file, file_sha256, open_source

LETTERS = bytes(range(65, 91)) * 4000  # 104,000 bytes, more than one piece of what is read
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"


def read(path: Path | str) -> bytes:
    with open_source(path) as opened:
        return opened.stream.read()


def read_in_pieces(path: Path | str) -> tuple[bytes, InputError | None]:
    """What comes, and the error after it."""
    content = b""
    with open_source(path) as opened:
        try:
            while piece := opened.stream.read1(1000):
                content += piece
        except InputError as error:
            return content, error
    return content, None


def zstd(content: bytes) -> bytes:
    output = pa.BufferOutputStream()
    with pa.CompressedOutputStream(output, "zstd") as stream:
        stream.write(content)
    return output.getvalue().to_pybytes()


def noise(num_bytes: int) -> bytes:
    """Bytes that cannot be compressed, none of them zero."""
    digests = (hashlib.sha256(i.to_bytes(4)).digest() for i in range(num_bytes // 32))
    return b"".join(digests).replace(b"\0", b"\1")


class Pipe(io.BytesIO):
    """Standard input: no name, no second look."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Pipe]:
    """Put bytes on standard input."""

    def put(content: bytes) -> Pipe:
        stream = Pipe(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        return stream

    return put


PACKED = {
    "plain": LETTERS,
    "gzip": gzip.compress(LETTERS),
    "gzip of three members": b"".join(map(gzip.compress, [LETTERS[:7], b"", LETTERS[7:]])),
    "gzip padded with zeros": gzip.compress(LETTERS) + bytes(70_000),
    "gzip of 4,000 members": b"".join([gzip.compress(LETTERS[:26])] * 4000),
    "zstd": zstd(LETTERS),
    "zstd of three frames": zstd(LETTERS[:7]) + zstd(b"") + zstd(LETTERS[7:]),
    "zstd with skippable frames": SKIPPABLE + zstd(LETTERS[:7]) + SKIPPABLE + zstd(LETTERS[7:]),
}


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED.keys())
def test_a_file_gives_the_same_bytes_however_it_is_packed(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read(tmp_path / "a") == LETTERS


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED.keys())
def test_standard_input_gives_the_same_bytes(content: bytes, pipe: Callable[[bytes], Pipe]) -> None:
    pipe(content)
    assert read("-") == LETTERS


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED.keys())
def test_at_the_end_the_position_is_the_number_of_packed_bytes(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    with open_source(tmp_path / "a") as opened:
        opened.stream.read()
        assert opened.position == len(content)


def test_the_position_grows_with_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(noise(4_000_000)))
    with open_source(tmp_path / "a.gz") as opened:
        first = opened.position
        opened.stream.read(2_500_000)
        assert first < 2_000_000 < opened.position < 4_000_000


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED.keys())
def test_the_head_stays_to_be_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with open_source(tmp_path / "a") as opened:
        assert opened.head == LETTERS[: files.HEAD_BYTES]
        assert opened.stream.read(3) == LETTERS[:3]


def test_the_head_of_a_short_file_is_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with open_source(tmp_path / "a") as opened:
        assert opened.head == b"abc"


def test_a_plain_file_can_be_sought_in_and_a_packed_one_cannot(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(LETTERS)
    (tmp_path / "packed").write_bytes(gzip.compress(LETTERS))
    with open_source(tmp_path / "plain") as opened:
        assert opened.stream.seekable()
    with open_source(tmp_path / "packed") as opened:
        assert not opened.stream.seekable()


def test_standard_input_is_identified_once_it_has_been_read(
    pipe: Callable[[bytes], Pipe],
) -> None:
    content = gzip.compress(LETTERS)
    pipe(content)
    with open_source("-") as opened:
        opened.stream.read()
        assert opened.sha256 == hashlib.sha256(content).hexdigest()
        assert opened.position == len(content)


def test_identifying_standard_input_reads_what_is_left(pipe: Callable[[bytes], Pipe]) -> None:
    pipe(LETTERS)
    with open_source("-") as opened:
        assert opened.sha256 == hashlib.sha256(LETTERS).hexdigest()
        assert opened.position == len(LETTERS)


def test_standard_input_is_left_open(pipe: Callable[[bytes], Pipe]) -> None:
    stream = pipe(LETTERS)
    assert read("-") == LETTERS
    assert not stream.closed


def test_a_file_has_no_digest_of_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(LETTERS)
    with open_source(tmp_path / "a") as opened:
        assert opened.sha256 is None


def test_empty_standard_input_is_refused(pipe: Callable[[bytes], Pipe]) -> None:
    pipe(b"")
    message = "^standard input: Expected a file with records, got an empty file"
    with pytest.raises(InputError, match=message):
        read("-")


DAMAGED = {
    "truncated gzip": (gzip.compress(LETTERS)[:-9], "gzip", "it ends too early"),
    "corrupt gzip": (gzip.compress(LETTERS)[:-6] + b"\xff" * 6, "gzip", "incorrect data check"),
    "garbage behind gzip": (gzip.compress(b"AB") + b"garbage", "gzip", "incorrect header check"),
    "truncated zstd": (zstd(LETTERS)[:-3], "zstd", "Truncated compressed stream"),
    "garbage behind zstd": (zstd(b"AB") + b"garbage", "zstd", "ZSTD decompress failed"),
}


@pytest.mark.parametrize(("content", "kind", "reason"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_reported(content: bytes, kind: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    message = rf"a: Expected a whole {kind} file, got a damaged one \(.*{reason}"
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_all_that_a_truncated_gzip_holds_is_given_before_the_error(
    cut: float, tmp_path: Path
) -> None:
    content = noise(400_000)
    packed = gzip.compress(content)
    packed = packed[: int(cut * len(packed))]
    (tmp_path / "a").write_bytes(packed)
    given, error = read_in_pieces(tmp_path / "a")
    # The oracle: what zlib itself makes of the bytes that are there.
    assert given == zlib.decompressobj(wbits=31).decompress(packed)
    assert error is not None


@pytest.mark.parametrize("cut", [0.4, 0.9])
def test_all_whole_parts_of_a_truncated_zstd_are_given_before_the_error(
    cut: float, tmp_path: Path
) -> None:
    content = noise(1_000_000)
    packed = zstd(content)
    (tmp_path / "a").write_bytes(packed[: int(cut * len(packed))])
    given, error = read_in_pieces(tmp_path / "a")
    # zstd decompresses blocks of 128 KiB as a whole.
    assert given == content[: len(given)]
    assert cut * len(content) - len(given) < 1.01 * (1 << 17)
    assert error is not None


def test_lines_before_the_damage_are_given_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b"one\ntwo\n") + gzip.compress(b"three")[:-8])
    with open_source(tmp_path / "a") as opened:
        assert [opened.stream.readline(), opened.stream.readline()] == [b"one\n", b"two\n"]
        with pytest.raises(InputError, match="damaged"):
            opened.stream.readline()


def test_the_error_of_a_damaged_file_comes_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(LETTERS)[:-9])
    with open_source(tmp_path / "a") as opened:
        assert opened.stream.read1(1 << 20) == LETTERS
        for _ in range(2):
            with pytest.raises(InputError, match="it ends too early"):
                opened.stream.read1(1 << 20)


def test_an_error_of_reading_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Broken(Pipe):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Broken()))
    message = "standard input: Expected a readable file, got Input/output error"
    with pytest.raises(InputError, match=message):
        read("-")


def packed_as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../etc/passwd", "MK")


def packed_as_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("/etc/passwd"))


def packed_as_tar_gz(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("/etc/passwd"))


def packed_as_bz2(path: Path) -> None:
    import bz2

    path.write_bytes(bz2.compress(LETTERS))


def packed_as_xz(path: Path) -> None:
    path.write_bytes(lzma.compress(LETTERS))


def packed_as_7z(path: Path) -> None:
    path.write_bytes(b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(100))


ARCHIVES = {
    "a zip archive": packed_as_zip,
    "a tar archive": packed_as_tar,
    "a tar archive, gzipped": packed_as_tar_gz,
    "a bzip2 file": packed_as_bz2,
    "an xz file": packed_as_xz,
    "a 7z archive": packed_as_7z,
}


@pytest.mark.parametrize(("kind", "pack"), ARCHIVES.items(), ids=ARCHIVES.keys())
def test_an_archive_is_not_unpacked(
    kind: str, pack: Callable[[Path], None], tmp_path: Path
) -> None:
    pack(tmp_path / "a.gz")
    message = rf"Expected a file by itself \(unpack it first\), got {kind.split(',')[0]}\.$"
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.gz")
    assert [place.name for place in tmp_path.iterdir()] == ["a.gz"]


@pytest.mark.parametrize(("suffix", "kind"), [(".gz", "gzip"), (".zst", "zstd"), (".GZ", "gzip")])
def test_a_suffix_that_is_not_true_is_refused(suffix: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"plain text")
    with pytest.raises(InputError, match=f"Expected a {kind} file, got first bytes b'pl'"):
        read(tmp_path / f"a{suffix}")


def test_a_file_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b""))
    message = "Expected a file with records, got nothing in a gzip file"
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.gz")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv: Expected an existing file, got none there"):
        read(tmp_path / "no.csv")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a file, got a folder"):
        read(tmp_path)


def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(InputError, match=r"Expected a file, got a pipe or .* be read as '-'\)"):
        check_is_file(tmp_path / "a")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="Expected a file with records, got an empty file"):
        read(tmp_path / "a")


def test_an_impossible_path_is_refused() -> None:
    with pytest.raises(InputError, match="Expected a readable file, got File name too long"):
        file_sha256("a" * 300)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="Expected a readable file, got Permission denied"):
        read(tmp_path / "a")
    with pytest.raises(InputError, match="Expected a readable file, got Permission denied"):
        file_sha256(tmp_path / "a")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "a") == expected
