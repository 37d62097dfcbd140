"""Play the episodes of requests: each once, a bounded number at a time. This module knows no HTTP."""

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from editlane.core.errors import ItemError, UserError
from editlane.core.types import Row
from editlane.robots.policy_pool import PolicyPool, PoolLimits
from editlane.robots.simulators import SimulatorFailed
from editlane.robots.videos import VideoFolder
from editlane.robots.warm_up import warm_up
from editlane.rollouts.config import RolloutsConfig
from editlane.rollouts.episode_rows import Players, find_key, make_failed_row, name_players
from editlane.rollouts.metrics import RolloutMetrics
from editlane.rollouts.request import Asked, UnfitItem
from editlane.rollouts.site import list_addresses, make_simulators
from editlane.rollouts.stage import Stage, Wanted
from editlane.rollouts.tally import Tally
from editlane.server.store import ScoreStore
from editlane.server.work_queue import Room
from editlane.simulators.wire import EpisodeTask

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Time between two looks for policy servers that were not there, and between two attempts to start a simulator."""

STARTS = 3
"""Attempts to start the first simulator, after which the server ends: its environment is wrong."""

EPISODES = "episodes"
"""The journal's folder, in that of the server. A server of judges has its own beside it."""

RECENT = 50
"""Episodes that the page shows."""


class NotReady(Exception):
    """No simulator has started yet."""


class TooLate(ItemError):
    """An episode was not over when its request's time was."""

    kind = "deadline"


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
            folder / EPISODES,
            int(config.journal_megabytes * 1e6),
            [],
            self.metrics.store_errors.labels("disk").inc,
        )
        self.tally = Tally(self.store.list_rows())
        self._recent: deque[tuple[str, Row]] = deque(maxlen=RECENT)
        self.ended = 0
        """Episodes since the start, those without a result too."""
        self.is_warm, self._failed_starts = False, 0
        self.stage = Stage(self.pool, self.simulators, self.videos, config.policy.infer_seconds, self._end)
        self._players: tuple[object, Players] | None = None
        self._finished: deque[float] = deque(maxlen=RECENT)

    @property
    def players(self) -> Players:
        """Return who decides about the next episode."""
        told = (self.pool.policy, self.simulators.versions)
        if self._players is None or self._players[0] != told:
            policy, simulator = self.config.policy, self.simulators.name
            named = name_players(policy.name, policy.dialect, self.pool.policy, simulator, self.simulators.versions)
            self._players = (told, named)
        return self._players[1]

    @property
    def is_ready(self) -> bool:
        """Return whether episodes are played now: a simulator has started, and a policy server is up."""
        return self.is_warm and self.pool.count_open > 0

    async def run(self, give_up: Callable[[str], None]) -> None:
        """Make everything ready, then look for policy servers that come back. Ends only when it is cancelled.

        `give_up` is called with the reason if no episode can ever be played.
        """
        while True:
            for error in await asyncio.gather(self._warm_up(give_up), self.pool.open(), return_exceptions=True):
                if isinstance(error, Exception):
                    log.error("a look at simulators and policy servers failed", exc_info=error)
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
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                name, python = self.config.simulator.name, self.config.simulator.python or sys.executable
                give_up(
                    f"No simulator of {name} starts with {python} (`simulator.python`): {error}. Run "
                    "scripts/check_robots.py with this config; it says what is missing."
                )

    async def stop(self) -> None:
        """End everything, and write what is known to the disk."""
        await self.stage.stop()
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
        wanted = Wanted(key, task, asked.replan_steps, players, asked.is_filmed)
        row = self.store.find(key)
        is_known = row is not None
        if row is not None:
            self.metrics.known.inc()
        elif time.monotonic() < until:
            row = await self.stage.find(wanted, until)
        if row is not None and asked.is_filmed and key in self.store and not self._find_video(key):
            await self.stage.film(wanted, row, until)  # it was played for a request without a video
        if row is None:
            row = make_failed_row(task, TooLate(f"not over within {asked.seconds:g} s"), players)
            self._note(key, row)
        return row | {"cached": is_known, "video": self._find_video(key) if asked.is_filmed else None}

    def _find_video(self, key: str) -> str | None:
        """Return where the server answers the video of an episode, if there is one."""
        return f"/videos/{key}.mp4" if self.videos.path_of(key).exists() else None

    def _end(self, wanted: Wanted, row: Row) -> bool:
        """Keep the row of an episode that ended, if it has a result that would be the same again."""
        players = wanted.players
        self._note(wanted.key, row)
        if row["solved"] is None:
            return False
        if not players.are_known:  # its key is its own
            return True
        is_same = row["versions"] == players.versions and self.players == players
        return is_same and self.store.keep(wanted.key, row)

    def _note(self, key: str, row: Row) -> None:
        """Count an episode that ended, and keep what the page shows of it."""
        self.ended += 1
        self.metrics.count_episode(row)
        self.tally.add(row)
        self._recent.appendleft((key, row | {"time": round(time.time(), 1)}))

    def list_recent(self) -> list[Row]:
        """Return the episodes that ended last, the newest first, with the videos that there are."""
        return [row | {"video": self._find_video(key)} for key, row in self._recent]

    def show_load(self) -> None:
        """Bring the figures of the load up to date."""
        simulators, servers = self.simulators.describe(), self.pool.describe()["servers"]
        self.metrics.waiting.set(self.room.items)
        self.metrics.joined.set(self.stage.joined)
        self.metrics.playing.set(simulators["playing"])
        self.metrics.simulators.set(simulators["count"])
        self.metrics.servers.labels("connected").set(self.pool.count_open)
        self.metrics.servers.labels("away").set(len(servers) - self.pool.count_open)

    def describe(self) -> dict[str, Any]:
        """Return what /pool_status says. The first two keys are the original's."""
        return self.pool.describe() | {
            "simulators": self.simulators.describe(),
            "queue": {"episodes": self.room.items, "max_episodes": self.room.max_items, "playing": len(self.stage)},
            "known_episodes": len(self.store),
            "ended_episodes": self.ended,
            "policy_name": self.players.policy or None,
        }
