"""`watch_lanes.py` beside real runs, in a terminal and in a pipe, and what the workflow's own terminal shows."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest
from project import CATEGORIES, wait_for, watch_command

ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
"""What a terminal is told when a program takes its screen and gives it back."""


class InTerminal:
    """The watcher in a terminal of its own, 80 columns wide; everything it shows is kept."""

    def __init__(self, run_dir: Path, cwd: Path, lines: int = 24) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            watch_command(run_dir),
            cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        self._terminal = ours
        self._shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._terminal, 1 << 16)
            except OSError:  # the other side is closed
                return
            self._shown += part

    @property
    def shown(self) -> str:
        return self._shown.decode("utf-8", errors="replace")

    def press(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def end(self) -> tuple[int, str]:
        code = self.process.wait(timeout=120)
        self._reader.join(timeout=30)
        os.close(self._terminal)
        return code, self.shown


def piped(run_dir: Path, cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(watch_command(run_dir, *arguments), cwd=cwd, text=True, **pipes)


@pytest.mark.runs
def test_a_run_is_watched_from_before_its_start_to_its_end(project) -> None:
    """One run, three watchers: a pipe, a terminal, and the workflow's own."""
    project.config["editors"] = {"编辑器": {"adapter": "fake", "params": {"seconds": 0.3, "steps": 4}}}
    run_dir = project.results.relative_to(project.folder)
    (project.folder / "results").mkdir()
    before = piped(run_dir, project.folder, "--every", "1")
    in_terminal = InTerminal(run_dir, project.folder)
    wait_for(lambda: "no lane has begun" in in_terminal.shown or ENTERED in in_terminal.shown)
    dry = project.run("--dry-run")
    assert "rule edit_lane:" in dry
    assert not project.results.exists()
    run = project.start()
    assert run.wait(timeout=200) == 0

    out, errors = before.communicate(timeout=60)
    assert (before.returncode, errors) == (0, "")
    assert not any(ord(letter) < 32 for letter in out.replace("\n", ""))
    lines = [line for line in out.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert lines[0].endswith(" no lane has begun")
    assert any(re.search(r" edit 编辑器 \d+/20, \d+\.\d+ s/item, .*lanes? at work", line) for line in lines)
    assert out.splitlines()[-3] == "the workflow is done"
    assert re.fullmatch(r"edit 编辑器: 20 of 20, \d+\.\d+ s/item", out.splitlines()[-2])
    assert re.fullmatch(r"score judge: 20 of 20, \d+\.\d+ s/item", out.splitlines()[-1])

    code, shown = in_terminal.end()
    assert code == 0
    category = min(shown.index(name) for name in CATEGORIES if name in shown)  # one that was at work when it looked
    assert shown.index(ENTERED) < category < shown.index(LEFT) < shown.index("the workflow is done")
    assert "Traceback" not in shown

    own = (project.folder / "snakemake.log").read_text(encoding="utf-8")
    assert re.search(r"^\d\d:\d\d:\d\d edit_lane 编辑器 lane 1$", own, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d edit 20/20 done, .* \| score 20/20 done", own, re.MULTILINE)
    assert own.splitlines()[-1] == "report: results/试验/report/report.html"
    assert not re.search("jobid|Select jobs|steps.*done|Complete log", own)
    (log,) = (project.folder / ".snakemake/log").glob("*.log")
    assert "Finished jobid" in log.read_text(encoding="utf-8")

    after = subprocess.run(watch_command(run_dir), cwd=project.folder, capture_output=True, text=True, timeout=60)
    assert after.stdout.splitlines() == out.splitlines()[-3:]


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """The folder of a run that is to come."""
    (tmp_path / "results").mkdir()
    return tmp_path / "results/甲"


def test_ctrl_c_gives_the_terminal_back_and_says_nothing_of_python(waiting: Path) -> None:
    watched = InTerminal(waiting, waiting.parent)
    wait_for(lambda: ENTERED in watched.shown)
    watched.press(b"\x03")
    code, shown = watched.end()
    assert code == 130, shown[-3000:]
    assert LEFT in shown
    assert "\x1b[?25h" in shown.split(LEFT)[1] + shown.split(LEFT)[0].split(ENTERED)[1]  # the cursor is back
    assert "Traceback" not in shown
    assert shown.rstrip().endswith("no lane has begun")


def test_a_pipe_that_closes_and_a_signal_end_it_quietly(waiting: Path) -> None:
    watched = piped(waiting, waiting.parent, "--every", "1")
    assert watched.stdout is not None
    assert watched.stderr is not None
    assert watched.stdout.readline().endswith("no lane has begun\n")
    watched.stdout.close()
    assert (watched.wait(timeout=30), watched.stderr.read()) == (1, "")
    watched.stderr.close()
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        watched = piped(waiting, waiting.parent)
        assert watched.stdout is not None
        watched.stdout.readline()
        time.sleep(0.1)
        watched.send_signal(number)
        assert (watched.communicate(timeout=30)[1], watched.returncode) == ("", code)


def test_a_wrong_folder_ends_with_code_2_and_one_paragraph(tmp_path: Path) -> None:
    done = subprocess.run(watch_command(tmp_path / "没有"), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("error: There is no folder")
