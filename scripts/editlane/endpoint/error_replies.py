"""Read what a server says of an error: OpenAI's JSON, FastAPI's complaints, or any text."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Message(NamedTuple):
    """What a server says."""

    text: str
    code: str
    """OpenAI's `code` beside the text; empty if there is none."""


def is_error(answer: Any) -> bool:
    """Return whether this is an error though its status is that of an answer.

    Servers in front of other servers send it so when a model has begun to answer.
    """
    return isinstance(answer, Mapping) and bool(answer.get("error")) and not answer.keys() & {"choices", "data"}


def read_status(answer: Mapping[str, Any]) -> int:
    """Return the status that an error has in its text, or 400."""
    code = answer["error"].get("code") if isinstance(answer["error"], Mapping) else None
    return code if type(code) is int and 400 <= code < 600 else 400


def parse_error(content: bytes) -> Any:
    """Return the JSON of an error reply, or its whole text."""
    text = content.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def read_message(found: Any) -> Message:
    """Return the message of an error: OpenAI's JSON field, or all of it."""
    code = ""
    for name in ("error", "message", "detail"):
        if isinstance(found, Mapping) and name in found:
            code = found["code"] if isinstance(found.get("code"), str) else code
            found = found[name]
    if isinstance(found, list):
        found = "; ".join(filter(None, map(_read_complaint, found))) or found
    return Message(found if isinstance(found, str) else json.dumps(found), code)


def _read_complaint(found: Any) -> str:
    """Return the place and the message of one of FastAPI's complaints, without the input; empty if it is none."""
    match found:
        case {"msg": str(said), "loc": [*place]}:
            return f"{'.'.join(map(str, place))}: {said}"
    return ""
