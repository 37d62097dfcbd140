"""The section of people's ratings: which ratings count, what is said about them, and what is not shown without."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import acceptance
from report_run import PROVENANCE, load, write, write_run

from editlane.core import schemas, tables
from editlane.ratings.tables import Rating, Subject, hash_instruction, write_ratings
from editlane.report.people_tables import make_people_tables
from editlane.report.texts import load_texts

COUNT = 40
ITEMS = [(f"item-{place:02}", ("物理", "环境")[place % 2], "x", "en", f"{place:064x}") for place in range(COUNT)]
"""Their photos are named like SHA-256."""
EDITED = "e" * 64
PANEL = {"judges": ["j", "k"], "combine": "mean", "quorum": 2, "weights": None}


def write_judged(folder: Path, panel: bool = False) -> tuple[Path, dict[tuple[str, int], float]]:
    """Write a run of the editors a and b, of which a is better by 2, and return it with the true qualities.

    The judge j sees, k guesses, and `both` is their panel.
    """
    rng = np.random.default_rng(0)
    true = {(editor, place): 3 + 2 * (editor == "a") + rng.normal() for editor in "ab" for place in range(COUNT)}
    scores: dict[tuple[str, str], list[Any]] = {}
    for editor in "ab":
        scores[editor, "j"] = [1 + true[editor, place] + rng.normal(0, 0.3) for place in range(COUNT)]
        scores[editor, "k"] = rng.uniform(2, 8, COUNT).tolist()
        if panel:
            pairs = zip(scores[editor, "j"], scores[editor, "k"], strict=True)
            scores[editor, "both"] = [sum(pair) / 2 for pair in pairs]
    scores["b", "j"][-1] = scores["b", "k"][-1] = ("edit_failed", "oom")
    if panel:
        scores["b", "both"][-1] = ("edit_failed", "oom")
    run = write_run(folder / "run", scores, ITEMS)
    rows = tables.read_arrow(run / "scores.parquet").to_pylist()
    told = [row | {"edited_sha256": None if row["state"] == "edit_failed" else EDITED} for row in rows]
    made_by = PROVENANCE | ({"panels": {"both": PANEL}} if panel else {})
    schema = schemas.scores_schema(["category", "instruction"])
    tables.write_table(run / "scores.parquet", told, schema, provenance=made_by)
    return run, true


def rate(true: dict[tuple[str, int], float], places: range, edit: str = EDITED) -> list[Rating]:
    """Ratings by two people of both editors' edits."""
    return [
        Rating(f"item-{place:02}", editor, rater, round(true[editor, place] + shift), make_subject(place, edit))
        for place in places
        for editor in "ab"
        for rater, shift in (("anna", 0.0), ("陈", 0.4))
        if (editor, place) != ("b", COUNT - 1)
    ]


def make_subject(place: int, edit: str) -> Subject:
    return Subject(f"{place:064x}", edit, hash_instruction("x"))


def report_on(run: Path, ratings: list[Rating], **options: Any):
    write_ratings(run.parent / "ratings.csv", ratings)
    return load(run, ratings=run.parent / "ratings.csv", **options)


def test_without_ratings_there_is_no_section_and_the_page_says_so(tmp_path: Path) -> None:
    run, _ = write_judged(tmp_path)
    report = load(run)
    assert report.numbers["people"] is None and report.numbers["judges_together"][0]["people"] is None
    text = write(report, run)[".md"]
    assert "People's ratings" not in text and "This run has no people's ratings that would tell" in text


def test_ratings_correct_the_judge_and_tell_the_editors_apart(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path)
    report = report_on(run, rate(true, range(0, COUNT, 2)) + rate(true, range(1, 20, 2)))
    people = report.numbers["people"]
    assert people["definition_version"] == 1
    assert (people["ratings"], people["raters"], people["edits"], people["items"]) == (120, 2, 60, 30)
    macro = people["editors"]["a"]["j"]["macro"]
    mean = np.mean([true["a", place] for place in range(COUNT)])
    low, high = macro["corrected"]["interval"]
    assert low < mean + 0.2 < high
    assert macro["narrower"] > people["editors"]["a"]["k"]["macro"]["narrower"]
    (difference,) = people["differences"]["j"]
    assert (difference["verdict"], difference["rated"]) == ("a_better", 30) and difference["p_holm"] < 0.001
    written = write(report, run)
    assert "## People's ratings" in written[".md"] and "scale, with j" in written[".html"]
    assert "120 ratings by 2 raters, of 60 edits of 30 items." in written[".md"]
    assert json.loads(written[".json"])["people"]["edits"] == 60
    assert "## 人工评分" in write(report, run, "zh")[".md"]


@pytest.mark.parametrize(("verdict", "shown"), [("accepted", True), ("not_accepted", False), ("not_tested", False)])
@pytest.mark.runs
def test_only_an_accepted_judge_has_figures_of_its_own_beside_people(tmp_path: Path, verdict: str, shown: bool) -> None:
    run, true = write_judged(tmp_path)
    report = report_on(run, rate(true, range(COUNT)))
    report.numbers["acceptance"]["j"] = acceptance(verdict)
    about = {("means", "j"), ("differences", "j")}
    tables = [table for table in make_people_tables(report, load_texts("en")) if table.about in about]
    assert len(tables) == 2
    for table in tables:
        assert ("Judge alone" in table.columns) == ("Judge alone" in table.note) == shown
        assert {len(line.cells) for group in table.groups for line in group.lines} == {len(table.columns)}


