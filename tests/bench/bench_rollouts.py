"""What robot roll-outs gain with each policy server, what faults cost, and how the original's design does, in tables.

    python tests/bench/bench_rollouts.py [--part scaling faults original] [--delay 0.2] [--items 24]

Two callers ask at the same time for the same tasks, from initial states of their own. A third of the prompts names a
wrong goal, so that every right result is known. The policy is scripted and sleeps for `--delay`: the tables show what
of the servers' time is used, not what a GPU would do. The original's design is tests/helpers/pool_of_threads.py.
"""

import argparse
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

from policy_servers import PolicyServers  # noqa: E402 (found through the line above)
from reward_load import show  # noqa: E402
from reward_server import RewardServer  # noqa: E402

WRONG = "reach 0.900 0.900 0.900"
CALLERS, SIMULATORS = 2, 8
PROBE_SECONDS = 0.05
ORIGINAL = Path(__file__).parents[1] / "helpers" / "pool_of_threads.py"


@dataclass
class Measured:
    """What came of two callers' requests."""

    seconds: float = 0.0
    items: int = 0
    infers: int = 0
    lost: int = 0
    wrong: int = 0
    retries: int = 0
    health: list[float] = field(default_factory=list)

    def describe(self) -> list[str]:
        health = f"{np.percentile(self.health, 99) * 1e3:.0f}" if self.health else "-"
        return [f"{self.items / self.seconds:.2f}", str(self.lost), str(self.wrong), str(self.retries), health]


HEADS = ("items/s", "lost", "wrong", "retries", "/health p99 ms")


def drive(url: str, items: int, during: Callable[[], None] | None = None) -> Measured:
    """Ask with two callers at once, and look at /health all the time."""
    found, stop, http = Measured(), threading.Event(), urllib3.PoolManager(maxsize=8, retries=False)
    began = time.monotonic()
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        jobs = [pool.submit(ask, http, url, items, caller) for caller in range(CALLERS)]
        probing = pool.submit(probe, http, url, stop)
        if during:
            time.sleep(1.0)
            during()
        for job in jobs:
            count(found, *job.result())
        found.seconds = time.monotonic() - began
        stop.set()
        found.health = probing.result()
    return found


def ask(http: urllib3.PoolManager, url: str, items: int, caller: int) -> tuple[dict[str, Any], list[float]]:
    """Return the answer of one caller, and the right results."""
    is_right = [(number + caller) % 3 > 0 for number in range(items)]  # so that another caller's answers are seen
    responses = ["" if right else WRONG for right in is_right]
    metas = [{"task_id": number % 10, "init_state_id": 1000 * caller + number} for number in range(items)]
    body = {"responses": responses, "metas": metas, "reward_function_kwargs": {"max_workers": SIMULATORS}}
    reply = http.request("POST", f"{url}/score", json=body, timeout=600)
    return reply.json(), list(map(float, is_right))


def count(found: Measured, answer: dict[str, Any], right: Sequence[float]) -> None:
    """Add up what an answer has."""
    results = answer["done_result"]
    found.items += len(results)
    found.lost += results.count(None)
    found.wrong += sum(got not in (None, wanted) for got, wanted in zip(results, right, strict=True))
    trials = [trial for item in answer.get("items", []) for trial in item["trials"]]
    found.infers += sum(trial["infers"] or 0 for trial in trials)
    found.retries += sum(trial["retries"] or 0 for trial in trials)


def probe(http: urllib3.PoolManager, url: str, stop: threading.Event) -> list[float]:
    """Return how long /health takes, again and again."""
    seconds = []
    while not stop.wait(PROBE_SECONDS):
        began = time.monotonic()
        http.request("GET", f"{url}/health", timeout=600)
        seconds.append(time.monotonic() - began)
    return seconds


@contextmanager
def rollouts(policies: PolicyServers, **policy: Any) -> Iterator[str]:
    """A server of roll-outs that is ready."""
    with tempfile.TemporaryDirectory() as folder:
        about = {"addresses": policies.addresses, "infer_seconds": 3} | policy
        server = RewardServer(Path(folder), simulator={"name": "reach", "count": SIMULATORS}, policy=about)
        with server:
            yield server.url


def scaling(items: int, delay: float) -> None:
    """Half of the servers' time is a policy's sleep: what of it is used."""
    rows, single = [], 0.0
    for servers in (1, 2, 4):
        with PolicyServers(servers, delay=delay) as policies, rollouts(policies) as url:
            found = drive(url, items)
        rate = found.infers / found.seconds
        single = single or rate
        used = [f"{rate:.2f}", f"{rate * delay / servers:.0%}", f"{rate / single / servers:.3f}"]
        rows.append([str(servers), *used, *found.describe()])
    show(("servers", "infers/s", "of their sleep", "efficiency", *HEADS), rows)
    print("\nEfficiency: infers/s of n servers / (n * infers/s of one).")


def faults(items: int, delay: float) -> None:
    """Four servers, one second after the callers began."""
    rows = []
    for name, numbers in (
        ("none", ()),
        ("SIGKILL to one", (signal.SIGKILL,)),
        ("SIGSTOP to one", (signal.SIGSTOP,)),
        ("SIGKILL to one, SIGSTOP to another", (signal.SIGKILL, signal.SIGSTOP)),
    ):
        with PolicyServers(4, delay=delay) as policies, rollouts(policies) as url:

            def strike(policies: PolicyServers = policies, numbers: Sequence[int] = numbers) -> None:
                for one, number in zip(policies.all, numbers, strict=False):
                    one.signal(number)

            found = drive(url, items, strike)
        rows.append([name, f"{found.infers / found.seconds:.2f}", *found.describe()])
    show(("fault, of four servers", "infers/s", *HEADS), rows)


def original(items: int, delay: float) -> None:
    """The original's design and this one, on the same policy servers."""
    rows = []
    with PolicyServers(4, delay=delay) as policies:
        for name in ("sync", "threads"):
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
            words = [sys.executable, str(ORIGINAL), str(port), name, *policies.addresses]
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "scripts")}
            process = subprocess.Popen(words, env=environment)
            try:
                wait_for_port(port)
                found = drive(f"http://127.0.0.1:{port}", items)
            finally:
                process.kill()
                process.wait()
            rows.append([f"pool of threads, {name}", *found.describe()])
        with rollouts(policies) as url:
            rows.append(["Editlane", *drive(url, items).describe()])
    show(("design, four servers, two callers", *HEADS), rows)


def wait_for_port(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until, "the original's design does not start"
            time.sleep(0.1)


PARTS = {"scaling": scaling, "faults": faults, "original": original}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--delay", type=float, default=0.2, help="seconds of each answer of the policy")
    parser.add_argument("--items", type=int, default=24, help="of each caller")
    args = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for part in args.part:
        print(f"\n{PARTS[part].__doc__}\n")
        PARTS[part](args.items, args.delay)


if __name__ == "__main__":
    main()
