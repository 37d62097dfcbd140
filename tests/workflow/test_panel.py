"""A panel of judges: rows of its own, its own acceptance, and nothing judged again."""

import re

import pyarrow.parquet as pq
import pytest
from project import Project

JUDGES = {
    "sees": {"adapter": "fake", "params": {"behaviour": "sees"}},
    "unreadable": {"adapter": "fake", "params": {"behaviour": "sees", "unreadable_rate": 0.3}},
    "third": {"adapter": "fake", "params": {"behaviour": "ignores_instruction"}},
}
PANELS = {
    "all": {"judges": list(JUDGES)},
    "most": {"judges": list(JUDGES), "combine": "median", "quorum": 2},
}


@pytest.mark.runs
def test_a_panel_is_added_to_a_finished_run_without_judging_anything_again(project: Project) -> None:
    project.config |= {"judges": JUDGES, "controls": {"share": 1, "repeats": 0.2, "canary": False}}
    project.run()
    before, judged = project.scores(), project.computed("score")
    project.config["panels"] = PANELS
    planned = set(re.findall(r"^(?:local)?rule (\w+):", project.run("--dry-run"), re.MULTILINE))
    assert planned == {"merge_scores", "merge_controls", "merge_costs", "make_report", "all"}
    project.run()
    assert project.computed("score") == judged
    after = project.scores()
    assert [row for row in after if row["judge"] in JUDGES] == before
    check_rows({(row["judge"], row["item_id"]): row for row in after})
    controls = pq.read_table(project.results / "controls.parquet").to_pylist()
    assert {row["judge"] for row in controls} == {*JUDGES, *PANELS}
    report = project.report()
    assert report["missing"] == 0 and set(report["acceptance"]) == {*JUDGES, *PANELS}
    assert report["provenance"]["panels"]["all"]["quorum"] == 3
    text = (project.results / "report/report.md").read_text(encoding="utf-8")
    assert "## Judges together" in text and text.count("nothing was asked for them") == len(PANELS)
    project.run("partial_report")
    partial = pq.read_table(project.results / "partial_report/scores.parquet").to_pylist()
    assert {name: sum(row["judge"] == name for row in partial) for name in PANELS} == dict.fromkeys(PANELS, 20)


def check_rows(rows: dict) -> None:
    for judge, item in rows:
        own = [rows[name, item]["score"] for name in JUDGES]
        row, there = rows[judge, item], [one for one in own if one is not None]
        if judge == "all":
            assert row["score"] == (pytest.approx(sum(own) / 3) if len(there) == 3 else None)
            assert row["state"] == ("scored" if len(there) == 3 else "judge_unreadable")
        if judge == "most":
            assert (row["state"] == "scored") == (len(there) >= 2)
    states = [rows["all", item]["state"] for judge, item in rows if judge == "all"]
    assert 0 < states.count("judge_unreadable") < len(states)
