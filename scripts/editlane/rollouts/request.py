"""Read the Pi0 reward server's requests: which episodes each item asks for.

Shapes: `{"responses": [...], "metas": [...]?, "reward_function_kwargs": {...}?}`. Hosts, ports, checkpoints and paths
in a request are not read: those are the config's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import ItemError, format_value
from editlane.core.printable import escape
from editlane.rollouts.config import RolloutsConfig
from editlane.server.dialects import Malformed, find_text
from editlane.server.wire import is_text
from editlane.simulators.wire import EpisodeTask

DEFAULT_SUITES = {"libero": "libero_spatial", "reach": "reach"}
"""Simulator -> the suite of items that name none."""

SUITE_NAMES = ("suite", "task_suite_name", "suite_name")
EPISODE_NAMES = ("task_id", "seed", "init_state_id")
READ = frozenset({"responses", "metas", "reward_function_kwargs", "deadline_s"})
READ_SETTINGS = frozenset({"max_workers", "num_trials_per_task", "libero_cfg", "on_error", "video", "danger"})
READ_CFG = frozenset({"task_suite_name", "instruction", "replan_steps", *EPISODE_NAMES})
READ_METAS = frozenset({"original_instruction", *SUITE_NAMES, *EPISODE_NAMES})
MOST_IGNORED = 20
LONGEST_SUITE = 80
MOST = 10_000
"""Largest number of a task or of an initial state."""
MOST_STEPS = 50
"""Largest number of steps between two looks of the policy."""
DEFAULT_SEED = 7
MAX_SECONDS = 86_400.0
"""Longest deadline of a request."""


class TooMany(Exception):
    """The request has more items or episodes than the server takes."""


class UnfitItem(ItemError):
    """An item names no episode that could be played. Others of its request are played."""

    kind = "malformed"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    items: Sequence[Sequence[EpisodeTask] | UnfitItem]
    """The episodes of each item, one for each trial, in order; or why there are none."""
    at_once: int | None
    """Episodes that may be played at the same time for this request."""
    replan_steps: int
    is_zero: bool
    """Whether an item without a result gets 0."""
    is_filmed: bool
    seconds: float
    ignored: Sequence[str] = ()
    """Names in the request that mean nothing here: a misspelt one asks for another episode than was meant."""


def read_request(data: Mapping[str, Any], config: RolloutsConfig) -> Asked:
    """Read a request. Raises Malformed for what concerns all of its items, and TooMany."""
    responses, metas, settings = _read_lists(data)
    limits = config.limits
    if len(responses) > limits.request_items:  # before anything is made of them
        raise TooMany(f"{len(responses)} responses; a request may have {limits.request_items}")
    cfg = _read_mapping(settings, "libero_cfg")
    if settings.get("danger"):
        raise Malformed("`danger` asks for collisions, which this server does not count; leave it out")
    trials = _read_whole(settings, "num_trials_per_task", 1, (1, limits.trials))
    if trials * len(responses) > limits.episodes:
        raise TooMany(f"{trials * len(responses)} episodes; the queue takes {limits.episodes}")
    suite = config.suite or DEFAULT_SUITES[config.simulator.name]
    return Asked(
        items=[
            _read_item(response, meta, cfg, trials, suite, limits.text)
            for response, meta in zip(responses, metas, strict=True)
        ],
        at_once=_read_whole(settings, "max_workers", None, (1, 1_000_000)),
        replan_steps=_read_whole(cfg, "replan_steps", config.policy.replan_steps, (1, MOST_STEPS)),
        is_zero=_read_on_error(settings, config),
        is_filmed=_read_switch(settings, "video"),
        seconds=_read_seconds(data, config),
        ignored=_find_ignored(data, settings, cfg, metas),
    )


def _find_ignored(data: Mapping[str, Any], settings: Any, cfg: Any, metas: Sequence[Any]) -> list[str]:
    """Return the names that are not read, the first few of them."""
    places = [("", data, READ), ("reward_function_kwargs.", settings, READ_SETTINGS), ("libero_cfg.", cfg, READ_CFG)]
    places += [("metas.", meta, READ_METAS) for meta in metas if isinstance(meta, dict)]
    found = {f"{place}{name}"[:LONGEST_SUITE] for place, one, read in places for name in one if name not in read}
    return sorted(escape(name) for name in found if is_text(name))[:MOST_IGNORED]


def _read_lists(data: Mapping[str, Any]) -> tuple[list[Any], list[Any], Mapping[str, Any]]:
    responses, metas = data.get("responses"), data.get("metas")
    if not isinstance(responses, list):
        raise Malformed("`responses` must be a list")
    if metas is None:
        metas = [{}] * len(responses)
    if not isinstance(metas, list) or len(metas) != len(responses):
        raise Malformed(f"`metas` must be a list as long as `responses`, which has {len(responses)}")
    return responses, metas, _read_mapping(data, "reward_function_kwargs")


def _read_mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Malformed(f"`{name}` must be an object")
    return found


def _read_whole(data: Mapping[str, Any], name: str, default: Any, bounds: tuple[int, int]) -> Any:
    value = data.get(name)
    if value is None:
        return default
    if not is_whole(value, bounds):
        raise Malformed(f"`{name}` is {format_value(value)}, not a whole number from {bounds[0]} to {bounds[1]}")
    return value


def is_whole(value: Any, bounds: tuple[int, int]) -> bool:
    """Return whether a value is a whole number within bounds, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and bounds[0] <= value <= bounds[1]


