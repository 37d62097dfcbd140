"""A cheap load for a fleet: one process, one event loop, connections that are kept, a time for each answer."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

LONGEST_WAIT = 60.0


@dataclass
class Answers:
    """What came of some requests: when each was answered, after how long, with which status (0: none)."""

    began: float
    ended: float = 0.0
    seconds: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def between(self, began: float, ended: float) -> "Answers":
        """Return those that were given between two moments."""
        kept = [place for place, at in enumerate(self.times) if began <= at < ended]
        pick = [[values[place] for place in kept] for values in (self.seconds, self.times, self.statuses)]
        return Answers(began, ended, *pick)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / (self.ended - self.began)

    @property
    def lost(self) -> int:
        """Requests without an answer."""
        return sum(status != 200 for status in self.statuses)

    def percentile(self, share: float) -> float:
        """Return the milliseconds within which this share of the requests, in percent, was answered."""
        return 1e3 * float(np.percentile(self.seconds, share))

    def longest_gap(self) -> float:
        """Return the longest time between two answers."""
        return float(max(np.diff(sorted([self.began, *self.times]))))


class Client:
    """One connection, kept, which asks again as soon as it has its answer."""

    def __init__(self, url: str, model: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port
        body = json.dumps({"model": model, "prompt": "x", "max_tokens": 1}).encode()
        head = "POST /v1/completions HTTP/1.1\r\nHost: fleet\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self) -> int:
        """Return the status of an answer, 0 for none."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            self._writer.write(self._request)
            async with asyncio.timeout(LONGEST_WAIT):
                return await self._read()
        except (OSError, EOFError, TimeoutError, ValueError):
            self.close()
            return 0

    async def _read(self) -> int:
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            await self._reader.readuntil(b"0\r\n\r\n")
        else:
            await self._reader.readexactly(int(head.partition(b"content-length:")[2].split(None, 1)[0]))
        return int(head.split(None, 2)[1])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def drive(
    url: str, clients: int, seconds: float, *, model: str = "base", during: Callable[[], None] | None = None
) -> Answers:
    """Keep so many requests at work for so long; `during` runs in a thread meanwhile, and lengthens it to its end."""
    return asyncio.run(_drive(url, clients, seconds, model, during))


async def _drive(url: str, clients: int, seconds: float, model: str, during: Callable[[], None] | None) -> Answers:
    answers, is_over = Answers(time.monotonic()), False

    async def work(client: Client) -> None:
        while not is_over:
            began = time.monotonic()
            status = await client.ask()
            now = time.monotonic()
            if not is_over:
                answers.statuses.append(status)
                answers.times.append(now)
                answers.seconds.append(now - began)

    made = [Client(url, model) for _ in range(clients)]
    tasks = [asyncio.create_task(work(client)) for client in made]
    await asyncio.gather(asyncio.sleep(seconds), *([asyncio.to_thread(during)] if during else []))
    answers.ended, is_over = time.monotonic(), True
    await asyncio.gather(*tasks)
    for client in made:
        client.close()
    return answers


class Cpu:
    """The share of the cores that everybody used, and that these processes used, between two moments."""

    def __init__(self, pids: set[int]) -> None:
        self._pids, self._began = pids, time.monotonic()
        self._cores = len(os.sched_getaffinity(0))
        self._all, self._own = self._read_all(), self._read_own()

    def _read_all(self) -> float:
        fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")

    def _read_own(self) -> float:
        ticks = 0
        for pid in {os.getpid(), *self._pids}:
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def read(self) -> tuple[float, float]:
        """Return both shares: 1 is all cores."""
        whole = (time.monotonic() - self._began) * self._cores
        return (self._read_all() - self._all) / whole, (self._read_own() - self._own) / whole
