"""Policy servers of scripts/serve_policy.py, as processes of their own."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

PROGRAM = Path(__file__).parents[2] / "scripts" / "serve_policy.py"


def start_policy(*flags: str, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    """Start the program, at any free port by default, and wait until it listens. Returns the process and the port.

    `flags` begin with `--policy NAME`.
    """
    command = [sys.executable, str(PROGRAM), "--port", str(port), *flags]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"serving {flags[1]} at ws://127.0.0.1:"), process.communicate()[1]
    return process, int(line.rsplit(":", 1)[1].strip().rstrip("/"))


@contextmanager
def serve_policy(*flags: str) -> Iterator[int]:
    """Give the block the port of a policy, which must end in good order."""
    process, port = start_policy(*flags)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


class PolicyServer:
    """One server that a test may strike; started again, it has the same port."""

    def __init__(self, policy: str = "reach", delay: float = 0.0) -> None:
        self._flags = ("--policy", policy, "--delay", str(delay))
        self.port = 0
        self.start()
        atexit.register(self.stop)

    def start(self) -> None:
        self.process, self.port = start_policy(*self._flags, port=self.port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def wait(self) -> None:
        """Wait until the killed process is gone."""
        self.process.communicate()

    def stop(self) -> None:
        atexit.unregister(self.stop)
        with suppress(ProcessLookupError):
            self.process.kill()
        if self.process.stdout and not self.process.stdout.closed:
            self.wait()


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
