"""Tell whether a server's safety system refused a request, from the code or the words of its answer."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile

from editlane.core.printable import escape
from editlane.endpoint.http import Refused

REFUSAL_CODES = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
"""OpenAI's and Azure's codes for it."""
_STATUSES = (400, 403, 422, 451)
_WORDS = re.compile(
    r"safety (system|checker|filter)|safety violation|content[ _-]?(policy|filter)|content management policy"
    r"|moderation|nsfw",
    re.IGNORECASE,
)
"""How servers without codes say that a safety checker refused."""
SHORTEST = 12
"""Letters from which on a beginning of a text is taken for a quote of it."""


def is_refusal(error: Refused, texts: Iterable[str]) -> bool:
    """Return whether `error` is a refusal of a safety system. `texts`: of the request, which an answer may quote.

    A complaint about a request often quotes it, and an instruction may well name a filter.
    """
    if error.code in REFUSAL_CODES:
        return True
    return error.status in _STATUSES and bool(_WORDS.search(_leave_out(str(error), texts)))


def _leave_out(said: str, texts: Iterable[str]) -> str:
    """Return what was said without the texts, as a whole or cut off."""
    for text in filter(_WORDS.search, texts):
        for quoted in _list_spellings(text):
            said = _leave_out_beginnings(said, quoted)
    return said


def _leave_out_beginnings(said: str, quoted: str) -> str:
    """Return what was said without the beginnings of `quoted`, of which messages often show no more.

    Beginnings of fewer than SHORTEST letters are left out at the end only, where a message was cut.
    """
    start = quoted[:SHORTEST]
    kept, rest = "", said
    while start and start in rest:
        before, _, after = rest.partition(start)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(after, quoted[len(start) :], strict=False))
        kept, rest = kept + before, after[len(list(same)) :]
    said = kept + rest
    return said[: -next((n for n in range(len(start), 0, -1) if said.endswith(quoted[:n])), 0) or None]


def _list_spellings(text: str) -> Iterator[str]:
    """Yield how a message in one line may quote a text: as it is, or as JSON or Python writes it."""
    for spelled in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
        yield escape(" ".join(spelled.split()))
