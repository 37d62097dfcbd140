"""guard.py runs a command and ends with all that it started, whoever ends first."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GUARD = [sys.executable, "scripts/guard.py", "--with-parent"]
FAMILY = """
import os, signal, subprocess, sys, time
if len(sys.argv) > 2 and sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
own = [subprocess.Popen(["sleep", "1000"]), subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"])]
alone = subprocess.Popen(["sleep", "1000"], start_new_session=True)
time.sleep(0.1)
open(sys.argv[1], "w").write(" ".join(str(one.pid) for one in (*own, alone)))
time.sleep(1000)
"""
"""A command with children and grandchildren, one of them in a session of its own."""


def start(folder: Path, *more: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    noted = folder / "pids"
    command = [*GUARD, str(os.getpid()), "--", sys.executable, "-c", FAMILY, str(noted), *more]
    guard = subprocess.Popen(command)
    wait_until(lambda: noted.is_file() and noted.read_text())
    return guard, [int(pid) for pid in noted.read_text().split()]


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_it_passes_on_sigterm_and_leaves_nothing(tmp_path: Path) -> None:
    guard, family = start(tmp_path)
    guard.terminate()
    assert guard.wait(20) == 128 + signal.SIGTERM
    assert not any(map(lives, family))


def test_a_killed_command_leaves_nothing(tmp_path: Path) -> None:
    guard, family = start(tmp_path, "deaf")
    os.kill(child_of(guard.pid), signal.SIGKILL)
    assert guard.wait(20) == 128 + signal.SIGKILL
    assert not any(map(lives, family))


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """That one has several threads, and each of them may be the last."""
    parent = f"""
import os, subprocess, sys, threading, time
command = [*{GUARD!r}, str(os.getpid()), "--", sys.executable, "-c", {FAMILY!r}, {str(tmp_path / "pids")!r}, "deaf"]
def begin():
    subprocess.Popen(command)
    time.sleep(1000)
for _ in range(8):
    threading.Thread(target=time.sleep, args=(1000,)).start()
threading.Thread(target=begin).start()
"""
    starter = subprocess.Popen([sys.executable, "-c", parent])
    wait_until(lambda: (tmp_path / "pids").is_file() and (tmp_path / "pids").read_text())
    family = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    starter.kill()
    starter.wait()
    wait_until(lambda: not any(map(lives, family)))


def test_a_parent_that_ends_just_after_the_command_leaves_nothing(tmp_path: Path) -> None:
    """The moment before what follows can no longer be broken off."""
    code = """
import os, signal, subprocess, sys
sys.path.insert(0, "scripts")
import guard
waited, left = guard.wait_for, []
def wait_for(command):
    code = waited(command)
    left.append(subprocess.Popen(["sleep", "1000"], stdout=-3, stderr=-3).pid)
    real, guard.signal.signal = signal.signal, late
    def done(): guard.signal.signal = real
    late.done, late.real = done, real
    return code
def late(number, handler):
    late.done()
    os.kill(os.getpid(), signal.SIGUSR1)
    return late.real(number, handler)
guard.wait_for = wait_for
code = guard.guard(["true"], os.getppid())
print(code, os.path.exists(f"/proc/{left[0]}"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == (f"{128 + signal.SIGKILL} False\n", "")


def test_it_starts_nothing_if_the_parent_has_ended(tmp_path: Path) -> None:
    done = subprocess.run([*GUARD, "1", "--", "touch", str(tmp_path / "made")], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGKILL
    assert not (tmp_path / "made").exists()


def test_its_code_is_the_commands() -> None:
    own = str(os.getpid())
    assert subprocess.run([*GUARD, own, "--", "sh", "-c", "exit 7"]).returncode == 7
    done = subprocess.run([*GUARD, own, "--", "no-such-program"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "guard: cannot start 'no-such-program': No such file or directory.\n")
