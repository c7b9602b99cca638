"""Pickles that try to run something, and those of Python 2."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

from protein_robust.errors import InputError
from protein_robust.ingest.images.unpickling import load_dictionary, load_value


class Call:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


def load(raw: bytes) -> Any:
    return load_dictionary(io.BytesIO(raw), "x.pkl")


def touch(path: Path) -> list[tuple[str, Call]]:
    """Calls that would make a file, and what each names."""
    return [
        ("posix.system", Call(os.system, f"touch {path}")),
        ("__builtin__.eval", Call(eval, f"__import__('os').mkdir({str(path)!r})")),
        ("__builtin__.exec", Call(exec, f"__import__('os').mkdir({str(path)!r})")),
        ("posix.mkdir", Call(os.mkdir, str(path))),
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_call_is_refused_and_not_made(number: int, protocol: int, tmp_path: Path) -> None:
    name, call = touch(tmp_path / "made")[number]
    raw = pickle.dumps({b"data": [call]}, protocol=protocol)
    names = {name, name.replace("__builtin__", "builtins")}
    with pytest.raises(InputError) as caught:
        load(raw)
    assert caught.value.actual.removeprefix("one that names ") in names
    assert str(caught.value).startswith("x.pkl: Expected a pickle of plain values and arrays")
    assert not (tmp_path / "made").exists()


def test_those_calls_would_have_been_made(tmp_path: Path) -> None:
    for number in range(4):
        pickle.loads(pickle.dumps(touch(tmp_path / f"made{number}")[number][1]))
        assert (tmp_path / f"made{number}").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Call(os.system, "true"), "posix.system"),
        ([{"a": (Call(builtins.eval, "1"),)}], "builtins.eval"),
        (Call(np.load, "x.npy"), "numpy.load"),
        (Call(np.fromfile, "x"), "numpy.fromfile"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (np.float64(1), "numpy._core.multiarray.scalar"),
        (Path("x"), "pathlib"),
        (1j, "builtins.complex"),
        (bytearray(b"ab"), "builtins.bytearray"),
        (slice(1), "builtins.slice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_other_name_is_refused(value: Any, name: str) -> None:
    with pytest.raises(InputError, match=f"got one that names {name}"):
        load(pickle.dumps({b"data": value}, protocol=4))


HEAD = b"\x80\x02}(U\x01a"
"""The beginning of {b"a": ...}; `TAIL` is its end."""
TAIL = b"u."
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (HEAD + b"cposix\nsystem\n(U\x04truetR" + TAIL, "names posix.system"),
        (HEAD + b"(U\x04trueiposix\nsystem\n" + TAIL, "names posix.system"),
        (HEAD + b"(cposix\nsystem\nU\x04trueo" + TAIL, "names posix.system"),
        (HEAD + b"\x8c\x05posix\x8c\x06system\x93U\x04true\x85R" + TAIL, "names posix.system"),
        (HEAD + b"\x8c\x05numpy\x8c\x11ndarray.__class__\x93" + TAIL, "numpy.ndarray.__class__"),
        (HEAD + b"U\x05thereQ" + TAIL, "one with a persistent id b'there'"),
        (HEAD + b"Pthere\n" + TAIL, "one with a persistent id 'there'"),
        (HEAD + b"\x82\x07" + TAIL, "unregistered extension code 7"),
        (HEAD + b"cnumpy\nndarray\n" + TAIL, "got a type inside another"),
        (HEAD + b"cnumpy\ndtype\nU\x02u1\x85R" + TAIL, "got a NumberType inside another"),
        (HEAD + b"\x8f" + TAIL, "got a set inside another"),
        (HEAD + b"\x97" + TAIL, "out-of-band"),
        (HEAD + b"cnumpy\ndtype\nU\x02O8\x85R" + TAIL, "type 'O8', which is not of numbers"),
        (HEAD + b"cnumpy\ndtype\nU\x02V8\x85R" + TAIL, "type 'V8', which is not of numbers"),
        (HEAD + b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R" + TAIL, "rot13"),
        (HEAD + b"c_codecs\nencode\n}b" + TAIL, "__setstate__"),
        (HEAD + b"cnumpy\nndarray\n}b" + TAIL, "__setstate__"),
        (HEAD + RECONSTRUCT + b")\x81" + TAIL, "missing 1 required positional argument"),
        (HEAD + RECONSTRUCT + b"U\x01a\x85\x81" + TAIL, "another kind than numpy.ndarray"),
        (b"\x80\x02K\x01.", "a dictionary, got one of a int"),
        (b"\x80\x02]K\x01a.", "a dictionary, got one of a list"),
        (b"\x80\x02}K\x01K\x02s.", "Expected texts as keys, got a int"),
        (b"", "its end"),
        (b"not a pickle", "Expected a whole pickle"),
        (b"\x80\x02(", "its end"),
        (b"\x80\x63}.", "unsupported pickle protocol: 99"),
        (b"\x80\x02h\x05.", "Expected a whole pickle"),
    ],
)
def test_what_is_written_by_hand_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=r"x\.pkl: Expected") as caught:
        load(raw)
    assert message in str(caught.value)


def test_an_array_of_objects_is_refused() -> None:
    raw = pickle.dumps({"a": np.array([None, "x"], dtype=object)}, protocol=2)
    with pytest.raises(InputError, match="type 'O8', which is not of numbers"):
        load(raw)


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, dtype=[("a", "u1")]), np.array(["ab"]), np.array([b"ab"]), np.zeros(1, "M8[s]")],
    ids=lambda array: str(array.dtype),
)
def test_an_array_of_something_else_is_refused(array: Any) -> None:
    with pytest.raises(InputError, match="which is not of numbers"):
        load(pickle.dumps({"a": array}, protocol=2))


def test_arrays_of_another_class_are_refused() -> None:
    raw = pickle.dumps({"a": np.ma.masked_array([1, 2], [0, 1])}, protocol=2)
    with pytest.raises(InputError, match=r"one that names numpy\.ma"):
        load(raw)


def test_an_array_inside_a_list_is_refused() -> None:
    with pytest.raises(InputError, match="plain values in a pickle, got a Array inside another"):
        load(pickle.dumps({"a": [np.zeros(1)]}, protocol=2))


# Pickles as Python 2 wrote them, put together by hand.


def py2_array(shape: tuple[int, ...], code: bytes, raw: bytes, order: bytes = b"|") -> bytes:
    """An array of at most two dimensions, as NumPy of Python 2 was pickled."""
    sizes = b"".join(b"J" + struct.pack("<i", size) for size in shape)
    number_type = b"cnumpy\ndtype\nU\x02" + code + b"K\x00K\x01\x87R"
    number_type += b"(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    text = b"T" + struct.pack("<i", len(raw)) + raw
    return (
        made
        + b"(K\x01"
        + sizes
        + (b"\x85", b"\x86")[len(shape) - 1]
        + number_type
        + b"\x89"
        + text
        + b"tb"
    )


def test_an_array_of_python_2_is_read() -> None:
    raw = HEAD + py2_array((2, 3), b"u1", bytes([1, 2, 3, 4, 5, 255])) + TAIL
    pickletools.dis(raw, out=io.StringIO())  # a well-formed pickle
    assert_array_equal(pickle.loads(raw, encoding="bytes")[b"a"], [[1, 2, 3], [4, 5, 255]])
    found = load(raw)["a"]
    assert found.dtype == np.uint8
    assert_array_equal(found, [[1, 2, 3], [4, 5, 255]])


def test_the_order_of_bytes_is_kept() -> None:
    raw = HEAD + py2_array((2,), b"i2", b"\x01\x00\x00\x02", order=b">") + TAIL
    assert load(raw)["a"].tolist() == [256, 2]


@pytest.mark.parametrize("order", [b"u1,u1,", b"3", b"O,", b"(2,)", b""])
def test_an_order_that_would_make_another_type_is_refused(order: bytes) -> None:
    # NumPy reads "u1,u1,u1" as records of three numbers, and "3u1" as rows of them.
    array = py2_array((1,), b"u1", b"abc")
    raw = array.replace(b"U\x01|", b"U" + bytes([len(order)]) + order)
    assert raw != array
    with pytest.raises(InputError, match="got an array of bytes in the order"):
        load(HEAD + raw + TAIL)


@pytest.mark.parametrize(
    ("shape", "raw"), [((3,), b"ab"), ((-1, -2), b"ab"), ((2, 2), b"ab"), ((1 << 30, 1 << 30), b"")]
)
def test_a_shape_that_does_not_fit_the_bytes_is_refused(shape: tuple[int, ...], raw: bytes) -> None:
    with pytest.raises(InputError, match="got an array of "):
        load(HEAD + py2_array(shape, b"u1", raw) + TAIL)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"tb" + TAIL, b"t0" + TAIL, ""),  # without its state it is of nothing
        (b"T\x02\x00\x00\x00ab", b"]", "not of bytes of numbers"),
        (b"NNNJ", b"N]NJ", "an array of records"),
        (b"NNNJ", b"U\x02u1NNJ", "an array of records"),
        (b"ndarray\nK", b"dtype\nK", "another kind than numpy.ndarray"),
    ],
)
def test_a_crafted_state_is_refused(old: bytes, new: bytes, message: str) -> None:
    whole = HEAD + py2_array((2,), b"u1", b"ab") + TAIL
    assert old in whole
    raw = whole.replace(old, new)
    if not message:
        assert load(raw)["a"].tolist() == []
        return
    with pytest.raises(InputError, match=r"x\.pkl: Expected a whole pickle") as caught:
        load(raw)
    assert message in str(caught.value)


def test_texts_of_python_2_are_bytes_and_its_keys_texts() -> None:
    assert load(HEAD + b"(U\x02abX\x01\x00\x00\x00cK\x05l" + TAIL) == {"a": [b"ab", "c", 5]}


# What is read is what pickle reads.

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(min_size=1),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(value=PLAIN, protocol=st.integers(0, 5))
def test_plain_values_are_read_as_they_are(value: Any, protocol: int) -> None:
    assert load(pickle.dumps({"a": value}, protocol=protocol)) == {"a": value}
    assert load_value(io.BytesIO(pickle.dumps(value, protocol=protocol)), "x") == value


NUMBERS = st.one_of(
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
    arrays.boolean_dtypes(),
)


@given(
    array=arrays.arrays(NUMBERS, arrays.array_shapes(max_dims=3)),
    protocol=st.integers(2, 4),
    is_fortran=st.booleans(),
)
def test_arrays_are_read_as_they_are(array: Any, protocol: int, is_fortran: bool) -> None:
    given_array = np.asfortranarray(array) if is_fortran else array
    found = load(pickle.dumps({"a": given_array}, protocol=protocol))["a"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert_array_equal(found, array)


def test_a_list_that_holds_itself_is_read() -> None:
    value: list[Any] = [1]
    value.append(value)
    found = load(pickle.dumps({"a": value}))["a"]
    assert found[1] is found


def test_every_cut_is_an_error() -> None:
    raw = pickle.dumps({"a": np.arange(5), "b": [b"x", 1]}, protocol=2)
    assert sorted(load(raw)) == ["a", "b"]
    for end in range(len(raw)):
        with pytest.raises(InputError, match=r"^x\.pkl: Expected"):
            load(raw[:end])


@given(data=st.data())
def test_a_changed_byte_is_read_or_an_error(data: st.DataObject) -> None:
    raw = bytearray(HEAD + py2_array((2, 3), b"u1", b"abcdef") + TAIL)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = load(bytes(raw))
    except InputError:
        return
    assert all(isinstance(key, str) for key in found)


def test_a_pickle_of_nine_bytes_takes_no_gigabytes() -> None:
    """What it says is: remember this as number 2,147,483,647."""
    raw = b"\x80\x02}r\xff\xff\xff\x7f."
    tracemalloc.start()
    try:
        assert load(raw) == {}
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_pickles_of_a_stream_are_read_one_after_the_other() -> None:
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps({"a": 2}))
    assert load_value(stream, "x") == 1
    assert load_dictionary(stream, "x") == {"a": 2}


@pytest.mark.slow
def test_nothing_of_a_refused_module_is_imported() -> None:
    code = (
        "import io, sys; from protein_robust.ingest.images.unpickling import load_value\n"
        "from protein_robust.errors import InputError\n"
        "try: load_value(io.BytesIO(b'\\x80\\x02cantigravity\\nx\\n.'), 'x')\n"
        "except InputError as error: print(error)\n"
        "print('antigravity' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "names antigravity.x" in done.stdout
    assert done.stdout.endswith("False\n")
