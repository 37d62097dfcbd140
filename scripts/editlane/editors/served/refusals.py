"""Tell whether a server's safety system refused an edit, from the code or the words of its answer."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from editlane.core.printable import escape
from editlane.endpoint.http import Refused

REFUSAL_CODES = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
_STATUSES = (400, 403, 422, 451)
_WORDS = re.compile(
    r"safety (system|checker|filter)|safety violation|content[ _-]?(policy|filter)|moderation|nsfw", re.IGNORECASE
)
"""How servers without codes say that a safety checker refused."""


def is_refusal(error: Refused, fields: Mapping[str, Any]) -> bool:
    """Return whether `error` is a refusal of a safety system. `fields`: of the request, which an answer may quote.

    A complaint about a field often quotes it, and a prompt or a negative prompt may well name a filter.
    """
    if error.code in REFUSAL_CODES:
        return True
    return error.status in _STATUSES and bool(_WORDS.search(_leave_out(str(error), fields)))


def _leave_out(text: str, fields: Mapping[str, Any]) -> str:
    """Return the text without the texts of fields, as a whole or, at its end, cut off."""
    for field in fields.values():
        if not (isinstance(field, str) and _WORDS.search(field)):
            continue
        for quoted in _list_spellings(field):
            text = text.replace(quoted, "")
            length = min(len(quoted), len(text))
            text = text[: -next((n for n in range(length, 0, -1) if text.endswith(quoted[:n])), 0) or None]
    return text


def _list_spellings(field: str) -> Iterator[str]:
    """Yield how a message in one line may quote a text: as it is, or as JSON or Python writes it."""
    for spelled in (field, json.dumps(field)[1:-1], json.dumps(field, ensure_ascii=False)[1:-1], repr(field)[1:-1]):
        yield escape(" ".join(spelled.split()))
