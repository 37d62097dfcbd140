"""Several systems' existing edits in one run, beside a model."""

import os
from collections import Counter

import pyarrow.parquet as pq
import pytest
from PIL import Image
from project import Project

pytestmark = pytest.mark.runs

NUMBERS = range(10)


def put_edit(project: Project, system: str, number: int, colour: str) -> None:
    path = project.folder / f"edits/{system}/项目-{number:02}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 40), colour).save(path)
    os.utime(path, (10**9, 10**9))


def judged(project: Project) -> dict[str, Counter[str]]:
    """The edits that are scored or failed, by editor."""
    found: dict[str, Counter[str]] = {}
    for row in project.scores():
        found.setdefault(row["editor"], Counter())[row["error_kind"] or row["state"]] += 1
    return found


def test_systems_are_judged_beside_a_model_and_a_replaced_edit_alone_again(project: Project) -> None:
    project.write_items(NUMBERS)
    for number in NUMBERS:
        put_edit(project, "系统甲", number, "red")
        if number != 3:
            put_edit(project, "b", number, "blue")
    project.config["lanes"] = 1
    project.config["editors"] = {
        "系统-甲": {"adapter": "given", "params": {"dir": "edits/系统甲"}},
        "model-b": {"adapter": "given", "params": {"dir": "edits/b"}},
        "fake": {"adapter": "fake"},
    }
    said = project.run("merge_scores")
    assert "edits/b of model-b: 1 of 10 items has no edit: 项目-03" in said
    assert judged(project) == {
        "系统-甲": {"scored": 10},
        "model-b": {"scored": 9, "missing": 1},
        "fake": {"scored": 10},
    }
    edits = pq.read_table(project.results / "model-b/edits/物理/lane0.parquet").to_pylist()
    assert all((project.results / row["given_path"]).is_file() for row in edits)

    before, computed = project.scores(), {stage: project.computed(stage) for stage in ("edit", "score")}
    put_edit(project, "b", 4, "lime")
    (project.folder / "moved").mkdir()
    (project.folder / "edits/系统甲").rename(project.folder / "moved/系统甲")
    project.config["editors"]["系统-甲"]["params"]["dir"] = "moved/系统甲"
    project.run("merge_scores")
    assert {stage: project.computed(stage) - count for stage, count in computed.items()} == {"edit": 1, "score": 1}
    changed = [(row["editor"], row["item_id"]) for row, old in zip(project.scores(), before, strict=True) if row != old]
    assert changed == [("model-b", "项目-04")]
