"""The section of the report about several judges: shown with two or more, and honest about what agreement says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_run import PROVENANCE, load, write, write_run

from editlane.core import schemas, tables
from editlane.report.judges_together import compute_judges_together
from editlane.report.texts import load_texts
from editlane.report.together import make_together_tables

ITEMS = [(f"item-{place:02}", ("物理", "环境")[place % 2], "x", "en", f"photo-{place}") for place in range(30)]
PANEL = {"judges": ["j", "k"], "combine": "weighted", "quorum": 2, "weights": {"j": 2, "k": 1}}


def draw(*means: float, seed: int = 0) -> dict[tuple[str, str], list[Any]]:
    """Scores of the editors a and b by the judges j and k, in this order, with these means."""
    rng = np.random.default_rng(seed)
    cells = [("a", "j"), ("a", "k"), ("b", "j"), ("b", "k")]
    return {cell: [*(mean + rng.normal(0, 0.5, 30)).tolist()] for cell, mean in zip(cells, means, strict=True)}


def make(folder: Path, scores: dict[tuple[str, str], list[Any]], panels: dict[str, Any] | None = None):
    run = write_run(folder / "run", scores, ITEMS)
    if panels:
        rows = tables.read_arrow(run / "scores.parquet")
        made_by = PROVENANCE | {"panels": panels}
        tables.write_parts(
            run / "scores.parquet", [rows], schemas.scores_schema(["category", "instruction"]), provenance=made_by
        )
    return run, load(run)


def test_one_judge_has_no_such_section(tmp_path: Path) -> None:
    scores = {cell: of for cell, of in draw(5, 5, 6, 6).items() if cell[1] == "j"}
    run, report = make(tmp_path, scores)
    assert report.numbers["judges_together"] == []
    assert "Judges together" not in write(report, run)[".md"]


def test_an_order_that_swaps_is_named(tmp_path: Path) -> None:
    run, report = make(tmp_path, draw(7, 4, 5, 6))
    (found,) = report.numbers["judges_together"]
    assert found["definition_version"] == 1 and found["panel"] is None and found["judges"] == ["j", "k"]
    assert found["orders"][0]["swaps"] == [("j", "k")]
    written = write(report, run)
    assert "swaps: j, k" in written[".md"] and "Agreement is not correctness" in written[".md"]
    assert "Judges together" in written[".html"]
    assert json.loads(written[".json"])["judges_together"][0]["orders"][0]["swaps"] == [["j", "k"]]
    assert "一致不等于正确" in write(report, run, "zh")[".md"]


@pytest.mark.parametrize(
    ("means", "said"), [((7, 7, 5, 5), "same order"), ((5, 7, 5, 5), "not separable")], ids=["same", "unsure"]
)
def test_an_order_that_does_not_swap_is_the_same_or_not_separable(tmp_path: Path, means, said: str) -> None:
    run, report = make(tmp_path, draw(*means))
    line = next(line for line in write(report, run)[".md"].splitlines() if line.startswith("| a – b | 30 |"))
    assert said in line


def test_a_judge_without_controls_is_marked_where_orders_are_compared(tmp_path: Path) -> None:
    run, report = make(tmp_path, draw(7, 7, 5, 5))
    assert "| j (not tested) | k (not tested) | Order |" in write(report, run)[".md"]


def test_what_some_judges_could_not_score_is_counted(tmp_path: Path) -> None:
    scores = draw(5, 5, 6, 6)
    scores["a", "k"][:2] = [("judge_unreadable", "mass")] * 2
    run, report = make(tmp_path, scores)
    text = write(report, run)[".md"]
    assert "2 of 60 edits have a score by some judges but not by all; without a score there: k 2." in text
    categories = report.numbers["judges_together"][0]["disagreement"]["categories"]
    assert {name: one["n"] for name, one in categories.items()} == {"物理": 29, "环境": 29}


def test_a_panel_of_all_judges_names_their_agreement_and_is_none_of_them(tmp_path: Path) -> None:
    scores = draw(5, 5, 6, 6)
    scores |= {(editor, "both"): scores[editor, "j"] for editor in "ab"}
    run, report = make(tmp_path, scores, {"both": PANEL})
    (found,) = report.numbers["judges_together"]
    assert (found["panel"], found["judges"]) == ("both", ["j", "k"])
    assert "Panel both: weighted mean of j (2), k (1); 2 of them must have scored an edit." in write(report, run)[".md"]


def test_a_smaller_panel_has_its_own_agreement_beside_that_of_all(tmp_path: Path) -> None:
    _, report = make(tmp_path, draw(5, 5, 6, 6))
    rows = report.scores.assign(cluster=0)
    third = rows[rows["judge"] == "k"].assign(judge="l")
    every = pd.concat([rows, third])
    found = compute_judges_together(every, ["a", "b"], ["物理", "环境"], ["j", "k", "l"], {"panels": {"both": PANEL}})
    assert [(one["panel"], one["judges"]) for one in found] == [(None, ["j", "k", "l"]), ("both", ["j", "k"])]
    report.numbers["judges_together"] = found
    report.numbers["acceptance"]["l"] = report.numbers["acceptance"]["k"]
    titles = [table.title for table in make_together_tables(report, load_texts("en"))]
    assert titles[1] == "Rank correlation of two judges: all judges" and "Most disputed edits: both" in titles
