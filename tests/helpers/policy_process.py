"""The program that serves a policy, as a process."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "scripts/serve_policy.py"


def start_policy(*flags: str) -> tuple[subprocess.Popen[str], int]:
    """Start it at any free port. Returns the process and the port; `flags` begin with `--policy NAME`."""
    command = [sys.executable, str(PROGRAM), "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
