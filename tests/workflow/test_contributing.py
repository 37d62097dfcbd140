"""The steps of CONTRIBUTING.md, followed to the letter: one file and one line make an editor, a judge, a protocol."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(section: str, language: str) -> str:
    part = TEXT.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"```{language}\n(.*?)```", part, re.DOTALL)
    assert found, section
    return found[1]


def registry_line(section: str) -> str:
    part = TEXT.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(r'`("\w+": "editlane\.[\w.:]+",)`', part)
    assert found, section
    return found[1]


@pytest.mark.runs
def test_an_editor_a_judge_and_a_protocol_added_by_the_book(project) -> None:
    (project.folder / "scripts").unlink()
    shutil.copytree(ROOT / "scripts", project.folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    package = project.folder / "scripts/editlane"
    (package / "editors/mirror.py").write_text(block("Add an editor", "python"))
    (package / "judges/coin.py").write_text(block("Add a judge", "python"))
    registry = (package / "models/registry.py").read_text()
    for table, section in (("EDITORS", "Add an editor"), ("JUDGES", "Add a judge")):
        registry = registry.replace(f"{table} = {{\n", f"{table} = {{\n    {registry_line(section)}\n")
    (package / "models/registry.py").write_text(registry)
    (project.folder / "resources/sharp.yaml").write_text(block("Add a protocol", "yaml"))
    project.config["editors"] = {"mirror": {"adapter": "mirror"}}
    project.config["judges"] = {"coin": {"adapter": "coin", "protocol": "resources/sharp.yaml"}}
    project.config["lanes"] = 1
    project.run("merge_scores")
    rows = project.scores()
    assert len(rows) == 20
    assert {(row["state"], row["score"], row["score_sharp"]) for row in rows} == {("scored", 5.0, 5.0)}
