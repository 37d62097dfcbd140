"""The policy servers of a machine as processes: a real supervisor, and what a test has it start."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from fleet_run import free_ports, name_of

from editlane.fleet.sessions import find_members

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts/serve_policies.py"
SERVE = ROOT / "scripts/serve_policy.py"


class PoliciesRun:
    """One supervisor with all that it starts; two servers of the policy `reach` unless `start` says otherwise."""

    def __init__(self, root: Path, *, environment: dict[str, str] | None = None, **start: Any) -> None:
        self.folder = folder = root
        folder.mkdir(parents=True, exist_ok=True)
        command = ["python", str(SERVE), "--policy", "reach", "--port", "{port}"]
        self.start = {"command": command, "servers": 2, "base_port": free_ports(24), "grace": 10} | start
        self.config: dict[str, Any] = {"server": "r", "simulator": {"name": "reach"}, "policy": {"start": self.start}}
        self.environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": "0,1,2,3",
            "GPULEASE_DIR": str(folder / "leases"),
        }
        self.environment |= environment or {}
        self.process: subprocess.Popen[str] | None = None
        self.write_config()

    @property
    def results(self) -> Path:
        return self.folder / "results/servers/r/policies"

    def write_config(self) -> None:
        (self.folder / "robots.yaml").write_text(yaml.safe_dump(self.config, allow_unicode=True), encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(PROGRAM), *words, "--configfile", "robots.yaml"]

    def up(self) -> "PoliciesRun":
        with (self.folder / "up.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command("up"), cwd=self.folder, env=self.environment, stdout=log, stderr=log, text=True
            )
        return self

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the program."""
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
        )

    def log(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")

    def servers(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads((self.results / "state.json").read_bytes())["servers"])
        except (OSError, ValueError):
            return []

    def states(self) -> list[str]:
        return [one["state"] for one in self.servers()]

    def port(self, number: int) -> int:
        return int(self.start["base_port"]) + number

    def wait(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait until a condition holds, and return its value."""
        until = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < until, f"{self.servers()}\n{self.log()[-3000:]}"
            if self.process is not None:
                assert self.process.poll() is None, self.log()[-3000:]
            time.sleep(0.05)
        return found

    def wait_ready(self) -> "PoliciesRun":
        self.wait(lambda: self.states() == ["ready"] * self.start["servers"])
        return self

    def pids(self) -> set[int]:
        """Every process that this supervisor started and that lives."""
        return set(find_members(self.results / "sessions"))

    def server_pid(self, number: int) -> int:
        """The process of a server itself; its guard is the one in the state file."""
        port = f" {self.port(number)} "
        return next(pid for pid in self.pids() if port in (name := name_of(pid)) and "guard.py" not in name)

    def end(self) -> int:
        """SIGTERM to the supervisor, and its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """End what is left, and see that nothing is."""
        if self.process is None and self.servers():
            self.run("down")
        if self.process is not None and self.process.poll() is None:
            self.end()
        until = time.monotonic() + 10
        while (left := self.pids()) and time.monotonic() < until:
            time.sleep(0.05)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not left, f"left behind: {left}"
