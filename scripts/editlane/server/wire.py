"""The requests and answers of /v1/score, and the frames between the server and its workers."""

import base64
from typing import Any

import msgspec

from editlane.core.types import SCALE, Row, State


class ScoreItem(msgspec.Struct, forbid_unknown_fields=True):
    """One edit to score. Images are base64 in JSON and bytes in msgpack."""

    source: bytes
    edited: bytes
    instruction: str
    category: str | None = None
    description: str | None = None
    rationale: str | None = None
    id: str | None = None


class ScoreRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of /v1/score and /v1/jobs."""

    items: list[ScoreItem]
    judge: str | None = None
    deadline_s: float | None = None


class _JsonItem(msgspec.Struct, forbid_unknown_fields=True):
    """A ScoreItem with base64, which is decoded item by item: one that is damaged fails alone."""

    source: str
    edited: str
    instruction: str
    category: str | None = None
    description: str | None = None
    rationale: str | None = None
    id: str | None = None


class _JsonRequest(msgspec.Struct, forbid_unknown_fields=True):
    items: list[_JsonItem]
    judge: str | None = None
    deadline_s: float | None = None


_decode_json_request = msgspec.json.Decoder(_JsonRequest).decode


def decode_json(body: bytes) -> ScoreRequest:
    """Return the request in a JSON body. Raises msgspec.DecodeError."""
    request = _decode_json_request(body)
    items = [
        ScoreItem(**msgspec.structs.asdict(item) | {name: decode_image(getattr(item, name)) for name in IMAGES})
        for item in request.items
    ]
    return ScoreRequest(items, request.judge, request.deadline_s)


IMAGES = ("source", "edited")


def decode_image(image: Any) -> bytes:
    """Return the bytes of an image, given as such, as base64 or as a data URL; empty if it is none of these."""
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    if not isinstance(image, str):
        return b""
    text = image.partition(",")[2] if image.startswith("data:") else image
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


decode_msgpack = msgspec.msgpack.Decoder(ScoreRequest).decode
encode_json = msgspec.json.Encoder().encode
pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode

HEAD = 4
"""Bytes before each frame: its length, big-endian."""


class Fields(msgspec.Struct, array_like=True, frozen=True):
    """What a worker needs to know of an edit."""

    key: str
    category: str
    instruction: str
    source: bytes
    edited: bytes
    description: str | None = None
    rationale: str | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly."""
        return len(self.source) + len(self.edited) + 1024


class Hand(msgspec.Struct, array_like=True, frozen=True):
    """Edits that a worker is handed at once."""

    number: int
    edits: list[Fields]


unpack_hand = msgspec.msgpack.Decoder(Hand).decode


def frame(message: Any) -> bytes:
    """Encode a message with its length before it."""
    body = pack(message)
    return len(body).to_bytes(HEAD, "big") + body


def make_answer(row: Row) -> dict[str, Any]:
    """Return what a client is told of a row: every number of it, or why there is none."""
    score = row["score"]
    error = None if score is not None else {"kind": row["error_kind"], "message": row["error"]}
    scores = {name.removeprefix("score_"): value for name, value in row.items() if name in _criteria(row)}
    return {
        "state": row["state"],
        "score": score,
        "reward": None if score is None else round(score / 10, 6),
        "scores": scores,
        "mass": row.get("mass"),
        "entropy": row.get("entropy"),
        "cached": row.get("cached", False),
        "judge": row.get("judge"),
        "judge_key": row.get("judge_key"),
        "error": error,
    }


def _criteria(row: Row) -> set[str]:
    return {name for name in row if name.startswith("score_") and name not in ("score_seconds", "score_device")}


_STATES = frozenset(map(str, State))


def check_row(row: Any) -> Row:
    """Return a row from outside if its state and its score fit. Raises ValueError: no score is taken from nonsense."""
    if not isinstance(row, dict) or not {"score", "state", "error_kind", "error"} <= row.keys():
        raise ValueError("no row")
    score = row["score"]
    is_number = isinstance(score, int | float) and not isinstance(score, bool) and SCALE[0] <= score <= SCALE[1]
    if row["state"] not in _STATES or (row["state"] == State.SCORED) != is_number or not (is_number or score is None):
        raise ValueError("a state and a score that do not fit")
    return row
