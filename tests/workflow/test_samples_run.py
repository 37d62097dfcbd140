"""A run with several seeds of each item: the first sample stays, nothing is computed twice."""

import pyarrow.parquet as pq
import pytest
from project import Project

JUDGE = {"adapter": "fake", "params": {"behaviour": "sees"}}


@pytest.mark.runs
def test_more_seeds_are_added_to_a_finished_run_without_editing_anything_again(project: Project) -> None:
    project.config |= {"judges": {"judge": JUDGE}, "controls": {"share": 1, "repeats": 0.2, "canary": False}}
    project.run()
    before = {row["item_id"]: row for row in project.scores()}
    controls = pq.read_table(project.results / "controls.parquet").num_rows
    assert project.report()["seeds"] is None
    project.config["samples"] = 3
    project.run()
    assert project.computed("edit") == 3 * len(before)
    after = {row["item_id"]: row for row in project.scores()}
    assert len(after) == 3 * len(before)
    assert {name: after[name] for name in before} == before
    seeds = {name: [after[one]["seed"] for one in (name, f"{name}-seed2", f"{name}-seed3")] for name in before}
    assert all(len(set(of_item)) == 3 for of_item in seeds.values())
    assert pq.read_table(project.results / "controls.parquet").num_rows == controls, "samples add no controls"
    report = project.report()
    assert (report["items"], report["missing"]) == (60, 0)
    found = report["seeds"]
    assert (found["samples"], found["editors"]["fake-a"]["judge"]["items"]) == (3, 20)
    text = (project.results / "report/report.md").read_text(encoding="utf-8")
    assert "## Seeds" in text
    project.run("partial_report")
    assert pq.read_table(project.results / "partial_report/scores.parquet").num_rows == 60
