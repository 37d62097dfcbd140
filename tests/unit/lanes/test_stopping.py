"""A lane is told to stop: by a signal, or because the workflow that started it has ended."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
import sys, time
sys.path.insert(0, "scripts")
from editlane.core.errors import Stopped
from editlane.lanes.stopping import StopSignal, identify_workflow, workflow_pid

def wait():
    stop = StopSignal()
    print("ready", flush=True)
    while True:
        try:
            stop.check()
        except Stopped as stopped:
            print(stopped, flush=True)
            return
        time.sleep(0.01)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that has imported `stopping`; it has 60 seconds to end."""
    command = [sys.executable, "-c", HEAD + textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_reported_at_the_next_check(number: signal.Signals) -> None:
    process = start("wait()")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert out == f"got {number.name}; finished items are in the journal\n"
    assert process.returncode == 0


def test_what_has_to_happen_at_once_happens_while_the_lane_is_busy_even_if_it_holds_a_lock() -> None:
    """A judge's batch has no steps. A signal's handler that waited for the lock here would wait forever."""
    code = """
    import threading
    lock, acted = threading.Lock(), threading.Event()

    def act():
        with lock:
            acted.set()

    stop = StopSignal()
    stop.call_at_once(act)
    with lock:
        print("ready", flush=True)
        time.sleep(1)
    print(acted.wait(30), flush=True)
    """
    process = start(code)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("True\n", 0)


def test_a_lane_stops_when_its_workflow_has_been_killed(tmp_path: Path) -> None:
    """The shell between the two, which Snakemake starts for a rule, is not taken for the workflow."""
    lane = tmp_path / "lane.py"
    lane.write_text(HEAD + "print(workflow_pid(), flush=True)\nwait()\n")
    workflow = tmp_path / "snakemake"  # known by its name
    workflow.write_text(f"import subprocess\nsubprocess.run(['sh', '-c', '{sys.executable} {lane}; true'])\n")
    with subprocess.Popen([sys.executable, str(workflow)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{process.pid}\n"
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout.read() == "the workflow that started this lane is gone\n"


def test_a_process_without_a_workflow_has_none() -> None:
    process = start("print(workflow_pid(), identify_workflow())")
    out, _ = process.communicate(timeout=60)
    assert out == "None None\n"


def test_a_workflow_is_told_from_the_one_before(tmp_path: Path) -> None:
    """All its lanes know it by one name, and another process that gets its number later has another."""
    lane = tmp_path / "lane.py"
    lane.write_text(HEAD + "print(identify_workflow())\n")
    workflow = tmp_path / "snakemake"
    twice = f"['sh', '-c', '{sys.executable} {lane}; {sys.executable} {lane}']"
    workflow.write_text(f"import os, subprocess\nprint(os.getpid(), flush=True)\nsubprocess.run({twice})\n")
    out = subprocess.run([sys.executable, str(workflow)], stdout=subprocess.PIPE, text=True, check=True).stdout
    pid, first, second = out.splitlines()
    assert first == second
    assert re.fullmatch(rf"{pid} since \d+", first)
