"""Read the generated reply of a chat completion, and tell a refusal from it."""

from collections.abc import Mapping
from typing import Any

from editlane.core.errors import ItemError
from editlane.core.text_width import pluralize
from editlane.endpoint.http import shorten
from editlane.judges.endpoint.completions import JudgeRefused, read_text

REFUSALS = ("content_filter", "refusal", "safety", "prohibited")
"""Beginnings of `finish_reason` of a reply that a safety system ended: OpenAI and Azure, Anthropic, Google."""


class ReplyCut(ItemError):
    """The reply ended before it said anything, as of a model that reasons first."""

    state = "judge_unreadable"
    kind = "cut"


def read_parts(reply: Any) -> dict[str, Any]:
    """Return what `read_reply` needs of a chat completion, as JSON, in which `Endpoint.ask` then hides the key.

    Raises JudgeFailed if it is not a chat completion.
    """
    text, choice, usage = read_text(reply), reply["choices"][0], reply.get("usage")
    used = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return {
        "text": text,
        "refusal": _as_text(choice["message"].get("refusal")),
        "reason": _as_text(choice.get("finish_reason")),
        "tokens": used if type(used) is int else None,
    }


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def read_reply(parts: Mapping[str, Any]) -> str:
    """Return the text of a chat completion of these parts.

    Raises JudgeRefused for a refusal, and ReplyCut for a reply without text that ended at the limit of tokens.
    """
    text: str = parts["text"]
    reason = parts["reason"].lower()
    if parts["refusal"] and not text:
        raise JudgeRefused(f"the model refuses to judge: {shorten(parts['refusal'])}")
    if reason.startswith(REFUSALS):
        raise JudgeRefused(f"a safety system ended the reply (finish_reason {shorten(reason)})")
    if not text.strip() and reason == "length":
        spent = "" if parts["tokens"] is None else f" after {pluralize(parts['tokens'], 'token')}"
        raise ReplyCut(
            f"the reply ended{spent} before it said anything; a model that reasons first needs `reasoning_tokens` in "
            "`params`"
        )
    return text
