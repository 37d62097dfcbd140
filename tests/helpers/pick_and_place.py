"""A policy that solves LIBERO's pick-and-place tasks from where the objects are, which is more than a real one sees."""

from collections.abc import Mapping
from typing import Any

import numpy as np

NEEDS = ("object", "goal", "grip_offset", "lift", "open", "table", "finger_speed")


def pick_and_place(observation: Mapping[str, Any]) -> np.ndarray:
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


def _carry(hand: np.ndarray, carry: np.ndarray, high: float) -> tuple[np.ndarray, int]:
    """Return where the hand goes with what it holds, and whether it stays closed."""
    if np.linalg.norm((hand - carry)[:2]) < 0.03:
        return (hand, -1) if hand[2] < carry[2] + 0.11 else (np.array([*carry[:2], carry[2] + 0.08]), 1)
    if hand[2] > high - 0.04:
        return np.array([*carry[:2], high]), 1
    return np.array([*hand[:2], high + 0.02]), 1
