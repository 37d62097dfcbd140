"""A toy: a hand has to reach a goal. It needs numpy only, and a step takes microseconds."""

from collections.abc import Sequence

import numpy as np

from editlane.simulators.environment import Observation
from editlane.simulators.wire import EpisodeTask

SUITE = "reach"
TASKS = 10
LONGEST_STEP = 0.05
"""Along each axis."""
NEAR = 0.03
"""Closer than this the goal is reached."""

_FAR_ENOUGH = 0.8
"""Nine steps at least."""
_FAR_AWAY = np.full(3, 9.0)
_PICTURE = 224
_DOT = 5
_BACKGROUND, _GOAL, _HAND = 32, (40, 200, 40), (220, 60, 60)


class Reach:
    """A hand in a cube of -1 to 1 along each axis.

    The state, float64 [8], is the hand (x, y, z), the goal (x, y, z) and two zeros. Of an action, float [7], the first
    three columns move the hand. A task whose prompt says `impossible` has its goal outside of the cube.
    """

    max_steps = 60

    def __init__(self) -> None:
        self.versions = {"reach": "1", "numpy": np.__version__}
        self._hand = self._goal = np.zeros(3)

    def reset(self, task: EpisodeTask) -> str:
        """Draw hand and goal by task, init state and seed. Raises LookupError."""
        if task.suite != SUITE or not 0 <= task.task_id < TASKS or task.init_state < 0:
            raise LookupError(
                f"reach has the tasks 0 to {TASKS - 1} of the suite {SUITE!r}, from initial states 0, 1, ..."
            )
        random = np.random.default_rng((task.task_id, task.init_state, task.seed % 2**32))
        self._hand = random.uniform(-0.8, 0.8, 3)
        while True:
            self._goal = np.round(random.uniform(-0.8, 0.8, 3), 3)
            if np.linalg.norm(self._goal - self._hand) > _FAR_ENOUGH:
                break
        words = "reach " + " ".join(f"{side:.3f}" for side in self._goal)
        if "impossible" in (task.prompt or ""):
            self._goal = _FAR_AWAY
        return words

    def observe(self, needs: Sequence[str]) -> Observation:
        """Return the state, and the hand and the goal as dots on two pictures: from above, and from the side."""
        known = {"goal": self._goal}
        seen: Observation = {
            "observation/image": _draw(self._hand[:2], self._goal[:2]),
            "observation/wrist_image": _draw(self._hand[1:], self._goal[1:]),
            "observation/state": np.concatenate([self._hand, self._goal, np.zeros(2)]),
        }
        return seen | {"privileged": {name: known[name] for name in needs if name in known}} if needs else seen

    def step(self, action: np.ndarray, look: bool) -> bool:
        """Move the hand, and return whether it is at the goal."""
        self._hand = np.clip(self._hand + np.clip(action[:3], -LONGEST_STEP, LONGEST_STEP), -1.0, 1.0)
        return bool(np.linalg.norm(self._goal - self._hand) < NEAR)

    def close(self) -> None:
        """Do nothing: it holds nothing."""


def _draw(hand: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Draw two dots at places of -1 to 1 along both axes, uint8 [224, 224, 3]."""
    picture = np.full((_PICTURE, _PICTURE, 3), _BACKGROUND, np.uint8)
    for place, colour in ((goal, _GOAL), (hand, _HAND)):
        column, row = np.clip((place + 1) / 2 * _PICTURE, _DOT, _PICTURE - _DOT).astype(int)
        picture[row - _DOT : row + _DOT, column - _DOT : column + _DOT] = colour
    return picture
