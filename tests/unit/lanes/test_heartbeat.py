"""The heartbeat of a lane: what others can know of it, and what happens when it stops."""

import faulthandler
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from editlane.core.errors import Stopped, UserError
from editlane.core.locks import open_lock
from editlane.core.paths import LaneId, RunPaths
from editlane.lanes.gpu_strikes import Lease, name_handle, read_lease, write_lease
from editlane.lanes.heartbeat import Heartbeat
from editlane.lanes.lane_status import LaneStatus
from editlane.lanes.lane_status import read_heartbeats as read_all
from editlane.models import load_times


def make(run_dir: Path, judge: str | None = None, **changes) -> Heartbeat:
    lane = LaneId("score" if judge else "edit", "甲", judge, 1)
    return Heartbeat(RunPaths(run_dir), lane, **{"total": 5, "kept": 2} | changes)


def read_heartbeats(run_dir: Path) -> list[LaneStatus]:
    return read_all(RunPaths(run_dir))


def test_a_heartbeat_tells_where_the_lane_is_and_what_it_cost(tmp_path: Path) -> None:
    with make(tmp_path) as heartbeat:
        assert [one.phase for one in read_heartbeats(tmp_path)] == ["loading"]
        heartbeat.loaded("H200 (GPU-1)")
        heartbeat.begin("项-1", "物理")
        heartbeat.finished(1, seconds=2.5, state="edited")
        heartbeat.finished(2, seconds=1.5, state="edit_failed")
    (status,) = read_heartbeats(tmp_path)
    assert (status.phase, status.device, status.item_id, status.category) == ("done", "H200 (GPU-1)", "项-1", "物理")
    assert (status.total, status.kept, status.done, status.busy_seconds) == (5, 2, 3, 4.0)
    assert (status.last_state, status.attempt) == ("edit_failed", 1)
    assert 0 < status.load_seconds <= status.held_seconds


def test_every_process_of_a_lane_leaves_a_heartbeat_of_its_own(tmp_path: Path) -> None:
    for judge in ("乙", "丙"):
        for _ in range(2):
            with make(tmp_path, judge):
                pass
    found = [(one.judge, one.attempt) for one in read_heartbeats(tmp_path)]
    assert found == [("丙", 1), ("丙", 2), ("乙", 1), ("乙", 2)]


@pytest.mark.parametrize(("error", "phase"), [(Stopped, "stopped"), (RuntimeError, "failed"), (UserError, "failed")])
def test_the_last_beat_says_how_the_process_ended(tmp_path: Path, error: type[Exception], phase: str) -> None:
    with pytest.raises(error), make(tmp_path):
        raise error("so")
    assert [one.phase for one in read_heartbeats(tmp_path)] == [phase]


def test_what_is_no_heartbeat_is_left_out(tmp_path: Path) -> None:
    with make(tmp_path):
        pass
    folder = tmp_path / "heartbeats/edit/甲"
    for name, text in {"lane2.1": "{", "lane3.1": "[]", "lane4.1": "{}"}.items():
        (folder / f"{name}.json").write_text(text)
    assert [one.lane for one in read_heartbeats(tmp_path)] == [1]


def test_a_heartbeat_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "heartbeats").write_text("a file where the folder should be")
    with make(tmp_path) as heartbeat:
        heartbeat.begin("i", "物理")
        heartbeat.step(1, 2)
        heartbeat.finished(1, seconds=0.1, state="edited")


def python(code: str) -> subprocess.CompletedProcess[str]:
    head = (
        "import sys, time; sys.path.insert(0, 'scripts')\nfrom editlane.lanes.heartbeat import Heartbeat\n"
        "from editlane.core.paths import LaneId, RunPaths\n"
    )
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=60)


MAKE = "Heartbeat(RunPaths(Path({!r})), LaneId('edit', 'e', None, 0), total=1, kept=0, timeout=1.5)"


def test_a_heart_that_stands_still_ends_the_process_and_shows_where_it_hung(tmp_path: Path) -> None:
    """Even where the interpreter itself hangs: a regular expression holds its lock for hours."""
    done = python(f"""
import re
from pathlib import Path
def hangs():
    re.match("(a*)*b", "a" * 40)
with {MAKE.format(str(tmp_path))} as heartbeat:
    heartbeat.loaded("cpu")
    hangs()
""")
    assert done.returncode == 1
    assert "Timeout (0:00:01.5" in done.stderr
    assert "in hangs" in done.stderr
    assert [one.phase for one in read_heartbeats(tmp_path)] == ["working"]


def test_each_beat_begins_the_wait_anew_and_the_end_ends_it(tmp_path: Path, monkeypatch) -> None:
    """The process is ended a second after its last beat, however long it has worked before."""
    alarms: list[float | None] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, *, exit: alarms.append(seconds))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: alarms.append(None))
    with make(tmp_path, timeout=0.5) as heartbeat:
        for step in range(3):
            time.sleep(0.5 / 4)  # more often it does not set the alarm
            heartbeat.step(step, 3)
    assert alarms == [0.5, 0.5, 0.5, 0.5, None]


