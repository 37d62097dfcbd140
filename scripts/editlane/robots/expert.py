"""A policy that solves LIBERO's pick-and-place tasks from where the objects are, which is more than a real one sees."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from editlane.robots.dialects import Observation

NEEDS = ("object", "goal", "grip_offset", "lift", "open", "table", "finger_speed")
"""What it wants to know besides pictures, state and prompt."""


class Expert:
    """Pick the object up and put it where it belongs: one action for each look. It remembers nothing."""

    def __init__(self, seed: int) -> None:
        self.metadata = {"policy": "expert", "action_dim": 7, "action_horizon": 1, "needs": list(NEEDS)}

    def infer(self, observation: Observation) -> dict[str, Any]:
        """Return `actions`, float32 [1, 7]. Raises KeyError for an observation without what it needs."""
        return {"actions": pick_and_place(observation), "state": observation["observation/state"]}


def pick_and_place(observation: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return the next action, float32 [1, 7]. It follows from the observation alone."""
    told = observation["privileged"]
    hand, fingers = np.asarray(observation["observation/state"])[:3], observation["observation/state"][6:8]
    thing, goal, offset = (np.asarray(told[name]) for name in ("object", "goal", "grip_offset"))
    grip, carry, high = thing + offset, goal + offset, told["table"] + told["lift"]
    side, above = float(np.linalg.norm((hand - grip)[:2])), float(hand[2] - grip[2])
    is_closed = fingers[0] - fingers[1] < told["open"] - 0.004 and told["finger_speed"] < 0.01
    if side < 0.035 and above < 0.06 and is_closed:
        target, close = _carry(hand, carry, high)
    elif np.linalg.norm((thing - goal)[:2]) < 0.03:
        target, close = hand + np.array([0, 0, 0.1]), -1  # it is there: rise and wait
    elif side < 0.015 and above < 0.024:
        target, close = hand, 1
    elif side < 0.02:
        target, close = grip - np.array([0, 0, 0.02]), -1  # the controller stops short
    else:
        sunk = hand[2] - 0.05 if side < 0.1 else hand[2]
        target, close = np.array([*grip[:2], max(grip[2] + 0.12, sunk)]), -1
    action = np.zeros((1, 7), np.float32)
    action[0, :3] = np.clip((target - hand) * 10, -1, 1)
    action[0, 6] = close
    return action


def _carry(hand: np.ndarray[Any, Any], carry: np.ndarray[Any, Any], high: float) -> tuple[np.ndarray[Any, Any], int]:
    """Return where the hand goes with what it holds, and whether it stays closed."""
    if np.linalg.norm((hand - carry)[:2]) < 0.03:
        return (hand, -1) if hand[2] < carry[2] + 0.11 else (np.array([*carry[:2], carry[2] + 0.08]), 1)
    if hand[2] > high - 0.04:
        return np.array([*carry[:2], high]), 1
    return np.array([*hand[:2], high + 0.02]), 1
