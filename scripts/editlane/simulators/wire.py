"""The frames between Editlane and its simulators: 4 bytes length (big-endian), then msgpack. No pickle."""

import math
from typing import Any, TypeVar

import msgspec
import numpy as np

HEAD = 4
"""Bytes before each frame: its length, big-endian."""
LONGEST_FRAME = 64 * 2**20
"""Bytes."""

_ARRAY = 1
"""The type of msgpack's extension that holds an array."""
_MOST_AXES = 8


class EpisodeTask(msgspec.Struct, frozen=True):
    """What is played: a task of a suite from one of its initial states."""

    suite: str
    task_id: int
    seed: int = 7
    init_state: int = 0
    prompt: str | None = None
    """What the policy is told; None: the task's own words."""


class Reset(msgspec.Struct, frozen=True, tag=True):
    """Begin an episode. Answered by Began or Failed."""

    task: EpisodeTask
    needs: tuple[str, ...] = ()
    """Names of what the policy wants to know beyond pictures and the robot's state."""


class Act(msgspec.Struct, frozen=True, tag=True):
    """Take steps, and stop at the one that solves the task. Answered by Acted or Failed."""

    actions: Any
    """float [steps, 7]."""
    look: bool = True
    """Whether somebody will look at what the last step shows."""


Request = Reset | Act


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The simulator's process runs."""

    versions: dict[str, str]
    """Of what decides about an episode, such as mujoco, and the renderer."""


class Began(msgspec.Struct, frozen=True, tag=True):
    """An episode has begun, and all has come to rest."""

    instruction: str
    max_steps: int
    observation: dict[str, Any]


class Acted(msgspec.Struct, frozen=True, tag=True):
    """Steps were taken."""

    steps: int
    solved: bool
    observation: dict[str, Any] | None
    """None if nobody looks at it."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no such task (`unknown_task`), or the process ends (`simulator`)."""

    kind: str
    message: str


Answer = Hello | Began | Acted | Failed
Message = TypeVar("Message")


def frame(message: Request | Answer) -> bytes:
    """Encode a message with its length before it.

    Raises TypeError if it holds an array of anything but bools, integers and floats.
    """
    body = msgspec.msgpack.encode(message, enc_hook=_encode)
    return len(body).to_bytes(HEAD, "big") + body


def unpack_request(body: bytes) -> Request:
    """Decode what a simulator is asked. Raises ValueError if it is anything else."""
    return _unpack(_REQUESTS, body)


def unpack_answer(body: bytes) -> Answer:
    """Decode what a simulator answered. Raises ValueError if it is anything else."""
    return _unpack(_ANSWERS, body)


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode((value.dtype.str, value.shape, value.tobytes())))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a frame cannot hold {type(value).__name__}")


_unpack_array = msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], bytes]).decode


def _decode(code: int, data: memoryview) -> Any:
    """Return an array, which is read-only. Raises ValueError before numpy believes what does not fit."""
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    name, shape, content = _unpack_array(data)
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise ValueError("unknown dtype") from error
    if dtype.kind not in "biuf" or len(shape) > _MOST_AXES or any(side < 0 for side in shape):
        raise ValueError(f"refused an array of {dtype} with {len(shape)} axes")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("an array whose size is not its shape's")
    return np.frombuffer(content, dtype).reshape(shape)


_REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request, ext_hook=_decode)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer, ext_hook=_decode)


def _unpack(decoder: "msgspec.msgpack.Decoder[Message]", body: bytes) -> Message:
    try:
        return decoder.decode(body)
    except RecursionError as error:
        raise ValueError("a frame that is nested too deeply") from error
