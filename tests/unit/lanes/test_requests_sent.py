"""Requests to a server are counted over lanes and processes, stay within their number, and are spaced out."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from editlane.core.errors import Stopped, UserError
from editlane.core.files import replace_text
from editlane.core.paths import LaneId
from editlane.lanes import requests_sent, served_model
from editlane.lanes.requests_sent import RequestCount, Sent, read_sent, sum_up
from editlane.lanes.served_model import keep_words


def make_count(folder: Path, lane: int = 0, **changed: object) -> RequestCount:
    return RequestCount(folder, LaneId("edit", "远方", None, lane), **{"most": None, "per_minute": None} | changed)  # type: ignore[arg-type]


def test_requests_and_images_are_counted_by_lane_and_go_on_in_the_next_process(tmp_path: Path) -> None:
    for lane, requests, images in ((0, 3, 2), (12, 1, 0)):
        for _ in range(requests):
            make_count(tmp_path, lane).begin()
        for _ in range(images):
            make_count(tmp_path, lane).count_image()
    assert read_sent(tmp_path, "edit") == {0: Sent(3, 2), 12: Sent(1, 0)}
    assert read_sent(tmp_path, "score") == {}
    assert sum_up(tmp_path) == Sent(4, 2)
    assert read_sent(tmp_path / "nothing", "edit") == {}


def test_lanes_together_never_send_more_than_allowed(tmp_path: Path) -> None:
    lanes = [make_count(tmp_path, lane, most=50) for lane in range(4)]

    def send(number: int) -> bool:
        with suppress(UserError):
            lanes[number % 4].begin()
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(send, range(80)))
    assert sum(sent) == 50 == sum_up(tmp_path).requests
    lanes[0].count_image()
    with pytest.raises(UserError, match=r"远方 has sent 50 requests.*got 1 image.*`max_requests: 50`.*is kept"):
        lanes[0].begin()
    make_count(tmp_path, most=51).begin()


def test_processes_share_the_number(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from editlane.core.paths import LaneId\n"
        "from editlane.lanes.requests_sent import RequestCount\n"
        "lane = LaneId('score', None, 'j', int(sys.argv[2]))\n"
        "count = RequestCount(Path(sys.argv[1]), lane, most=30, per_minute=None)\n"
        "while True: count.begin()"
    )
    path = os.pathsep.join(sys.path)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(lane)],
            env=os.environ | {"PYTHONPATH": path},
            stderr=subprocess.PIPE,
        )
        for lane in range(3)
    ]
    for process in started:
        assert b"may send no more" in process.communicate(timeout=60)[1]
    assert sum_up(tmp_path).requests == 30


def test_what_a_killed_process_sent_stays_counted(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from editlane.core.paths import LaneId\n"
        "from editlane.lanes.requests_sent import RequestCount\n"
        "count = RequestCount(Path(sys.argv[1]), LaneId('edit', '远方', None, 0), most=5, per_minute=None)\n"
        "for _ in range(3): count.begin()\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False).returncode == -9
    count = make_count(tmp_path, most=5)
    count.begin()
    count.begin()
    with pytest.raises(UserError, match="has sent 5 requests"):
        count.begin()


def test_requests_of_all_lanes_are_spaced_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [1000.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(requests_sent.time, "time", lambda: now[0])
    monkeypatch.setattr(requests_sent.time, "sleep", sleep)
    lanes = [make_count(tmp_path, lane, per_minute=30) for lane in range(2)]
    begun = []
    for number in range(4):
        lanes[number % 2].begin()
        begun.append(now[0])
    assert begun == pytest.approx([1000, 1002, 1004, 1006])
    now[0] += 60
    lanes[0].begin()
    assert now[0] == pytest.approx(1066), "no turn is saved up"
    (tmp_path / "last").write_text("1e12")  # a clock that was wrong
    lanes[0].begin()
    (tmp_path / "last").write_text("half a nu")
    lanes[0].begin()
    assert now[0] == pytest.approx(1066)


def test_the_pause_is_kept_however_many_wait_and_however_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, now, begun = threading.Lock(), [1000.0], []

    def sleep(seconds: float) -> None:
        with clock:
            now[0] += seconds

    monkeypatch.setattr(requests_sent.time, "time", lambda: now[0])
    monkeypatch.setattr(requests_sent.time, "sleep", sleep)
    monkeypatch.setattr(
        requests_sent, "_append", lambda path, mark: begun.append(float((tmp_path / "last").read_text()))
    )
    lanes = [make_count(tmp_path, lane, per_minute=0.5) for lane in range(2)]
    with ThreadPoolExecutor(40) as threads:
        list(threads.map(lambda number: lanes[number % 2].begin(), range(40)))
    assert len(begun) == 40
    assert min(later - earlier for earlier, later in pairwise(begun)) >= 120 - 1e-6


def test_lanes_that_were_stopped_while_they_waited_take_no_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, left = [1000.0], [0]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped("told to")

    monkeypatch.setattr(requests_sent.time, "time", lambda: now[0])
    monkeypatch.setattr(requests_sent.time, "sleep", lambda seconds: None)
    count = make_count(tmp_path, per_minute=1, check=check)
    for looks in (1, 3, 3, 3):
        left[0] = looks
        with suppress(Stopped):
            count.begin()
    now[0] += 60
    left[0] = 1
    count.begin()
    assert sum_up(tmp_path).requests == 2


def test_a_stop_ends_the_wait_for_a_turn(tmp_path: Path) -> None:
    until = time.monotonic() + 0.3

    def check() -> None:
        if time.monotonic() > until:
            raise Stopped("told to")

    count = make_count(tmp_path, per_minute=1, check=check)
    count.begin()
    with pytest.raises(Stopped):
        count.begin()
    assert sum_up(tmp_path).requests == 1, "what was not sent is not counted"


def test_another_word_about_the_model_is_an_error_and_silence_is_none(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    keep_words(path, {}, "e")
    assert not path.exists()
    keep_words(path, {"root": "模型/a", "owned_by": "vllm"}, "e")
    for words in ({"root": "模型/a", "owned_by": "vllm"}, {"root": "模型/a"}, {}, {"parent": "new"}):
        keep_words(path, words, "e")
    with pytest.raises(UserError, match="now says parent: 'newer'"):
        keep_words(path, {"parent": "newer"}, "e")
    with pytest.raises(UserError, match=r"editor e now says root: '模型/b'.*it said '模型/a'.*delete .*server\.json"):
        keep_words(path, {"root": "模型/b", "owned_by": "vllm"}, "e")
    path.write_text("damaged")
    keep_words(path, {"root": "模型/b"}, "e")
    with pytest.raises(UserError):
        keep_words(path, {"root": "模型/a"}, "e")


def test_of_lanes_that_start_at_once_on_two_models_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace_slowly(path: Path, text: str) -> None:
        time.sleep(0.1)  # time for another to read what was there before
        replace_text(path, text)

    monkeypatch.setattr(served_model, "replace_text", replace_slowly)
    start = threading.Barrier(4, timeout=60)

    def keep(root: str) -> bool:
        start.wait()
        with suppress(UserError):
            keep_words(tmp_path / "server.json", {"root": root}, "e")
            return True
        return False

    with ThreadPoolExecutor(4) as threads:
        kept = list(threads.map(keep, "abab"))
    assert kept in ([True, False] * 2, [False, True] * 2), "both lanes of one model go on, none of the other"


def test_a_clock_that_is_set_back_costs_no_more_than_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [10_000.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds - 3600 * (len(slept) == 1)

    monkeypatch.setattr(requests_sent.time, "time", lambda: now[0])
    monkeypatch.setattr(requests_sent.time, "sleep", sleep)
    count = make_count(tmp_path, per_minute=30)
    count.begin()
    count.begin()
    assert sum(slept) <= 2.01


def test_a_wait_for_a_turn_is_no_hang(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from editlane.core.paths import LaneId\n"
        "from editlane.lanes.requests_sent import RequestCount; from editlane.lanes.watchdog import Watchdog\n"
        "watchdog = Watchdog(1.0); watchdog.reset(time.monotonic())\n"
        "count = RequestCount(Path(sys.argv[1]), LaneId('edit', 'e', None, 0), most=None, per_minute=40)\n"
        "count.begin(); count.begin(); watchdog.stop(); count.begin(); time.sleep(1.2); print('alive')\n"
    )
    path = os.pathsep.join(sys.path)
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.stdout, found.returncode) == ("alive\n", 0), found.stderr
