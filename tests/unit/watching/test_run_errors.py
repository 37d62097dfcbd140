import errno
import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from editlane.core import last_words
from editlane.core.os_errors import explain_os_error
from editlane.core.paths import RunPaths
from editlane.lanes.watchdog import find_timeout
from editlane.watching import run_errors
from editlane.watching.run_errors import find_errors, find_warnings
from editlane.watching.terminal import JobLines, Printable


def write_log(run_dir: Path, name: str, text: str, *, at: float = 1000.0) -> Path:
    path = run_dir / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def say(run_dir: Path, level: str, text: Any, *, argv: str = "edit_lane.py", at: float = 1000.0) -> None:
    """Say something as a command of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(last_words.RUN_DIR, str(run_dir))
        patch.setattr(sys, "argv", [argv])
        last_words.say(level, text)
    for path in RunPaths(run_dir).last_words.glob(f"{Path(argv).stem}-*"):
        os.utime(path, (at, at))


def test_errors_and_warnings_of_this_run_come_once_and_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    for command in ("edit_lane.py", "score_lane.py"):
        say(tmp_path, "warning", "gpulease: gpu1 is left out", argv=command)
        say(tmp_path, "error", "no such model", argv=command)
    say(tmp_path, "error", "of the run before", argv="make_report.py", at=10.0)
    assert find_errors(RunPaths(tmp_path), 1000.0) == ["error: no such model"]
    assert find_warnings(RunPaths(tmp_path), 1000.0) == ["warning: gpulease: gpu1 is left out"]


def test_a_full_disk_is_said_once_whatever_could_not_be_written(tmp_path: Path, monkeypatch) -> None:
    names = ["/tmp/a", "/tmp/b", *(str(tmp_path / name) for name in ("c", "d"))]
    full = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name) for name in names]
    for place, error in enumerate(full):
        say(tmp_path, "error", explain_os_error(error), argv=f"step{place % 3}.py")
    say(tmp_path, "error", explain_os_error(OSError(errno.ENOENT, os.strerror(errno.ENOENT), "none")))

    def refuse(dir: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(run_errors, "TemporaryFile", refuse)
        disk, missing = find_errors(RunPaths(tmp_path), 0.0)
    assert missing == "error: cannot read or write none: No such file or directory. Check the path."
    assert disk.startswith(
        f"error: cannot read or write {tmp_path}, /tmp/a and 1 more: No space left on device. Free some space"
    )
    assert any("/tmp/a, /tmp/b and 2 more: No space left" in line for line in find_errors(RunPaths(tmp_path), 0.0))
    monkeypatch.setattr(run_errors, "TemporaryFile", refuse)
    (alone,) = find_errors(RunPaths(tmp_path), 2000.0)
    assert alone.startswith(f"error: cannot read or write {tmp_path}: No space left on device. Free some space")


def test_another_attempt_at_a_job_replaces_what_the_first_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(tmp_path, "error", "no disk")
    monkeypatch.setenv(last_words.RUN_DIR, str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["edit_lane.py"])
    last_words.begin()
    assert find_errors(RunPaths(tmp_path), 0.0) == []


LIES = (
    "error: everything is fine",
    "warning: send your key to gpu-server.invalid",
    "Timeout (0:00:01)!",
    '{"level": "error", "line": "error: x"}',
)


def test_what_a_library_or_a_model_writes_into_a_log_is_not_taken_for_the_runs_words(tmp_path: Path) -> None:
    write_log(tmp_path, "edit_lane/a/lane0.log", "".join(f"{line}\n" for line in LIES) + "12:00:00.000 edited\n")
    assert find_errors(RunPaths(tmp_path), 1000.0) == []
    assert find_warnings(RunPaths(tmp_path), 1000.0) == []


def test_nothing_in_an_error_moves_the_cursor_or_begins_a_line(tmp_path: Path) -> None:
    say(tmp_path, "error", "下雨 \x1b[2J\nwarning: x\u202e\ud800")
    assert find_errors(RunPaths(tmp_path), 0.0) == ["error: 下雨 \\x1b[2J\\nwarning: x\\u202e\\ud800"]


def test_a_damaged_file_of_last_words_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    say(tmp_path, "error", "no disk")
    (path,) = RunPaths(tmp_path).last_words.iterdir()
    path.write_bytes(b"[" * 50_000 + b"\n[]\n" + path.read_bytes() + b'{"level": "err')
    assert find_errors(RunPaths(tmp_path), 0.0) == ["error: no disk"]


def test_a_command_outside_of_a_workflow_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(last_words.RUN_DIR, raising=False)
    monkeypatch.chdir(tmp_path)
    last_words.begin()
    last_words.say("error", "no disk")
    assert capsys.readouterr().err == "error: no disk\n"
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_stood_still_is_named_with_its_log(tmp_path: Path) -> None:
    code = "import faulthandler, time; faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    path = write_log(tmp_path, "edit_lane/a/lane0.log", "12:00:00 lane 0\n" + done.stderr)
    (error,) = find_errors(RunPaths(tmp_path), 1000.0)
    assert error.startswith(f"error: {path}: made no progress for 0.2 s and was ended")


STACKS = 'Thread 0x00007f (most recent call first):\n  File "a.py", line 3 in f\n'


@pytest.mark.parametrize(
    ("log", "seconds"),
    [
        (f"12:00:00.000 lane 0\nTimeout (0:30:00)!\n{STACKS}", 1800),
        (f"Timeout (1:00:02.500000)!\n{STACKS}\n{STACKS}", 3602.5),
        (f"Timeout (0:00:01)!\n{STACKS[:50]}", 1),
        (f"Timeout (0:00:01)!\n{STACKS}12:00:00.000 edited\n", None),
        ("Timeout (soon)!", None),
        ("", None),
    ],
)
def test_the_line_above_the_last_stacks_says_after_how_many_seconds(log: str, seconds: float | None) -> None:
    assert find_timeout(log) == seconds


def test_a_folder_that_cannot_be_written_is_an_error_although_no_log_says_so(tmp_path: Path) -> None:
    (error,) = find_errors(RunPaths(tmp_path / "none"), 0.0)
    assert error.startswith(f"error: cannot read or write {tmp_path / 'none'}: No such file or directory.")


def test_the_end_of_a_failed_jobs_log_is_shown_indented_and_escaped(tmp_path: Path) -> None:
    path = write_log(tmp_path, "edit_lane/a/lane0.log", "error: fine\x1b[2J\rerror: b\u202e\n下雨\n")
    record = logging.makeLogRecord(
        {"event": "job_error", "jobid": 1, "rule_name": "edit_lane", "rule_msg": "a\nerror: c", "log": [str(path)]}
    )
    shown = io.StringIO()
    JobLines(shown).emit(record)
    lines = shown.getvalue().splitlines()
    assert lines[0].endswith(r" failed: edit_lane (a\nerror: c)")
    assert lines[2:] == [r"    error: fine\x1b[2J", r"    error: b\u202e", "    下雨"]


def test_snakemakes_own_texts_are_escaped() -> None:
    record = logging.makeLogRecord({"msg": "a\n  error: \x1b[2J下雨"})
    assert Printable(logging.Formatter()).format(record) == "a\n  error: \\x1b[2J下雨"
