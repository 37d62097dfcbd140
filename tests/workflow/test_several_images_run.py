"""Items with several images in a real run: edited, judged with controls, compared in an arena, reported."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from project import Project

from editlane.core.types import Control
from editlane.ratings.page.tasks import read_tasks

ROWS = 12


def write_items(project: Project) -> None:
    """Items 0 and 1 have one image, item 2 has a reference that cannot be decoded, the others have one or two."""
    photos = project.folder / "data/图片"
    photos.mkdir(parents=True)
    for number in range(ROWS):
        Image.new("RGB", (48 + number, 40), (number * 20, 120, 60)).save(photos / f"人 {number}.png")
        Image.new("RGB", (32, 32), (20, number * 20, 200)).save(photos / f"帽子 {number}.png")
    (photos / "坏.png").write_bytes(b"no image")
    lines = []
    for number in range(ROWS):
        images = [f"图片/人 {number}.png", f"图片/帽子 {number}.png", f"图片/帽子 {(number + 1) % ROWS}.png"]
        listed = {2: [images[0], "图片/坏.png"], 3: images}.get(number, images[: 1 + (number > 1)])
        record: dict[str, Any] = {"item_id": f"换装-{number:02}", "category": ["指代", "社会"][number % 2]}
        text = f"让图 1 的人戴上图 2 的帽子，第 {number} 次"
        record |= {"instruction_zh": text, "images": listed}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    (project.folder / "data/items.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.mark.runs
def test_items_with_several_images_go_through_a_run(project: Project) -> None:
    write_items(project)
    project.config["dataset"]["categories"] = ["指代", "社会"]
    project.config["editors"] = {"甲": {"adapter": "fake"}, "懒": {"adapter": "fake", "params": {"noop_rate": 1.0}}}
    project.config["judges"] = {"评委": {"adapter": "fake", "params": {"batch_size": 4}}}
    project.config["controls"] = {"share": 0.5, "least": 24, "repeats": 0.2, "canary": False}
    project.config |= {"arena": {"judges": ["评委"]}, "preservation": True}
    project.run()
    rows = project.scores()
    assert len(rows) == 2 * ROWS
    states = {(row["editor"], row["item_id"]): (row["state"], row["error_kind"]) for row in rows}
    assert {key for key, ended in states.items() if ended != ("scored", None)} == {("甲", "换装-02"), ("懒", "换装-02")}
    assert states["甲", "换装-02"] == ("source_unreadable", "decode")
    assert all(row["error"].startswith("image 2 of the item: ") for row in rows if row["error"])
    assert all(row["unchanged"] == (row["editor"] == "懒") for row in rows if row["score"] is not None)
    check_controls(project)
    check_pages(project)
    before = project.computed("edit"), project.computed("score")
    (project.results / "items.parquet").unlink()
    project.run()
    assert (project.computed("edit"), project.computed("score")) == before
    assert project.scores() == rows


def check_controls(project: Project) -> None:
    """A source shown as its own edit is the first image, and no control is mistaken for an edit."""
    items = {row["item_id"]: row for row in pq.read_table(project.results / "items.parquet").to_pylist()}
    assert [len(row["references"] or []) for row in items.values()].count(2) == 1
    controls = pq.read_table(project.results / "controls.parquet").to_pylist()
    asked = [row for row in controls if row["control"] == Control.SOURCE_AS_EDIT and row["score"] is not None]
    assert asked and all(row["edited_sha256"] == items[row["item_id"]]["source_sha256"] for row in asked)
    assert all(row["score"] < 1 for row in asked)
    pairs = pq.read_table(project.results / "pairs.parquet").to_pylist()
    real = [row for row in pairs if row["control"] is None and row["state"] == "scored"]
    assert real and all(row["mode"] == ("A" if row["editor_a"] == "甲" else "B") for row in real)


def check_pages(project: Project) -> None:
    """The report shows every image of an item, and so does the page of raters."""
    page = (project.results / "report/report.html").read_text(encoding="utf-8")
    cards = json.loads(re.search(r'id="gallery-items-0">(.*?)</script>', page, re.DOTALL)[1])
    assert len(cards["paths"]) == 1 + 2 + 2
    shown = [sum(path is not None for path in column) for column in zip(*cards["paths"][3:], strict=True)]
    assert sorted(shown) == [0, 0, *[1] * 9, 2]
    states = [place for row in cards["shown"][3:] for place in row if isinstance(place, str)]
    assert states == ["unreadable"]
    tasks = read_tasks(Path(project.results))
    assert {len(task.references) for task in tasks} == {0, 1, 2}
    assert all(path.is_file() for task in tasks for path in task.references)
