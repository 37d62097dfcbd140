"""Reports of runs whose right numbers would mislead: what they say, and what they must not say."""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import report_run

from editlane.core import schemas, tables
from editlane.core.types import ACCEPTANCE, DEGRADED

SIZES = {"物理": 30, "环境": 30, "社会": 120}


def write_report(folder: Path, dominated: bool = False, blind: str | None = None) -> str:
    """Return the Markdown of a run of three editors.

    `a` is better than `b` in the two small categories and worse in the large one (Simpson). `c` fails on the hard 40 %
    of its items. With `dominated`, half of the items of one category show the same photo. The judge takes controls for
    real edits in the category `blind`.
    """
    rng = np.random.default_rng(0)
    items = []
    scores: dict[tuple[str, str], list] = {(editor, "j"): [] for editor in "abc"}
    for category, size in SIZES.items():
        for number in range(size):
            photo = "大" if dominated and category == "环境" and number < 15 else f"{category}{number}"
            items.append((f"{category}-{number}", category, f"把第 {number} 个变红", "zh", photo))
            ease = rng.normal(5, 1.5)
            noise = rng.normal(size=3)
            gain = -1.5 if category == "社会" else 2.0
            scores["a", "j"].append(float(np.clip(ease + gain + noise[0], 0, 10)))
            scores["b", "j"].append(float(np.clip(ease + noise[1], 0, 10)))
            edit = float(np.clip(ease + 1 + noise[2], 0, 10))
            scores["c", "j"].append(("edit_failed", "oom") if ease < 4.6 else edit)
    run = report_run.write_run(folder / "run", scores, items)
    write_controls(run, blind)
    report = report_run.load(run, controls=run / "controls.parquet")
    return report_run.write(report, run)[".md"]


def write_controls(run: Path, blind: str | None) -> None:
    """Write controls of 20 items of each category. Where the judge sees, all score lower than the edit."""
    schema = schemas.controls_schema(["category", "instruction"])
    rng = np.random.default_rng(1)
    rows = []
    for edit in pq.read_table(run / "scores.parquet").to_pylist():
        if int(edit["item_id"].split("-")[1]) < 20 and edit["state"] == "scored":
            for control in ACCEPTANCE:
                low = edit["score"] - 2 if control in DEGRADED else rng.uniform(0, 1)
                score = float(rng.uniform(2, 9) if edit["category"] == blind else max(low, 0))
                asked = {"control": str(control), "repeat": 0, "score": score}
                rows.append({name: (edit | asked).get(name) for name in schema.names})
    tables.write_table(run / "controls.parquet", rows, schema)


def read_board(text: str, title: str) -> list[tuple[str, str]]:
    """Return the editors and ranks of a leaderboard, in order."""
    table = text.split(f"### {title}")[1].split("###")[0]
    rows = re.findall(r"^\| ([abc]) \| ([^|]+) \|", table, re.MULTILINE)
    return [(editor, rank) for editor, rank in rows]


def test_headline_ranks_and_sentences_are_of_the_macro_mean_and_say_what_is_missing(tmp_path: Path) -> None:
    text = write_report(tmp_path)
    assert re.search(r"\*\*a scores higher than b by the macro mean of shared items:\*\* \+", text)
    assert re.search(r"\*\*b scores higher than a on shared items in 社会:\*\* \+", text)
    assert re.search(r"c scores higher than b by the macro mean.*items left out, whose scores could put it .* −", text)
    assert read_board(text, "Ranked by the macro mean") == [("a", "1–2"), ("c", "1–3"), ("b", "2–3")]
    assert read_board(text, "If failures count as 0") == [("a", "1"), ("b", "2"), ("c", "3")]
    assert not re.search(r"better|overall:|best", text.split("## Can the judge be trusted")[0])
    assert "j is accepted on this dataset: it misses fewer controls than a blind judge would, in every" in text


def test_a_photo_that_dominates_its_category_leaves_ranks_open(tmp_path: Path) -> None:
    text = write_report(tmp_path, dominated=True)
    assert "Too few source images in a category to compare the macro means of a and b" in text
    assert {rank for _, rank in read_board(text, "Ranked by the macro mean")} == {"1–3"}
    assert "scores higher than b on shared items in 环境" not in text


def test_where_the_judge_is_blind_nobody_wins_and_the_headline_is_of_what_is_left(tmp_path: Path) -> None:
    text = write_report(tmp_path, blind="环境")
    tables_of, said = text.split("## Leaderboard")[1].split("## What can be said")
    assert "but not for: 环境 (not told apart). Nothing is said about these, and macro means leave out" in said
    assert not re.search(r"scores higher than \w on shared items in 环境", text)
    assert "b scores higher than a on shared items in 社会" in said
    assert re.search(r"\| a \| 1–2 \| [^|]+ \| 2 / 3 \|", tables_of)  # the macro mean is over two categories of three
    assert "ranks and comparisons leave out: 环境 (not told apart)." in text
    assert set(re.findall(r"\| 环境 \| a – . .*\| ([^|]+) \|\n", text)) == {"judge not believed here"}


@pytest.mark.parametrize("judge", ["j", "k"])
def test_failed_and_refused_edits_count_as_0_and_unreadable_sources_for_nobody(tmp_path: Path, judge: str) -> None:
    report = report_run.load(report_run.write_run(tmp_path / "run"))
    found = report.numbers["failures_as_zero"][judge]
    assert found["failed"] == {"a": 0, "b": 2}
    second = {"j": (5 + 1) / 2, "k": (4 + 0) / 2}[judge]
    assert found["editors"]["b"]["mean"] == pytest.approx((second + 0 + 0) / 3)
    assert found["editors"]["a"]["mean"] == report.numbers["editors"]["a"][judge]["macro"]["mean"]
    overall = report.numbers["comparisons"][judge][0]
    width = overall["bounds"][1] - overall["bounds"][0]
    unscored = {"j": 10 / 1 + 10 / 1, "k": 10 / 2 + 10 / 1 + 10 / 1}[judge]  # each divided by its category's items
    assert width == pytest.approx(unscored / 3)
