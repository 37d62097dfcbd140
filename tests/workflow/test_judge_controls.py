"""Whether a judge is believed: judges that do not look must be caught on the demo's photos, one that sees must pass."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from project import ROOT, Project, wait_for

from editlane.core.schemas import RUN_COLUMNS

pytestmark = pytest.mark.runs

BLIND = ("constant", "random", "ignores_images", "ignores_instruction")


def use_demo_photos(project: Project) -> None:
    """Take the demo's photos for two categories: five with three items each are too few to accept a judge."""
    for name in ("demo", "canary"):
        (project.folder / "resources" / name).mkdir()
    (project.folder / "resources/canary/items.jsonl").symlink_to(ROOT / "resources/canary/items.jsonl")
    demo = [json.loads(line) for line in (ROOT / "resources/demo/items.jsonl").read_text(encoding="utf-8").splitlines()]
    items = [
        one | {"item_id": f"{one['item_id']}-{category}", "category": category, "instruction": one[instruction]}
        for one in demo
        for category, instruction in (("物理", "instruction"), ("环境", "instruction_zh"))
    ]
    lines = [json.dumps(one, ensure_ascii=False) for one in items]
    (project.folder / "resources/demo/items.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project.config["dataset"] = {"path": "resources/demo/items.jsonl", "categories": ["物理", "环境"]}


def judges(*behaviours: str) -> dict[str, Any]:
    return {name: {"adapter": "fake", "params": {"behaviour": name}} for name in behaviours}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("项目"))
    use_demo_photos(project)
    project.config |= {
        "lanes": 1,
        "editors": {"fake": {"adapter": "fake", "params": {"noop_rate": 0.2}}},
        "judges": judges("sees", *BLIND),
        "controls": {"repeats": 0.2, "canary": True},
        "preservation": True,
    }
    project.run()
    return project


def test_a_judge_that_sees_is_accepted_and_each_blind_one_is_caught(finished: Project) -> None:
    found = finished.report()["acceptance"]
    assert found["sees"]["verdict"] == "accepted"
    assert {name: found[name]["verdict"] for name in BLIND} == dict.fromkeys(BLIND, "not_accepted")
    assert found["ignores_instruction"]["reasons"][0] == "other_instruction"
    assert found["sees"]["calls"] == 150 and found["sees"]["share"] == 5.0


def test_nothing_is_ranked_by_a_judge_that_is_not_accepted(finished: Project) -> None:
    text = (finished.results / "report/report.md").read_text(encoding="utf-8")
    assert "not accepted" in text


def test_controls_are_rows_in_a_table_of_their_own(finished: Project) -> None:
    table = pq.read_table(finished.results / "controls.parquet")
    rows = table.to_pylist()
    assert {row["control"] for row in rows} == {
        "source_as_edit", "other_instruction", "blank_edit", "swapped", "half_blended", "blurred", "repeat", "canary",
    }  # fmt: skip
    assert {"score", "state", "mass", "reply", "instruction", "other_item_id"} <= set(table.column_names)
    assert len(rows) == 5 * (150 + 6 + 20)
    assert len(finished.scores()) == 5 * 30, "no control is among the scores"


def test_the_same_question_gives_the_same_score_in_another_batch(finished: Project) -> None:
    noise = finished.report()["noise"]["sees"]
    assert (noise["kind"], noise["items"], noise["within_sd"]) == ("batch_order", 6, 0.0)


def test_unchanged_edits_and_preservation_are_in_the_report(finished: Project) -> None:
    numbers = finished.report()
    kept = numbers["preservation"]["fake"]["overall"]
    unchanged = numbers["editors"]["fake"]["sees"]["overall"]["unchanged"]
    assert unchanged["count"] > 0 and unchanged["interval"][0] > 0
    assert kept["measured"] == 30 and 0 < kept["ssim"]["mean"] < 1


def with_controls(folder: Path, share: float) -> Project:
    folder.mkdir()
    project = Project(folder)
    project.config["judges"]["judge"]["params"] |= {"seconds": 0.05}
    project.config |= {"lanes": 1, "controls": {"share": share, "least": 0, "repeats": 0.0, "canary": False}}
    return project


def controls_of(project: Project) -> list[dict[str, Any]]:
    return pq.read_table(project.results / "controls.parquet").drop(RUN_COLUMNS).to_pylist()


def test_a_kill_among_the_controls_and_a_larger_share_ask_nothing_twice(tmp_path: Path) -> None:
    undisturbed = with_controls(tmp_path / "undisturbed", 1.0)
    undisturbed.run("merge_controls")
    project = with_controls(tmp_path / "killed", 0.5)
    run = project.start("merge_controls")
    wait_for(lambda: project.computed("score") >= 23)  # the 20 edits, and some of the 10 controls
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    project.config["controls"]["share"] = 1.0
    project.run("merge_controls")
    assert project.computed("score") == 20 + 19
    assert controls_of(project) == controls_of(undisturbed)
