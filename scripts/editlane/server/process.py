"""A judge in a process of its own: started on demand, watched, and started again when it dies."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from editlane.core.errors import CRASHED, JudgeFailed
from editlane.core.printable import escape
from editlane.server.backend import Backend, BackendState, Fatal, Idle, Lost
from editlane.server.config import LimitsConfig
from editlane.server.metrics import Metrics
from editlane.server.wire import HEAD, Chunk, check_row, frame, unpack
from editlane.server.work_queue import Queue, Work

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.25
CHUNK_BYTES = 64 * 2**20
LONGEST_FRAME = 64 * 2**20
NO_ANSWER = "the judge's engine does not answer"

END_SECONDS = 5.0
"""Time for a killed process to be gone; only a driver or a disk that hangs takes longer."""


@dataclass(slots=True)
class Held:
    """A chunk of edits that the process has."""

    works: dict[int, Work]
    """Those without an answer, by their places."""
    begun: set[int] = field(default_factory=set)
    """Places of those that the process has touched."""


class JudgeProcess(Backend):
    """One worker process of a judge."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        key: str,
        queue: Queue,
        limits: LimitsConfig,
        metrics: Metrics,
    ) -> None:
        super().__init__(name, queue, metrics)
        self._key = key
        self._command, self._environment, self._limits = list(command), dict(environment), limits
        self._process: asyncio.subprocess.Process | None = None
        self._held: dict[int, Held] = {}
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._is_blaming = True
        self._heard = time.monotonic()
        self._concurrency, self._patience = 0, limits.attempt_seconds
        self.device = ""

    @property
    def running(self) -> int:
        """Edits that the process has."""
        return sum(len(held.works) for held in self._held.values())

    def describe(self) -> dict[str, Any]:
        """Return what /pool_status says of it."""
        pid = self._process.pid if self._process else None
        return super().describe() | {"device": self.device, "pid": pid}

    async def serve(self) -> None:
        """Run the process until it ends, has no work for `idle_seconds`, or answers nothing.

        Whatever it has then is given back.
        """
        self.state, self._is_blaming = BackendState.WAITING, True
        try:
            await self._start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._feed())
                tasks.create_task(self._watch())
        finally:
            self.state = BackendState.RESTING
            await self._end()
            self._give_all_back()

    async def _start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, env=self._environment, start_new_session=True
        )
        await self._receive("hello")  # it may wait for a device before
        self.state = BackendState.STARTING
        async with asyncio.timeout(self._limits.start_seconds):
            ready = await self._receive("ready")
        if ready["key"] != self._key:
            raise Lost("its protocol or its model was changed since the server started; start the server again")
        self.device, self._concurrency = escape(ready["device"]), ready["concurrency"]
        self._patience = max(self._limits.attempt_seconds, ready["patience"])
        self.become_ready()
        self._heard = time.monotonic()

    async def _receive(self, *kinds: str) -> dict[str, Any]:
        """Return the next message, which has to be of one of these kinds. Raises Lost."""
        assert self._process is not None and self._process.stdout is not None
        try:
            size = int.from_bytes(await self._process.stdout.readexactly(HEAD), "big")
            if size > LONGEST_FRAME:
                raise Lost("it sent what is no message")
            message: dict[str, Any] = unpack(await self._process.stdout.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Lost(f"its process ended: {await self._explain_end()}") from error
        if message.get("t") == "fatal":
            reason = escape(str(message["error"]))
            raise Lost(reason) if message["may_pass"] else Fatal(reason)
        if message.get("t") not in kinds:
            raise Lost(f"it sent {message.get('t')!r:.40} instead of {' or '.join(kinds)}")
        return message

    async def _explain_end(self) -> str:
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            code = await asyncio.wait_for(self._process.wait(), 1.0)
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return "its output is closed"

    async def _listen(self) -> None:
        while True:
            message = await self._receive("begin", "done", "down")
            self._heard = time.monotonic()
            held = self._held[message["n"]]
            if message["t"] == "begin":
                held.begun.update(message["places"])
                continue
            if message["t"] == "down":
                self._give_back_down([held.works.pop(place) for place in message["places"]], message["error"])
            rows = [check_row(row) for row in message["rows"]]  # before any edit leaves the chunk
            for place, row in zip(message["places"], rows, strict=True):
                self.queue.finish(held.works.pop(place), row)
            self.metrics.batch.labels(self.queue.judge).observe(len(rows))
            self.metrics.judging.labels(self.queue.judge).observe(message["seconds"])
            if not held.works:
                del self._held[message["n"]]
            self._changed.set()

    def _give_back_down(self, works: Sequence[Work], error: str) -> NoReturn:
        """Stop until the judge's engine answers again, which a new start finds out. Raises Lost."""
        log.warning("%s: %s", self.name, escape(error))
        self._is_blaming = False  # the others at work have nothing to do with it
        self.queue.give_back(works, works, JudgeFailed(NO_ANSWER, kind="transport"))
        raise Lost(NO_ANSWER)

    async def _feed(self) -> None:
        """Chunk the process what waits, as soon as it has room. Nothing waits for a batch to fill."""
        assert self._process is not None and self._process.stdin is not None
        limits, served = self._limits, self._concurrency
        most, depth = (1, served) if served else (limits.chunk, limits.depth)
        while True:
            while len(self._held) >= depth or self._has_suspect():
                await self._wait_for_change()
            await self._wait_for_work()
            works = self.queue.take(self._share(most), CHUNK_BYTES, alone=not self._held)
            if not works:
                await self._wait_for_change()  # an edit that killed a process has to wait until this one is idle
                continue
            if not self._held:
                self._heard = time.monotonic()  # from now on it owes an answer
            number = next(self._numbers)
            self._held[number] = Held(dict(enumerate(works)))
            self._process.stdin.write(frame(Chunk(number, [work.fields for work in works])))
            with contextlib.suppress(ConnectionError):  # _listen finds the end
                await self._process.stdin.drain()

    def _has_suspect(self) -> bool:
        return any(work.failures for held in self._held.values() for work in held.works.values())

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _wait_for_work(self) -> None:
        """Wait for an edit. Raises Idle if there was nothing to do for `idle_seconds`."""
        patience = self._limits.idle_seconds
        while not len(self.queue):
            self.queue.arrival.clear()
            left = None if patience is None else max(0.05, self._heard + patience - time.monotonic())
            try:
                async with asyncio.timeout(left):
                    await self.queue.arrival.wait()
            except TimeoutError:
                if not self._held and patience is not None and time.monotonic() - self._heard >= patience:
                    raise Idle from None

    def _share(self, most: int) -> int:
        """Return how many edits to take, so that other idle workers get some, too."""
        if self._held or most == 1:
            return most
        idle = max(1, self.count_idle())
        return min(most, max(1, -(-len(self.queue) // idle)))

    async def _watch(self) -> None:
        """Kill the process if it was asked and answers nothing. Raises Lost."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._held and time.monotonic() - self._heard > self._patience:
                raise Lost(f"it answered nothing for {self._patience:g} s")

    async def _end(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # nothing in it is worth waiting for
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_SECONDS)

    def _give_all_back(self) -> None:
        held, self._held = list(self._held.values()), {}
        works = [work for one in held for work in one.works.values()]
        blamed = [work for one in held for place, work in one.works.items() if place in one.begun]
        if held and not blamed:  # it may have died of the first look at a chunk
            blamed = list(held[0].works.values())
        if not self._is_blaming:
            blamed = []
        self.queue.give_back(works, blamed, JudgeFailed(CRASHED, kind="crash"))
        self._changed = asyncio.Event()