def _read_switch(settings: Mapping[str, Any], name: str) -> bool:
    value = settings.get(name)
    if not isinstance(value, bool | None):
        raise Malformed(f"`{name}` must be true or false")
    return value is True


def _read_on_error(settings: Mapping[str, Any], config: RolloutsConfig) -> bool:
    match settings.get("on_error", config.on_error):
        case "zero":
            return True
        case None | "null" | "missing":
            return False
    raise Malformed('`on_error` must be "null" or "zero"')


def _read_seconds(data: Mapping[str, Any], config: RolloutsConfig) -> float:
    seconds = data.get("deadline_s")
    if seconds is None:
        return config.limits.deadline_seconds
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
        raise Malformed("`deadline_s` is not a number of seconds above 0")
    return float(min(seconds, MAX_SECONDS))


def _read_item(
    response: Any, meta: Any, cfg: Mapping[str, Any], trials: int, suite: str, longest: int
) -> Sequence[EpisodeTask] | UnfitItem:
    try:
        if not isinstance(meta, dict | None):
            raise UnfitItem("its entry of `metas` is no object")
        return _read_tasks(response, meta or {}, cfg, trials, suite, longest)
    except UnfitItem as error:
        return error


def _read_tasks(
    response: Any, meta: Mapping[str, Any], cfg: Mapping[str, Any], trials: int, suite: str, longest: int
) -> Sequence[EpisodeTask]:
    named = next((meta[name] for name in SUITE_NAMES if meta.get(name) is not None), cfg.get("task_suite_name"))
    suite = suite if named is None else named
    if not (is_text(suite) and 0 < len(suite) <= LONGEST_SUITE):
        raise UnfitItem(f"its suite is {format_value(suite)}, not the name of one")
    first = _choose(meta, cfg, "init_state_id", 0, MOST)
    task, seed = _choose(meta, cfg, "task_id", 0, MOST), _choose(meta, cfg, "seed", DEFAULT_SEED, 2**32 - 1)
    prompt = _read_prompt(response, meta, cfg, longest)
    return [EpisodeTask(suite, task, seed, first + trial, prompt) for trial in range(trials)]


def _choose(meta: Mapping[str, Any], cfg: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = next((one[name] for one in (meta, cfg) if one.get(name) is not None), default)
    if not is_whole(value, (0, most)):
        raise UnfitItem(f"its `{name}` is {format_value(value)}, not a whole number from 0 to {most}")
    return int(value)


def _read_prompt(response: Any, meta: Mapping[str, Any], cfg: Mapping[str, Any], longest: int) -> str | None:
    """Return what the policy is told: the response, or the item's instruction. None: the task's own words."""
    for found in (find_text(response), meta.get("original_instruction"), cfg.get("instruction")):
        if found in (None, "", []):
            continue
        if not is_text(found):
            raise UnfitItem("its instruction is no text")
        if len(found) > longest:
            raise UnfitItem(f"its instruction has more than {longest} characters")
        if found.strip():
            return str(found).strip()
    return None
