"""Play the episodes of requests: each once, a bounded number at a time. This module knows no HTTP."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from editlane.core.errors import ItemError, UserError
from editlane.core.paths import RunEntry
from editlane.core.types import Row
from editlane.robots.episodes import Limits, play
from editlane.robots.policy_pool import PolicyPool, PoolLimits
from editlane.robots.simulators import SimulatorFailed
from editlane.robots.videos import VideoFailed, VideoFolder
from editlane.robots.warm_up import warm_up
from editlane.rollouts.config import RolloutsConfig
from editlane.rollouts.episode_rows import Players, find_key, make_failed_row, make_row, name_policy
from editlane.rollouts.metrics import RolloutMetrics
from editlane.rollouts.request import Asked, UnfitItem
from editlane.rollouts.site import list_addresses, make_simulators
from editlane.rollouts.tally import Tally
from editlane.server.store import ScoreStore
from editlane.server.work_queue import Room
from editlane.simulators.wire import EpisodeTask

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Time between two looks for policy servers that were not there, and between two attempts to start a simulator."""

CONTROL_RATE = 20.0
"""Steps a second of LIBERO's robot, with which a video has the speed of life."""

RECENT = 50
"""Episodes that the page shows."""


INFER_TIMES = 4
"""Time for one reply in an episode, in times of `infer_seconds`: others are asked first, and servers fail."""


class NotReady(Exception):
    """No simulator has started yet."""


class TooLate(ItemError):
    """An episode was not over when its request's time was."""

    kind = "deadline"


@dataclass(slots=True, eq=False)
class _Playing:
    """An episode at play, or waiting for a simulator, and how many requests wait for it."""

    name: str
    task: "asyncio.Task[Row]"
    waiters: int = 0


