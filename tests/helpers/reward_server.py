"""Run a real reward server as a process of its own, with a judge that needs no model."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import yaml

PROGRAM = Path(__file__).parents[2] / "scripts" / "serve_rewards.py"
FAKE_JUDGE: dict[str, Any] = {
    "adapter": "fake",
    "protocol": "resources/protocols/rubric.yaml",
    "params": {"batch_size": 8},
}
START_SECONDS = 60
END_SECONDS = 20


class RewardServer:
    """A server on a free port, with one fake judge unless the config says otherwise or is one of roll-outs. `stop` ends
    it.

    Keyword arguments are keys of the config. `environment` is added to this process's; a `token` goes into the variable
    that `token_env` names, and every request brings it. `prefix`: a command that starts it.
    `start_seconds`: how long `start` waits.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        token: str = "",
        prefix: Sequence[str] = (),
        start_seconds: float = START_SECONDS,
        **config: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.token, self.start_seconds = folder, token, start_seconds
        self.settings, self.environment = config, environment
        judging = {} if "simulator" in config else {"judges": {"fake": FAKE_JUDGE}, "canary": {"minutes": None}}
        settings: dict[str, Any] = {"server": "t", "port": 0} | judging | config
        variables = os.environ | {"GPULEASE_DIR": str(folder / "leases")} | dict(environment or {})
        if token:
            settings["token_env"] = "REWARD_TOKEN"
            variables |= {"REWARD_TOKEN": token}
        self.config = folder / "reward.yaml"
        self.config.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8")
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(PROGRAM), "--configfile", str(self.config)],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        atexit.register(self.stop)  # also where a test failed before its end
        self.session = requests.Session()
        self.session.trust_env = False
        self.url = ""

    def start(self, *, ready: bool = True) -> "RewardServer":
        """Wait until the server answers, and until every judge is ready."""
        until = time.monotonic() + self.start_seconds
        while not self.url:
            self.url = next((line[5:].rstrip("/") for line in self.lines if line.startswith("Open ")), "")
            self._pause(until)
        while not self._answers("/ready" if ready else "/health"):
            self._pause(until)
        return self

    def _answers(self, path: str) -> bool:
        try:
            return self.get(path).status_code == 200
        except requests.ConnectionError:  # the address is printed a moment before it answers
            return False

    def _pause(self, until: float) -> None:
        assert self.process.poll() is None, f"the server ended:\n{self.stderr}"
        assert time.monotonic() < until, f"the server is not ready:\n{self.stderr}"
        time.sleep(0.02)

    @property
    def lines(self) -> list[str]:
        """Whole lines that the server printed."""
        return self._out.read_text(encoding="utf-8").split("\n")[:-1]

    @property
    def stderr(self) -> str:
        """What the server and its workers logged."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str, **options: Any) -> requests.Response:
        return self._ask("GET", path, options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self._ask("POST", path, options)

    def _ask(self, method: str, path: str, options: dict[str, Any]) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        options = {"timeout": 60} | options | {"headers": headers | options.get("headers", {})}
        return self.session.request(method, self.url + path, **options)

    def stop(self) -> int:
        """End the server in good order, or its process group if it does not. Return the exit code."""
        atexit.unregister(self.stop)
        self.session.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.wait(END_SECONDS)

    def kill(self) -> None:
        """End the process group at once. Workers end by themselves then."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(END_SECONDS)

    def __enter__(self) -> "RewardServer":
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
