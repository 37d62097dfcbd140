"""Policies by name. Most need no checkpoint: they are for tests and for a look at how everything works together."""

import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from editlane.core.errors import UnknownName, UserError
from editlane.robots.dialects import Observation
from editlane.robots.expert import Expert
from editlane.robots.pi0 import TransformersPi0
from editlane.robots.tiny_pi0 import TinyPi0

STEPS = 5
"""Actions in a chunk."""
COLUMNS = 7
"""Numbers of an action: three to move, three to turn, one for the gripper."""
LONGEST_MOVE = 0.05
"""The most that one action moves along an axis, in the unit of the state."""
NUMBER = re.compile(r"-?\d+\.\d+")


class Policy(Protocol):
    """What is served. Called by one thread at a time."""

    metadata: dict[str, Any]
    """Announced to every client: two servers with the same metadata must act in the same way."""

    def infer(self, observation: Observation) -> dict[str, Any]:
        """Return `actions`, float32 [steps, 7]. An exception is told to the client as a refusal."""


class Reach:
    """Move straight to the goal: a proportional controller.

    The state is float64 [8]: x, y, z, the goal's x, y, z, and two zeros. A prompt with three decimal numbers names
    another goal, so that a client can tell whether it got the answer to its own prompt. An action is dx, dy, dz, 0, 0,
    0, and -1 for an open gripper. The answer has the state that it is about.
    """

    def __init__(self, seed: int) -> None:
        self.metadata = {"policy": "reach", "action_dim": COLUMNS, "action_horizon": STEPS}

    def infer(self, observation: Observation) -> dict[str, Any]:
        state = _read_state(observation)
        named = [float(number) for number in NUMBER.findall(str(observation["prompt"]))]
        position, goal = state[:3].copy(), np.array(named) if len(named) == 3 else state[3:6]
        actions = np.zeros((STEPS, COLUMNS), np.float32)
        actions[:, 6] = -1
        for action in actions:
            move = np.clip(goal - position, -LONGEST_MOVE, LONGEST_MOVE)
            action[:3] = move
            position += move
        return {"actions": actions, "state": state}


class Noise:
    """Act at random, in the same way for the same observation and seed."""

    def __init__(self, seed: int) -> None:
        self.metadata = {"policy": "noise", "seed": seed, "action_dim": COLUMNS, "action_horizon": STEPS}
        self._seed = seed

    def infer(self, observation: Observation) -> dict[str, Any]:
        state = _read_state(observation)
        drawn = np.random.default_rng([self._seed, zlib.crc32(str(observation["prompt"]).encode() + state.tobytes())])
        return {"actions": drawn.uniform(-1, 1, (STEPS, COLUMNS)).astype(np.float32), "state": state}


class Slow:
    """Take a while, as a real model does, and answer with another policy."""

    def __init__(self, policy: Policy, seconds: float) -> None:
        self.metadata = policy.metadata
        self._policy, self._seconds = policy, seconds

    def infer(self, observation: Observation) -> dict[str, Any]:
        time.sleep(self._seconds)
        return self._policy.infer(observation)


POLICIES: dict[str, Callable[[int], Policy]] = {"reach": Reach, "noise": Noise, "expert": Expert, "tiny-pi0": TinyPi0}
"""Name -> what makes the policy with a seed."""
PI0 = "transformers-pi0"
"""The one policy that has a checkpoint."""


def make_policy(name: str, seed: int, delay: float, checkpoint: Path | None = None) -> Policy:
    """Return the policy of this name; `delay` are seconds that it takes longer. Raises UserError."""
    if name not in POLICIES and name != PI0:
        raise UnknownName("policy", name, [*POLICIES, PI0])
    if (checkpoint is not None) != (name == PI0):
        raise UserError(
            f"--policy {PI0} needs a --checkpoint, its folder."
            if name == PI0
            else f"--policy {name} has no --checkpoint."
        )
    policy = POLICIES[name](seed) if checkpoint is None else TransformersPi0(checkpoint, seed)
    return Slow(policy, delay) if delay else policy


def _read_state(observation: Observation) -> np.ndarray[Any, np.dtype[np.float64]]:
    state = np.asarray(observation["observation/state"], np.float64)
    if state.shape != (8,):
        raise ValueError(f"observation/state has the shape {state.shape}, not (8,)")
    return state
