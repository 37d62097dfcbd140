"""What a policy answered, checked, and the closed list of reasons why there is no answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from editlane.core.errors import ItemError, one_line
from editlane.robots.dialects import Metadata, Observation

FailureKind = Literal[
    "policy_transport",  # a socket broke, or could not be opened
    "policy_timeout",  # a server took longer than it may
    "policy_refused",  # a server says that it cannot act on the observation
    "policy_garbage",  # an answer that is no actions
    "policy_mixed_up",  # an answer to another observation
    "no_server",  # none is up, or none serves the policy
    "deadline",  # the caller's time was over
]

Actions = np.ndarray[Any, np.dtype[np.float64]]
"""[steps, columns]."""

LEAST_COLUMNS = 7
"""Numbers of an action: three to move, three to turn, one for the gripper."""


MOST_STEPS, MOST_COLUMNS = 1000, 256
"""More than any policy answers; bounds what is computed of an answer."""


class PolicyFailed(ItemError):
    """There are no actions. `kind` is a FailureKind; the message is one printable line."""

    def __init__(self, kind: FailureKind, message: object) -> None:
        super().__init__(one_line(Exception(message)), kind=kind)


@dataclass(frozen=True, slots=True)
class Reply:
    """The actions for one observation."""

    actions: Actions
    """[steps, columns], all finite."""
    server: str
    """`host:port` that answered."""
    retries: int
    """Servers that were asked before, and failed."""
    seconds: float
    """From the call to the answer, with all waiting."""


def check_actions(answer: dict[str, Any], observation: Observation, metadata: Metadata) -> Actions:
    """Return the actions of an answer, float64 [steps, columns].

    Raises PolicyFailed: `policy_garbage` unless they have two axes, at least one step, the metadata's `action_dim`
    columns or more (7 if it names none), and finite numbers; `policy_mixed_up` if the answer has a state of the shape
    that was sent, but with other numbers. A policy may return its state as float32.
    """
    actions = answer.get("actions")
    if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "iuf":
        raise PolicyFailed("policy_garbage", "the answer has no array of actions")
    columns = _find_columns(metadata)
    if actions.ndim != 2 or not len(actions) or actions.shape[1] < columns:
        raise PolicyFailed("policy_garbage", f"actions of the shape {actions.shape}, not [steps, {columns}]")
    if actions.shape[0] > MOST_STEPS or actions.shape[1] > MOST_COLUMNS:
        raise PolicyFailed("policy_garbage", f"actions of the shape {actions.shape} are too many")
    if not np.isfinite(actions).all():
        raise PolicyFailed("policy_garbage", "an action is not finite")
    sent, told = observation.get("observation/state"), answer.get("state")
    if isinstance(sent, np.ndarray) and isinstance(told, np.ndarray):
        is_same = sent.shape != told.shape or np.array_equal(sent.astype(told.dtype), told, equal_nan=True)
        if not is_same:
            raise PolicyFailed("policy_mixed_up", "the answer is about another state than the one that was sent")
    return actions.astype(np.float64)


def _find_columns(metadata: Metadata) -> int:
    """Return the least number of columns: `action_dim`, also where SGLang has it, within `output`."""
    output = metadata.get("output")
    for told in (metadata, output if isinstance(output, Mapping) else {}):
        columns = told.get("action_dim")
        if type(columns) is int and columns > 0:
            return columns
    return LEAST_COLUMNS
