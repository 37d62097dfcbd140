"""Find lanes whose tables were made with other settings than today's, by the keys in the tables."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from editlane.core import tables
from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.paths import LaneId, RunPaths, all_lanes
from editlane.lanes.comparing import PairSpec
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.identity import model_options
from editlane.lanes.judging import JudgeSpec
from editlane.preflight.config import Config
from editlane.protocols.pairwise import load_pairwise
from editlane.protocols.scoring import load_protocol

IsCurrent = Callable[[Path], bool]


def find_outdated_outputs(config: Config, paths: RunPaths, doubtful: Collection[Path]) -> Iterator[Path]:
    """Yield the tables of each lane that has a doubtful one with another key than today's.

    A model that cannot be found is not compared; the checks and the lane say what it lacks.
    """
    editors, checks = list(config["editors"]), dict[str, IsCurrent | None]()
    for lane in all_lanes(editors, list(config["judges"]), config["lanes"]):
        made = [path for path in _list_tables(config, paths, lane) if path.exists()]
        compared = [path for path in made if path in doubtful]
        if not compared:
            continue
        name = "/".join(lane.folders)
        if name not in checks:
            checks[name] = _find_check(config, paths, lane)
        is_current = checks[name]
        if is_current and not all(map(is_current, compared)):
            yield from made
    yield from _find_outdated_pairs(config, paths, doubtful)


def _find_outdated_pairs(config: Config, paths: RunPaths, doubtful: Collection[Path]) -> Iterator[Path]:
    """Yield the tables of the arena's lanes, each the only one of its job, that have another key than today's."""
    for judge in config["arena"]["judges"] if config["arena"] else ():
        compared = [path for path in paths.all_lane_pairs(judge) if path in doubtful]
        with suppress(UserError, OSError):
            is_current = _check_comparing(config, paths, judge) if compared else bool
            yield from (path for path in compared if not is_current(path))


def _list_tables(config: Config, paths: RunPaths, lane: LaneId) -> list[Path]:
    editors = list(config["editors"])
    found = paths.lane_tables(lane, editors, config["dataset"]["categories"])
    if lane.judge is not None:
        found += [paths.lane_controls(editor, lane.judge, lane.number) for editor in editors]
    return found


def _find_check(config: Config, paths: RunPaths, lane: LaneId) -> IsCurrent | None:
    """Return the function that tells whether a table of this lane's editor or judge has today's key."""
    try:
        if lane.editor is not None:
            return _check_editor(config, paths, lane.editor)
        return _check_judge(config, paths, str(lane.judge))
    except (UserError, OSError):
        return None


def _check_editor(config: Config, paths: RunPaths, name: str) -> IsCurrent:
    seed = config["seed"]
    spec = EditorSpec.of(paths.run_dir, name, seed, model_options(config["editors"][name]))

    def is_current(table: Path) -> bool:
        with suppress(UserError, ValueError, AttributeError):  # the step that reads it says what is wrong with it
            made = tables.read_provenance(table).get("editor", {}).get(name, {})
            return bool(made.get("key", spec.editor_key) == spec.editor_key and made.get("seed", seed) == seed)
        return True

    return is_current


def _check_judge(config: Config, paths: RunPaths, name: str) -> IsCurrent:
    settings = config["judges"][name]
    spec = JudgeSpec.of(paths.run_dir, name, load_protocol(find_file(settings["protocol"])), model_options(settings))
    return _check_keys(spec, config["dataset"]["categories"])


def _check_comparing(config: Config, paths: RunPaths, name: str) -> IsCurrent:
    protocol = load_pairwise(find_file(config["arena"]["protocol"]))
    spec = PairSpec.of(paths.run_dir, name, protocol, model_options(config["judges"][name]))
    return _check_keys(spec.judge, config["dataset"]["categories"])


def _check_keys(spec: JudgeSpec, categories: Collection[str]) -> IsCurrent:
    keys = {category: spec.judge_key(category) for category in categories}

    def is_current(table: Path) -> bool:
        with suppress(UserError):
            found = tables.read_arrow(table, ["category", "judge_key"]).select(["category", "judge_key"])
            pairs: list[dict[str, Any]] = found.group_by(found.column_names).aggregate([]).to_pylist()
            return all(keys.get(pair["category"], pair["judge_key"]) == pair["judge_key"] for pair in pairs)
        return True

    return is_current
