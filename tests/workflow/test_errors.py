"""A user's mistake stops the workflow before any GPU work, with one paragraph."""

from typing import Any

import pytest


def run_wrong(project: Any, code: int) -> str:
    out = project.run("--quiet", "all", code=code)
    assert "Traceback" not in out
    return out


def config_error(out: str) -> str:
    """The one paragraph that a user sees."""
    paragraph = [line for line in out.splitlines() if not line.startswith("Using workflow specific profile")]
    assert len(paragraph) == 1
    return paragraph[0]


def test_a_wrong_config_ends_with_code_2_and_one_paragraph(project) -> None:
    project.config["lanse"] = 2
    out = config_error(run_wrong(project, code=2))
    assert out.startswith("error: config: Unknown key 'lanse'. Did you mean 'lanes'?")
    assert not project.results.exists()


def test_a_key_that_a_config_file_has_twice_is_refused(project) -> None:
    twice = project.folder / "config/两次.yaml"
    twice.write_text("run: 一\neditors: {a: {adapter: fake}}\neditors: {b: {adapter: fake}}\n", encoding="utf-8")
    out = config_error(project.run("--quiet", "all", "--configfile", str(twice), code=2))
    assert out.endswith("两次.yaml cannot be read as YAML: it has the key 'editors' twice, in lines 2 and 3; keep one.")


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
