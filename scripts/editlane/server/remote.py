"""Another reward server as a back-end: its judges answer edits of this server's queue."""

import asyncio
import itertools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from editlane.core.errors import CRASHED, JudgeFailed
from editlane.core.printable import escape
from editlane.core.types import State
from editlane.endpoint.session import send
from editlane.lanes.judging import JudgeSpec
from editlane.server.backend import Backend, BackendState, Lost
from editlane.server.config import BackendConfig, LimitsConfig
from editlane.server.metrics import Metrics
from editlane.server.wire import WARNING_HEADER, check_row, pack, unpack
from editlane.server.work_queue import Queue, Work

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Time between two looks at the other server; each may take as long."""

LONGEST_WAIT = 30.0
"""Longest pause that a full server can ask for."""

MAX_CHUNKS = 16
"""Requests to the other server at a time."""

CHUNK_BYTES = 32 * 2**20

T = TypeVar("T")


class RemoteServer(Backend):
    """One judge of another reward server. It must have the same settings and texts, so that its scores are the same."""

    def __init__(
        self,
        name: str,
        config: BackendConfig,
        spec: JudgeSpec,
        queue: Queue,
        limits: LimitsConfig,
        metrics: Metrics,
    ) -> None:
        super().__init__(name, queue, metrics)
        self._url, self._token_env = config.url.rstrip("/"), config.token_env
        self._spec, self._limits = spec, limits
        self._chunks: dict[int, list[Work]] = {}
        self._numbers = itertools.count()
        self._depth = self._most = 1
        self._workers = 0
        self._rest_until = 0.0
        self._changed = asyncio.Event()

    @property
    def running(self) -> int:
        """Edits that the other server was asked about."""
        return sum(map(len, self._chunks.values()))

    async def serve(self) -> None:
        """Ask the other server until it no longer answers. Raises Lost."""
        self.state = BackendState.STARTING
        try:
            await self._look(4 * POLL_SECONDS)
            while not self._workers:
                await asyncio.sleep(POLL_SECONDS)
                await self._look(POLL_SECONDS)
            self.become_ready()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poll())
                tasks.create_task(self._feed(tasks))
        finally:
            self.state, self.warning = BackendState.RESTING, ""
            works = [work for chunk in self._chunks.values() for work in chunk]
            self._chunks.clear()
            self.queue.give_back(works, (), JudgeFailed(CRASHED, kind="crash"))

    async def _look(self, seconds: float) -> None:
        """Find out how much the other server takes at once. Raises Lost if its judge is another one."""
        found = await self._call("/v1/judges", None, seconds)
        try:
            judge, limits = found["judges"].get(self._spec.judge), found["limits"]
            if judge is None:
                raise Lost("it has no judge of this name")
            if judge["texts_key"] != self._spec.texts_key:
                raise Lost("its judge of this name has another model, other settings or other texts: other scores")
            self._workers = int(judge["workers"])
            self._depth = max(1, min(MAX_CHUNKS, self._limits.depth * self._workers))
            self._most = max(1, min(self._limits.chunk, int(limits["items"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Lost("it is no reward server of this version") from error

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._look(POLL_SECONDS)
            self._changed.set()

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.0, self._rest_until - loop.time()))
            while len(self._chunks) >= self._depth or self._has_suspect():
                await self._wait_for_change()
            while not len(self.queue):
                self.queue.arrival.clear()
                await self.queue.arrival.wait()
            if self._rest_until > loop.time():
                continue
            works = self.queue.take(self._most, CHUNK_BYTES, alone=not self._chunks)
            if not works:
                await self._wait_for_change()
                continue
            number = next(self._numbers)
            self._chunks[number] = works
            tasks.create_task(self._ask(number, works))

    def _has_suspect(self) -> bool:
        return any(work.failures for chunk in self._chunks.values() for work in chunk)

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _ask(self, number: int, works: Sequence[Work]) -> None:
        """Ask about one chunk. Edits that the other server does not take go back to the queue."""
        items = [_make_item(work) for work in works]
        body = pack({"items": items, "judge": self._spec.judge, "deadline_s": self._limits.deadline_seconds})
        try:
            answer = await self._call("/v1/rows", body, self._limits.deadline_seconds + POLL_SECONDS)
            self._finish(number, works, answer)
        except Busy as busy:
            self._rest_until = asyncio.get_running_loop().time() + busy.seconds
            self._give_back(number, works, blamed=())
        except Refused as refused:
            self._give_back(number, works, blamed=works, error=str(refused))
        self._changed.set()

    def _finish(self, number: int, works: Sequence[Work], answer: dict[str, Any]) -> None:
        """Take over rows of this judge alone. Raises Lost for what is none."""
        try:
            rows = [check_row(row) for row in answer["rows"]]
            pairs = list(zip(works, rows, strict=True))
        except (ValueError, TypeError, KeyError) as error:
            raise Lost("it answered what are no rows of these edits") from error
        for work, row in pairs:
            was_asked = row["state"] in (State.SCORED, State.JUDGE_UNREADABLE)
            if was_asked and row.get("judge_key") != self._spec.judge_key(work.fields.category):
                raise Lost("its judge has changed")
        del self._chunks[number]
        for work, row in pairs:
            if row["error_kind"] == "deadline":
                self.queue.give_back([work], (), JudgeFailed(CRASHED, kind="crash"))
            elif row["error_kind"] in ("category", "text"):  # this server took it, so its config is another one
                log.warning("%s refuses an edit: %s", self.name, escape(row["error"] or ""))
                self.queue.give_back([work], [work], JudgeFailed("the other server refuses it", kind="transport"))
            else:
                self.queue.finish(work, row)

    def _give_back(self, number: int, works: Sequence[Work], blamed: Sequence[Work], error: str = "") -> None:
        self._chunks.pop(number, None)
        self.queue.give_back(works, blamed, JudgeFailed(error, kind="transport"))

    async def _call(self, path: str, body: bytes | None, seconds: float) -> dict[str, Any]:
        """Send a request and return its content. Raises Busy for 503, Refused for a chunk, Lost for all else."""
        return await _in_thread(lambda: self._send(path, body, seconds))

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
        if response.status_code in (400, 408, 413, 500) and body is not None:
            raise Refused(f"the other server refused it with status {response.status_code}")
        if response.status_code == 401:
            raise Lost("it does not take the token; look at `token_env` of this back-end")
        if response.status_code != 200:
            raise Lost(f"it answered {path} with status {response.status_code}")
        self.warning = response.headers.get(WARNING_HEADER, "")
        return unpack(content) if "msgpack" in response.headers.get("Content-Type", "") else _read_text(content)


class Refused(Exception):
    """The other server does not take a chunk."""


class Busy(Exception):
    """The other server has no room, or goes down."""

    def __init__(self, retry_after: str | None) -> None:
        super().__init__("busy")
        found = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0
        self.seconds = min(LONGEST_WAIT, max(0.5, found))


async def _in_thread(act: Callable[[], T]) -> T:
    """Return what `act` returns in a thread of its own. Neither a look nor the end of the process waits for another."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            found, failed = act(), None
        except Exception as error:  # noqa: BLE001  raised again where the future is awaited
            found, failed = None, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=run, name="remote", daemon=True).start()
    return await future


def _read_text(content: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _make_item(work: Work) -> dict[str, Any]:
    names = ("category", "instruction", "source", "edited", "description", "rationale")
    return {name: getattr(work.fields, name) for name in names}
