"""How servers of different makes want an observation, and how they say that they cannot act on it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np

from editlane.core.errors import one_line
from editlane.robots.wire import WireError, pack, unpack

Observation = Mapping[str, Any]
"""What a simulator sees, by openpi's names: `observation/image` and `observation/wrist_image` (uint8, [height, width,
3]), `observation/state` (float64 [8]), `prompt` (text), and what else the policy needs."""
Metadata = Mapping[str, Any]
"""What a server tells in its first frame."""

CAMERAS = ("observation/image", "observation/wrist_image")
LIBERO_CAMERAS = ("image", "image2")
"""SGLang's names of the two, for policies of LIBERO."""


LARGEST_METADATA = 64 * 1024
"""Bytes of a server's metadata as JSON."""


class UnfitServer(Exception):
    """A server cannot take part: it serves another policy, or one that looks at other cameras. The message says why."""


class UnsendableObservation(Exception):
    """An observation lacks something, or holds what has no place on the wire. No server is to blame."""


class Refusal(Exception):
    """A server says that it cannot act on this observation; the message is what it says."""

    def __init__(self, message: str, *, keeps_socket: bool) -> None:
        super().__init__(message)
        self.keeps_socket = keeps_socket
        """Whether the next frame of this socket will belong to the next observation."""


def _make_openpi_request(observation: Observation, metadata: Metadata) -> dict[str, Any]:
    return dict(observation)


def _make_sglang_request(observation: Observation, metadata: Metadata) -> dict[str, Any]:
    pictures = {f"observation.images.{key}": picture for key, picture in _name_pictures(observation, metadata).items()}
    state = np.asarray(observation["observation/state"], np.float32)
    return {"task": observation["prompt"], "observation.state": state, "output_format": "numpy"} | pictures


def _make_http_request(observation: Observation, metadata: Metadata) -> dict[str, Any]:
    state = np.asarray(observation["observation/state"], np.float32)
    return {
        "input": {
            "task": observation["prompt"],
            "observation": {"images": _name_pictures(observation, metadata), "state": state},
        },
        "runtime": {"output_format": "numpy", "response_format": "envelope"},
    }


def _name_pictures(observation: Observation, metadata: Metadata) -> dict[str, Any]:
    """Name the pictures as the server's metadata does. Raises UnfitServer for more than two cameras."""
    told = metadata.get("input", metadata)
    keys = told.get("image_keys", LIBERO_CAMERAS) if isinstance(told, Mapping) else LIBERO_CAMERAS
    if not isinstance(keys, list | tuple) or len(keys) > len(CAMERAS) or not all(isinstance(key, str) for key in keys):
        raise UnfitServer(f"its policy wants the cameras {str(keys)[:100]}; there are two")
    return {
        key.removeprefix("observation.images."): observation[camera] for key, camera in zip(keys, CAMERAS, strict=False)
    }


def _make_omni_request(observation: Observation, metadata: Metadata) -> dict[str, Any]:
    """Begin a session for each observation: the next one may be of another episode, or go to another server."""
    return {"endpoint": "infer", "session_id": uuid4().hex} | dict(observation)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to ask one make of server."""

    path: str
    make_request: Callable[[Observation, Metadata], dict[str, Any]]


HTTP = "sglang-http"
"""The one dialect that is spoken without a WebSocket."""
DIALECTS = {
    "openpi": Dialect("/", _make_openpi_request),
    "sglang": Dialect("/openpi/policy", _make_sglang_request),
    HTTP: Dialect("/v1/actions/generations", _make_http_request),
    "vllm-omni": Dialect("/v1/realtime/robot/openpi", _make_omni_request),
}


def make_frame(dialect: str, observation: Observation, metadata: Metadata) -> bytes:
    """Write an observation for a server. Raises UnsendableObservation, and UnfitServer."""
    try:
        return pack(DIALECTS[dialect].make_request(observation, metadata))
    except KeyError as error:
        raise UnsendableObservation(f"the observation lacks {error}") from error
    except WireError as error:
        raise UnsendableObservation(str(error)) from error


def read_answer(frame: str | bytes) -> dict[str, Any]:
    """Read a server's answer as a map with `actions`. Raises Refusal, and WireError for garbage.

    openpi and SGLang send a traceback as text and close the socket; vLLM-Omni sends a map and keeps it.
    """
    if isinstance(frame, str):
        raise Refusal((frame.strip().splitlines() or ["an empty text"])[-1], keeps_socket=False)
    answer = unpack(frame)
    if isinstance(answer, np.ndarray):
        return {"actions": answer}
    if not isinstance(answer, dict):
        raise WireError(f"the answer is {type(answer).__name__}, not a map")
    if answer.get("type") == "error":
        raise Refusal(str(answer.get("message", "an error")), keeps_socket=True)
    return answer


def read_metadata(metadata: Any) -> dict[str, Any]:
    """Read what a server tells first as what JSON can hold. Raises WireError for garbage, UnfitServer for no JSON."""
    if not isinstance(metadata, dict):
        raise WireError(f"the metadata is {type(metadata).__name__}, not a map")
    try:
        written = json.dumps(metadata, sort_keys=True, default=_to_json, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:  # NaN and halves of characters, too
        raise UnfitServer(f"its metadata cannot be compared: {one_line(error)}") from error
    if len(written) > LARGEST_METADATA:
        raise UnfitServer(f"its metadata has {len(written)} bytes, more than {LARGEST_METADATA}")
    read: dict[str, Any] = json.loads(written)
    return read


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.hex()  # bytes; frames hold nothing else
