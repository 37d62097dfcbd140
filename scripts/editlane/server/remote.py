"""Another reward server as a back-end: its judges answer edits of this server's queue."""

import asyncio
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from editlane.core.errors import CRASHED, JudgeFailed
from editlane.judges.endpoint.session import send
from editlane.server import backend
from editlane.server.backend import Backend, Lost
from editlane.server.config import BackendConfig, LimitsConfig
from editlane.server.metrics import Metrics
from editlane.server.waiting import Queue, Work
from editlane.server.wire import check_row, pack, unpack

POLL_SECONDS = 2.0
"""Time between two looks at the other server; each may take as long."""

LONGEST_WAIT = 30.0
"""Longest pause that a full server can ask for."""


class RemoteServer(Backend):
    """One judge of another reward server. It must have the same settings, so that its scores are the same."""

    def __init__(
        self,
        config: BackendConfig,
        judge: str,
        key: str,
        queue: Queue,
        limits: LimitsConfig,
        metrics: Metrics,
    ) -> None:
        super().__init__(f"{judge}@{config.url}", queue, metrics)
        self._url, self._token_env = config.url.rstrip("/"), config.token_env
        self._judge, self._key, self._limits = judge, key, limits
        self._hands: dict[int, list[Work]] = {}
        self._numbers = itertools.count()
        self._depth = 1
        self._changed = asyncio.Event()
        self._threads: ThreadPoolExecutor

    @property
    def running(self) -> int:
        """Edits that the other server was asked about."""
        return sum(map(len, self._hands.values()))

    async def serve(self) -> None:
        """Ask the other server until it no longer answers. Raises Lost."""
        self.state = backend.State.STARTING
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="remote")
        try:
            await self._check()
            self.become_ready()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poll())
                tasks.create_task(self._feed(tasks))
        finally:
            self.state = backend.State.RESTING
            self._threads.shutdown(wait=False, cancel_futures=True)  # they end by their own deadlines
            works = [work for hand in self._hands.values() for work in hand]
            self._hands.clear()
            self.queue.give_back(works, (), JudgeFailed(CRASHED, kind="crash"))

    async def _check(self) -> None:
        """Find out how much the other server takes at once. Raises Lost if its judge is another one."""
        judges = (await self._call("/v1/judges", None, 4 * POLL_SECONDS))["judges"]
        if self._judge not in judges:
            raise Lost("it has no judge of this name")
        if judges[self._judge]["key"] != self._key:
            raise Lost("its judge of this name has other settings or another model, and so would give other scores")
        self._depth = max(1, min(16, self._limits.depth * int(judges[self._judge]["workers"])))
        await self._call("/ready", None, POLL_SECONDS)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._call("/health", None, POLL_SECONDS)

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            while len(self._hands) >= self._depth:
                await self._wait_for_change()
            while not len(self.queue):
                self.queue.arrival.clear()
                await self.queue.arrival.wait()
            works = self.queue.take(self._limits.chunk, 32 * 2**20, alone=not self._hands)
            if not works:
                await self._wait_for_change()
                continue
            number = next(self._numbers)
            self._hands[number] = works
            tasks.create_task(self._ask(number, works))

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _ask(self, number: int, works: Sequence[Work]) -> None:
        """Ask about one hand. Edits that the other server does not take go back to the queue."""
        items = [_make_item(work) for work in works]
        body = pack({"items": items, "judge": self._judge, "deadline_s": self._limits.deadline_seconds})
        try:
            answer = await self._call("/v1/rows", body, self._limits.deadline_seconds + POLL_SECONDS)
        except Busy as busy:
            self._leave(number, works)
            await asyncio.sleep(busy.seconds)
            self._changed.set()
            return
        try:
            rows = [check_row(row) for row in answer["rows"]]
        except (ValueError, TypeError, KeyError) as error:
            raise Lost("it answered what are no rows") from error
        if len(rows) != len(works):
            raise Lost("it answered about another number of edits")
        del self._hands[number]
        self._changed.set()
        for work, row in zip(works, rows, strict=True):
            if row["error_kind"] in ("deadline", "category", "text"):
                self.queue.give_back([work], [work], JudgeFailed("the other server took too long", kind="timeout"))
            else:
                self.queue.finish(work, row)

    def _leave(self, number: int, works: Sequence[Work]) -> None:
        del self._hands[number]
        self.queue.give_back(works, (), JudgeFailed(CRASHED, kind="crash"))

    async def _call(self, path: str, body: bytes | None, seconds: float) -> dict[str, Any]:
        """Send a request and return its content. Raises Busy for 503, Lost for all that is wrong otherwise."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, path, body, seconds)

    def _send(self, path: str, body: bytes | None, seconds: float) -> dict[str, Any]:
        headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
        if self._token_env:
            headers["Authorization"] = f"Bearer {os.environ.get(self._token_env, '')}"
        try:
            response = send(self._url + path, body, headers, timeout=seconds, proxy=None)
            content = response.content
        except (RequestException, HTTPError, OSError) as error:
            raise Lost(f"it does not answer ({type(error).__name__})") from error
        if response.status_code == 503 and body is not None:
            raise Busy(response.headers.get("Retry-After"))
        if response.status_code != 200:
            raise Lost(f"it answered {path} with status {response.status_code}")
        return unpack(content) if "msgpack" in response.headers.get("Content-Type", "") else _read_text(content)


class Busy(Exception):
    """The other server has no room, or goes down."""

    def __init__(self, retry_after: str | None) -> None:
        super().__init__("busy")
        found = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0
        self.seconds = min(LONGEST_WAIT, max(0.5, found))


def _read_text(content: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _make_item(work: Work) -> dict[str, Any]:
    names = ("category", "instruction", "source", "edited", "description", "rationale")
    return {name: getattr(work.fields, name) for name in names}
