"""A fleet as a process: real supervisor, real router, doubles of vLLM."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import urllib3
import yaml
from fleet_files import make_adapter, make_base

from editlane.fleet.sessions import find_members

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts/serve_fleet.py"
DOUBLE = ROOT / "tests/helpers/fake_vllm"
NODE = "this"


_BLOCK = 24
_BLOCKS = itertools.count(os.getpid() % 100)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, below those that the system deals out by itself.

    Each process of pytest has a range of its own: what is free when a fleet is made is taken only when it starts.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for block in itertools.islice(_BLOCKS, 100):
        first = 20000 + 2400 * (worker % 5) + _BLOCK * (block % 100)
        try:
            for port in range(first, first + count):
                with closing(socket.socket()) as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


def name_of(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class FleetRun:
    """One supervisor with all that it starts. Adapters 严格 and kind are made unless others are given."""

    def __init__(self, folder: Path, *, environment: dict[str, str] | None = None, **config: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        make_base(folder / "模型/base")
        if "adapters" not in config:
            config["adapters"] = {
                name: str(make_adapter(folder / "adapters" / name, seed).relative_to(folder))
                for seed, name in enumerate(("严格", "kind"), 1)
            }
        ports = free_ports(24)
        defaults = {"fleet": "f", "model": "模型/base", "servers": 2, "grace": 10, "answer_seconds": 30}
        self.config = defaults | {"port": ports + 3, "base_port": ports + 4, "metrics_port": ports + 16} | config
        self.environment = os.environ | {
            "PYTHONPATH": str(DOUBLE),
            "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
            "GPULEASE_DIR": str(folder / "leases"),
            "VLLM_DOUBLE_SECONDS": "0.02",
        }
        self.environment |= environment or {}
        self.node, self.prefix = NODE, list[str]()
        self.headers: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self.pool = urllib3.PoolManager(maxsize=64, retries=False)
        self.write_config()

    @property
    def url(self) -> str:
        return f"http://{self.config.get('host', '127.0.0.1')}:{self.config['port']}"

    @property
    def results(self) -> Path:
        return self.folder / f"results/fleets/{self.config['fleet']}"

    def write_config(self) -> None:
        (self.folder / "fleet.yaml").write_text(
            yaml.safe_dump(self.config, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )

    def command(self, *words: str) -> list[str]:
        return [*self.prefix, sys.executable, str(PROGRAM), *words, "--configfile", "fleet.yaml", "--node", self.node]

    def start(self, *words: str, prefix: tuple[str, ...] = ()) -> "FleetRun":
        log = (self.folder / f"up-{self.node}.log").open("a")
        self.process = subprocess.Popen(
            [*prefix, *self.command("up", *words)],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()
        return self

    def run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command of the program."""
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def log(self) -> str:
        return (self.folder / f"up-{self.node}.log").read_text(errors="replace")

    def state(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.results / f"nodes/{self.node}.json").read_bytes()))
        except (OSError, ValueError):
            return {"servers": [], "published": {}}

    def states(self) -> list[str]:
        return [one["state"] for one in self.state()["servers"]]

    def wait(self, condition: Callable[[], Any], seconds: float = 40) -> Any:
        """Wait until a condition holds, and return its value."""
        until = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < until, f"{self.states()}\n{self.log()[-3000:]}"
            if self.process is not None:
                assert self.process.poll() is None, self.log()[-3000:]
            time.sleep(0.05)
        return found

    def wait_ready(self, count: int | None = None) -> "FleetRun":
        """Wait until all servers are ready and the router answers for them."""
        wanted = count or self.config["servers"]
        self.wait(lambda: self.states().count("ready") == wanted and len(self.routed()) == wanted)
        return self

    def routed(self, port: int | None = None, **more: Any) -> list[str]:
        with suppress(urllib3.exceptions.HTTPError, ValueError):
            url = f"http://127.0.0.1:{port}" if port else self.url
            reply = self.pool.request("GET", f"{url}/list_workers", timeout=2, **{"headers": self.headers} | more)
            return [url for url in json.loads(reply.data)["urls"] if not url.endswith("/.")]  # a second name of one
        return []

    def ask(self, model: str, prompt: str = "x", **more: Any) -> tuple[int, dict[str, Any]]:
        """One request through the router: status and body. `port` asks a server itself."""
        port, headers = more.pop("port", None), more.pop("headers", self.headers)
        url = f"http://127.0.0.1:{port}" if port else self.url
        body = {"model": model, "prompt": prompt, "max_tokens": 1} | more
        reply = self.pool.request("POST", f"{url}/v1/completions", json=body, headers=headers, timeout=60)
        try:
            return reply.status, json.loads(reply.data)
        except ValueError:
            return reply.status, {"text": reply.data.decode(errors="replace")}

    def text(self, model: str, prompt: str = "x", **more: Any) -> str:
        status, body = self.ask(model, prompt, **more)
        assert status == 200, body
        return str(body["choices"][0]["logprobs"]["top_logprobs"])

    def pids(self) -> set[int]:
        """Every process that this supervisor started and that lives."""
        return set(find_members(self.results / f"nodes/{self.node}.sessions"))

    def server_pid(self, number: int, what: str = "api_server") -> int:
        """The process of a server itself; its guard is the one in the state file."""
        port = str(self.config["base_port"] + number)
        pids = [pid for pid in self.pids() if what in (name := name_of(pid)) and f"--port {port} " in f"{name} "]
        return next(pid for pid in pids if "guard.py" not in name_of(pid))

    def held_leases(self) -> int:
        """GPUs that somebody has leased."""
        words = [sys.executable, str(ROOT / "scripts/gpulease.py"), "--show"]
        shown = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True).stdout
        return shown.count("in use")

    def kill(self) -> None:
        """SIGKILL to the supervisor."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is None and self.states():  # a test of `up --detach` that failed before `down`
            self.run("down")
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.pool.clear()
        until = time.monotonic() + 10
        while (left := self.pids()) and time.monotonic() < until:
            time.sleep(0.05)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not left, f"left behind: {left}"


class Load:
    """Requests for several models at once until it is stopped; every answer has to be its model's."""

    def __init__(self, fleet: FleetRun, models: list[str], clients: int = 8, **more: Any) -> None:
        self.fleet, self.models, self.more = fleet, models, more
        self.statuses: Counter[int] = Counter()
        self.wrong = 0
        self.slowest = 0.0
        self._stop = threading.Event()
        self._wanted = {model: fleet.text(model, "load") for model in models}
        self._pool = ThreadPoolExecutor(clients)
        self._lock = threading.Lock()
        self._jobs = [self._pool.submit(self._run, number) for number in range(clients)]

    def _run(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            model = self.models[turn % len(self.models)]
            turn += 1
            began = time.monotonic()
            status, body = self.fleet.ask(model, "load", **self.more)
            with self._lock:
                self.statuses[status] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if status == 200 and str(body["choices"][0]["logprobs"]["top_logprobs"]) != self._wanted[model]:
                    self.wrong += 1

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    def wait_for(self, more: int) -> None:
        wanted = self.total + more
        self.fleet.wait(lambda: self.total >= wanted)

    def end(self) -> dict[int, int]:
        """Stop, and return how many answers there were by status."""
        self._stop.set()
        for job in self._jobs:
            job.result(70)
        self._pool.shutdown()
        assert not self.wrong, f"{self.wrong} answers came from other weights"
        return dict(self.statuses)
