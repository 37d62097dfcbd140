"""Every piece of a config in the pages about datasets and models is one that a run accepts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from preflight_project import ROOT, fake_config, write_project

from editlane.core.errors import UserError
from editlane.preflight.config import check_config

PAGES = ("README.md", "README.zh.md", "datasets.md", "models.md")

BLOCKS = [
    pytest.param(yaml.safe_load(block), id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"```yaml\n(.*?)```", (ROOT / "config" / page).read_text(encoding="utf-8"), re.DOTALL), 1
    )
]

ABSENT = r"There is no protocol file editscore\.yaml|The model (/models/my-edit-reward|resources/models/\S+) is missing"
"""Files that a reader has, and this project has not."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "edits" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_documented_piece_of_a_config_is_accepted(block: dict[str, Any]) -> None:
    config = fake_config()
    if "arena" in block:
        config["editors"] = {name: {"adapter": "fake"} for name in ("a", "b")}
        config["judges"] = {name: {"adapter": "fake"} for name in block["arena"]["judges"]}
    try:
        check_config(config | block | {"dataset": config["dataset"]})
    except UserError as error:
        assert re.search(ABSENT, str(error)), str(error)
