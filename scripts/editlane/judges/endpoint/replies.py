"""Read the generated reply of a chat completion, and tell a refusal from it."""

from typing import Any

from editlane.core.errors import ItemError
from editlane.core.text_width import pluralize
from editlane.judges.endpoint.completions import read_text

REFUSALS = ("content_filter", "refusal", "safety", "prohibited")
"""Beginnings of `finish_reason` of a reply that a safety system ended: OpenAI and Azure, Anthropic, Google."""


class JudgeRefused(ItemError):
    """The judge, or a safety system in front of it, will not judge this edit."""

    state = "judge_unreadable"
    kind = "refused"


class ReplyCut(ItemError):
    """The reply ended before it said anything, as of a model that reasons first."""

    state = "judge_unreadable"
    kind = "cut"


def read_reply(reply: Any) -> str:
    """Return the text of a chat completion.

    Raises JudgeRefused for a refusal, ReplyCut for one without text that ended at the limit of tokens, and JudgeFailed
    if it is not a chat completion.
    """
    text = read_text(reply)
    choice = reply["choices"][0]
    refusal, reason = choice["message"].get("refusal"), str(choice.get("finish_reason") or "").lower()
    if isinstance(refusal, str) and refusal and not text:
        raise JudgeRefused(f"the model refuses to judge: {refusal}")
    if reason.startswith(REFUSALS):
        raise JudgeRefused(f"a safety system ended the reply (finish_reason {reason})")
    if not text.strip() and reason == "length":
        used = (reply.get("usage") or {}).get("completion_tokens")
        spent = f" after {pluralize(used, 'token')}" if isinstance(used, int) else ""
        raise ReplyCut(
            f"the reply ended{spent} before it said anything; a model that reasons first needs `reasoning_tokens` in "
            "`params`"
        )
    return text