def test_a_strike_is_what_a_process_leaves_that_dies_before_anything_worked(tmp_path: Path, monkeypatch) -> None:
    lock = open_lock(str(tmp_path / "GPU-1.lock"))
    write_lease(lock, Lease(holder="我", strikes=["earlier"]))
    monkeypatch.setenv("GPULEASE_LOCKS", f"{name_handle(lock)} 4242:1:1 nonsense")
    monkeypatch.setenv("GPULEASE_JOB", "mine")

    def left() -> list[str]:
        assert read_lease(lock).holder == "我"
        return read_lease(lock).settled_strikes()

    with pytest.raises(RuntimeError), make(tmp_path):
        raise RuntimeError("illegal memory access")
    assert left() == ["earlier", "mine"]
    with pytest.raises(UserError), make(tmp_path):
        assert left() == ["earlier", "mine"]
        raise UserError("no such model")
    assert left() == ["earlier"]
    with pytest.raises(OSError, match="full"), make(tmp_path):
        raise OSError(28, "the disk is full")
    assert left() == ["earlier"]
    with pytest.raises(BrokenPipeError), make(tmp_path):
        raise BrokenPipeError("the worker on this device died")
    assert left() == ["earlier", "mine"]
    write_lease(lock, Lease(holder="我", strikes=["earlier"]))
    with pytest.raises(RuntimeError), make(tmp_path) as heartbeat:
        heartbeat.begin("i", "物理", suspect=True)
        raise RuntimeError("the item's, not the device's")
    assert left() == ["earlier"]
    with make(tmp_path) as heartbeat:
        heartbeat.begin("i", "物理", suspect=True)
        heartbeat.finished(1, seconds=0.1, state="edit_failed")
        assert left() == ["earlier"]
        heartbeat.finished(1, seconds=0.1, state="edited")
        assert left() == []


def test_time_since_the_lease_counts_as_loading(tmp_path: Path, monkeypatch) -> None:
    since = time.monotonic() - 30
    monkeypatch.setenv("GPULEASE_SINCE", str(since))
    with make(tmp_path) as heartbeat:
        heartbeat.loaded("cpu")
    (status,) = read_heartbeats(tmp_path)
    assert 30 <= status.load_seconds <= status.held_seconds <= time.monotonic() - since


def test_a_heartbeat_tells_what_its_loading_consisted_of(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        load_times, "get_seconds", lambda: {"imports": 4.0, "reading": 3.0, "transfer": 2.0, "warm-up": 1.0}
    )
    with make(tmp_path) as heartbeat:
        heartbeat.loaded("cpu")
    (status,) = read_heartbeats(tmp_path)
    found = (status.imports_seconds, status.reading_seconds, status.transfer_seconds, status.warmup_seconds)
    assert found == (4.0, 3.0, 2.0, 1.0)


def test_what_the_first_item_took_longer_is_no_work(tmp_path: Path) -> None:
    with make(tmp_path) as heartbeat:
        heartbeat.loaded("cpu")
        before = read_heartbeats(tmp_path)[0].load_seconds
        heartbeat.finished(1, seconds=0.0, state="edit_failed", failed=1)
        for seconds in (12.0, 2.0, 2.5, 1.5):
            heartbeat.finished(1, seconds=seconds, state="edited")
    (status,) = read_heartbeats(tmp_path)
    assert (status.warmup_seconds, status.busy_seconds) == (10.0, 8.0)
    assert status.load_seconds == before + 10.0


def test_a_heartbeat_tells_what_the_device_waited_for(tmp_path: Path) -> None:
    with make(tmp_path) as heartbeat:
        heartbeat.loaded("cpu")
        for _ in range(2):
            with heartbeat.waiting("input"):
                time.sleep(0.02)
        with pytest.raises(RuntimeError), heartbeat.waiting("output"):
            time.sleep(0.01)
            raise RuntimeError("the disk")
        heartbeat.finished(1, seconds=0.0, state="edited")
    (status,) = read_heartbeats(tmp_path)
    assert 0.04 <= status.input_seconds < status.held_seconds
    assert 0.01 <= status.output_seconds < status.held_seconds
    assert status.load_seconds < status.settled_seconds <= status.held_seconds


def test_a_heartbeat_of_an_older_version_is_read(tmp_path: Path) -> None:
    with make(tmp_path):
        pass
    (path,) = (tmp_path / "heartbeats").rglob("*.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    new = ("imports", "reading", "transfer", "warmup", "input", "output", "settled")
    path.write_text(json.dumps({name: value for name, value in written.items() if name.split("_")[0] not in new}))
    (status,) = read_heartbeats(tmp_path)
    assert (status.imports_seconds, status.settled_seconds) == (None, None)
