"""Frames of the openpi protocol: what is written is read again, and nothing else can be read."""

import struct
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from editlane.robots import wire
from editlane.robots.wire import WireError, pack, unpack

ARRAYS = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="?"),
        hnp.unsigned_integer_dtypes(endianness="?"),
        hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
    ),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(), st.binary()
)
VALUES = st.recursive(
    PLAIN | ARRAYS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the bit, arrays with their dtype and shape."""
    if isinstance(one, np.ndarray):
        same = isinstance(other, np.ndarray) and (one.dtype, one.shape) == (other.dtype, other.shape)
        return same and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and one == other


def array(dtype: Any = "<f4", shape: Any = (2,), data: Any = b"12345678") -> dict[bytes, Any]:
    """An array as the protocol has it."""
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert is_same(value, unpack(pack(value)))


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(frame: bytes) -> None:
    try:
        value = unpack(frame)
    except WireError as error:
        assert "\n" not in str(error)[:20]
    else:
        repr(value)  # would crash on an array of objects


@given(VALUES, st.data())
@settings(max_examples=300)
def test_a_changed_byte_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    frame = bytearray(pack({"a": np.arange(3.0), "b": value}))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        repr(unpack(bytes(frame)))


@given(st.text(max_size=12) | st.binary(max_size=6) | st.none() | st.integers(0, 9))
def test_no_text_but_that_of_plain_numbers_is_a_dtype(dtype: Any) -> None:
    try:
        read = unpack(msgpack.packb(array(dtype, (0,), b"")))
    except WireError:
        return
    assert read.dtype.kind in "biuf"


@pytest.mark.parametrize(
    "dtype", ["|O", "O", "|V8", "u1,O", "<U4", "|S4", "<c8", "<M8[s]", "(2,)f4", "f4 ", b"<f4", ""]
)
def test_an_array_of_anything_but_numbers_is_refused(dtype: Any) -> None:
    with pytest.raises(WireError, match="arrays of"):
        unpack(msgpack.packb(array(dtype)))


@pytest.mark.parametrize(
    "wrong",
    [
        array(data=b"1234567"),
        array(data="12345678"),
        array(shape=(3,)),
        array(shape=(-1, -2)),
        array(shape=(2.0,)),
        array(shape=(True, 2)),
        array(shape=2),
        array(shape=(0, 2**40), data=b""),
        array(shape=(1,) * 9, data=b"1234"),
        {b"__ndarray__": True},
        {b"__npgeneric__": True, b"data": b"1234", b"dtype": "<f4"},
        {b"__npgeneric__": True, b"data": 1, b"dtype": "|O"},
        {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<i8"},
        {1: 2},
        {"time": msgpack.Timestamp(1, 0)},
        {"extension": msgpack.ExtType(5, b"")},
    ],
)
def test_what_is_not_as_it_is_written_is_refused(wrong: Any) -> None:
    with pytest.raises(WireError):
        unpack(msgpack.packb(wrong))


def test_numbers_of_numpy_become_numbers() -> None:
    assert unpack(pack([np.float32(0.5), np.int64(-3), np.bool_(True)])) == [0.5, -3, True]
    theirs = msgpack.packb({b"__npgeneric__": True, b"data": 7, b"dtype": "<i8"})
    assert unpack(theirs) == 7


@pytest.mark.parametrize(
    "frame",
    [
        b"\x91" * 17 + b"\xc0",
        b"\x91" * 5000 + b"\xc0",
        b"\x81\xa1a" * 900 + b"\xc0",
        b"\xdd" + struct.pack(">I", 2**31),
        b"\xdf" + struct.pack(">I", 2**31),
        b"\xc6" + struct.pack(">I", 2**32 - 1) + b"x",
        b"\xdc\x10\x00" * 900,
        b"\xdc\x10\x00" + b"\xdc\x00\xff" * 4096,
        msgpack.packb([[None] * 4096] * 17),
        pack(1) + pack(2),
        b"",
        b"\xc1",
    ],
    ids=range(12),
)
def test_deep_large_and_broken_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        unpack(frame)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        np.array([None]),
        np.array(["a"]),
        np.array([1j]),
        np.complex64(1),
        np.longdouble(1),
        2**64,
        "\ud800",
        {1, 2},
    ],
)
def test_what_has_no_place_on_the_wire_is_not_written(value: Any) -> None:
    with pytest.raises(WireError, match=r"cannot be sent|arrays of"):
        pack({"a": value})


def test_a_frame_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 100)
    for call, value in ((pack, np.zeros(100)), (unpack, b"\x00" * 101)):
        with pytest.raises(WireError, match="100 bytes"):
            call(value)
