"""Score an edit from several replies to the same questions."""

import math
from collections.abc import Mapping
from typing import Any

from editlane.core.types import State
from editlane.protocols.protocol import ScoringProtocol
from editlane.protocols.repeats import split_replies
from editlane.protocols.scoring import score_replies


def score_all_replies(protocol: ScoringProtocol, replies: Mapping[str, str]) -> dict[str, Any]:
    """Return the score columns of one edit from all replies about it, by question; see `score_replies`.

    Each time that all questions were answered is scored by itself, and the scores are means over these. If one of them
    has no score, the edit has none: its columns are those of the first such one. A criterion that one of them lacks is
    null. `reply` keeps all replies.
    """
    rows = [score_replies(protocol, each) for each in split_replies(replies)]
    if len(rows) == 1:
        return rows[0]
    whole = "\n\n".join(f"[{number}/{len(rows)}] {row['reply']}" for number, row in enumerate(rows, 1))
    unread = [number for number, row in enumerate(rows, 1) if row["state"] != State.SCORED]
    if unread:
        first = rows[unread[0] - 1]
        return first | {"reply": whole, "error": f"reply {unread[0]} of {len(rows)}: {first['error']}"}
    means = {name: _average([row.get(name) for row in rows]) for name in rows[0] if _is_score(name)}
    return rows[0] | means | {"reply": whole}


def _is_score(name: str) -> bool:
    return name == "score" or name.startswith("score_")


def _average(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(math.fsum(known) / len(known), 4) if len(known) == len(values) else None
