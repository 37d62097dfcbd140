"""run_step and errors: one paragraph for a mistake that a user can fix, a traceback for a bug."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from editlane.cli.step import run_step
from editlane.core import files, schemas, tables
from editlane.core.errors import Stopped, UserError
from editlane.core.os_errors import explain_os_error
from editlane.images.files import write_atomically


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of a step that raises this."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as code:
        run_step(main)
    return int(code.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("--x is 1; use 2."), 2, "error: --x is 1; use 2.\n"),
        (Stopped("got SIGTERM"), 75, "stopped: got SIGTERM\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "数据/a.yaml"),
            2,
            "error: cannot read or write 数据/a.yaml: No such file or directory. Check the path.\n",
        ),
        (
            OSError(errno.EEXIST, "File exists", "a.partial", None, "a"),
            2,
            "error: cannot read or write a.partial -> a: File exists. Something is in the way there; move it away or "
            "give another path.\n",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_paragraph_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error, capsys) == (code, said)


FIXED = ["ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "EACCES", "EPERM", "ENAMETOOLONG", "ELOOP", "EROFS"]


@pytest.mark.parametrize("name", [*FIXED, "ENOSPC", "EDQUOT", "EIO", "ESTALE"])
def test_what_a_user_can_fix_names_the_file_and_the_remedy(name: str) -> None:
    number = getattr(errno, name)
    said = str(explain_os_error(OSError(number, os.strerror(number), "results/试验/items.parquet")))
    assert said is not None
    assert said.startswith(f"cannot read or write results/试验/items.parquet: {os.strerror(number)}. ")
    assert len(said) > len(f"cannot read or write results/试验/items.parquet: {os.strerror(number)}. ") + 10
    assert "\n" not in said


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_a_full_read_only_or_broken_disk_is_explained_without_a_file(name: str) -> None:
    said = str(explain_os_error(OSError(getattr(errno, name), "x")))
    assert said is not None
    assert said.startswith("cannot read or write a file: x.")


def test_a_full_disk_tells_that_nothing_is_lost() -> None:
    said = str(explain_os_error(OSError(errno.ENOSPC, "No space left on device", "a")))
    assert said is not None
    assert "run the same command again; finished items are kept" in said


@pytest.mark.parametrize(
    "error",
    [
        OSError("a library's own words"),
        OSError(errno.EBADF, "Bad file descriptor", "a"),
        OSError(errno.EINVAL, "Invalid argument", "a"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        PermissionError(errno.EPERM, "Operation not permitted"),
        ValueError("a bug"),
    ],
    ids=repr,
)
def test_what_is_the_programs_own_fault_keeps_its_traceback(error: Exception) -> None:
    def main() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        run_step(main)
    assert raised.value is error


STEP = """
import logging, sys
sys.path.insert(0, "scripts")
from editlane.core.errors import Stopped, UserError
from editlane.cli.step import run_step

def main():
    logging.info("about to fail")
    {fail}

run_step(main)
"""


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ('raise UserError("x")', 2),
        ('raise Stopped("x")', 75),
        ('open("/dev/full", "w").write("x" * 99999)', 2),
        ("pass", 0),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_exit_code_stays_where_the_log_is_on_the_full_disk(fail: str, code: int, unbuffered: str) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", STEP.format(fail=fail)]
        done = subprocess.run(command, stderr=full, check=False, env=environment)
    assert done.returncode == code


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ('raise UserError("a\\n\\x1b[2J\\u202e雨")', r"error: a\n\x1b[2J\u202e雨"),
        ('raise Stopped("a\\nerror: b")', r"stopped: a\nerror: b"),
        ('logging.warning("%s", "a\\nerror: b\\r\\ud800")', r"about to fail .* a\\nerror: b\\r\\ud800"),
        ('raise RuntimeError("\\x1b]0;x\\x07")', r"RuntimeError: \x1b]0;x\x07"),
        (
            "import threading; t = threading.Thread(target=lambda: 1 / len(chr(27) * 0)); t.start(); t.join()",
            "ZeroDivisionError: division by zero",
        ),
        ('try: raise ValueError("\\x1b[2J")\n    except ValueError: logging.exception("x")', r"ValueError: \x1b[2J"),
    ],
)
def test_nothing_that_a_step_says_moves_the_cursor_or_begins_a_line(fail: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", STEP.format(fail=fail)], capture_output=True, check=False)
    lines = done.stderr.decode()
    assert all(letter.isprintable() or letter == "\n" for letter in lines)
    assert not any(line.startswith("error: b") for line in lines.splitlines())
    if ".*" in said:
        assert re.search(said, lines.replace("\n", " "))
    else:
        assert said in lines


@pytest.mark.parametrize("what", ["print('雨')", "open('雨')", "logging.info('雨')"])
def test_a_locale_without_chinese_is_said_in_one_paragraph_or_does_not_matter(what: str) -> None:
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = STEP.format(fail=what.encode("unicode-escape").decode())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=env)
    assert done.returncode == (2 if "open" in what else 0), done.stderr
    assert b"Traceback" not in done.stderr
    assert ("open" in what) == (b"error: this Python names files in ascii" in done.stderr)
    assert b"\\u96e8" in done.stdout + done.stderr or "open" in what


@pytest.mark.parametrize("kind", ["table", "file"])
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "表.parquet"
    path.write_bytes(b"old")

    def open_full(partial: Path) -> IO[bytes]:
        partial.touch()
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(files, "_open_new", open_full)
    rows = [
        {"item_id": str(number), "category": "物理", "editor": "a", "source_sha256": "0", "state": "failed"}
        for number in range(2000)
    ]
    with pytest.raises(OSError) as raised:
        if kind == "table":
            tables.write_table(path, rows, schemas.PRESERVATION)
        else:
            write_atomically(path, b"new" * 100_000)
    said = str(explain_os_error(raised.value))
    assert said is not None
    assert said.startswith(f"cannot read or write {path}: No space left on device.")
    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == ["表.parquet"]
