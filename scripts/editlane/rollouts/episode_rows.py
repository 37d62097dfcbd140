"""Episodes as rows of a journal: their keys, what is kept of them, and how they are told."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import ItemError, one_line
from editlane.core.types import Row
from editlane.robots.episodes import EpisodeResult
from editlane.simulators.wire import EpisodeTask

VERSION = 1
"""Changes when the same episode would be played in another way."""


@dataclass(frozen=True, slots=True)
class Players:
    """Who decides about an episode: a policy, and a simulator with its versions."""

    policy: str
    """Its name, or what its servers announce; "" if nothing tells it from another one."""
    simulator: str
    versions: Mapping[str, str]
    """Empty before a simulator has started."""

    @property
    def are_known(self) -> bool:
        """Return whether a result of these would be the same again."""
        return bool(self.policy and self.versions)


def name_policy(name: str | None, metadata: Mapping[str, Any] | None) -> str:
    """Return the policy's name in the config, or a name for what its servers announce; "" if that is nothing."""
    if name or not metadata:
        return name or ""
    told = json.dumps(metadata, sort_keys=True, ensure_ascii=False, default=str)
    own = metadata.get("policy")
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return f"{own}@{digest}" if isinstance(own, str) and own.isidentifier() else digest


def find_key(task: EpisodeTask, replan_steps: int, players: Players, salt: str = "") -> str:
    """Return the key of an episode, a SHA-256 in hex: whoever has this one gets the same result.

    `salt`: makes it a key that no other episode has, for players of whom too little is known.
    """
    parts = {
        "version": VERSION,
        "salt": salt,
        "suite": task.suite,
        "task_id": task.task_id,
        "seed": task.seed,
        "init_state": task.init_state,
        "prompt": task.prompt,
        "replan_steps": replan_steps,
        "policy": players.policy,
        "simulator": players.simulator,
        "versions": dict(players.versions),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def make_row(task: EpisodeTask, result: EpisodeResult, policy: str) -> Row:
    """Return the row of an episode that was played."""
    error = result.error
    return {
        "suite": task.suite,
        "task_id": task.task_id,
        "seed": task.seed,
        "init_state": task.init_state,
        "prompt": result.prompt,
        "solved": result.solved,
        "error_kind": error and error.kind,
        "error": error and error.message,
        "steps": result.steps,
        "infers": result.infers,
        "retries": result.retries,
        "servers": list(result.servers),
        "attempts": result.attempts,
        "seconds": round(result.seconds, 3),
        "policy": policy,
        "versions": dict(result.versions),
    }


def make_failed_row(task: EpisodeTask, error: ItemError) -> Row:
    """Return the row of an episode of which nothing is known."""
    named = {"suite": task.suite, "task_id": task.task_id, "seed": task.seed, "init_state": task.init_state}
    missing = dict.fromkeys(("solved", "steps", "infers", "retries", "attempts", "seconds"))
    told: Row = {"prompt": task.prompt, "servers": [], "policy": "", "versions": {}}
    return named | missing | told | {"error_kind": error.kind, "error": one_line(error)}
