"""The table of results for a paper: a LaTeX table with caption and label, and in bold who is not shown to be lower."""

import re

from made_report import acceptance, better, cell, comparison, made_report

from editlane.report.exports.files import name_apart
from editlane.report.exports.paper import make_paper_tables
from editlane.report.leaderboard import list_ranks
from editlane.report.load import Report
from editlane.report.texts import load_texts

THREE = {"A": cell(6.8), "B": cell(6.6), "C": cell(5.0)}
BLIND = {"verdict": "not_told_apart"}


def write(report: Report, language: str = "en") -> str:
    (text,) = make_paper_tables(report, list_ranks(report), load_texts(language)).values()
    return text


def read_rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each editor's line of means."""
    rows = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r" \\")]
    return {name: cells for name, *cells in rows[1:]}


def test_the_best_are_bold_together_with_those_that_no_comparison_separates_from_them() -> None:
    rows = [comparison("A", "B"), better("A", "C"), better("B", "C")]
    rows += [comparison("A", "B", "物理"), better("A", "C", "物理"), comparison("B", "C", "物理")]
    rows += [comparison(a, b, "因果") for a, b in ("AB", "AC", "BC")]
    found = read_rows(write(made_report(THREE, rows)))
    assert found["A"] == [r"\textbf{6.80}", r"\textbf{6.80}", "6.80"]
    assert found["B"] == [r"\textbf{6.60}", r"\textbf{6.60}", "6.60"]
    assert found["C"] == ["5.00", "5.00", "5.00"], "nothing is bold where no difference is shown"


def test_each_mean_has_its_interval_below_and_each_editor_its_count() -> None:
    text = write(made_report(THREE))
    below = next(line for line in text.splitlines() if "scriptsize" in line)
    assert re.findall(r"\{\[\}(.+?)\{\]\}", below) == ["6.40, 7.20", "6.30, 7.30", "6.30, 7.30"]
    assert below.startswith(r"{\scriptsize 100 / 100 scored} &")


def test_where_the_judge_is_not_believed_there_is_a_dash() -> None:
    told = acceptance()
    parts = {name: told[name] | {blind: BLIND} for name, blind in (("categories", "因果"), ("editors", "C"))}
    found = read_rows(write(made_report(THREE, [better("A", "B")], accepted=told | parts)))
    assert found["A"][2] == "--" and found["A"][1] == "6.80"
    assert found["C"] == ["--", "--", "--"]


def test_a_judge_that_is_not_accepted_has_no_table() -> None:
    for verdict in ("not_accepted", "not_tested"):
        report = made_report(THREE, accepted=acceptance(verdict))
        assert make_paper_tables(report, list_ranks(report), load_texts("en")) == {}


def test_names_and_captions_are_safe_latex_in_both_languages() -> None:
    report = made_report({"A": cell(None), "B": cell(3.0)}, categories=("物_理", "因果"))
    for language in ("en", "zh"):
        text = write(report, language)
        assert r"\label{tab:editlane-j}" in text and r"\caption{" in text
        assert r"物\_理" in text and "p \\textless{} 0.05" in text
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_files_of_judges_whose_names_differ_in_case_stay_apart() -> None:
    assert name_apart(["paper-J", "paper-j", "paper-x"], ["paper-X"]) == ["paper-J", "paper-j-2", "paper-x-2"]
