"""Several editors: each judge is loaded once per lane for all of them, and none holds back the others for ever."""

from collections import Counter
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from project import Project

from editlane.core.paths import RunPaths
from editlane.lanes.lane_status import read_heartbeats

BROKEN = """
import sys
if any(word.endswith("edit_lane.py") for word in sys.orig_argv[:2]) and {"坏", "1"} <= set(sys.orig_argv):
    sys.exit("error: the model of 坏 cannot be loaded")
"""


def loads(project: Project) -> Counter[str]:
    """Count the processes of each judge that had work to do; each loads its model once."""
    return Counter(one.judge for one in read_heartbeats(RunPaths(project.results)) if one.judge)


@pytest.fixture
def several(project: Project) -> Project:
    """Three editors and two judges in two lanes."""
    project.config["editors"] = {
        name: {"adapter": "fake", "params": {"noop_rate": rate}} for name, rate in (("甲", 0), ("乙", 0.5), ("丙", 1))
    }
    project.config["judges"]["judge-b"] = {"adapter": "fake", "params": {"behaviour": "random"}}
    project.config["controls"] = {"share": 0.5, "repeats": 0.1, "canary": False}
    return project


def test_each_judge_is_loaded_once_per_lane_and_an_added_one_too(several: Project) -> None:
    judges = several.config["judges"]
    added = judges.pop("judge-b")
    several.run("merge_scores", "merge_controls")
    assert loads(several) == {"judge": 2}
    before, judged = several.scores(), several.computed("score")

    judges["judge-b"] = added
    several.run("merge_scores", "merge_controls")
    assert loads(several) == {"judge": 2, "judge-b": 2}
    assert [row for row in several.scores() if row["judge"] == "judge"] == before
    assert several.computed("score") == 2 * judged


def test_an_added_editor_is_judged_alone(several: Project, other_project: Callable[[], Project]) -> None:
    editors = several.config["editors"]
    added = editors.pop("乙")
    several.run("merge_scores", "merge_controls")
    judged = several.computed("score")
    several.config["editors"] = {"乙": added} | editors
    several.run("merge_scores", "merge_controls")

    whole = other_project()
    whole.config = several.config
    whole.run("merge_scores", "merge_controls")
    assert several.scores() == whole.scores()
    assert several.computed("score") == whole.computed("score") > judged


def break_lane(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lane 1 of the editor 坏 fail at every start."""
    (project.folder / "broken").mkdir()
    (project.folder / "broken/sitecustomize.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(project.folder / "broken"))


def partial_scores(project: Project) -> Counter[tuple[str, str]]:
    rows = pq.read_table(project.results / "partial_report/scores.parquet").to_pylist()
    return Counter((row["editor"], row["state"]) for row in rows)


def test_an_editor_that_fails_for_good_does_not_hold_back_the_others(
    project: Project, other_project: Callable[[], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.config["editors"] = {"好": {"adapter": "fake"}, "坏": {"adapter": "fake", "params": {"noop_rate": 1}}}
    break_lane(project, monkeypatch)
    said = project.run(code=1)
    assert "error: the model of 坏 cannot be loaded" in said
    assert "note: not judged yet: lane 1 (no edits by 坏)." in said
    assert project.computed("score") == 20, "lane 0 is judged for both"

    project.run("partial_report")
    assert partial_scores(project) == {("好", "scored"): 10, ("坏", "scored"): 10}
    project.run("partial_scores")
    assert partial_scores(project) == {("好", "scored"): 20, ("坏", "scored"): 10}
    report = (project.results / "partial_report/report.md").read_text(encoding="utf-8")
    assert "10" in report and "坏" in report
    assert "Nothing to be done" not in project.run("partial_scores"), "the report is made again"
    assert project.computed("score") == 30, "and nothing is judged again"

    monkeypatch.delenv("PYTHONPATH")
    project.run()
    whole = other_project()
    whole.config = project.config
    whole.run()
    assert project.scores() == whole.scores()
    assert project.computed("score") == 40


def test_dropping_the_broken_editor_gives_the_whole_report_of_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.config["editors"] = {"好": {"adapter": "fake"}, "坏": {"adapter": "fake", "params": {"noop_rate": 1}}}
    break_lane(project, monkeypatch)
    project.run(code=1)
    del project.config["editors"]["坏"]
    project.run()
    assert {row["editor"] for row in project.scores()} == {"好"}
    assert (project.computed("score"), project.report()["editors"].keys()) == (30, {"好"})
