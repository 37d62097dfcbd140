"""Define the settings of a judge behind a server, hosted ones included."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from editlane.core.secrets import looks_like_key
from editlane.judges.endpoint.params import EndpointParams

RESERVED = frozenset(
    {
        *("model", "messages", "stream", "n", "logprobs", "top_logprobs", "seed", "temperature"),
        *("max_tokens", "max_completion_tokens", "response_format", "structured_outputs"),
    }
)
"""Fields that Editlane sets itself."""
READ = frozenset(
    {
        *("top_p", "top_k", "min_p", "logit_bias", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("guided_choice", "guided_grammar", "guided_json", "guided_regex", "allowed_token_ids", "bad_words"),
        *("logits_processors", "return_tokens_as_token_ids", "stop", "stop_token_ids", "min_tokens", "ignore_eos"),
        *("echo", "add_generation_prompt", "continue_final_message", "chat_template", "tools", "tool_choice"),
        *("functions", "function_call", "use_beam_search", "best_of"),
    }
)
"""Fields that change which answers are possible, how likely they are, or how they are reported."""


def _check_request(fields: dict[str, Any]) -> dict[str, Any]:
    if any(map(looks_like_key, _iterate_texts(fields))):
        raise ValueError(
            "it holds what looks like a server's key, which would be kept with every score; remove it, and set "
            "`api_key_env` to the environment variable that holds the key."
        )
    taken = sorted(RESERVED & fields.keys())
    if taken:
        raise ValueError(f"it sets {', '.join(taken)}, which Editlane sets itself; remove it.")
    changed = sorted(READ & fields.keys())
    if changed:
        raise ValueError(f"it sets {', '.join(changed)}, which changes the answers that are read; remove it.")
    if not isinstance(fields.get("chat_template_kwargs", {}), dict):
        raise ValueError("its chat_template_kwargs are no mapping; write {enable_thinking: false} or the like.")
    return fields


def _iterate_texts(value: Any) -> Iterator[str]:
    """Iterate over all texts in nested lists and mappings, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _iterate_texts(pair)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _iterate_texts(one)


class VlmEndpointParams(EndpointParams):
    """Settings of this judge."""

    temperature: Annotated[float | None, Field(ge=0, le=2)] = 0.0  # type: ignore[assignment]
    """Sampling temperature of generated replies; null sends none, for models that reject the field. Read-outs do not
    sample."""
    send_seed: bool = True
    """Send a seed with each generated reply that is drawn; false for servers that reject the field."""
    structured_output: bool = False
    """Ask for JSON only (`response_format: json_schema`). The protocol must read JSON, as
    resources/protocols/viescore.yaml does."""
    reasoning_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens that a reply may have beside those of the protocol, for a model that reasons before it replies."""
    tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Request field of the longest reply; newer models of OpenAI take `max_completion_tokens` only."""
    request: Annotated[dict[str, Any], AfterValidator(_check_request)] = Field(default_factory=dict)
    """Further fields of each request, such as `{reasoning_effort: low}`. Fields that change which answers are possible
    or how likely they are, such as `top_p`, are refused."""

    @property
    def samples(self) -> bool:
        """True, because servers draw at any temperature: they batch as they like, and hosted ones promise nothing."""
        return True
