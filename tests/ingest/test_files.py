import gzip
from pathlib import Path

import pytest

from protein_robust.errors import InputError
from protein_robust.ingest.files import file_sha256, open_source


def read(path: Path) -> bytes:
    with open_source(path) as opened:
        return opened.stream.read()


def test_plain_and_gzip_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"one\ntwo\n")
    (tmp_path / "zipped").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert read(tmp_path / "plain") == read(tmp_path / "zipped") == b"one\ntwo\n"


def test_the_position_is_in_compressed_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"A" * 1000))
    with open_source(path) as opened:
        opened.stream.read()
        assert opened.file.tell() == path.stat().st_size


def test_a_truncated_gzip_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"ABCDEFGH" * 100)[:-10])
    with pytest.raises(InputError, match=r"a\.gz: Expected a whole gzip file, got a damaged one"):
        read(path)


def test_a_corrupt_gzip_is_reported(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(bytes(range(256)) * 40))
    content[20:40] = b"\xff" * 20
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(InputError, match="Expected a whole gzip file, got a damaged one"):
        read(tmp_path / "a.gz")


def test_garbage_after_a_gzip_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"AB") + b"garbage")
    with pytest.raises(InputError, match="Expected a whole gzip file"):
        read(tmp_path / "a.gz")


def test_a_gz_suffix_without_gzip_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"plain text")
    with pytest.raises(InputError, match="Expected a gzip file, got first bytes b'pl'"):
        read(tmp_path / "a.gz")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv: Expected an existing file, got none there"):
        read(tmp_path / "no.csv")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a file, got a folder"):
        read(tmp_path)


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
