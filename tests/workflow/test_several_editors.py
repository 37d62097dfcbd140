"""Several editors: each judge is loaded once per lane for all of them, and none holds back the others for ever."""

from collections import Counter

import pyarrow.parquet as pq
import pytest
from project import Project

from editlane.core.paths import RunPaths
from editlane.lanes.journal import read_journal
from editlane.lanes.lane_status import read_heartbeats

pytestmark = pytest.mark.runs

BROKEN = """
import sys
if any(word.endswith("edit_lane.py") for word in sys.orig_argv[:2]) and {"坏", "1"} <= set(sys.orig_argv):
    sys.exit("error: the model of 坏 cannot be loaded")
"""


def loads(project: Project) -> Counter[str]:
    """Count the processes of each judge that had work to do; each loads its model once."""
    return Counter(one.judge for one in read_heartbeats(RunPaths(project.results)) if one.judge)


def test_each_judge_is_loaded_once_per_lane_and_an_added_editor_is_judged_alone(project: Project) -> None:
    fake = {"adapter": "fake", "params": {}}
    noop = {"adapter": "fake", "params": {"noop_rate": 0.5}}  # two editors make some equal edits
    project.config["editors"] = {"甲": fake, "乙": noop}
    project.config["controls"] = {"share": 0.5, "least": 0, "repeats": 0.1, "canary": False}
    project.run("merge_scores", "merge_controls")
    assert loads(project) == {"judge": 2}
    before, judged = project.scores(), project.computed("score")
    assert len(before) == 40

    project.config["editors"] = {"丙": {"adapter": "fake", "params": {"noop_rate": 1}}, "甲": fake, "乙": noop}
    project.config["judges"]["judge-b"] = {"adapter": "fake", "params": {"behaviour": "random"}}
    project.run("merge_scores", "merge_controls")
    assert loads(project) == {"judge": 4, "judge-b": 2}
    old = [row for row in project.scores() if (row["judge"], row["editor"] == "丙") == ("judge", False)]
    assert old == before
    asked = {judge: keys_of(project, judge) for judge in ("judge", "judge-b")}
    assert len(asked["judge"]) == len(asked["judge-b"]) > judged
    assert project.computed("score") == sum(map(len, asked.values())), "nothing is judged twice"


def keys_of(project: Project, judge: str) -> list[str]:
    """The keys in the journals of a judge, by editor."""
    folders = (project.results / "journal/score").glob(f"*/{judge}")
    return [key for folder in folders for key in read_journal(folder).rows]


def partial_scores(project: Project) -> Counter[tuple[str, str]]:
    rows = pq.read_table(project.results / "partial_report/scores.parquet").to_pylist()
    return Counter((row["editor"], row["state"]) for row in rows)


def test_an_editor_that_fails_for_good_does_not_hold_back_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    editors = {"好": {"adapter": "fake"}, "坏": {"adapter": "fake", "params": {"noop_rate": 1}}}
    project.config["editors"] = editors
    (project.folder / "broken").mkdir()
    (project.folder / "broken/sitecustomize.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(project.folder / "broken"))
    said = project.run("merge_scores", code=1)
    assert "error: the model of 坏 cannot be loaded" in said
    assert "note: not judged yet: lane 1 (no edits by 坏)." in said
    assert "report on the edits that there are: snakemake partial_scores --cores 4\n" in said
    assert project.computed("score") == 20, "lane 0 is judged for both"

    assert "\nto finish the run: snakemake --cores 4\n" in project.run("partial_scores")
    assert partial_scores(project) == {("好", "scored"): 20, ("坏", "scored"): 10}
    assert (project.results / "partial_report/report.html").exists()
    assert project.computed("score") == 30

    project.config["editors"] = {"好": editors["好"]}
    project.run("merge_scores")
    assert {row["editor"] for row in project.scores()} == {"好"}
    assert (len(project.scores()), project.computed("score")) == (20, 30)

    monkeypatch.delenv("PYTHONPATH")
    project.config["editors"] = editors
    project.run("merge_scores")
    assert (len(project.scores()), project.computed("score")) == (40, 40)