@pytest.mark.runs
def test_the_agreement_of_the_raters_is_told_or_that_it_cannot_be(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path)
    both = rate(true, range(20))
    report = report_on(run, both)
    alpha = report.numbers["people"]["raters_alpha"]
    assert 0.8 < alpha["value"] < 1 and alpha["interval"][0] < alpha["value"] < alpha["interval"][1]
    assert f"Krippendorff's alpha {alpha['value']:.2f}" in write(report, run)[".md"]
    rng = np.random.default_rng(0)
    guessed = [one._replace(score=float(rng.integers(0, 10))) for one in both]
    low, high = report_on(run, guessed).numbers["people"]["raters_alpha"]["interval"]
    assert low < 0 < high
    alone = report_on(run, [one for one in both if one.rater == "anna"])
    assert alone.numbers["people"]["raters_alpha"]["value"] is None
    assert "Krippendorff" not in write(alone, run)[".md"].split("## People's ratings")[1].split("\n## ")[0]
    apart = [one for one in both if (int(one.item[-2:]) < 10) == (one.rater == "anna")]
    assert "Too few edits have two ratings" in write(report_on(run, apart), run)[".md"]


def test_ratings_of_other_pictures_and_of_other_edits_are_counted_named_and_not_used(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path)
    used = rate(true, range(30))
    old = rate(true, range(30, 32), edit="0" * 64)
    foreign = [Rating("nobody", "a", "anna", 3.0), Rating("item-39", "b", "anna", 3.0)]
    empty = [Rating("item-33", "a", "anna", float("nan"))]
    by_name = [Rating("item-34", "a", "anna", 4.0)]
    people = (report := report_on(run, used + old + foreign + empty + by_name)).numbers["people"]
    assert people["outdated"] == {f"item-{place} by {editor}": 2 for place in (30, 31) for editor in "ab"}
    assert people["unknown"] == {"item-39 by b": 1, "nobody by a": 1}, "of a failed edit, and of no item"
    assert (people["without_score"], people["without_subject"], people["edits"]) == (1, 1, 61)
    text = write(report, run)[".md"]
    assert "Not used are 8 ratings of another picture, source or instruction than was judged: item-30 by a" in text
    assert "10 ratings are of no edit of this run, or of earlier pictures, and are not used." in text


def test_ratings_that_are_all_of_other_pictures_leave_every_figure_empty(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path)
    report = report_on(run, rate(true, range(COUNT), edit="0" * 64))
    people = report.numbers["people"]
    assert (people["edits"], people["scale"], people["unrated_categories"]) == (0, None, ["物理", "环境"])
    assert people["editors"]["a"]["j"]["macro"]["corrected"]["value"] is None
    assert report.numbers["judges_together"][0]["people"]["edits"] == 0
    for language in ("en", "zh"):
        write(report, run, language)


@pytest.mark.runs
def test_a_category_without_ratings_has_no_figure_and_is_named(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path)
    report = report_on(run, rate(true, range(0, COUNT, 2)))
    found = report.numbers["people"]["editors"]["a"]["j"]
    assert found["rated_categories"] == ["物理"]
    assert found["categories"]["环境"]["corrected"]["why"] == "no edit was rated"
    text = write(report, run)[".md"]
    assert "No figure, because no edit was rated: 环境." in text and "No rated edit in: 环境." in text


@pytest.mark.runs
def test_rated_edits_that_are_no_random_sample_are_warned_of(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path)
    best = [one for one in rate(true, range(COUNT)) if true[one.system, int(one.item[-2:])] > 4.5]
    text = write(report_on(run, best), run)[".md"]
    assert "j: its scores of the rated edits differ from those of the others" in text
    assert "k: its scores of the rated edits differ" not in text


@pytest.mark.runs
def test_a_panel_is_held_against_its_best_judge(tmp_path: Path) -> None:
    run, true = write_judged(tmp_path, panel=True)
    report = report_on(run, rate(true, range(COUNT)))
    (group,) = report.numbers["judges_together"]
    found = group["people"]
    assert (found["panel"], found["best"], found["edits"]) == ("both", {"j": 5}, 79)
    assert found["judges"]["j"]["value"] > found["combined"]["value"] > found["judges"]["k"]["value"]
    assert found["gain"]["interval"][1] < 0, "a judge that guesses makes the panel worse"
    text = write(report, run)[".md"]
    assert "Is the panel better than its best judge?" in text and "| both | panel both | −0." in text
    assert "This run has no people's ratings" not in text


@pytest.mark.parametrize("editors", [["a"], ["b"]])
def test_one_editor_has_means_and_no_differences(tmp_path: Path, editors: list[str]) -> None:
    run, true = write_judged(tmp_path)
    rows = [row for row in tables.read_arrow(run / "scores.parquet").to_pylist() if row["editor"] in editors]
    schema = schemas.scores_schema(["category", "instruction"])
    tables.write_table(run / "scores.parquet", rows, schema, provenance=PROVENANCE)
    report = report_on(run, [one for one in rate(true, range(COUNT)) if one.system in editors])
    assert report.numbers["people"]["differences"] == {"j": [], "k": []}
    assert "Differences on people's scale" not in write(report, run)[".md"]
