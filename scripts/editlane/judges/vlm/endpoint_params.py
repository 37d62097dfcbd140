"""Define the settings of a judge behind a server, hosted ones included."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from editlane.core.params import SPEED
from editlane.judges.endpoint.params import EndpointParams

RESERVED = frozenset({"model", "messages", "stream", "n", "logprobs", "top_logprobs", "max_tokens", "seed"})
"""Fields of a request that `request` cannot set."""


def _check_request(fields: dict[str, Any]) -> dict[str, Any]:
    taken = sorted(RESERVED & fields.keys())
    if taken:
        raise ValueError(f"it sets {', '.join(taken)}, which Editlane sets itself; remove it.")
    return fields


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
    """Further fields of each request, such as `{reasoning_effort: low}`."""
    requests_per_minute: Annotated[float | None, Field(gt=0, le=1e6), SPEED] = None
    """Requests that all lanes of the run together send in a minute, the arena's included; null for as many as the
    server answers."""
    max_requests: Annotated[int | None, Field(ge=1), SPEED] = None
    """Requests that all lanes send together until the run is finished, however often it is resumed; every attempt
    counts, for scores, controls and the arena. Then the lanes end with a message, and a larger number goes on. null for
    no limit."""

    @property
    def samples(self) -> bool:
        """True, because servers draw at any temperature: they batch as they like, and hosted ones promise nothing."""
        return True
