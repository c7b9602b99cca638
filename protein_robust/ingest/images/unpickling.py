"""Pickles that may come from anyone: plain values and arrays of numbers, and no code.

A pickle is a program, and it calls what it names. Here it can name only what arrays need, and what
it gets for those names are stand-ins of this module: NumPy sees nothing of the pickle but the bytes
of an array, and only once their number fits the shape. Everything else that a pickle names is an
error, before anything is called.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from protein_robust.errors import InputError

_NUMBERS = frozenset(
    ["b1", "f2", "f4", "f8", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))]
)
_ORDERS = {"|": "", "=": "=", "<": "<", ">": ">"}
"""Of bytes: what NumPy writes, and what goes before the code of a type."""
_PLAIN = frozenset([bytes, str, int, float, bool, type(None)])
_SYNTAX = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a pickle that is broken, or tries something, makes the unpickler raise."""


class _ArrayKind:
    """Stands for ``numpy.ndarray``, which is only ever named."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state for the name of a class")


class _NumberType:
    """Stands for ``numpy.dtype``: of numbers, and nothing else."""

    __slots__ = ("_code", "dtype")

    def __init__(self, code: str | bytes, *_: object) -> None:
        self._code = _text(code)
        if self._code not in _NUMBERS:
            raise ValueError(f"an array of type {self._code!r}, which is not of numbers")
        self.dtype = np.dtype(self._code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subtype, names, fields = state[:5]
        if (subtype, names, fields) != (None, None, None):
            raise ValueError("an array of records")
        if _text(order) not in _ORDERS:  # more than one sign would make another type of it
            raise ValueError(f"an array of bytes in the order {_text(order)!r}")
        self.dtype = np.dtype(_ORDERS[_text(order)] + self._code)


class _Array:
    """Stands for what makes an array: first of nothing, then of a state."""

    __slots__ = ("value",)
    value: NDArray[Any]

    def __new__(cls, kind: object, *_: object) -> _Array:
        # Not in __init__, which a pickle may leave out.
        if kind is not _ArrayKind:
            raise ValueError("an array of another kind than numpy.ndarray")
        made = super().__new__(cls)
        made.value = np.empty(0, dtype=np.uint8)
        return made

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, number_type, is_fortran, raw = state
        if not isinstance(number_type, _NumberType) or type(raw) is not bytes:
            raise ValueError("an array that is not of bytes of numbers")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("an array of an impossible shape")
        if math.prod(shape) * number_type.dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} in {len(raw):,} bytes")
        flat = np.frombuffer(raw, dtype=number_type.dtype)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


class _Encoded:
    """Stands for ``_codecs.encode``, by which bytes are written in protocols 0 to 2."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin-1")

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state for a function")


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _ArrayKind,
    ("numpy", "dtype"): _NumberType,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle._Unpickler):
    """Gives stand-ins for a few names, and refuses all others.

    It is the one written in Python: that in C makes room for as many remembered objects as a pickle
    says, so nine bytes could ask for 30 GB.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        super().__init__(file, encoding="bytes")  # Python 2 wrote its texts as bytes
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name; the parameters are pickle's."""
        found = _STAND_INS.get((module, name))
        if found is None:
            expected = "a pickle of plain values and arrays of numbers"
            raise InputError(expected, f"one that names {module}.{name}", path=self._path)
        return found

    def persistent_load(self, pid: object) -> Any:
        """Refuse what is stored elsewhere, such as tensors."""
        expected = "a pickle of plain values and arrays of numbers"
        raise InputError(expected, f"one with a persistent id {pid!r:.80}", path=self._path)


def load_value(file: BinaryIO, path: str) -> Any:
    """Load the next pickle of a stream, which is to be no array and to hold none.

    Args:
        file: the stream; it is left behind the pickle.
        path: what it is called in messages.

    Returns:
        Texts, bytes, numbers, None, and lists, tuples and dictionaries of them.

    Raises:
        InputError: if it is broken, or anything else is in it.
    """
    value = _load(file, path)
    _check_plain(value, path)
    return value


def load_dictionary(file: BinaryIO, path: str) -> Mapping[str, Any]:
    """Load the next pickle of a stream, a dictionary of arrays and plain values.

    Args:
        file: the stream; it is left behind the pickle.
        path: what it is called in messages.

    Returns:
        By key (as text): arrays of numbers, which are not writable, and values as in `load_value`.

    Raises:
        InputError: if it is broken, or anything else is in it.
    """
    value = _load(file, path)
    if type(value) is not dict:
        raise InputError("a pickle of a dictionary", f"one of a {type(value).__name__}", path=path)
    content: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, _Array):
            content[_key(key, path)] = item.value
        else:
            _check_plain(item, path)
            content[_key(key, path)] = item
    return content


def _load(file: BinaryIO, path: str) -> Any:
    try:
        return _Unpickler(file, path).load()
    except InputError:
        raise
    except _SYNTAX as error:
        is_cut = isinstance(error, EOFError)
        actual = "its end" if is_cut else str(error).strip() or type(error).__name__
        raise InputError("a whole pickle of arrays of numbers", actual, path=path) from error


def _check_plain(value: object, path: str) -> None:
    """Refuse all but plain values; a list may even hold itself."""
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        if type(item) in _PLAIN or id(item) in seen:
            continue
        seen.add(id(item))
        if type(item) is dict:
            waiting += [*item, *item.values()]
        elif type(item) in (list, tuple):
            waiting += item
        else:
            kind = type(item).__name__.lstrip("_")
            raise InputError("plain values in a pickle", f"a {kind} inside another", path=path)


def _key(key: object, path: str) -> str:
    if type(key) not in (bytes, str):
        raise InputError("texts as keys", f"a {type(key).__name__}", path=path)
    return _text(key)  # type: ignore[arg-type]


def _text(text: str | bytes) -> str:
    """What Python 2 wrote as bytes."""
    return text.decode("ascii", "backslashreplace") if isinstance(text, bytes) else text
