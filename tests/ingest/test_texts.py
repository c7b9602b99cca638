from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein_robust.ingest import texts as module
from protein_robust.ingest.texts import Texts


@given(
    data=st.data(),
    parts=st.lists(st.lists(st.binary(max_size=9), max_size=6), max_size=6),
    gap=st.integers(0, 12),
    run=st.integers(1, 20),
)
def test_what_is_appended_is_read_in_any_order(
    data: st.DataObject, parts: list[list[bytes]], gap: int, run: int
) -> None:
    expected = [text for part in parts for text in part]
    places = st.integers(0, max(0, len(expected) - 1))
    rows = data.draw(st.lists(places, max_size=12 if expected else 0))
    with (
        TemporaryDirectory() as folder,
        Texts(Path(folder, "t")) as texts,
        pytest.MonkeyPatch.context() as patch,
    ):
        # So that few bytes are read in several pieces, as many are otherwise.
        patch.setattr(module, "_GAP", gap)
        patch.setattr(module, "_RUN", run)
        for part in parts:
            texts.extend(part)
        assert len(texts) == len(expected)
        assert texts.take(rows) == [expected[row] for row in rows]
        assert texts.take(range(len(expected))) == expected
        assert texts.lengths.tolist() == [len(text) for text in expected]


def test_no_string_at_all_can_be_read(tmp_path: Path) -> None:
    with Texts(tmp_path / "t") as texts:
        assert len(texts) == 0
        assert texts.take([]) == []
        assert texts.lengths.tolist() == []


def test_empty_strings_are_strings(tmp_path: Path) -> None:
    with Texts(tmp_path / "t") as texts:
        texts.extend([b"", b""])
        assert texts.take([1, 0, 1]) == [b"", b"", b""]
        assert texts.lengths.tolist() == [0, 0]
    assert (tmp_path / "t").read_bytes() == b""


@pytest.mark.parametrize("is_empty", [False, True])
def test_nothing_is_appended_after_reading(tmp_path: Path, is_empty: bool) -> None:
    with Texts(tmp_path / "t") as texts:
        texts.extend([b"" if is_empty else b"MK"])
        texts.take([0])
        message = r"^Expected texts that nobody has read yet, got some that were\.$"
        with pytest.raises(ValueError, match=message):
            texts.extend([b"ML"])
        assert len(texts) == 1


def test_a_place_beyond_the_end_is_an_error(tmp_path: Path) -> None:
    with Texts(tmp_path / "t") as texts:
        texts.extend([b"MK"])
        with pytest.raises(IndexError):
            texts.take([1])


def test_many_strings_are_read_from_far_apart(tmp_path: Path) -> None:
    expected = [bytes([65 + i % 26]) * (i * 7919 % 60_001) for i in range(400)]
    dice = np.random.default_rng(0)
    with Texts(tmp_path / "t") as texts:
        texts.extend(expected)
        for _ in range(5):
            rows = dice.integers(0, 400, size=90)
            assert texts.take(rows) == [expected[row] for row in rows]
        assert texts.take(range(400)) == expected  # 12 MB, more than is read at a time


def test_the_file_stays_when_it_is_closed(tmp_path: Path) -> None:
    with Texts(tmp_path / "t") as texts:
        texts.extend([b"MK", b"VLA"])
        assert texts.take([1]) == [b"VLA"]
    texts.close()  # a second time does nothing
    assert (tmp_path / "t").read_bytes() == b"MKVLA"


def test_an_error_closes_the_file(tmp_path: Path) -> None:
    texts = Texts(tmp_path / "t")
    with pytest.raises(KeyError), texts:
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        texts.extend([b"MK"])
