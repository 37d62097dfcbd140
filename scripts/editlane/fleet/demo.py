"""Show a fleet to somebody who tries it: build its tiny models, wait until it is ready, ask each of its adapters."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from itertools import combinations
from pathlib import Path

from rich.console import Console

from editlane.core.errors import UserError
from editlane.core.fleet_accounts import read_accounts
from editlane.core.fleet_state import NodeState
from editlane.core.paths import FleetPaths
from editlane.core.printable import escape
from editlane.core.text_width import pluralize
from editlane.core.tokens import read_token
from editlane.fleet import checks, status
from editlane.fleet.commands import PROGRAMS
from editlane.fleet.config import FleetConfig
from editlane.fleet.smoke import TOLERANCE, measure
from editlane.fleet.vllm_api import ServerError, VllmServer
from editlane.models.tiny import BUILT_MODELS, LORA

QUESTION = "The sky was made darker, and nothing else has changed. How good is the edit, 0 to 9?"
TOKENS = 12
LOOK_SECONDS = 0.5


class DemoFailed(Exception):
    """The demonstration cannot go on; says why."""


def build_models(config: FleetConfig) -> None:
    """Build the tiny models that the config names, in processes of their own: this one loads no model library."""
    if config.model.startswith(BUILT_MODELS):
        _build(config.model, "--kind", config.model.removeprefix(BUILT_MODELS))
    for seed, folder in enumerate(config.adapters.values(), 1):
        if folder.startswith(BUILT_MODELS):
            _build(folder, "--kind", LORA, "--base", config.model, "--seed", str(seed))


def _build(folder: str, *words: str) -> None:
    if not Path(folder).exists():
        print(f"Building {folder}.", flush=True)
    if subprocess.run([sys.executable, PROGRAMS / "build_tiny_model.py", *words, "--out", folder]).returncode:
        raise UserError(f"{folder} could not be built; the lines above say why.")


class Demonstration:
    """What is shown beside the supervisor, which has this process's main thread."""

    def __init__(self, config: FleetConfig, node: str, *, stays: bool) -> None:
        self._config, self._node, self._stays = config, node, stays
        self._token = read_token(config.token_env, config.host)
        self._problem = "" if stays else "the fleet was ended before."
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="demonstration", daemon=True)

    def begin(self) -> None:
        """Start the thread, which ends the process if something fails, or unless it `stays`."""
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Return whether something failed, or was not shown though it should."""
        return bool(self._problem)

    def _run(self) -> None:
        try:
            self._show(self._wait_until_ready())
            self._problem = ""
        except (DemoFailed, ServerError) as error:
            self._problem = str(error)
            print(f"The demonstration failed: {self._problem}", file=sys.stderr, flush=True)
        if self._problem or not self._stays:
            os.kill(os.getpid(), signal.SIGTERM)

    def _wait_until_ready(self) -> NodeState:
        """Return the state of the fleet when its servers are ready and its routers answer. Raises DemoFailed."""
        print("vLLM on the CPU takes a minute to start, on a busy machine several.", flush=True)
        until = time.monotonic() + self._config.start_seconds
        while time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            for node in status.read_living(FleetPaths(self._config.fleet), self._node):
                if node.pid != os.getpid():  # another machine's, or the file that a killed supervisor left
                    continue
                self._check(node)
                routers = checks.check_routers(node, self._token)
                if status.is_ready([node]) and all(one.is_healthy for one in routers):
                    print(f"Ready after {time.monotonic() - self._began:.0f} s.\n", flush=True)
                    return node
        raise DemoFailed(f"the fleet was not ready within {self._config.start_seconds:g} s (`start_seconds`).")

    def _check(self, node: NodeState) -> None:
        """Raise DemoFailed for a server that will not become ready by itself."""
        logs = FleetPaths(self._config.fleet).logs
        for server in node.servers:
            if server.state in ("resting", "wrong") and server.error:
                raise DemoFailed(f"server {server.number}: {server.error}. Its log is in {logs}.")

    def _show(self, node: NodeState) -> None:
        console = Console()
        console.print(*status.make_tables([node], read_accounts(FleetPaths(self._config.fleet).accounts)), sep="\n")
        url = next(iter(node.routers.values()))
        names = [name for name in node.published if name != node.model]
        print(f"\nAsks each at {url}/v1: {QUESTION}", flush=True)
        api = VllmServer(url, self._token or None)
        for name in names:
            print(f"  {name}: {self._ask(api, name)}", flush=True)
        self._compare(api, names)
        print(f"\nAsk it yourself:\n  {self._word_request(url, names[0] if names else str(node.model))}", flush=True)
        if self._stays:
            print("Ctrl-C ends it, or in another terminal `python scripts/serve_fleet.py down`.", flush=True)

    def _ask(self, api: VllmServer, name: str) -> str:
        found = json.loads(api.call("/v1/chat/completions", self._make_body(name), 60))
        return f"“{escape(' '.join(str(found['choices'][0]['message']['content']).split()))}”"

    def _compare(self, api: VllmServer, names: list[str]) -> None:
        """Prove that all answer differently. Raises DemoFailed."""
        answers = {name: api.first_tokens(name, QUESTION) for name in names}
        apart = {pair: measure(*(answers[name] for name in pair)) for pair in combinations(names, 2)}
        for (one, other), difference in apart.items():
            if difference <= TOLERANCE:
                raise DemoFailed(f"{one} and {other} answer alike.")
        if apart:
            print(
                f"{pluralize(len(names), 'adapter')}, and no two answer alike: log-probabilities of their first tokens "
                f"differ by {min(apart.values()):.2g} or more. (The models are random, so the words mean nothing.)"
            )

    def _make_body(self, name: str) -> dict[str, object]:
        return {"model": name, "max_tokens": TOKENS, "messages": [{"role": "user", "content": QUESTION}]}

    def _word_request(self, url: str, name: str) -> str:
        words = ["curl", f"{url}/v1/chat/completions", "-H", "Content-Type: application/json"]
        token = f' -H "Authorization: Bearer ${self._config.token_env}"' if self._token else ""
        return f"{shlex.join(words)}{token} -d {shlex.quote(json.dumps(self._make_body(name), ensure_ascii=False))}"
