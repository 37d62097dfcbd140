"""Read the generated reply of a chat completion, and tell refusals and unfinished ones from it."""

from collections.abc import Callable, Mapping
from typing import Any

from editlane.core.cut_replies import CutReply
from editlane.core.errors import ItemError, JudgeFailed
from editlane.core.text_width import pluralize
from editlane.endpoint.http import shorten
from editlane.judges.endpoint.completions import JudgeRefused, read_text

REFUSALS = ("content_filter", "refusal", "safety", "prohibited")
"""Beginnings of `finish_reason` of a reply that a safety system ended: OpenAI and Azure, Anthropic, Google."""


CUT = ("length", "model_length", "max_tokens", "repetition")
"""`finish_reason` of a reply that did not come to its end: OpenAI and most others, Mistral, Anthropic; vLLM, of a reply
that goes round in circles."""
BROKEN = ("error", "abort")
"""`finish_reason` of a reply that broke off in the server: Mistral, OpenRouter and vLLM; SGLang and vLLM."""


class NothingSaid(ItemError):
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


def read_reply(parts: Mapping[str, Any], clean: Callable[[str], str]) -> str:
    """Return the text of a chat completion of these parts, a `CutReply` if it ended at the limit of tokens.

    `clean`: takes what is no part of the reply out of its text, such as thoughts. Raises JudgeRefused for a refusal,
    JudgeFailed of kind `transport` for a reply that broke off, and NothingSaid for one that ended at the limit before
    it said anything.
    """
    reason = parts["reason"].lower()
    if parts["refusal"] and not parts["text"]:
        raise JudgeRefused(f"the model refuses to judge: {shorten(parts['refusal'])}")
    if reason.startswith(REFUSALS):
        raise JudgeRefused(f"a safety system ended the reply (finish_reason {shorten(reason)})")
    if reason in BROKEN:
        raise JudgeFailed(f"the reply broke off in the server (finish_reason {reason})", kind="transport")
    text = clean(parts["text"])
    if reason not in CUT:
        return text
    if not text.strip():
        spent = "" if parts["tokens"] is None else f" after {pluralize(parts['tokens'], 'token')}"
        raise NothingSaid(
            f"the reply ended{spent} before it said anything; a model that reasons first needs `adapter: vlm` with "
            "a larger `reasoning_tokens` in `params`"
        )
    return CutReply(text)
