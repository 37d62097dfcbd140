"""Define every key of the config of robot roll-outs: its type, default and meaning."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from editlane.core.strict_model import Name, StrictModel, Text
from editlane.core.urls import check_variable
from editlane.robots.addresses import parse_address

Variable = Annotated[str, BeforeValidator(check_variable)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000)]

PORT_WORD = "{port}"
"""What a command of a policy server has in the place of its port."""


def _check_address(text: str) -> str:
    parse_address(text)
    return text


class SimulatorConfig(StrictModel):
    """The simulators in which episodes are played."""

    name: Literal["reach", "libero"]
    """`reach`: a toy that needs nothing. `libero`: LIBERO, in an environment of its own (`envs/libero.yaml`)."""
    python: Text | None = None
    """Python of the simulator's environment, such as `.venv-libero/bin/python`. null: the server's own."""
    count: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Simulators at the same time. null: one for each core, as far as the memory goes (2 GB for one of LIBERO)."""
    renderer: Literal["egl", "osmesa"] = "egl"
    """How pictures are drawn: by the GPU's driver, or by Mesa on the CPU. Results of the two are never mixed."""
    reset_seconds: Seconds = 300
    """Time for an episode to begin. One that takes longer is played on another simulator."""
    step_seconds: Seconds = 120
    """Time for the steps between two looks of the policy."""


class PolicyServersConfig(StrictModel):
    """The policy servers that `serve_policies.py` starts, each on a GPU of its own."""

    command: Annotated[list[Text], Field(min_length=1)]
    """What starts one, as a list of words; `{port}` stands for its port."""
    folder: Text | None = None
    """Folder in which the command runs, such as a checkout of openpi. null: this one."""
    servers: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Servers on this machine. null: one per visible GPU."""
    base_port: Port = 8000
    """Port of the first server; the others follow."""
    start_seconds: Seconds = 1800
    """Time for a server to load its checkpoint, including a download. Waiting for a GPU does not count."""
    grace: Annotated[float, Field(ge=0, le=1_000_000)] = 30
    """Time for the observation at hand when a server is ended."""

    @field_validator("command")
    @classmethod
    def _check_command(cls, words: list[str]) -> list[str]:
        if not any(PORT_WORD in word for word in words):
            raise ValueError("no word has `{port}`, so that all servers would have the same one.")
        return words


class PolicyConfig(StrictModel):
    """The policy that acts, on any number of servers."""

    name: Name | None = None
    """Name of the policy with its weights; change it when the weights change. It is a part of every result's key. null:
    what the servers announce of themselves; if that is nothing, no result is used twice."""
    start: PolicyServersConfig | None = None
    """Servers of this machine, for `serve_policies.py`. null: others start them."""
    addresses: list[Annotated[str, AfterValidator(_check_address)]] = Field(default_factory=list)
    """Further servers, as `host:port`."""
    dialect: Literal["openpi", "sglang", "sglang-http", "vllm-omni"] = "openpi"
    """How the servers want to be asked: openpi's own WebSocket, those of SGLang and vLLM-Omni, or SGLang's
    `POST /v1/actions/generations`."""
    connect_seconds: Seconds = 2
    """Time to reach a server."""
    infer_seconds: Seconds = 30
    """Time for an answer. The first one of a server may include the compilation of its model."""
    replan_steps: Annotated[int, Field(ge=1, le=50)] = 5
    """Steps of each answer that are taken before the policy looks again. A request may say another number."""


class LimitsConfig(StrictModel):
    """Bounds of what the server takes, and how long it waits."""

    episodes: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Episodes that wait or are being played. A request that finds no room is refused with 503."""
    request_items: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Items of one request; more are refused with 413."""
    trials: Annotated[int, Field(ge=1, le=1000)] = 50
    """Largest `num_trials_per_task`."""
    text: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Characters of what a policy is told; a longer one is an item that fails."""
    body_megabytes: Annotated[float, Field(gt=0, le=4096)] = 16
    """Size of one request."""
    body_seconds: Seconds = 30
    """Time for a request to arrive."""
    deadline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3600
    """Time for a request that names none. What is not over by then is returned with the kind `deadline`."""
    drain_seconds: Annotated[float, Field(ge=0, le=1_000_000)] = 60
    """Time for the episodes at hand after SIGTERM."""


class RolloutsConfig(StrictModel):
    """Every setting of a server whose rewards are robot roll-outs. Unknown keys are errors."""

    server: Name
    """Name of the server; what it keeps goes to `results/servers/<server>/`."""
    simulator: SimulatorConfig
    """Where episodes are played."""
    policy: PolicyConfig
    """Who acts in them."""
    suite: Text | None = None
    """Suite of the items that name none. null: `libero_spatial`, or `reach`."""
    host: Text = "127.0.0.1"
    """Address to listen on. Others than this machine's own need `token_env`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 6006
    """Port to listen on; 0: any free one."""
    token_env: Variable | None = None
    """Environment variable that holds the token which every request must bring. The token itself is never in the
    config."""
    on_error: Literal["missing", "zero"] = "missing"
    """What an item without a result gets in `done_result`, if its request does not say: null, or 0, which invents a
    failure of the policy and is for old callers that cannot read null."""
    limits: LimitsConfig = LimitsConfig()
    """Bounds of what the server takes, and how long it waits."""
    journal_megabytes: Annotated[float, Field(ge=1, le=1_000_000)] = 256
    """Size of the journal of episodes; the oldest make room."""
    video_megabytes: Annotated[float, Field(gt=0, le=1_000_000)] = 1024
    """Size of all videos; the oldest make room."""
