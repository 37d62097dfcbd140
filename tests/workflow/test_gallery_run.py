"""`make gallery-demo`: a report with results, of made-up edits by a made-up judge, which it says."""

import json
from pathlib import Path

import pytest
from copied_checkout import copy_checkout, make, run_in

pytestmark = pytest.mark.runs

NOTICES = {
    "en": ("A worked example. Its edits and its judge are made up", "Edits drawn by a program: careful, hasty, lazy."),
    "zh": ("这是一份示例：编辑结果和评审都是虚构的", "由程序画出的编辑结果：careful、hasty、lazy。"),
}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout after `make gallery-demo`."""
    folder = tmp_path_factory.mktemp("example") / "editlane"
    copy_checkout(folder)
    assert "report: results/gallery/report/report.html" in make(folder, "gallery-demo")
    return folder


def read_report(folder: Path) -> dict:
    return json.loads((folder / "results/gallery/report/report.json").read_text(encoding="utf-8"))


def test_the_editors_are_ranked_by_their_skill(example: Path) -> None:
    report = read_report(example)
    assert report["acceptance"]["made-up"]["verdict"] == "accepted"
    found = {(row["a"], row["b"]): row["verdict"] for row in report["comparisons"]["made-up"] if not row["category"]}
    assert found == dict.fromkeys([("careful", "hasty"), ("careful", "lazy"), ("hasty", "lazy")], "a_better")


def test_the_report_says_in_both_languages_that_all_is_made_up(example: Path) -> None:
    for language, notices in NOTICES.items():
        if language != "en":
            flags = (
                "--configfile",
                "config/gallery.yaml",
                "--cores",
                "2",
                "--config",
                f"report={{language: {language}}}",
            )
            run_in(example, "snakemake", *flags)
        assert read_report(example)["made_up"] == {
            "drawn": ["careful", "hasty", "lazy"],
            "random_weights": [],
            "no_model": ["made-up"],
        }
        for name in ("report.html", "report.md"):
            text = (example / "results/gallery/report" / name).read_text(encoding="utf-8")
            assert all(notice in text for notice in notices), (language, name)


def test_nothing_that_is_drawn_is_committed(example: Path) -> None:
    assert "resources/demo/gallery/" in (example / ".gitignore").read_text().splitlines()
    assert len(list((example / "resources/demo/gallery/careful").iterdir())) == read_report(example)["items"]
