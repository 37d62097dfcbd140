"""Chains of turns in a real run: every turn is edited from the one before, judged, compared and reported."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from project import Project

CHAINS, SINGLE = 10, 6
LATER = {3: 4}
"""Turns of a chain, if not three."""


def write_items(project: Project) -> None:
    photos = project.folder / "data/图片"
    photos.mkdir(parents=True)
    lines = []
    for number in range(CHAINS + SINGLE):
        Image.new("RGB", (96, 80), (number * 15, 120, 60)).save(photos / f"人 {number}.png")
        record: dict[str, Any] = {"category": ["指代", "社会"][number % 2], "image": f"图片/人 {number}.png"}
        texts = [f"戴上帽子，第 {number} 次", "再换成绿色", "撤销上一步", "再亮一点"][: LATER.get(number, 3)]
        if number < CHAINS:
            record |= {"item_id": f"链-{number:02}", "turns": texts}
        else:
            record |= {"item_id": f"单-{number:02}", "instruction": texts[0]}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    (project.folder / "data/items.jsonl").write_text("".join(lines), encoding="utf-8")


def read_edits(project: Project, editor: str) -> dict[str, dict[str, Any]]:
    tables = sorted((project.results / editor / "edits").rglob("*.parquet"))
    return {row["item_id"]: row for path in tables for row in pq.read_table(path).to_pylist()}


@pytest.mark.runs
def test_chains_go_through_a_run(project: Project) -> None:
    write_items(project)
    project.config["dataset"]["categories"] = ["指代", "社会"]
    project.config["editors"] = {"甲": {"adapter": "fake"}, "坏": {"adapter": "fake", "params": {"failure_rate": 0.3}}}
    project.config["judges"] = {"评委": {"adapter": "fake", "params": {"batch_size": 4}}}
    project.config["controls"] = {"share": 2, "least": 60, "repeats": 0.2, "canary": False}
    project.config |= {"arena": {"judges": ["评委"]}, "preservation": True}
    project.run()
    rows = project.scores()
    assert len(rows) == 2 * (3 * CHAINS + 1 + SINGLE)
    assert {row["state"] for row in rows if row["editor"] == "甲"} == {"scored"}
    check_edits(read_edits(project, "甲"))
    check_failed_chains(read_edits(project, "坏"))
    check_lanes(project)
    check_report(project)
    check_resume(project, rows)


def check_edits(edits: dict[str, dict[str, Any]]) -> None:
    for row in edits.values():
        former = edits[row["after"]] if row["after"] else None
        assert row["former_sha256"] == (former["edited_sha256"] if former else None)
        if former:
            assert row["source_sha256"] == former["source_sha256"]
            assert row["instruction"].startswith(f"共 {len(row['turns'])} 轮")


def check_failed_chains(edits: dict[str, dict[str, Any]]) -> None:
    kinds = {row["error_kind"] for row in edits.values()}
    assert kinds == {None, "fake", "former_turn"}, "the share of failures gives some of each"
    for row in edits.values():
        if row["after"] and edits[row["after"]]["error_kind"]:
            assert row["error_kind"] == "former_turn"
            assert row["error"] == "turn {} has no edit: the fake editor was told to fail on this item".format(
                next(n for n in (1, 2) if edits[f"{row['item_id'][:-1]}{n}"]["error_kind"])
            )


def check_lanes(project: Project) -> None:
    for shard in (project.results / "shards").rglob("*.parquet"):
        items = pq.read_table(shard).to_pylist()
        names = {row["item_id"] for row in items}
        assert all(row["after"] in names for row in items if row["after"])


def check_report(project: Project) -> None:
    report = project.report()
    chains = report["chains"]["editors"]
    assert (chains["甲"]["count"], chains["甲"]["n"]) == (CHAINS, CHAINS)
    assert 0 < chains["坏"]["count"] < CHAINS == chains["坏"]["n"]
    assert report["acceptance"]["评委"]["verdict"] == "accepted"
    turns = report["breakdowns"]["turn"]
    assert turns["values"] == {"1": CHAINS, "2": CHAINS, "3": CHAINS, "4": 1}
    assert turns["without"] == SINGLE
    assert turns["judges"]["评委"]["3"]["坏"]["n"] == CHAINS
    assert turns["judges"]["评委"]["3"]["坏"]["scored"] < CHAINS
    tables = {path.stem for path in (project.results / "report/tables").glob("*.csv")}
    assert {"chains", "breakdowns"} <= tables
    pairs = pq.read_table(project.results / "pairs.parquet").to_pylist()
    assert {row["state"] for row in pairs if row["control"] is None} == {"scored", "edit_failed"}


def check_resume(project: Project, rows: list[dict[str, Any]]) -> None:
    """Other lanes compute nothing anew; without the file of a turn, it and the turns after it are made anew."""
    before = project.computed("edit"), project.computed("score")
    project.config["lanes"] = 3
    project.run()
    assert (project.computed("edit"), project.computed("score")) == before
    assert project.scores() == rows
    edits = read_edits(project, "甲")
    (project.results / edits["链-03-turn3"]["edited_path"]).unlink()
    project.run("--forcerun", "edit_lane")
    assert (project.computed("edit"), project.computed("score")) == (before[0] + 2, before[1])
    assert project.scores() == rows
