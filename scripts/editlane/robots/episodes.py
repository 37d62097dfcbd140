"""Plays one episode: a simulator shows, a policy acts, and what came of it is a result in any case."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from editlane.core.errors import ItemError, one_line
from editlane.robots.simulators import Simulator, SimulatorFailed, Simulators, UnknownTask
from editlane.simulators.wire import EpisodeTask

MOST_ATTEMPTS = 2
"""Simulators that an episode may cost."""
ACTION = 7
"""Columns of an action that a simulator takes."""
PICTURE = "observation/image"
"""What a film is made of."""


class Inferred(Protocol):
    """A policy's reply."""

    @property
    def actions(self) -> np.ndarray:
        """Return finite actions, float [steps, columns], with seven columns or more."""
        ...

    @property
    def server(self) -> str:
        """Return the name of the server that replied."""
        ...

    @property
    def retries(self) -> int:
        """Return how many servers failed before."""
        ...


Infer = Callable[[Mapping[str, Any], float], Awaitable[Inferred]]
"""Asks a policy: an observation as openpi has it, with `prompt`, and a deadline on the clock of time.monotonic().

Raises ItemError, whose kind becomes the episode's.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How an episode is played."""

    replan_steps: int = 5
    """Steps of each reply that are taken."""
    max_steps: int | None = None
    """Steps of an episode if less than the suite's own."""
    infer_seconds: float = 30.0
    """Time for one reply, retries included."""
    deadline: float | None = None
    """When the episode has to be over, on the clock of time.monotonic()."""


@dataclass(frozen=True, slots=True)
class EpisodeError:
    """Why an episode has no result. `kind`: unknown_task, simulator, deadline, or one of the policy's."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """What came of an episode."""

    solved: bool | None
    """None if that is not known: see `error`."""
    error: EpisodeError | None
    seed: int
    init_state: int
    prompt: str | None
    """What the policy was told; None if the episode did not begin."""
    steps: int
    infers: int
    retries: int
    """Replies that failed at one server and came from another."""
    servers: tuple[str, ...]
    versions: Mapping[str, str]
    """Of the simulator; empty if it did not start."""
    attempts: int
    """Simulators that it took; 0 if none was free in time."""
    seconds: float


@dataclass(slots=True)
class _Progress:
    """How far an attempt has come."""

    solved: bool | None = None
    prompt: str | None = None
    steps: int = 0
    infers: int = 0
    retries: int = 0
    servers: set[str] = field(default_factory=set)
    versions: Mapping[str, str] = field(default_factory=dict)


class PolicyGarbage(ItemError):
    """A policy's reply holds no actions that a simulator could take."""

    kind = "policy_garbage"


async def play(
    task: EpisodeTask,
    simulators: Simulators,
    infer: Infer,
    limits: Limits,
    needs: Sequence[str] = (),
    film: list[np.ndarray] | None = None,
) -> EpisodeResult:
    """Play an episode, and once more on another simulator if the first one died.

    `needs`: what the policy announced that it wants to know besides. `film`: a list that is to hold the pictures which
    the last attempt showed to the policy, uint8 [height, width, 3]; none is drawn for it. A cancelled episode frees its
    simulator.
    """
    begin = time.monotonic()
    episode = _Episode(task, simulators, infer, limits, tuple(needs), film)
    left = None if limits.deadline is None else max(0.0, limits.deadline - begin)
    try:
        async with asyncio.timeout(left) as timer:
            error = await episode.play()
    except TimeoutError:
        if not timer.expired():
            raise
        error = EpisodeError("deadline", f"not over within {left:.3g} s")
    reached = episode.progress
    return EpisodeResult(
        solved=reached.solved if error is None else None,
        error=error,
        seed=task.seed,
        init_state=task.init_state,
        prompt=reached.prompt,
        steps=reached.steps,
        infers=reached.infers,
        retries=reached.retries,
        servers=tuple(sorted(reached.servers)),
        versions=dict(reached.versions),
        attempts=episode.attempts,
        seconds=time.monotonic() - begin,
    )


@dataclass(slots=True)
class _Episode:
    """An episode at play."""

    task: EpisodeTask
    simulators: Simulators
    infer: Infer
    limits: Limits
    needs: tuple[str, ...]
    film: list[np.ndarray] | None = None
    attempts: int = 0
    progress: _Progress = field(default_factory=_Progress)
    """Of the last attempt."""

    async def play(self) -> EpisodeError | None:
        """Play it, with another simulator if one dies; return why there is no result."""
        while True:
            self.progress = _Progress()
            if self.film is not None:
                self.film.clear()
            try:
                async with self.simulators.lease(self.task) as simulator:
                    self.attempts += 1
                    return await self._play_on(simulator)
            except SimulatorFailed as error:
                if self.attempts >= MOST_ATTEMPTS:
                    return EpisodeError("simulator", f"{self.attempts} attempts, the last: {one_line(error)}")
            except ItemError as error:
                return EpisodeError(error.kind, one_line(error))

    async def _play_on(self, simulator: Simulator) -> EpisodeError | None:
        """Play it on a simulator, and return an error after which that one is as it should be.

        Raises SimulatorFailed, and the policy's ItemError in the middle of an episode.
        """
        task, limits, reached = self.task, self.limits, self.progress
        try:
            began = await simulator.reset(task, self.needs)
        except UnknownTask as error:
            return EpisodeError(error.kind, one_line(error))
        finally:
            reached.versions = simulator.versions
        reached.prompt = task.prompt or began.instruction
        most = min(limits.max_steps or began.max_steps, began.max_steps)
        seen: Mapping[str, Any] | None = began.observation
        solved = False
        while seen is not None and not solved and reached.steps < most:
            if self.film is not None:
                self.film.append(seen[PICTURE])
            actions = await self._ask_policy({**seen, "prompt": reached.prompt})
            actions = actions[: min(limits.replan_steps, most - reached.steps), :ACTION]
            acted = await simulator.act(actions, look=reached.steps + len(actions) < most)
            reached.steps += acted.steps
            solved, seen = acted.solved, acted.observation
        reached.solved = solved
        return None

    async def _ask_policy(self, observation: Mapping[str, Any]) -> np.ndarray:
        """Return the policy's actions. Raises ItemError."""
        deadline = time.monotonic() + self.limits.infer_seconds
        if self.limits.deadline is not None:
            deadline = min(deadline, self.limits.deadline)
        reply = await self.infer(observation, deadline)
        actions = np.asarray(reply.actions)
        if actions.ndim != 2 or not len(actions) or actions.shape[1] < ACTION or not np.isfinite(actions).all():
            raise PolicyGarbage(f"actions of shape {actions.shape}, or not finite")
        self.progress.infers += 1
        self.progress.retries += reply.retries
        self.progress.servers.add(reply.server)
        return actions
