"""One owner of the names under results/<run>: nobody else spells them, and rules and code agree."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from editlane.core.paths import EDIT, RESERVED_EDITOR_NAMES, SCORE, LaneId, RunEntry, RunPaths, all_lanes

ROOT = Path(__file__).parents[3]
RULES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.smk"))
PATHS = RunPaths(Path("R"))
NAMES = {"category": "物理", "editor": "甲", "judge": "乙", "lane": 3}
LANE_TABLES = {
    "shards/{category}/lane{lane}.parquet": PATHS.shard("物理", 3),
    "{editor}/edits/{category}/lane{lane}.parquet": PATHS.edits("甲", "物理", 3),
    "{editor}/scores/{judge}/{category}/lane{lane}.parquet": PATHS.lane_scores("甲", "乙", "物理", 3),
    "{editor}/controls/{judge}/lane{lane}.parquet": PATHS.lane_controls("甲", "乙", 3),
    "{editor}/preservation/lane{lane}.parquet": PATHS.lane_preservation("甲", 3),
}
PARTS = {*RunEntry, "edits", "scores", "controls", "images", "preservation", "workflow.json"}
FILE = re.compile(r"(%s)/|.*\.parquet$|.*(^|/)lane$" % "|".join(name for name in RunEntry if "." not in name))  # noqa: UP031
"""The beginning of a path of a run, a table, or what stands before a lane's number."""


def spelt(path: Path) -> list[str]:
    """The expressions of a module that build a path of a run."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found += [side for side in (node.left, node.right) if has_path(side, PARTS.__contains__)]
        elif isinstance(node, ast.JoinedStr) and has_path(node.values[0], FILE.match):
            found.append(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
            "joinpath",
            "glob",
            "rglob",
            "with_name",
        ):
            found += [value for value in node.args if has_path(value, lambda text: text in PARTS or FILE.match(text))]
    return [f"{path.name}: {ast.unparse(one)}" for one in found]


def has_path(node: ast.expr, is_path: Callable[[str], object]) -> bool:
    """Whether a string is a path, or an f-string begins with one."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return has_path(node.values[0], lambda text: FILE.match(text))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(is_path(node.value))


def test_no_other_module_spells_a_path_of_a_run(tmp_path: Path) -> None:
    owner = ROOT / "scripts/editlane/core/paths.py"
    assert spelt(owner), "the test sees what it looks for"
    others = set((ROOT / "scripts").rglob("*.py")) - {owner}
    assert [line for path in sorted(others) for line in spelt(path)] == []


@pytest.mark.parametrize("pattern", LANE_TABLES)
def test_rules_and_code_name_the_tables_of_lanes_alike(pattern: str) -> None:
    assert f'"<results>/{pattern}"' in RULES.replace("{{", "{").replace("}}", "}")
    assert LANE_TABLES[pattern] == Path("R") / pattern.format(**NAMES)


def test_every_name_in_the_folder_of_a_run_is_reserved() -> None:
    tops = set(re.findall(r"<results>/([^/\"{]+)", RULES))
    assert tops <= RESERVED_EDITOR_NAMES
    assert {"items.parquet", "journal", "partial_report"} <= RESERVED_EDITOR_NAMES
    own = (PATHS.items, PATHS.plan, PATHS.scores, PATHS.controls, PATHS.costs, PATHS.logs, PATHS.heartbeats)
    assert {path.relative_to("R").parts[0] for path in own} <= RESERVED_EDITOR_NAMES
    assert Path(PATHS.source("ab12", "png")).parts[0] in RESERVED_EDITOR_NAMES


def test_a_lane_has_one_name() -> None:
    lanes = list(all_lanes(["甲"], ["乙"], 2))
    assert lanes == [LaneId(EDIT, "甲", None, 0), LaneId(EDIT, "甲", None, 1)] + [
        LaneId(SCORE, "甲", "乙", number) for number in range(2)
    ]
    assert [str(lane) for lane in lanes] == ["edit/甲/0", "edit/甲/1", "score/甲/乙/0", "score/甲/乙/1"]
    assert PATHS.lane_tables(lanes[2], ["物理"]) == [PATHS.lane_scores("甲", "乙", "物理", 0)]


def test_attempts_are_counted_by_the_files_of_a_lane(tmp_path: Path) -> None:
    paths, lane = RunPaths(tmp_path), LaneId(EDIT, "甲", None, 1)
    assert paths.last_attempt(lane) == 0
    for name in ("lane1.2.json", "lane1.10.json", "lane10.30.json", "lane1.x.json"):
        path = paths.heartbeat(lane, 1).with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert paths.last_attempt(lane) == 10
