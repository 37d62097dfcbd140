"""One owner of the names under results/<run>: nobody else spells them, and rules and code agree."""

import ast
import re
from collections.abc import Iterator
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
PARTS = {*RunEntry, "edits", "images", "workflow.json", ".lock", "results"}
"""Names that only a path of a run has as a component. (`scores` and the like are words of other places, too.)"""


OF_SERVERS = {"/images/edits"}


def spelt(code: str) -> list[str]:
    """The strings of a module that are a path of a run, or part of one."""
    tree = ast.parse(code)
    skipped = {id(part) for node in ast.walk(tree) for part in unbuilt(node)}
    found = [node for node in ast.walk(tree) if id(node) not in skipped and is_path(node)]
    joined = {id(value) for node in ast.walk(tree) for value in operands(node)}
    alone = [node for node in ast.walk(tree) if id(node) in joined and is_component(node)]
    return [ast.unparse(node) for node in {id(node): node for node in (*found, *alone)}.values()]


def unbuilt(node: ast.AST) -> Iterator[ast.AST]:
    """Strings that build no path: docstrings, and messages and help for people."""
    if isinstance(node, ast.Expr):
        yield node.value
    if isinstance(node, ast.keyword) and node.arg == "help":
        yield from ast.walk(node.value)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UserError", "Finding"):
        yield from ast.walk(node)


def is_path(node: ast.AST) -> bool:
    """A text with a slash and a component of a run's path, or with a lane's number in a file name."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    else:
        return False
    if " " in text or text in OF_SERVERS:
        return False  # a sentence, or a part of an address
    components = text.split("/")
    return (len(components) > 1 and bool(PARTS & set(components))) or bool(re.search(r"(^|/)lane(\{\}|\*)", text))


def operands(node: ast.AST) -> Iterator[ast.AST]:
    """Values that are joined to a path."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        yield from (node.left, node.right)
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
        "joinpath", "join", "glob", "rglob", "with_name", "Path",
    ):  # fmt: skip
        yield from node.args


def is_component(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in PARTS


@pytest.mark.parametrize(
    "code",
    [
        'run_dir / "journal/edit" / editor',
        'run_dir / "journal" / "score"',
        'f"{editor}/images/{category}/{item_id}.png"',
        'run_dir / f"{editor}/edits/{category}"',
        'run_dir / "heartbeats/workflow.json"',
        'run_dir / "report/report.html"',
        'run_dir.glob("*/edits")',
        'f"{run_dir}/scores.parquet"',
        'os.path.join(run_dir, "journal")',
        'run_dir / ".lock"',
        'run_dir / "logs/x.log"',
        'Path("results") / run',
        'folder / category / f"lane{lane}.parquet"',
        'run_dir / "scores.parquet"',
        'run_dir.rglob("lane*.json")',
    ],
)
def test_a_spelt_path_is_seen(code: str) -> None:
    assert spelt(code)


def test_no_other_module_spells_a_path_of_a_run() -> None:
    others = set((ROOT / "scripts").rglob("*.py")) - {ROOT / "scripts/editlane/core/paths.py"}
    found = {path.name: lines for path in sorted(others) if (lines := spelt(path.read_text(encoding="utf-8")))}
    assert found == {}


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
        LaneId(SCORE, None, "乙", number) for number in range(2)
    ]
    assert [str(lane) for lane in lanes] == ["edit/甲/0", "edit/甲/1", "score/乙/0", "score/乙/1"]
    assert PATHS.lane_tables(lanes[1], ["甲", "丙"], ["物理"]) == [PATHS.edits("甲", "物理", 1)]
    scores = [PATHS.lane_scores(editor, "乙", "物理", 0) for editor in ("甲", "丙")]
    assert PATHS.lane_tables(lanes[2], ["甲", "丙"], ["物理"]) == scores


def test_attempts_are_counted_by_the_files_of_a_lane(tmp_path: Path) -> None:
    paths, lane = RunPaths(tmp_path), LaneId(EDIT, "甲", None, 1)
    assert paths.last_attempt(lane) == 0
    for name in ("lane1.2.json", "lane1.10.json", "lane10.30.json", "lane1.x.json"):
        path = paths.heartbeat(lane, 1).with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert paths.last_attempt(lane) == 10
