"""Define every key of a reward server's config: its type, default and meaning."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from editlane.core.strict_model import Name, StrictModel, Text
from editlane.core.urls import check_url, check_variable
from editlane.judges.config import JudgeConfig

Url = Annotated[str, AfterValidator(check_url)]
Variable = Annotated[str, BeforeValidator(check_variable)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000)]


def _check_redis(url: str) -> str:
    if urlsplit(url).scheme not in ("redis", "rediss", "unix") or "?" in url:
        raise ValueError("use an address such as redis://cache:6379/0.")
    if "@" in url:
        raise ValueError("it contains a password, which must not be in the config; use `redis_password_env`.")
    return url


class LimitsConfig(StrictModel):
    """Bounds of what the server takes, and how long it waits."""

    items: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Edits that wait or are being judged, of all judges together. A request for more is refused with 503."""
    megabytes: Annotated[float, Field(gt=0, le=1_000_000)] = 512
    """The same in megabytes of their images."""
    request_items: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Edits of one request; more are refused with 413."""
    body_megabytes: Annotated[float, Field(gt=0, le=4096)] = 64
    """Size of one request."""
    body_seconds: Seconds = 30
    """Time for a request to arrive."""
    image_megabytes: Annotated[float, Field(gt=0, le=4096)] = 10
    """Size of one image; a larger one is an item that fails."""
    image_pixels: Annotated[int, Field(ge=1, le=100_000_000)] = 25_000_000
    """Width x height of one image; a larger one is an item that fails."""
    text: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """Characters of an instruction, a description or a rationale."""
    chunk: Annotated[int, Field(ge=1, le=4096)] = 32
    """Edits that a worker is handed at once; it cuts them into batches by its own measure."""
    depth: Annotated[int, Field(ge=1, le=16)] = 2
    """Chunks that a worker holds: one on the device, the others being prepared."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Workers that may die on an edit before it fails with the kind `crash`. From the second on it is asked alone."""
    attempt_seconds: Seconds = 120
    """A worker that answers nothing for so long, although it was asked, is killed and started again."""
    start_seconds: Seconds = 1800
    """Time for a worker to load its model, including a download. Waiting for a GPU does not count."""
    deadline_seconds: Seconds = 300
    """Time for a request that names none. What is not scored by then is returned with the kind `deadline`."""
    idle_seconds: Seconds | None = None
    """A worker without work for so long ends and gives its GPU back; the next request starts it again. null: never."""
    drain_seconds: Annotated[float, Field(ge=0, le=1_000_000)] = 60
    """Time for the work at hand after SIGTERM."""


class BackendConfig(StrictModel):
    """Another reward server that judges for this one."""

    url: Url
    """Its address, such as `http://node2:8200`. It must have the same judges, with the same settings."""
    token_env: Variable | None = None
    """Environment variable that holds its token."""


class StoreConfig(StrictModel):
    """Where scores are kept, so that nothing is scored twice."""

    megabytes: Annotated[float, Field(ge=1, le=1_000_000)] = 512
    """Size of the journal on disk; the oldest scores make room. A score takes some 500 bytes."""
    runs: list[Text] = Field(default_factory=list)
    """Folders `results/<run>` whose scores count as known; they are only read."""
    redis: Annotated[str, AfterValidator(_check_redis)] | None = None
    """Address of a Redis that several servers share, such as `redis://cache:6379/0`. Without it each has its own."""
    redis_password_env: Variable | None = None
    """Environment variable that holds its password."""


class JobsConfig(StrictModel):
    """Work that goes on without a connection."""

    megabytes: Annotated[float, Field(gt=0, le=1_000_000)] = 4096
    """Size of all jobs on disk; another one is refused with 503."""
    at_once: Annotated[int, Field(ge=1, le=100)] = 4
    """Jobs that are worked on at a time; others wait."""
    hours: Annotated[float, Field(gt=0, le=100_000)] = 24
    """Time for which the answer of a finished job is kept."""


class CanaryConfig(StrictModel):
    """The fixed pairs that are judged again and again, to notice a judge that changed."""

    minutes: Annotated[float, Field(gt=0, le=100_000)] | None = 60
    """Time between two rounds; the first is at the start. null: never."""


class RewardConfig(StrictModel):
    """Every setting of a reward server. Unknown keys are errors."""

    server: Name
    """Name of the server; what it keeps goes to `results/servers/<server>/`."""
    judges: Annotated[dict[Name, JudgeConfig], Field(min_length=1)]
    """Judges, as in a run's config. A request names one, or `panel` for all; without a name the first is asked. Their
    `env` is not used, because the workers run in the server's own Python."""
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Worker processes of each judge; one behind an endpoint has never more than one. null: the visible GPUs, dealt out
    to the judges that need one; without a GPU one each. 0: none, because `backends` do the work."""
    backends: list[BackendConfig] = Field(default_factory=list)
    """Other reward servers that judge for this one."""
    category: Text | None = None
    """Category of the items that name none, as those of most trainers."""
    categories: list[Text] = Field(default_factory=list)
    """Further categories, which a protocol judges by its general rubric. All that have no rubric of their own and are
    not listed here are refused, because they may be misspelt."""
    host: Text = "127.0.0.1"
    """Address to listen on. Others than this machine's own need `token_env`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8200
    """Port to listen on; 0: any free one."""
    token_env: Variable | None = None
    """Environment variable that holds the token which every request must bring. The token itself is never in the
    config."""
    pickle: bool = False
    """Also answer trainers that send pickles (UniRL, Edit-R1, EditScore). Only plain data is read: a pickle that names
    a class or a function is refused."""
    on_error: Literal["fail", "zero"] = "fail"
    """For trainers whose requests know no missing reward. `fail`: one failed edit fails the request. `zero`: it gets
    the reward 0, which invents a score."""
    accepted_by: Text | None = None
    """Folder `results/<run>` whose report says where these judges were accepted; `/v1/judges` passes it on."""
    limits: LimitsConfig = LimitsConfig()
    """Bounds of what the server takes, and how long it waits."""
    store: StoreConfig = StoreConfig()
    """Where scores are kept, so that nothing is scored twice."""
    jobs: JobsConfig = JobsConfig()
    """Work that goes on without a connection."""
    canary: CanaryConfig = CanaryConfig()
    """The fixed pairs that are judged again and again, to notice a judge that changed."""
