"""Requests to a server are counted over lanes and processes, stay within their number, and are spaced out."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from editlane.core.errors import Stopped, UserError
from editlane.lanes import requests_sent, served_model
from editlane.lanes.requests_sent import RequestCount, Sent, read_sent, sum_up
from editlane.lanes.served_model import keep_words


def make_count(folder: Path, lane: int = 0, **changed: object) -> RequestCount:
    return RequestCount(folder, lane, **{"editor": "远方", "most": None, "per_minute": None} | changed)  # type: ignore[arg-type]


def test_requests_and_images_are_counted_by_lane_and_go_on_in_the_next_process(tmp_path: Path) -> None:
    for lane, requests, images in ((0, 3, 2), (12, 1, 0)):
        for _ in range(requests):
            make_count(tmp_path, lane).begin()
        for _ in range(images):
            make_count(tmp_path, lane).count_image()
    assert read_sent(tmp_path) == {0: Sent(3, 2), 12: Sent(1, 0)}
    assert sum_up(tmp_path) == Sent(4, 2)
    assert read_sent(tmp_path / "nothing") == {}


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
    with pytest.raises(UserError, match=r"远方 has sent 50 requests.*1 image in.*`max_requests: 50`.*every finished"):
        lanes[0].begin()
    make_count(tmp_path, most=51).begin()


def test_processes_share_the_number(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from editlane.lanes.requests_sent import RequestCount\n"
        "count = RequestCount(Path(sys.argv[1]), int(sys.argv[2]), editor='e', most=30, per_minute=None)\n"
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
    (tmp_path / "turn").write_text("1e12")  # a clock that was wrong
    lanes[0].begin()
    (tmp_path / "turn").write_text("half a nu")
    lanes[0].begin()
    assert now[0] == pytest.approx(1066)


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
    with pytest.raises(UserError, match=r"editor e now says root: '模型/b'.*it said '模型/a'.*delete .*server\.json"):
        keep_words(path, {"root": "模型/b", "owned_by": "vllm"}, "e")
    path.write_text("damaged")
    keep_words(path, {"root": "模型/b"}, "e")
    with pytest.raises(UserError):
        keep_words(path, {"root": "模型/a"}, "e")


def test_a_word_that_comes_later_is_compared_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    for words in ({"owned_by": "vllm"}, {"root": "模型/a"}, {"owned_by": "vllm"}):
        keep_words(path, words, "e")
    with pytest.raises(UserError, match="root: '模型/b'"):
        keep_words(path, {"owned_by": "vllm", "root": "模型/b"}, "e")
    with pytest.raises(UserError, match="owned_by: 'x'"):
        keep_words(path, {"owned_by": "x"}, "e")


def test_of_two_lanes_that_start_at_once_one_sees_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = served_model.replace_text
    both = threading.Barrier(2)

    def write_late(path: Path, text: str) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)  # the other lane comes here at the same time only if it was let in
        write(path, text)

    def start(model: str) -> str | None:
        try:
            keep_words(tmp_path / "server.json", {"root": model}, "e")
        except UserError:
            return model
        return None

    monkeypatch.setattr(served_model, "replace_text", write_late)
    with ThreadPoolExecutor(2) as lanes:
        refused = [one for one in lanes.map(start, ("模型/a", "模型/b")) if one]
    assert len(refused) == 1
    assert refused[0] not in (tmp_path / "server.json").read_text(encoding="utf-8")
