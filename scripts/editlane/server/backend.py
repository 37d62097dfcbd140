"""What answers the edits of a queue: a worker process of this machine, or another reward server."""

import asyncio
import logging
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from editlane.core.printable import escape, hide_places
from editlane.server.metrics import Metrics
from editlane.server.work_queue import Queue

log = logging.getLogger(__name__)

PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two starts: the first pause, which doubles, and the longest one."""

HEALTHY = 10.0
"""Seconds of service after which the next pause is the first one again."""


class BackendState(StrEnum):
    """What a back-end does at the moment."""

    WAITING = "waiting"
    """It waits for a GPU."""
    STARTING = "starting"
    """It loads its judge."""
    READY = "ready"
    IDLE = "idle"
    """It had no work for so long that it gave its GPU back; work starts it again."""
    RESTING = "resting"
    """It failed and is tried again after a pause."""


class Lost(Exception):
    """The back-end cannot go on; the message says why."""


class Fatal(Lost):
    """The back-end can never go on, because of a mistake that the user can fix."""


class Idle(Exception):
    """The back-end had nothing to do for so long that it gives its device back."""


class Backend:
    """Serves a queue for as long as the server runs: starts, rests after a failure, sleeps when there is no work."""

    def __init__(self, name: str, queue: Queue, metrics: Metrics) -> None:
        self.name, self.queue, self.metrics = name, queue, metrics
        self.state = BackendState.WAITING
        self.restarts = 0
        self.error = ""
        self.warning = ""
        """What it says of a judge that has changed."""
        self.count_idle: Callable[[], int] = lambda: 1
        """Number of back-ends of the queue that are ready and have nothing to do."""
        self.on_fatal: Callable[[str], None] = lambda reason: None
        """Called with the reason if its judge cannot be loaded."""
        self._ready_at = 0.0
        self._woken = self.was_ready = False

    @property
    def running(self) -> int:
        """Edits that it has at the moment."""
        raise NotImplementedError

    @property
    def is_available(self) -> bool:
        """True if edits that wait will be judged: it is ready, or begins as soon as there is one."""
        return self.state in (BackendState.READY, BackendState.IDLE) or self._woken

    async def serve(self) -> None:
        """Answer edits until it cannot go on. Raises Lost or Idle, alone or in a group."""
        raise NotImplementedError

    def become_ready(self) -> None:
        """Note that it answers from now on."""
        self.state, self.error, self._woken, self.was_ready = BackendState.READY, "", False, True
        self._ready_at = time.monotonic()

    def describe(self) -> dict[str, Any]:
        """Return what /pool_status says of it."""
        return {
            "name": self.name,
            "judge": self.queue.judge,
            "state": str(self.state),
            "running": self.running,
            "restarts": self.restarts,
            "error": hide_places(self.error),
        }

    async def live(self) -> None:
        """Serve again and again. Ends only when the task is cancelled."""
        pause = PAUSE
        while True:
            began = time.monotonic()
            reason = await self._serve_once()
            if reason is None:
                await self._sleep()
                continue
            if self._ready_at > began and time.monotonic() - self._ready_at > HEALTHY:
                pause = PAUSE
            self.state, self.error, self._woken = BackendState.RESTING, reason, False
            log.warning("%s: %s; it is started again in %g s", self.name, reason, pause)
            self.restarts += 1
            self.metrics.restarts.labels(self.queue.judge).inc()
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _serve_once(self) -> str | None:
        """Serve, and return why that ended; None if there was no work for long."""
        reason = None
        try:
            await self.serve()
        except* Idle:
            pass
        except* Fatal as group:
            reason = str(group.exceptions[0])
            self.on_fatal(reason)
        except* (Lost, OSError, TimeoutError) as group:
            reason = escape("; ".join(str(error) or type(error).__name__ for error in group.exceptions))
        except* Exception:
            log.exception("%s", self.name)
            reason = "it answered what cannot be understood"
        return reason

    async def _sleep(self) -> None:
        """Wait for an edit, without a process."""
        log.info("%s: no work for a while; it gave its device back", self.name)
        self.state = BackendState.IDLE
        while not len(self.queue):
            self.queue.arrival.clear()
            await self.queue.arrival.wait()
        self._woken = True
