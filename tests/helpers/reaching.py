"""A policy for the simulator `reach`, and the answers that are right for it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from editlane.robots.episodes import Limits
from editlane.robots.simulators import Simulators
from editlane.simulators.reach import LONGEST_STEP
from editlane.simulators.wire import EpisodeTask

LIMITS = Limits(max_steps=40)
HORIZON = 5


@dataclass(frozen=True)
class Reply:
    actions: np.ndarray
    server: str = "here:8000"
    retries: int = 0


def reach(observation: Mapping[str, Any], horizon: int = HORIZON) -> np.ndarray:
    """Move straight to the goal that the prompt names, or else to the one of the state; float32 [horizon, 7]."""
    state = np.asarray(observation["observation/state"])
    named = [float(word) for word in re.findall(r"-?\d+\.\d+", observation["prompt"])]
    hand, goal = state[:3], np.array(named) if len(named) == 3 else state[3:6]
    actions = np.zeros((horizon, 7), np.float32)
    for action in actions:
        action[:3] = np.clip(goal - hand, -LONGEST_STEP, LONGEST_STEP)
        hand = hand + action[:3]
    return actions


async def ask(observation: Mapping[str, Any], deadline: float) -> Reply:
    """Answer as a policy server would that needs no time."""
    await asyncio.sleep(0)
    return Reply(reach(observation))


WRONG_GOAL = "reach 0.900 0.900 0.900"
IMPOSSIBLE = "do the impossible"
PROMPTS = (None, WRONG_GOAL, None, IMPOSSIBLE)


def make_tasks() -> list[tuple[EpisodeTask, bool]]:
    """Make eight tasks, each with whether it is solved by a policy that obeys its prompt."""
    return [
        (EpisodeTask("reach", number, init_state=number % 3, prompt=PROMPTS[number % 4]), PROMPTS[number % 4] is None)
        for number in range(8)
    ]


def run(body: Callable[[Simulators], Awaitable[Any]], count: int = 1, **options: Any) -> Any:
    """Run the body with simulators, and close them."""

    async def inner() -> Any:
        simulators = Simulators("reach", count, **options)
        try:
            return await body(simulators)
        finally:
            await simulators.close()

    return asyncio.run(inner())