class RolloutService:
    """The policy, the simulators, and the episodes that are known. Used within one event loop."""

    def __init__(self, config: RolloutsConfig, folder: Path) -> None:
        """Build everything; nothing is started. Raises UserError."""
        self.config, self.folder = config, folder
        self.metrics = RolloutMetrics()
        limits = PoolLimits(config.policy.connect_seconds, config.policy.infer_seconds)
        self.pool = PolicyPool(list_addresses(config), limits)
        self.simulators = make_simulators(config)
        self.videos = VideoFolder(folder / "videos", config.video_megabytes)
        self.room = Room(config.limits.episodes, 1)
        self.store = ScoreStore(
            folder / RunEntry.JOURNAL,
            int(config.journal_megabytes * 1e6),
            [],
            self.metrics.store_errors.labels("disk").inc,
        )
        self.tally = Tally(self.store.list_rows())
        self.recent: deque[Row] = deque(maxlen=RECENT)
        self.ended = 0
        """Episodes since the start, those without a result too."""
        self.is_warm = False
        self._playing: dict[str, _Playing] = {}
        self._finished: deque[float] = deque(maxlen=RECENT)

    @property
    def players(self) -> Players:
        """Return who decides about the next episode."""
        policy = name_policy(self.config.policy.name, self.pool.policy)
        return Players(policy, self.simulators.name, self.simulators.versions)

    @property
    def is_ready(self) -> bool:
        """Return whether episodes are played now: a simulator has started, and a policy server is up."""
        return self.is_warm and self.pool.count_open > 0

    async def run(self, give_up: Callable[[str], None]) -> None:
        """Make everything ready, then look for policy servers that come back. Ends only when it is cancelled.

        `give_up` is called with the reason if no episode can ever be played.
        """
        while True:
            await asyncio.gather(self._warm_up(give_up), self.pool.open())
            await asyncio.sleep(LOOK_SECONDS)

    async def _warm_up(self, give_up: Callable[[str], None]) -> None:
        if self.is_warm:
            return
        try:
            await warm_up(self.simulators)
            self.is_warm = True
        except UserError as error:
            give_up(str(error))
        except SimulatorFailed as error:
            log.warning("no simulator starts: %s", error)

    async def stop(self) -> None:
        """End everything, and write what is known to the disk."""
        for playing in self._playing.values():
            playing.task.cancel()
        await asyncio.gather(*(one.task for one in self._playing.values()), return_exceptions=True)
        await self.pool.close()
        await self.simulators.close()
        await asyncio.to_thread(self.store.close)

    async def play(self, asked: Asked) -> list[list[Row] | UnfitItem]:
        """Play the episodes of a request and return their rows, by item and trial.

        Raises Full and NotReady before anything is taken. If it is cancelled, what no other request waits for ends.
        """
        if not self.is_warm:
            raise NotReady("no simulator has started yet")
        items = [item if isinstance(item, UnfitItem) else list(item) for item in asked.items]
        self.room.check(sum(len(item) for item in items if isinstance(item, list)), 0, self._rate)
        until = time.monotonic() + asked.seconds
        gate = asyncio.Semaphore(asked.at_once or self.simulators.count)  # so that a small request passes a large one

        async def find(task: EpisodeTask) -> Row:
            async with gate:
                return await self._find(task, asked, until)

        def begin(group: asyncio.TaskGroup, task: EpisodeTask) -> "asyncio.Task[Row]":
            self.room.items += 1
            begun = group.create_task(find(task))
            begun.add_done_callback(self._note_end)
            return begun

        async with asyncio.TaskGroup() as group:
            begun = [item if isinstance(item, UnfitItem) else [begin(group, task) for task in item] for item in items]
        return [one if isinstance(one, UnfitItem) else [task.result() for task in one] for one in begun]

    def _note_end(self, task: "asyncio.Task[Row]") -> None:
        self.room.items -= 1
        self._finished.append(time.monotonic())

    @property
    def _rate(self) -> float:
        """Return how many episodes end in a second, lately; 0 if that is unknown."""
        spent = self._finished[-1] - self._finished[0] if len(self._finished) > 1 else 0.0
        return (len(self._finished) - 1) / spent if spent else 0.0

    async def _find(self, task: EpisodeTask, asked: Asked, until: float) -> Row:
        """Return the row of an episode: a known one, that of another request, or a new one."""
        players = self.players
        key = find_key(task, asked.replan_steps, players, "" if players.are_known else uuid4().hex)
        known = self.store.find(key)
        if known is not None and not (asked.is_filmed and not self.videos.path_of(key).exists()):
            self.metrics.known.labels("store").inc()
            return known | {"cached": True} | self._find_video(key, asked)
        row = await self._wait_for(self._join(key, task, asked, players), until)
        if row is None:
            row = make_failed_row(task, TooLate(f"not over within {asked.seconds:g} s"))
            self._note(row)
        return row | {"cached": False} | self._find_video(key, asked)

    def _find_video(self, key: str, asked: Asked) -> Row:
        """Return where the video of an episode is, for a request that wants it."""
        is_there = asked.is_filmed and self.videos.path_of(key).exists()
        return {"video": f"/videos/{key}.mp4" if is_there else None}

    def _join(self, key: str, task: EpisodeTask, asked: Asked, players: Players) -> _Playing:
        name = f"{key} filmed" if asked.is_filmed else key
        playing = self._playing.get(name)
        if playing is None:
            work = asyncio.create_task(self._play(key, task, asked, players))
            playing = self._playing[name] = _Playing(name, work)
            work.add_done_callback(lambda _: self._forget(playing))
        else:
            self.metrics.known.labels("joined").inc()
        playing.waiters += 1
        return playing

    def _forget(self, playing: _Playing) -> None:
        if self._playing.get(playing.name) is playing:  # a later request may have begun it again
            del self._playing[playing.name]

    async def _wait_for(self, playing: _Playing, until: float) -> Row | None:
        """Return the row, or None if it is not there in time. What nobody waits for any more is ended."""
        try:
            await asyncio.wait([playing.task], timeout=max(0.0, until - time.monotonic()))
        finally:
            playing.waiters -= 1
            if not playing.waiters and not playing.task.done():
                self._forget(playing)
                playing.task.cancel()
        return playing.task.result() if playing.task.done() and not playing.task.cancelled() else None

    async def _play(self, key: str, task: EpisodeTask, asked: Asked, players: Players) -> Row:
        """Play an episode and keep its row if it has a result. Does not raise."""
        limits = Limits(asked.replan_steps, infer_seconds=INFER_TIMES * self.config.policy.infer_seconds)
        film: list[np.ndarray] | None = [] if asked.is_filmed else None
        try:
            result = await play(task, self.simulators, self.pool.infer, limits, self.pool.needs, film)
        except Exception as error:
            log.exception("an episode failed")
            return make_failed_row(task, ItemError(f"the server failed; its log says more: {type(error).__name__}"))
        row = make_row(task, result, players.policy)
        is_again = self.store.find(key) is not None  # played once more, for its video
        is_same = players.are_known and dict(result.versions) == dict(players.versions)
        if result.error is None and is_same and self.players.policy == players.policy:
            self.store.keep(key, row)
        if film:
            await self._keep_video(key, film, asked.replan_steps)
        self._note(row | self._find_video(key, asked), is_again)
        return row

    async def _keep_video(self, key: str, film: list[np.ndarray], replan_steps: int) -> None:
        """Write the video of an episode. Without one the result counts all the same."""
        try:
            await self.videos.write(key, film, CONTROL_RATE / replan_steps)
        except (UserError, VideoFailed) as error:
            log.warning("no video: %s", error)

    def _note(self, row: Row, is_again: bool = False) -> None:
        """Count an episode that ended, and keep what the page shows of it. One that has a result counts once."""
        self.ended += 1
        self.metrics.count_episode(row)
        if row["solved"] is None or not is_again:
            self.tally.add(row)
        self.recent.appendleft(row | {"time": round(time.time(), 1)})

    def show_load(self) -> None:
        """Bring the figures of the load up to date."""
        simulators, servers = self.simulators.describe(), self.pool.describe()["servers"]
        self.metrics.waiting.set(self.room.items)
        self.metrics.playing.set(simulators["playing"])
        self.metrics.simulators.set(simulators["count"])
        self.metrics.servers.labels("connected").set(self.pool.count_open)
        self.metrics.servers.labels("away").set(len(servers) - self.pool.count_open)

    def describe(self) -> dict[str, Any]:
        """Return what /pool_status says. The first two keys are the original's."""
        return self.pool.describe() | {
            "simulators": self.simulators.describe(),
            "queue": {"episodes": self.room.items, "max_episodes": self.room.max_items, "playing": len(self._playing)},
            "known_episodes": len(self.store),
            "ended_episodes": self.ended,
            "policy_name": self.players.policy or None,
        }
