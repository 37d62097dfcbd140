"""Define where the server of a judge is, and how it is asked."""

import math
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from editlane.core.params import SPEED
from editlane.core.strict_model import Text
from editlane.core.urls import check_proxy, check_url, check_variable
from editlane.judges.chat import ChatJudgeParams
from editlane.judges.endpoint.completions import Constraint


class EndpointParams(ChatJudgeParams):
    """Settings of this judge."""

    base_url: Annotated[Annotated[str, AfterValidator(check_url)] | None, SPEED] = None
    """Address of the server, for example `http://127.0.0.1:8000/v1`; requests go to `/chat/completions` and `/models`
    below it. Exactly one of `base_url` and `fleet` is needed."""
    fleet: Annotated[Text | None, SPEED] = None
    """Config file of a fleet (config/fleet.md), in the place of `base_url`. `model` is then the name of one of its
    adapters or of its base model. The published name, which changes with the weights, counts as the model."""
    api_key_env: Annotated[str | None, BeforeValidator(check_variable), SPEED] = None
    """Environment variable that holds the key; the key itself is never in the config. null with `fleet`: its
    `token_env`."""
    proxy: Annotated[Annotated[str, AfterValidator(check_proxy)] | None, SPEED] = None
    """Proxy on the way to `base_url`, for example `http://proxy:3128`; null for none, whatever the environment says."""
    concurrency: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits that are judged at once."""
    timeout: Annotated[float, Field(ge=0.01, le=1e6), SPEED] = 120.0
    """Seconds for one attempt."""
    attempts: Annotated[int, Field(ge=1), SPEED] = 5
    """Maximum number of attempts for a request, if another attempt may succeed."""
    requests_per_minute: Annotated[float | None, Field(gt=0, le=1e6), SPEED] = None
    """Requests that all lanes of the run together send in a minute, the arena's included; null for as many as the
    server answers."""
    max_requests: Annotated[int | None, Field(ge=1), SPEED] = None
    """Requests that all lanes send together until the run is finished, however often it is resumed; every attempt
    counts, for scores, controls and the arena. Then the lanes end with a message, and a larger number goes on. null for
    no limit."""
    answer_constraint: Constraint | None = "structured_outputs"
    """Request field of vLLM that allows legal answers only; null if the server has none."""

    @property
    def edits_per_batch(self) -> int:
        """Twice the edits judged at once, so that few wait for the slowest of a batch.

        With a rate they are fewer, because a lane has no progress until a batch is saved.
        """
        most, rate = 2 * self.concurrency, self.requests_per_minute
        return most if rate is None else min(most, math.ceil(rate / 2))

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        """Raise ValueError unless one place is named."""
        if (self.base_url is None) == (self.fleet is None):
            what = (
                "neither `base_url` nor `fleet` is there"
                if self.fleet is None
                else "`base_url` and `fleet` are both there"
            )
            raise ValueError(
                f"{what}; set one: `base_url` to the address of a server, such as http://127.0.0.1:8000/v1, or `fleet` "
                "to the config of a fleet, such as config/fleet.yaml."
            )
        return self
