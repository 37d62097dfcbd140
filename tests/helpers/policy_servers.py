"""Policy servers of scripts/serve_policy.py, as processes of their own."""

import atexit
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

PROGRAM = Path(__file__).parents[2] / "scripts" / "serve_policy.py"


class PolicyServer:
    """One server on a free port; started again, it has the same one."""

    def __init__(self, policy: str = "reach", delay: float = 0.0, seed: int = 0) -> None:
        self._words = ["--policy", policy, "--delay", str(delay), "--seed", str(seed)]
        self.port = 0
        self.start()
        atexit.register(self.stop)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--port", str(self.port), *self._words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        with self.process.stdout as out:
            said = out.readline()
        self.port = int(said.rsplit(":", 1)[1].strip("/\n"))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class PolicyServers:
    """Some of them, for a `with` statement."""

    def __init__(self, count: int, policy: str = "reach", delay: float = 0.0) -> None:
        self.all = [PolicyServer(policy, delay) for _ in range(count)]

    @property
    def addresses(self) -> list[str]:
        return [one.address for one in self.all]

    def __enter__(self) -> "PolicyServers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.all:
            with suppress(ProcessLookupError):
                one.signal(signal.SIGCONT)
            one.stop()
