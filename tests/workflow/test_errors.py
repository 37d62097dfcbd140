"""A user's mistake stops the workflow before any GPU work, with one paragraph."""

from collections.abc import Callable
from typing import Any

import pytest


def run_wrong(project: Any, code: int) -> str:
    out = project.run("--quiet", "all", code=code)
    assert "Traceback" not in out
    return out


def set_config(*path: str, value: Any) -> Callable[[Any], None]:
    def change(project: Any) -> None:
        place = project.config
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


WRONG_CONFIG = [
    (set_config("lanse", value=2), "Unknown key 'lanse'. Did you mean 'lanes'?"),
    (set_config("dataset", "path", value="data/none.jsonl"), "data/none.jsonl, which is not a file"),
    (set_config("controls", "share", value=float("nan")), "at controls.share: nan is not a finite number"),
    (set_config("editors", "fake-a", "adapter", value="fak"), "Did you mean 'fake'?"),
    (set_config("editors", "fake-a", value={"adapter": "diffusers", "model": "./none"}), "./none"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_CONFIG, ids=[message for _, message in WRONG_CONFIG])
def test_a_wrong_config_ends_with_code_2_and_one_paragraph(project, change, message) -> None:
    change(project)
    out = run_wrong(project, code=2)
    paragraph = [line for line in out.splitlines() if not line.startswith("Using workflow specific profile")]
    assert len(paragraph) == 1
    assert paragraph[0].startswith("error: config: ")
    assert message in paragraph[0]
    assert not project.results.exists()


RECORD = '{"category": "物理", "instruction": "下雨", "image": "照片/图 0.png"}\n'
WRONG_DATASET = [
    (RECORD + '{"category": "物理", "instruction": "下\n', "byte"),
    (RECORD + '{"category": "物理", "instruction": "下雨", "image": "../../outside.png"}\n', "outside"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_DATASET, ids=[message for _, message in WRONG_DATASET])
def test_a_wrong_dataset_stops_before_any_lane(project, text, message) -> None:
    (project.folder / "data/items.jsonl").write_text(text, encoding="utf-8")
    out = project.run("--quiet", "progress", "--retries", "0", code=1)
    assert "Traceback" not in out
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(set(errors)) == 1
    assert message in errors[0]
    assert not (project.results / "items.parquet").exists()
    assert not (project.results / "sources").exists()
    assert not (project.results / "journal").exists()
