"""What every simulator has: episodes of a policy's steps."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from editlane.simulators.wire import EpisodeTask

Observation = dict[str, Any]
"""As openpi's policies for LIBERO take it, but for `prompt`:

observation/image, observation/wrist_image   uint8 [224, 224, 3], RGB
observation/state   float64 [8]; LIBERO's: the gripper's place (m), its turn (axis times angle, rad), two fingers (m)
privileged          only if something was needed
"""


class EpisodeEnv(Protocol):
    """A simulator. It plays one episode after the other; each begins with `reset`."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Return those of what decides about an episode."""
        ...

    @property
    def max_steps(self) -> int:
        """Return how many steps a policy has in the episode that was begun."""
        ...

    def reset(self, task: EpisodeTask) -> str:
        """Begin an episode, let all come to rest, and return the task's own words.

        The same task gives the same episode. Raises LookupError if there is no such task.
        """
        ...

    def observe(self, needs: Sequence[str]) -> Observation:
        """Return what the last step showed, which must have been one with `look`, or what `reset` showed.

        `needs`: names of what `privileged` holds besides; a simulator leaves out what it does not know.
        """
        ...

    def step(self, action: np.ndarray, look: bool) -> bool:
        """Act once (float [7]), and return whether the task is solved now.

        `look`: whether to draw pictures, which takes most of a step's time.
        """
        ...

    def close(self) -> None:
        """Free what the simulator holds."""
        ...
