"""The installation that `make demo` begins with: pip is at work for minutes, and the terminal shows it."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PYTHON = """#!/bin/sh
# Stands for `python -m venv FOLDER`: its pip takes two seconds and ends as it is told.
mkdir -p "$3/bin"
cat >"$3/bin/pip" <<'EOF'
#!/bin/sh
echo "Collecting one==1"
echo "Processing two-2.whl"
sleep 2
echo "Installing collected packages: one, two"
sleep 1.5
if [ -n "$PIP_ENDS" ]; then echo "ERROR: no matching distribution"; fi
exit ${PIP_ENDS:-0}
EOF
chmod +x "$3/bin/pip"
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "my python").write_text(PYTHON)
    (tmp_path / "my python").chmod(0o755)
    return ["sh", str(ROOT / "envs/install.sh"), str(tmp_path / "我的 venv")]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return os.environ | {"PYTHON": str(folder / "my python")} | more


def test_a_terminal_shows_one_line_that_goes_on(command: list[str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(command, env=environment(tmp_path), stderr=theirs, timeout=60)
    os.close(theirs)
    said = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0
    assert (tmp_path / "我的 venv/installed").exists()
    assert said.count("\n") == 1, "every line is written over the one before"
    shown = said.split("\r\x1b[K")[1:]
    assert len(shown) >= 3
    assert "2 of about " in shown[1]
    assert "unpacking 2 packages" in shown[-1]


def test_ctrl_c_ends_pip_too(command: list[str], tmp_path: Path) -> None:
    begun = subprocess.Popen(command, env=environment(tmp_path), start_new_session=True, stderr=subprocess.DEVNULL)
    log = tmp_path / "我的 venv/pip.log"
    deadline = time.monotonic() + 30
    while not (log.exists() and "Processing" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(begun.pid, signal.SIGINT)
    assert begun.wait(timeout=30) == 130
    time.sleep(4)
    assert "Installing" not in log.read_text(), "pip has gone on"


def test_an_error_of_pip_ends_with_its_log(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(command, env=environment(tmp_path, PIP_ENDS="1"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    first, *_ = done.stderr.splitlines()
    assert first.startswith(f"installing into {tmp_path}/我的 venv, once: ")
    assert first.endswith("MB on disk, 0 s"), "a log gets a line now and then"
    assert "ERROR: no matching distribution" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: pip could not install the packages (exit 1)")
    assert not (tmp_path / "我的 venv/installed").exists()
