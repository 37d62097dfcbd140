"""Build the command lines of a fleet's processes."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from editlane.fleet.config import FleetConfig

PROGRAMS = Path(__file__).parents[2]
"""The folder of the programs."""

LEAST_QUEUE = 64
"""Requests that a server always takes, so that the smoke test fits in."""

GIVE_UP_SECONDS = 3
"""Time for a server to answer a router that is told of it. A router asks for ten minutes otherwise, also for one that
should not get requests any more."""

MOST_LORAS = 8
"""Adapters in one batch, if the config does not say."""


def server_command(config: FleetConfig, *, port: int, names: Sequence[str]) -> list[str]:
    """Return the command of a model server that serves the base model under these names.

    `vllm serve` is not used, because some builds of vLLM come without it.
    """
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", config.model]
    words += ["--revision", config.revision] if config.revision else []
    words += ["--served-model-name", *names, "--host", config.host, "--port", str(port), "--dtype", config.dtype]
    words += ["--max-model-len", str(config.max_model_len), "--max-num-seqs", str(config.max_num_seqs)]
    # The supervisor alone would write millions of lines a week, which nothing shortens while the server lives.
    words += ["--disable-uvicorn-access-log"]
    words += ["--gpu-memory-utilization", f"{config.gpu_memory_utilization:g}"]
    words += ["--shutdown-timeout", str(round(config.grace))]  # without it, the work at hand is dropped
    if config.affinity == "soft":
        words += [
            "--max-num-queued-reqs",
            str(max(LEAST_QUEUE, 2 * config.max_num_seqs)),
        ]  # a full server says so, and clients spill
    if takes_adapters(config):
        most = config.max_loras or max(1, min(MOST_LORAS, len(config.adapters)))
        words += ["--enable-lora", "--max-loras", str(most), "--max-lora-rank", str(config.max_lora_rank)]
        # Each adapter has a name and an alias, and a retrained one stands beside its old version for a while.
        words += ["--max-cpu-loras", str(max(most, 4 * len(config.adapters) + 8))]
    return words + list(config.extra_args)


def takes_adapters(config: FleetConfig) -> bool:
    """Return whether the servers can have adapters, which costs a server without any some speed."""
    return bool(config.adapters) or config.max_loras is not None


def guarded(command: Sequence[str], parent: int, *, leased: bool) -> list[str]:
    """Return the command that runs `command` so that nothing of it outlives `parent`, with a GPU of its own or none."""
    tied = ["--with-parent", str(parent), "--"]
    words = [sys.executable, str(PROGRAMS / "guard.py"), *tied, *command]
    return [sys.executable, str(PROGRAMS / "gpulease.py"), *tied, *words] if leased else words


def router_command(
    config: FleetConfig, *, port: int, metrics_port: int, urls: Sequence[str], has_token: bool
) -> list[str]:
    """Return the command of a router before the servers at these addresses."""
    policy = "consistent_hash" if config.affinity == "soft" else "power_of_two"
    program = ["-m", "vllm_router.launch_router"]
    if has_token:  # -P: the modules beside the program must not stand for others of the same name
        known_by = ",".join(f"{url}/v1/models" for url in urls)
        program = ["-P", str(Path(__file__).with_name("router_program.py")), known_by, "--"]
    words = [sys.executable, *program, "--host", config.host, "--port", str(port)]
    words += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics_port), "--policy", policy]
    words += ["--request-timeout-secs", str(max(1, math.ceil(config.request_seconds)))]
    words += ["--health-check-interval-secs", "2", "--health-check-timeout-secs", "5"]
    # With consistent_hash all attempts go to the same server, until the supervisor has taken it out: a second or so.
    words += ["--retry-max-retries", "8"]
    words += ["--cb-timeout-duration-secs", "3", "--queue-size", "10000"]
    words += ["--worker-startup-check-interval", "1", "--worker-startup-timeout-secs", str(GIVE_UP_SECONDS)]
    # This policy refuses to start with one server, but works with one later. The second address means the same server,
    # because paths lose their dots, and is taken out again at once.
    twice = [f"{urls[0]}/."] if policy == "power_of_two" and len(urls) == 1 else []
    return [*words, "--worker-urls", *urls, *twice]


ON_CPU = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
"""For vLLM without a GPU, unless the user set something else. By itself each server takes most of the memory, and binds
its threads to the same cores as the other servers do. Each has leased one core, so it gets one thread, on any core. Two
servers on two cores answered 200 requests in 12 s so, in 25 s bound, and in 120 s with two free threads each. The cache
of 1 GiB is enough for models that a CPU can serve."""


def environment(token: str, *, lora: bool, on_cpu: bool = False) -> Mapping[str, str]:
    """Return the environment of a fleet's processes. `token`: "" for none, whatever the user has set."""
    own = {name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"}
    more = {"VLLM_NO_USAGE_STATS": "1", "RUST_LOG": "warn"}  # the router logs every choice otherwise
    more |= {"VLLM_API_KEY": token} if token else {}
    more |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if lora else {}
    return (ON_CPU if on_cpu else {}) | own | more
