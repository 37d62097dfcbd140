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
    """Its name, or a name for what its servers announce; "" if nothing tells it from another one."""
    announced: str | None
    """SHA-256 of what its servers announce; None before one was reached."""
    dialect: str
    simulator: str
    versions: Mapping[str, str]
    """Empty before a simulator has started."""

    @property
    def are_known(self) -> bool:
        """Return whether a result of these would be the same again."""
        return bool(self.policy and self.announced and self.versions)


def name_players(
    name: str | None, dialect: str, metadata: Mapping[str, Any] | None, simulator: str, versions: Mapping[str, str]
) -> Players:
    """Return the players. `name`: the policy's, in the config; `metadata`: what its servers announce, if known."""
    if metadata is None:
        return Players(name or "", None, dialect, simulator, dict(versions))
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
    own = metadata.get("policy")
    label = f"{own}@{digest[:12]}" if isinstance(own, str) and own.isidentifier() else digest[:12]
    return Players(name or (label if metadata else ""), digest, dialect, simulator, dict(versions))


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
        "announced": players.announced,
        "dialect": players.dialect,
        "simulator": players.simulator,
        "versions": dict(players.versions),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def make_row(task: EpisodeTask, result: EpisodeResult, players: Players) -> Row:
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
        "policy": players.policy,
        "versions": dict(result.versions or players.versions),
    }


def make_failed_row(task: EpisodeTask, error: ItemError, players: Players) -> Row:
    """Return the row of an episode of which nothing is known."""
    named = {"suite": task.suite, "task_id": task.task_id, "seed": task.seed, "init_state": task.init_state}
    missing = dict.fromkeys(("solved", "steps", "infers", "retries", "attempts", "seconds"))
    told: Row = {"prompt": task.prompt, "servers": [], "policy": players.policy, "versions": dict(players.versions)}
    return named | missing | told | {"error_kind": error.kind, "error": one_line(error)}
