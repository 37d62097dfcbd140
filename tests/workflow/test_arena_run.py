"""An arena: pairs of edits that a judge compares, in a real run with three editors."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from project import Project, wait_for

from editlane.core.schemas import RUN_COLUMNS
from editlane.core.tables import read_provenance

EDITORS = {
    "好": {"adapter": "fake"},
    "懒": {"adapter": "fake", "params": {"noop_rate": 1.0}},
    "坏": {"adapter": "fake", "params": {"noop_rate": 0.9, "failure_rate": 0.1}},
}


def with_arena(folder: Path, **arena: Any) -> Project:
    folder.mkdir(exist_ok=True)
    project = Project(folder)
    project.config |= {"editors": EDITORS, "judges": {"评委": {"adapter": "fake", "params": {"batch_size": 4}}}}
    project.config["arena"] = {"judges": ["评委"]} | arena
    project.config["controls"] |= {"share": 0.1, "least": 28}
    return project


def read_pairs(project: Project) -> list[dict[str, Any]]:
    """All columns but those about how the run went."""
    table = pq.read_table(project.results / "pairs.parquet")
    return table.drop([name for name in RUN_COLUMNS if name in table.column_names]).to_pylist()


def count_wins(rows: list[dict[str, Any]], editor: str) -> int:
    real = [row for row in rows if row["control"] is None]
    return sum(
        (row["mode"], row[side]) == (letter, editor)
        for row in real
        for letter, side in (("A", "editor_a"), ("B", "editor_b"))
    )


def count_loads(project: Project) -> int:
    """Processes of the arena that loaded a model."""
    return len(list((project.results / "heartbeats/compare").rglob("*.json")))


@pytest.mark.runs
def test_an_arena_is_added_to_a_run_and_neither_lanes_nor_order_change_its_table(tmp_path: Path) -> None:
    project = with_arena(tmp_path / "run")
    arena = project.config.pop("arena")
    project.run()
    scored, controls = project.scores(), project.computed("score")
    assert not (project.results / "pairs.parquet").exists()
    assert "plan_pairs" not in project.run("--dry-run")

    project.config["arena"] = arena
    planned = set(re.findall(r"^(?:local)?rule (\w+):", project.run("--dry-run"), re.MULTILINE))
    assert planned == {"plan_pairs", "compare_lane", "merge_pairs", "merge_costs", "make_report", "all"}
    project.run()
    assert project.scores() == scored and project.computed("score") == controls
    rows = read_pairs(project)
    real = [row for row in rows if row["control"] is None]
    assert len(real) == 20 * 3 * 2
    assert {row["control"] for row in rows} == {None, "source", "blank", "itself", "other_item"}
    assert {row["state"] for row in rows} == {"scored", "edit_failed"}
    assert count_wins(rows, "好") > count_wins(rows, "坏") >= 0 == count_wins(rows, "懒")
    costs = pq.read_table(project.results / "costs.parquet").to_pylist()
    assert [row["attempts"] for row in costs if row["stage"] == "compare"] == [1, 1]
    text = (project.results / "report/report.md").read_text(encoding="utf-8")
    assert "pairs of edits" in text

    project.config["lanes"] = 3
    project.write_items(reversed(range(20)))
    computed = project.computed("compare")
    project.run()
    assert project.computed("compare") == computed
    assert sorted(read_pairs(project), key=str) == sorted(rows, key=str)  # its order is that of the items
    assert "Nothing to be done" in project.run("--quiet", "progress")


@pytest.mark.runs
def test_a_workflow_that_is_killed_keeps_its_answers_and_asks_the_others_once(tmp_path: Path) -> None:
    undisturbed = with_arena(tmp_path / "undisturbed", budget=20)
    undisturbed.run("merge_pairs")
    project = with_arena(tmp_path / "killed", budget=20)
    project.config["judges"]["评委"]["params"] |= {"seconds": 0.05}
    run = project.start("merge_pairs")
    wait_for(lambda: project.computed("compare") >= 9, 120)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    kept = project.computed("compare")
    assert kept < undisturbed.computed("compare")
    project.config["judges"]["评委"]["params"] |= {"seconds": 0.0}
    project.run("merge_pairs")
    assert project.computed("compare") == undisturbed.computed("compare")
    assert read_pairs(project) == read_pairs(undisturbed)


@pytest.mark.runs
def test_an_active_arena_stops_where_the_best_editor_is_clear(tmp_path: Path) -> None:
    project = with_arena(tmp_path / "run", method="active", rounds=3)
    project.config["editors"] = {"好": EDITORS["好"], "懒": EDITORS["懒"]}
    project.write_items(range(60))
    project.run("merge_pairs")
    made = read_provenance(project.results / "pairs.parquet")
    assert made["plans"] == {"评委": {"rounds": 3, "pairs": 60, "possible": 60}}
    assert made["judges"]["评委"]["protocol"]["name"] == "pairwise"
    rows = [row for row in read_pairs(project) if row["control"] is None]
    assert {row["round"] for row in rows} == {1} and len(rows) == 2 * 60 / 3
    assert [count_plan(project, number) for number in (2, 3)] == [0, 0]
    assert count_loads(project) == 2  # one for each lane of the first round


@pytest.mark.runs
def test_controls_of_an_arena_with_samples_show_other_items(tmp_path: Path) -> None:
    project = with_arena(tmp_path / "run", budget=20)
    project.config["samples"] = 2
    project.run("merge_pairs")
    items = {row["item_id"]: row for row in pq.read_table(project.results / "items.parquet").to_pylist()}
    first = {name for name, row in items.items() if row["sample_of"] is None}
    assert len(items) == 2 * len(first)
    plan = pq.read_table(project.results / "arena/评委/round1/plan.parquet").to_pylist()
    assert {row["item_id"] for row in plan} == first
    others = [row for row in plan if row["control"] == "other_item"]
    assert others and len({row["item_id"] for row in plan if row["control"] is None}) == 20


def count_plan(project: Project, number: int) -> int:
    return pq.read_metadata(project.results / f"arena/评委/round{number}/plan.parquet").num_rows


def test_an_arena_of_one_editor_or_with_a_panel_is_refused_before_anything_runs(tmp_path: Path) -> None:
    project = with_arena(tmp_path / "run")
    project.config["editors"] = {"好": EDITORS["好"]}
    said = project.run("--dry-run", code=2)
    assert "error: config: arena: it compares editors, but the run has one" in said
    project.config["editors"] = EDITORS
    project.config["judges"]["评委"]["protocol"] = "resources/protocols/pairwise.yaml"
    assert "Name it in `arena: {protocol: ...}`" in project.run("--dry-run", code=2)
    assert not project.results.exists()
