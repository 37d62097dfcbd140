"""The frames of openpi's WebSocket protocol: msgpack with arrays, checked before it is believed.

openpi's own reader takes any dtype from the wire, objects too, whose bytes are then pointers: it crashes the
interpreter. A frame that this module takes has plain numbers and an honest size, whoever sent it.
"""

import math
import re
from typing import Any, NoReturn

import msgpack
import numpy as np

MAX_FRAME = 64 * 2**20
"""Bytes of a frame, as servers allow by themselves."""
MAX_ITEMS = 4096
"""Items of one list or map. msgpack makes room for a list as soon as it reads the length."""
MAX_ALL_ITEMS = 2**16
"""Items of all lists and maps together: an item of one byte may take fifty in memory."""
MAX_DEPTH = 16
MAX_AXES = 8

DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
"""What `dtype.str` is for bool, integers and floats. numpy itself is not asked about other text."""


class WireError(Exception):
    """A frame cannot be read or written. The message is one line and says what is wrong with it."""


def pack(value: Any) -> bytes:
    """Write a frame: None, bool, int, float, str, bytes, lists, maps by name, and numpy's numbers and arrays.

    Raises WireError for anything else, for arrays of other dtypes than bool, int, uint and float, and for more than
    MAX_FRAME bytes.
    """
    try:
        frame = msgpack.packb(value, default=_encode)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"this cannot be sent: {error}") from error
    if not isinstance(frame, bytes) or len(frame) > MAX_FRAME:
        raise WireError(f"this cannot be sent: a frame has at most {MAX_FRAME} bytes")
    return frame


def unpack(frame: bytes) -> Any:
    """Read a frame. Arrays are read-only views of it. Raises WireError for whatever is not as `pack` writes it.

    A numpy scalar, which openpi's own writer knows, becomes a number of Python.
    """
    if len(frame) > MAX_FRAME:
        raise WireError(f"the frame has more than {MAX_FRAME} bytes")
    counter = _Counter()
    try:
        value = msgpack.unpackb(
            frame,
            object_hook=counter.decode_map,
            list_hook=counter.count_list,
            ext_hook=_refuse_extension,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except WireError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"the frame is no msgpack: {type(error).__name__} {error}"[:200]) from error
    _check_content(value)
    return value


class _Counter:
    """Count the items of a frame while it is read, and decode its arrays."""

    def __init__(self) -> None:
        self._items = 0

    def decode_map(self, value: dict[Any, Any]) -> Any:
        self._count(len(value))
        if b"__ndarray__" in value:
            return _decode_array(value)
        return _decode_scalar(value) if b"__npgeneric__" in value else value

    def count_list(self, value: list[Any]) -> list[Any]:
        self._count(len(value))
        return value

    def _count(self, items: int) -> None:
        self._items += items + 1
        if self._items > MAX_ALL_ITEMS:
            raise WireError(f"the frame has more than {MAX_ALL_ITEMS} items")


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        _find_dtype(value.dtype.str)
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.bool_ | np.integer | np.floating):
        _find_dtype(value.dtype.str)
        return value.item()
    raise TypeError(f"no {type(value).__name__} goes onto the wire")


def _decode_array(value: dict[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array of a map of `data` (bytes), `dtype` (text) and `shape` (list of int). Raises WireError."""
    data, shape = value.get(b"data"), value.get(b"shape")
    dtype = _find_dtype(value.get(b"dtype"))
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > MAX_AXES:
        raise WireError("an array has no data, or no shape")
    if any(type(side) is not int or not 0 <= side <= MAX_FRAME for side in shape):
        raise WireError("an array has a side that is no length")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise WireError("an array has another size than its shape")
    return np.ndarray(tuple(shape), dtype, data)


def _decode_scalar(value: dict[Any, Any]) -> Any:
    """Return the number of a map of `data` and `dtype`. Raises WireError."""
    dtype, number = _find_dtype(value.get(b"dtype")), value.get(b"data")
    if type(number) not in (bool, int, float) or (dtype.kind in "iu") != (type(number) is int):
        raise WireError("a number is not of its dtype")
    return number


def _find_dtype(text: Any) -> np.dtype[Any]:
    """Return the dtype of this name. Raises WireError for one that is neither bool, int, uint nor float."""
    if not isinstance(text, str) or not DTYPE.fullmatch(text):
        raise WireError(f"arrays of {str(text)[:20]!r} are not sent or taken")
    return np.dtype(text)


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise WireError(f"the frame has an extension of msgpack ({code})")


def _check_content(value: Any) -> None:
    """Check the depth, and the types that msgpack makes by itself (times). Raises WireError."""
    layer = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in layer:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif not isinstance(one, np.ndarray | str | bytes | int | float | None):
                raise WireError(f"the frame has a {type(one).__name__}")
        if not inner:
            return
        layer = inner
    raise WireError(f"the frame is nested more than {MAX_DEPTH} deep")
