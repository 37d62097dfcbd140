"""Ask a reward server from many clients at once, and count what its answers did wrong."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import requests
from audit import NONE, Damage
from reward_server import RewardServer
from rewards import audit, make_edit, to_json

Edit = dict[str, Any]
Answer = dict[str, Any]

PATIENCE = 120.0
"""Seconds until a client gives up; what it asked counts as lost then."""


class Onslaught:
    """Requests to one server, their answers, and the times of a fault."""

    def __init__(self, server: RewardServer, report: Callable[[str, Any], None]) -> None:
        self.server, self._report = server, report
        self.asked: list[tuple[list[Edit], list[Answer]]] = []
        self.damage = Counter[str]()
        """What was found in answers that are not kept in `asked`."""
        self.refused = Counter[int]()
        self.slowest = 0.0
        self.struck: float | None = None
        self.detected: float | None = None
        self._watcher: threading.Thread
        self.recovered: float | None = None

    def ask(self, edits: list[Edit], **more: Any) -> list[Answer]:
        """Ask as a trainer does: again after a refusal or a lost connection. Returns what came in the end."""
        until = time.monotonic() + PATIENCE
        answers: list[Answer] = []
        while time.monotonic() < until:
            started = time.monotonic()
            try:
                response = requests.post(self.server.url + "/v1/score", json=to_json(edits, **more), timeout=PATIENCE)
            except requests.RequestException:
                time.sleep(0.2)
                continue
            self.slowest = max(self.slowest, time.monotonic() - started)
            if response.status_code == 200:
                answers = response.json()["items"]
                break
            self.refused[response.status_code] += 1
            assert response.status_code == 503, response.text
            time.sleep(min(1.0, float(response.headers["Retry-After"])))
        self.asked.append((edits, answers))
        if self.struck is not None and self.recovered is None and answers:
            self.recovered = time.monotonic() - self.struck
        return answers

    def ask_all(self, numbers: Sequence[int], *, clients: int = 8, each: int = 4, **more: Any) -> None:
        """Ask about these edits in requests of `each`, from so many clients at once."""
        edits = [make_edit(number) for number in numbers]
        requests_ = [edits[start : start + each] for start in range(0, len(edits), each)]
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(lambda some: self.ask(some, **more), requests_))

    def strike(self, act: Callable[[], object], noticed: Callable[[], bool] | None = None) -> None:
        """Do the fault, and note when. `noticed`: a sign that the server has noticed it, looked for meanwhile."""
        self.struck, self.recovered, self.detected = time.monotonic(), None, None
        act()
        if noticed:
            self._watcher = threading.Thread(target=self.wait_until_noticed, args=(noticed,), daemon=True)
            self._watcher.start()

    def strike_under_load(
        self, numbers: Sequence[int], act: Callable[[], object], noticed: Callable[[], bool] | None = None
    ) -> None:
        """Ask about these edits, strike once some were answered, and wait until all are."""
        load = threading.Thread(target=self.ask_all, args=(numbers,))
        load.start()
        while self.metric("editlane_items_total") < 20:
            time.sleep(0.01)
        self.strike(act, noticed)
        load.join()
        if noticed:
            self._watcher.join()
            assert self.detected is not None, "the fault was never noticed"

    def wait_until_noticed(self, condition: Callable[[], bool]) -> None:
        """Wait for a sign that the server has noticed the fault."""
        assert self.struck is not None
        while not self._is(condition):
            assert time.monotonic() < self.struck + PATIENCE, self.server.stderr[-3000:]
            time.sleep(0.02)
        self.detected = self.detected or time.monotonic() - self.struck

    @staticmethod
    def _is(condition: Callable[[], bool]) -> bool:
        try:
            return condition()
        except requests.RequestException:  # the server itself may be down
            return False

    def count_damage(self, **params: Any) -> Damage:
        """Count over all requests; computed twice without need is doubled."""
        found = Counter(self.damage)
        for edits, answers in self.asked:
            found += audit(edits, answers, **params)
        return Damage(**{name: found[name] for name in ("lost", "doubled", "misattributed", "invented")})

    def finish(self, fault: str, expected: Damage = NONE, **params: Any) -> None:
        """Report the fault for the table. Fails if it did any damage."""
        damage = self.count_damage(**params)
        self._report(
            "fault",
            {"fault": fault, "detected": self.detected, "recovered": self.recovered, "damage": asdict(damage)},
        )
        assert damage == expected, damage

    def failures(self) -> Counter[str]:
        """Count the items without a score, by kind."""
        return Counter(one["error"]["kind"] for _, answers in self.asked for one in answers if one["error"])

    def workers(self) -> list[Mapping[str, Any]]:
        """Return what the server says of its workers."""
        found: list[Mapping[str, Any]] = self.server.get("/pool_status").json()["workers"]
        return found

    def metric(self, name: str, **labels: str) -> float:
        """Sum a figure over all labels but these."""
        lines = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", self.server.get("/metrics").text, re.MULTILINE)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for found, value in lines if all(one in found for one in wanted))


Attack = Callable[..., Onslaught]
"""Starts a server that faults will happen to; see the fixture `attack`."""
