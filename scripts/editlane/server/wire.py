"""The requests and answers of /v1/score, and the frames between the server and its workers."""

import base64
from typing import Annotated, Any, TypedDict

import msgspec

from editlane.core.types import SCALE, Row, State

WARNING_HEADER = "X-Editlane-Warning"
"""Of every answer, if a judge has changed."""

Seconds = Annotated[float, msgspec.Meta(gt=0)]


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
    deadline_s: Seconds | None = None


class JsonItem(msgspec.Struct, forbid_unknown_fields=True):
    """A ScoreItem with base64, which is decoded item by item: one that is damaged fails alone."""

    source: str
    edited: str
    instruction: str
    category: str | None = None
    description: str | None = None
    rationale: str | None = None
    id: str | None = None


class JsonRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A ScoreRequest of such items."""

    items: list[JsonItem]
    judge: str | None = None
    deadline_s: Seconds | None = None


_decode_json_request = msgspec.json.Decoder(JsonRequest).decode


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
        pass
    try:  # as `base64 file` prints it, in lines
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return b""


def is_text(value: Any) -> bool:
    """Return whether this is text that a file can hold: JSON and pickles can have halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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


class Chunk(msgspec.Struct, array_like=True, frozen=True):
    """Edits that a worker is handed at once."""

    number: int
    edits: list[Fields]


unpack_chunk = msgspec.msgpack.Decoder(Chunk).decode


def frame(message: Any) -> bytes:
    """Encode a message with its length before it."""
    body = pack(message)
    return len(body).to_bytes(HEAD, "big") + body


class Failure(TypedDict):
    """Why an edit has no score."""

    kind: str
    message: str


class Answer(TypedDict):
    """What came of one edit: a score of 0 to 10 with its parts, or an error."""

    state: str
    score: float | None
    reward: float | None
    scores: dict[str, float | None]
    mass: float | None
    entropy: float | None
    cached: bool
    judge: str | None
    judge_key: str | None
    error: Failure | None


class NamedAnswer(Answer):
    """The same under the id that the request gives the edit, or else its place."""

    id: str


class ScoreAnswer(TypedDict):
    """The answer of /v1/score, in the order of the request."""

    items: list[NamedAnswer]
    n_ok: int
    n_error: int


class PanelItem(TypedDict):
    """What came of one edit with every judge."""

    id: str
    judges: dict[str, Answer]


class PanelAnswer(TypedDict):
    """The answer of /v1/score by all judges. An edit is ok if each of them has scored it."""

    items: list[PanelItem]
    n_ok: int
    n_error: int


class RowsAnswer(TypedDict):
    """The answer of /v1/rows: the score columns of a run's table."""

    rows: list[dict[str, Any]]


class JobBegun(TypedDict):
    """The answer to a new job."""

    id: str
    count: int


class JobProgress(TypedDict):
    """How far a job is. What is not there yet is null."""

    id: str
    state: str
    count: int
    done: int
    n_ok: int
    n_error: int
    items: list[NamedAnswer | None]


class Refusal(TypedDict):
    """Why a request as a whole was not answered."""

    error: str


def make_answer(row: Row) -> Answer:
    """Return what a client is told of a row: every number of it, or why there is none."""
    score = row["score"]
    error: Failure | None = None if score is not None else {"kind": row["error_kind"], "message": row["error"]}
    scores = {name.removeprefix("score_"): row[name] for name in row if _is_criterion(name)}
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


def name_answer(name: str, row: Row) -> NamedAnswer:
    """Return the same under the id of the edit."""
    return {"id": name, **make_answer(row)}


def _is_criterion(column: str) -> bool:
    return column.startswith("score_") and column not in ("score_seconds", "score_device")


_STATES = frozenset(map(str, State))


def check_row(row: Any) -> Row:
    """Return a row from outside if its state and its score fit. Raises ValueError: no score is taken from nonsense."""
    if not isinstance(row, dict) or not {"score", "state", "error_kind", "error"} <= row.keys():
        raise ValueError("no row")
    score = row["score"]
    is_number = isinstance(score, int | float) and not isinstance(score, bool) and SCALE[0] <= score <= SCALE[1]
    if not all(row[name] is None or isinstance(row[name], str) for name in ("state", "error_kind", "error")):
        raise ValueError("a state or an error that is no text")
    if row["state"] not in _STATES or (row["state"] == State.SCORED) != is_number or not (is_number or score is None):
        raise ValueError("a state and a score that do not fit")
    return row
