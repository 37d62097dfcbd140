"""Define every key of a fleet's config: its type, default and meaning."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from editlane.core.strict_model import Name, StrictModel, Text
from editlane.core.urls import check_variable

Variable = Annotated[str, BeforeValidator(check_variable)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000)]

OWN_ARGS = frozenset({"--port", "--host", "--api-key", "--served-model-name", "--model"})
"""Arguments of vLLM that the fleet gives."""


class FleetConfig(StrictModel):
    """Every setting of a fleet of model servers. Unknown keys are errors."""

    fleet: Name
    """Name of the fleet; its state and its logs go to `results/fleets/<fleet>/`."""
    model: Text
    """The base model of all servers: a checkpoint folder, or a hub id such as `Qwen/Qwen3-VL-30B-A3B-Instruct`."""
    revision: Text | None = None
    """Commit or tag of the hub model."""
    name: Name | None = None
    """Name under which the base model is served. null: the last part of `model`."""
    serve_base: bool = True
    """Also answer for the base model. `false`: only the adapters should be asked. The base is then served under a name
    that is new with each start, `fleet-...`, which `/v1/models` lists. vLLM on the CPU needs that, because it
    answers base requests with an adapter's weights when both are asked at once."""
    servers: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Model servers on this machine, each on a GPU of its own. null: one per visible GPU."""
    base_port: Port = 8001
    """Port of the first server; the others follow. They listen on 127.0.0.1, and on `host` if other machines' routers
    ask them."""
    port: Port = 8000
    """Port of the router: the one URL for everybody. With `affinity: hard` the routers of further groups have the ports
    below it."""
    metrics_port: Port = 8090
    """Port of the fleet's own metrics for Prometheus; those of the routers follow."""
    host: Text = "127.0.0.1"
    """Address of this machine on which routers and servers listen. Others than this machine's own need `token_env`."""
    token_env: Variable | None = None
    """Environment variable that holds the token which every request must bring, as `Authorization: Bearer`. The token
    itself is never in the config."""
    adapters: dict[Name, Text] = Field(default_factory=dict)
    """LoRA adapters by their names: folders that PEFT saved (`adapter_config.json`, `adapter_model.safetensors`)."""
    groups: dict[Name, list[Name]] = Field(default_factory=dict)
    """Groups of adapters. Accounts are kept by group; with `affinity: hard` each group has servers of its own."""
    affinity: Literal["none", "soft", "hard"] = "none"
    """Where an adapter's requests go. `none`: to the server with the least to do. `soft`: to one server as long as that
    is not full, so that it seldom loads another adapter. `hard`: only to the servers of its group."""
    max_loras: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Adapters in one batch of a server; others wait. null: all of them, at most 8."""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 16
    """Largest rank of an adapter. A larger value than needed costs memory and speed."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.92
    """Share of a GPU's memory that a server takes."""
    max_num_seqs: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Requests that a server works on at once. With `affinity: soft` one that has twice as many, and 64 or
    more, refuses further ones, which then go to another server."""
    max_model_len: Annotated[int, Field(ge=16)] = 32768
    """Tokens of a request and its answer together."""
    dtype: Text = "auto"
    """Number format of the weights, such as `bfloat16`."""
    extra_args: list[Text] = Field(default_factory=list)
    """Further arguments of `vllm serve`, such as `[--enforce-eager]`. Address, port, model, names and key are the
    fleet's."""
    start_seconds: Seconds = 1800
    """Time for a server to load its model. Waiting for a GPU does not count."""
    answer_seconds: Seconds = 60
    """A server that was asked and generates nothing for so long is ended and started again."""
    request_seconds: Seconds = 600
    """Time that the router gives a server for an answer."""
    grace: Annotated[float, Field(ge=0, le=1_000_000)] = 30
    """Time for the work at hand when a server is ended."""

    @field_validator("extra_args")
    @classmethod
    def _check_extra_args(cls, words: list[str]) -> list[str]:
        """Raise ValueError for an argument without which the fleet would not find its own servers."""
        for word in words:
            flag = word.partition("=")[0].replace("_", "-")  # vLLM takes both; the value may be a key
            if flag in OWN_ARGS:
                raise ValueError(f"{flag} is the fleet's to give to each server; take it out.")
        return words

    @model_validator(mode="before")
    @classmethod
    def _check_groups(cls, data: Any) -> Any:
        """Raise ValueError for a group of adapters that there are not, or an adapter in two groups."""
        if not isinstance(data, dict):
            return data
        groups, adapters = data.get("groups", {}), data.get("adapters")
        if not isinstance(groups, dict) or not all(isinstance(names, list) for names in groups.values()):
            return data
        grouped = [name for names in groups.values() for name in names]
        unknown = [name for name in grouped if not isinstance(adapters, dict) or name not in adapters]
        if unknown:
            raise ValueError(f"groups name {unknown[0]!r}, which is not among the `adapters`.")
        doubled = [name for name in grouped if grouped.count(name) > 1]
        if doubled:
            raise ValueError(f"groups: {doubled[0]!r} is in two groups, or twice in one; an adapter has one group.")
        left = [name for name in adapters or {} if name not in grouped]
        if data.get("affinity") == "hard" and (left or not groups):
            missing = f"the adapter {left[0]!r} has none" if left else "there are none"
            raise ValueError(f"`affinity: hard` gives each of the `groups` its own servers, but {missing}.")
        return data

    @property
    def base_name(self) -> str:
        """Return the name of the base model."""
        return self.name or self.model.rstrip("/").rpartition("/")[2]

    def group_of(self, adapter: str) -> str | None:
        """Return the group of an adapter, or None."""
        return next((group for group, names in self.groups.items() if adapter in names), None)
