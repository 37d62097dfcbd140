"""Settings that editors and judges behind a server have in common: where it is, and how much it may be asked."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from editlane.core.params import SPEED, Params
from editlane.core.strict_model import Text
from editlane.core.urls import check_proxy, check_url, check_variable


class ServerParams(Params):
    """Settings of this model's server."""

    base_url: Annotated[Annotated[str, AfterValidator(check_url)] | None, SPEED] = None
    """Address of the server, for example `http://127.0.0.1:8000/v1`, to which the paths of OpenAI's interface are
    appended. Exactly one of `base_url` and `fleet` is needed."""
    fleet: Annotated[Text | None, SPEED] = None
    """Config file of a fleet (config/fleet.md), in the place of `base_url`. `model` is then the name of one of its
    adapters or of its base model. The published name, which changes with the weights, counts as the model."""
    api_key_env: Annotated[str | None, BeforeValidator(check_variable), SPEED] = None
    """Environment variable that holds the key; the key itself is never in the config. null with `fleet`: its
    `token_env`."""
    proxy: Annotated[Annotated[str, AfterValidator(check_proxy)] | None, SPEED] = None
    """Proxy on the way to `base_url`, for example `http://proxy:3128`; null for none, whatever the environment says."""
    requests_per_minute: Annotated[Annotated[float, Field(gt=0, le=1e6)] | None, SPEED] = None
    """Requests that all lanes of the run together send in a minute, the arena's included; null for as many as the
    server answers."""
    max_requests: Annotated[Annotated[int, Field(ge=1)] | None, SPEED] = None
    """Requests that all lanes send together until the run is finished, however often it is resumed; every attempt
    counts, for edits and tests of the server, or for scores, controls and the arena. Then the lanes end with a message,
    and a larger number goes on. null for no limit."""

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
        if self.fleet is not None and self.proxy is not None:
            raise ValueError("a fleet is asked without a proxy. Remove `proxy`, or set `base_url`.")
        return self
