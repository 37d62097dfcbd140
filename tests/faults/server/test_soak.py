"""Many kinds of clients for long: memory and open files stay where they were, and no answer is wrong.

EDITLANE_SOAK_MINUTES says for how long; 30 minutes if it is not set.
"""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest
import requests
from onslaught import Answer, Attack, Edit, Onslaught
from process_figures import count_files, read_memory
from reward_server import RewardServer
from rewards import audit, draw_noise, make_edit, to_json

MINUTES = float(os.environ.get("EDITLANE_SOAK_MINUTES", "30"))
WARM_UP = 1 / 3
"""Share of the time of which no slope is taken, five minutes at most: caches fill."""

EACH, SIDE, TICK, KILL_EVERY = 4, 100, 0.15, 60.0
PICTURES = [draw_noise(number, SIDE) for number in range(64)]
IMAGE_BYTES = len(PICTURES[0])


def make_edits(start: int) -> list[Edit]:
    """Return some edits of 30 kB images, which depend only on the number."""
    return [
        make_edit(number, source=PICTURES[number % 7], edited=PICTURES[7 + number % 57])
        for number in range(start, start + EACH)
    ]


@dataclass
class Soak:
    """Clients of one server until an end, and what they counted."""

    onslaught: Onslaught
    until: float
    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def take_number(self) -> int:
        with self._lock:
            self._number += EACH
            return self._number

    def run(self, clients: Sequence[Callable[[], None]]) -> None:
        """Run each client again and again, at a fixed rate. Its exception ends it, and is kept."""
        threads = [threading.Thread(target=self._repeat, args=(client,)) for client in clients]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    def _repeat(self, client: Callable[[], None]) -> None:
        following = time.monotonic()
        while following < self.until:
            try:
                client()
            except Exception as error:  # noqa: BLE001  whatever it is fails the test, at its end
                self.wrong.append(f"{client.__name__}: {error!r}")
                return
            following = max(following + TICK, time.monotonic())
            time.sleep(max(0.0, following - time.monotonic()))

    def count(self, name: str) -> int:
        """Count one more, and return how many there were before."""
        with self._lock:
            self.counts[name] += 1
            return self.counts[name] - 1

    def send(self, edits: list[Edit], *, packed: bool = False, bad: int | None = None) -> list[Answer]:
        """Ask until it is not refused. Returns the answers; all but the one of the bad edit are checked."""
        url, kind = self.onslaught.server.url + "/v1/score", "application/msgpack" if packed else "application/json"
        body = (msgspec.msgpack.encode({"items": edits})) if packed else msgspec.json.encode(to_json(edits))
        while True:
            began = time.monotonic()
            response = requests.post(url, data=body, headers={"Content-Type": kind}, timeout=120)
            if response.status_code == 200:
                break
            assert response.status_code == 503, response.text
            self.count("refused")
            time.sleep(float(response.headers["Retry-After"]))
        self.seconds.append(time.monotonic() - began)
        self.count("requests")
        answers: list[Answer] = response.json()["items"]
        assert len(answers) == len(edits)
        good = [place for place in range(len(edits)) if place != bad]
        found = audit([edits[place] for place in good], [answers[place] for place in good])
        with self._lock:
            self.onslaught.damage += found
        return answers

    def send_good(self) -> None:
        number = self.take_number()
        answers = self.send(make_edits(number), packed=number % 8 == 0)
        assert all(one["score"] is not None for one in answers), answers
        self.count("good")

    def send_again(self) -> None:
        """Ask what was asked before: known from the store, or long forgotten."""
        edits = make_edits(max(EACH, self._number - EACH * (self.count("again") % 300)))
        assert all(one["score"] is not None for one in self.send(edits * 2))

    def send_bad(self) -> None:
        edits = make_edits(self.take_number())
        edits[1]["edited"] = edits[1]["edited"][: IMAGE_BYTES // 2]
        kinds = [one["error"] and one["error"]["kind"] for one in self.send(edits, bad=1)]
        assert kinds == [None, "decode", None, None], kinds
        self.count("bad")

    def leave(self) -> None:
        """Ask and close the connection before the answer, at some moment."""
        body = msgspec.json.encode(to_json(make_edits(self.take_number())))
        head = f"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        place, number = urlsplit(self.onslaught.server.url), self.count("left")
        with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
            connection.sendall(head + body[: len(body) // (1 + number % 3)])
            time.sleep(0.01 * (number % 5))


@dataclass
class Watch:
    """Figures of a server and of a worker that is not killed, every second."""

    server: RewardServer
    until: float
    rows: list[tuple[float, int, int, int]] = field(default_factory=list)
    """Time, bytes of the server, bytes of the worker, open files of the server."""
    killed: int = 0

    def run(self) -> None:
        """Watch the first worker, and kill the second one every minute."""
        kept, kill_at = self._find("fake-1"), time.monotonic() + KILL_EVERY / 2
        while (now := time.monotonic()) < self.until:
            pid = self.server.process.pid
            self.rows.append((now, read_memory(pid), read_memory(kept), count_files(pid)))
            if now > kill_at:
                with suppress(ProcessLookupError, TypeError):
                    os.kill(self._find("fake-2"), signal.SIGKILL)
                    self.killed += 1
                kill_at = now + KILL_EVERY
            time.sleep(1.0)

    def _find(self, name: str) -> int:
        workers = requests.get(self.server.url + "/pool_status", timeout=30).json()["workers"]
        pid: int = next(one["pid"] for one in workers if one["name"] == name)
        return pid

    def slopes(self) -> list[float]:
        """Return the growth an hour of each figure, by a straight line through all after the warm-up."""
        rows = np.array(self.rows)
        since = rows[0, 0] + min(300.0, WARM_UP * (rows[-1, 0] - rows[0, 0]))
        rows = rows[rows[:, 0] >= since]
        return [3600 * float(np.polyfit(rows[:, 0] - since, rows[:, place], 1)[0]) for place in (1, 2, 3)]


@pytest.mark.faults
def test_memory_and_files_do_not_grow(attack: Attack, capsys: pytest.CaptureFixture[str]) -> None:
    """The bounds are a quarter of what one image kept for each request would be, and a file for each 100 requests."""
    onslaught = attack(judge={"seconds": 0.002}, store={"megabytes": 1})
    until = time.monotonic() + 60 * MINUTES
    soak, watch = Soak(onslaught, until), Watch(onslaught.server, until)
    watching = threading.Thread(target=watch.run)
    onslaught.strike(watching.start)
    soak.run([soak.send_good, soak.send_good, soak.send_good, soak.send_again, soak.send_bad, soak.leave])
    watching.join()
    hourly = (soak.counts["requests"] + soak.counts["left"]) * 60 / MINUTES
    memory, worker, files = watch.slopes()
    p50, p99 = np.percentile(soak.seconds, [50, 99])
    with capsys.disabled():
        print(f"\n{MINUTES:g} minutes: {dict(soak.counts)}, {watch.killed} workers killed")
        print(f"p50 {1e3 * p50:.0f} ms, p99 {1e3 * p99:.0f} ms, {hourly:.0f} requests an hour")
        print(f"an hour: server {memory / 1e6:+.1f} MB, worker {worker / 1e6:+.1f} MB, open files {files:+.1f}")
        print(f"at the end: server {watch.rows[-1][1] / 1e6:.0f} MB, worker {watch.rows[-1][2] / 1e6:.0f} MB")
    assert not soak.wrong, soak.wrong
    assert watch.killed >= MINUTES - 1 and not onslaught.refused
    assert max(memory, worker) < hourly * IMAGE_BYTES / 4
    assert files < hourly / 100
    assert "Traceback" not in onslaught.server.stderr
    onslaught.recovered = None
    onslaught.finish(f"{MINUTES:g} minutes of mixed clients, {watch.killed} workers killed")
