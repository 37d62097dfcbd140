import os
import subprocess
import sys
from pathlib import Path

import pytest

from editlane.core.paths import RunPaths
from editlane.lanes.watchdog import watchdog_timeout
from editlane.watching.log_errors import find_errors, find_warnings


def write_log(run_dir: Path, name: str, text: str, *, at: float = 1000.0) -> Path:
    path = run_dir / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def test_errors_and_warnings_of_this_run_come_once_and_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    lines = "12:00:00 物理/项目 edited\nwarning: gpulease: gpu1 is left out\nerror: no such model\n"
    write_log(tmp_path, "edit_lane/a/lane0.log", lines)
    write_log(tmp_path, "edit_lane/a/lane1.log", lines)
    write_log(tmp_path, "edit_lane/a/lane2.log", "error: of the run before\n", at=10.0)
    assert find_errors(RunPaths(tmp_path), 1000.0) == ["error: no such model"]
    assert find_warnings(RunPaths(tmp_path), 1000.0) == ["warning: gpulease: gpu1 is left out"]


def test_a_process_that_stood_still_is_named_with_its_log(tmp_path: Path) -> None:
    code = "import faulthandler, time; faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    path = write_log(tmp_path, "edit_lane/a/lane0.log", "12:00:00 lane 0\n" + done.stderr)
    (error,) = find_errors(RunPaths(tmp_path), 1000.0)
    assert error.startswith(f"error: {path}: made no progress for 0.2 s and was ended")


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("Timeout (0:30:00)!\n", 1800), ("Timeout (1:00:02.500000)!", 3602.5), ("Timeout (soon)!", None), ("", None)],
)
def test_the_line_above_the_stacks_says_after_how_many_seconds(line: str, seconds: float | None) -> None:
    assert watchdog_timeout(line) == seconds


def test_a_folder_that_cannot_be_written_is_an_error_although_no_log_says_so(tmp_path: Path) -> None:
    (error,) = find_errors(RunPaths(tmp_path / "none"), 0.0)
    assert error.startswith(f"error: cannot read or write {tmp_path / 'none'}: No such file or directory.")
