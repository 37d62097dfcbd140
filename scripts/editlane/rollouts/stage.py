"""Episodes at play: each once, whoever waits for it; what nobody waits for any more is ended."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from editlane.core.errors import ItemError, UserError
from editlane.core.types import Row
from editlane.robots.episodes import Limits, play
from editlane.robots.policy_pool import PolicyPool
from editlane.robots.simulators import Simulators
from editlane.robots.videos import VideoFailed, VideoFolder
from editlane.rollouts.episode_rows import Players, make_failed_row, make_row
from editlane.simulators.wire import EpisodeTask

log = logging.getLogger(__name__)

CONTROL_RATE = 20.0
"""Steps a second of LIBERO's robot, with which a video has the speed of life."""

INFER_TIMES = 4
"""Time for one reply in an episode, in times of `infer_seconds`: others are asked first, and servers fail."""


class ServerFailed(ItemError):
    """A mistake in the server itself."""

    kind = "server"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An episode that is asked for."""

    key: str
    task: EpisodeTask
    replan_steps: int
    players: Players
    is_filmed: bool


@dataclass(slots=True, eq=False)
class _Playing:
    """An episode at play, or waiting for a simulator, and how many requests wait for it."""

    name: str
    row: "asyncio.Future[Row]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Its result, which is there before its video is."""
    task: "asyncio.Task[None] | None" = None
    waiters: int = 0


Work = Callable[[Wanted, _Playing], Awaitable[None]]


class Stage:
    """Plays episodes for requests that may want the same one. Used within one event loop."""

    def __init__(
        self,
        pool: PolicyPool,
        simulators: Simulators,
        videos: VideoFolder,
        infer_seconds: float,
        on_end: Callable[[Wanted, Row], bool],
    ) -> None:
        """`on_end` is called with each row, and returns whether its key means this row from now on."""
        self._pool, self._simulators, self._videos, self._on_end = pool, simulators, videos, on_end
        self._infer_seconds = INFER_TIMES * infer_seconds
        self._films = asyncio.Semaphore(simulators.count)
        """Bounds the films in memory, those that are being encoded too."""
        self._playing: dict[str, _Playing] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.joined = 0
        """Requests that waited for an episode of another one."""

    def __len__(self) -> int:
        return len(self._playing)

    async def find(self, wanted: Wanted, until: float) -> Row | None:
        """Return the row of an episode, or None if it is not there in time.

        For one that is filmed this waits for the video, too, but never gives up a result for it.
        """
        playing = self._join(wanted.key, wanted, self._play)
        try:
            await asyncio.wait([playing.row], timeout=_left(until))
            if playing.row.done() and wanted.is_filmed and playing.task is not None:
                await asyncio.wait([playing.task], timeout=_left(until))
        finally:
            self._leave(playing)
        return playing.row.result() if playing.row.done() and not playing.row.cancelled() else None

    async def film(self, wanted: Wanted, known: Row, until: float) -> None:
        """Play a known episode once more for its video, which is kept only if it shows the known result."""

        async def play_again(wanted: Wanted, playing: _Playing) -> None:
            film: list[np.ndarray] = []
            async with self._films:
                row = await self._play_one(wanted, film)
                playing.row.set_result(row)
                if (row["solved"], row["steps"]) == (known["solved"], known["steps"]):
                    await self._keep_video(wanted.key, film, row)
                else:
                    log.warning("no video of %s: it went another way when it was played again", wanted.key)

        playing = self._join(f"{wanted.key} film", wanted, play_again)
        assert playing.task is not None
        try:
            await asyncio.wait([playing.task], timeout=_left(until))
        finally:
            self._leave(playing)

    async def stop(self) -> None:
        """End all episodes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _join(self, name: str, wanted: Wanted, work: Work) -> _Playing:
        playing = self._playing.get(name)
        if playing is None:
            playing = self._playing[name] = _Playing(name)
            playing.task = asyncio.create_task(self._work(work, wanted, playing))
            self._tasks.add(playing.task)
            playing.task.add_done_callback(self._tasks.discard)
        else:
            self.joined += 1
        playing.waiters += 1
        return playing

    def _leave(self, playing: _Playing) -> None:
        """Say that one request waits no longer. What no request waits for is ended, unless its result is there."""
        playing.waiters -= 1
        if not playing.waiters and not playing.row.done() and playing.task is not None:
            self._forget(playing)
            playing.task.cancel()

    def _forget(self, playing: _Playing) -> None:
        if self._playing.get(playing.name) is playing:  # a later request may have begun it again
            del self._playing[playing.name]

    async def _work(self, work: Work, wanted: Wanted, playing: _Playing) -> None:
        """Do the work of an episode. A mistake in the server is a row, too: it must not cost others theirs."""
        try:
            await work(wanted, playing)
        except Exception as error:
            log.exception("an episode failed")
            if not playing.row.done():
                reason = ServerFailed(f"the server failed; its log says more: {type(error).__name__}")
                playing.row.set_result(make_failed_row(wanted.task, reason, wanted.players))
        finally:
            playing.row.cancel()
            self._forget(playing)

    async def _play(self, wanted: Wanted, playing: _Playing) -> None:
        film: list[np.ndarray] | None = [] if wanted.is_filmed else None
        async with nullcontext() if film is None else self._films:
            row = await self._play_one(wanted, film)
            is_kept = self._on_end(wanted, row)
            playing.row.set_result(row)
            if film and is_kept:
                await self._keep_video(wanted.key, film, row)

    async def _play_one(self, wanted: Wanted, film: list[np.ndarray] | None) -> Row:
        limits = Limits(wanted.replan_steps, infer_seconds=self._infer_seconds)
        result = await play(wanted.task, self._simulators, self._pool.infer, limits, self._pool.needs, film)
        return make_row(wanted.task, result, wanted.players)

    async def _keep_video(self, key: str, film: list[np.ndarray], row: Row) -> None:
        """Write the video of an episode. Without one its result counts all the same."""
        try:
            await self._videos.write(key, film, CONTROL_RATE * row["infers"] / max(1, row["steps"]))
        except (UserError, VideoFailed, OSError) as error:
            log.warning("no video: %s", error)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
