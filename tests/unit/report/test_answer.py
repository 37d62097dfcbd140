"""The first screen of the report: who scores highest, how surely, by whom, and what it took."""

import numpy as np
import pytest
from made_report import acceptance, better, cell, comparison, made_report

from editlane.report.answer import make_answer
from editlane.report.conclusion import choose_judge, conclude
from editlane.report.load import Report
from editlane.report.notices import find_notices
from editlane.report.page.highlights import pick_highlights
from editlane.report.page.html import mark_code
from editlane.report.sections import make_sections
from editlane.report.texts import LANGUAGES, load_texts

EN, ZH = map(load_texts, LANGUAGES)
NAN = float("nan")


def two_judges(first: str = "accepted", second: str = "not_accepted") -> Report:
    """Editors A and B by the judges j and k; A is higher by both."""
    report = made_report()
    for name in ("comparisons", "failures_as_zero", "acceptance", "preferences", "noise", "canary"):
        report.numbers[name] = {"j": report.numbers[name]["j"], "k": report.numbers[name]["j"]}
    report.numbers["acceptance"] = {"j": acceptance(first), "k": acceptance(second, reasons=["blank_edit"])}
    report.numbers["comparisons"] = {judge: [better("A", "B")] for judge in "jk"}
    report.numbers["editors"] = {
        editor: {"j": of["j"], "k": of["j"]} for editor, of in report.numbers["editors"].items()
    }
    report.judges.append("k")
    return report


def test_an_editor_ahead_of_all_others_is_named_with_its_interval_and_its_categories() -> None:
    rows = [better("A", "B"), better("A", "B", "物理"), comparison("A", "B", "因果")]
    speed = {"editors": {"A": {"mean": 11.52}, "B": {"mean": 0.25}}}
    answer = make_answer(made_report(comparisons=rows, speed=speed), EN)
    assert answer.claim == "A scores highest"
    assert answer.evidence == (
        "Macro mean 6.80 [6.40, 7.20], higher than every other editor's; "
        "ahead of all of them in 1 of 2 categories, too."
    )
    assert [(line.name, line.rank, line.ahead, line.first) for line in answer.lines] == [
        ("A", "1", "1 of 2", True),
        ("B", "2", "0 of 2", False),
    ]
    assert answer.lines[0].coverage == "100 / 100 (100.0%)" and answer.lines[0].seconds == "11.5 s"


def test_editors_that_are_not_separable_share_the_first_place() -> None:
    answer = make_answer(made_report(comparisons=[comparison("A", "B")]), EN)
    assert answer.claim == "No editor is ahead of all others"
    assert answer.evidence == "Any of 2 may score highest; the comparisons do not tell them apart: A, B."
    assert {line.rank for line in answer.lines} == {"1–2"}


def test_a_category_counts_only_where_an_editor_is_ahead_of_every_other() -> None:
    rows = [better("A", "B", "物理"), better("A", "C", "物理"), better("A", "B", "因果"), comparison("A", "C", "因果")]
    report = made_report({name: cell(6.0) for name in "ABC"}, rows)
    assert conclude(report)["judges"]["j"]["ahead"] == {"A": 1, "B": 0, "C": 0}


def test_only_an_accepted_judge_names_an_editor() -> None:
    tested = make_answer(made_report(comparisons=[better("A", "B")], accepted=acceptance("not_tested")), EN)
    assert tested.claim == "No editor is ranked: j was not tested"
    assert {line.rank for line in tested.lines} == {"–"} and not any(line.first for line in tested.lines)
    blind = acceptance("not_accepted", reasons=["blank_edit"])
    answer = make_answer(made_report(comparisons=[better("A", "B")], accepted=blind), EN)
    assert answer.claim == "Nothing can be said about the editors" and answer.lines == ()
    assert answer.figures[0].detail == "not accepted: does not tell controls apart"


def test_a_judge_that_is_not_accepted_has_one_line_and_its_controls() -> None:
    report = two_judges()
    titles = {section.name: [table.title for table in section.tables] for section in make_sections(report, EN)}
    for name in ("scores", "leaderboard", "comparisons"):
        assert not [title for title in titles[name] if title.endswith("by k")] and titles[name], name
    assert "Judge acceptance: k" in titles["trust"] and titles["states"]
    assert choose_judge(report) == "j"


def test_without_an_accepted_judge_there_is_no_table_of_scores() -> None:
    names = [section.name for section in make_sections(two_judges("not_accepted"), EN)]
    assert not {"scores", "leaderboard", "comparisons", "charts", "criteria"} & set(names)
    assert {"said", "trust", "states"} <= set(names)


def test_another_judge_that_says_the_same_does_so_in_one_line() -> None:
    answer = make_answer(two_judges("accepted", "accepted"), EN)
    assert answer.judge == "j" and answer.claim == "A scores highest"
    assert [one.partition(":")[0] for one in answer.others] == ["By k"]


def test_a_panel_stands_before_its_judges() -> None:
    report = two_judges("accepted", "accepted")
    report.numbers["provenance"] = {"panels": {"k": {"combine": "mean", "judges": ["j"], "quorum": 1}}}
    assert choose_judge(report) == "k"


def test_a_judge_without_a_score_does_not_stand_before_others() -> None:
    for first, wanted in (("accepted", "j"), ("not_tested", "j"), ("not_accepted", None)):
        report = two_judges(first, "not_tested")
        report.judges.reverse()
        for of in report.numbers["editors"].values():
            of["k"] = of["k"] | {"overall": of["k"]["overall"] | {"scored": 0}}
        assert choose_judge(report) == wanted


@pytest.mark.parametrize(("verdict", "severe"), [("accepted", False), ("not_tested", True)])
def test_a_blind_judge_beside_an_accepted_one_is_no_alarm(verdict: str, severe: bool) -> None:
    notices = find_notices(two_judges(verdict))
    [told] = [notice for notice in notices if notice.title.startswith("Nothing is ranked by k")]
    assert told.severe == severe


def test_the_forest_plot_is_within_its_axis_and_whole_numbers_end_it() -> None:
    answer = make_answer(made_report(comparisons=[better("A", "B")]), EN)
    assert (answer.axis.low, answer.axis.high) == (5, 8)
    assert all(line.forest.count("<path") == 3 for line in answer.lines)
    nothing = make_answer(made_report({"A": cell(None), "B": cell(None)}), EN)
    assert (nothing.axis.low, nothing.axis.high) == (0.0, 10.0) and nothing.lines[0].forest.count("<path") == 1
    one = make_answer(
        made_report({"A": cell(10.0, macro={"mean": 10.0, "interval": None, "categories": 1, "of": 1})}), EN
    )
    assert (one.axis.low, one.axis.high) == (9, 10)


def test_the_answer_speaks_chinese() -> None:
    answer = make_answer(made_report(comparisons=[better("A", "B")]), ZH)
    assert answer.claim == "A 得分最高" and "宏平均 6.80" in answer.evidence


def test_keys_of_the_config_are_code_and_data_stay_text() -> None:
    assert mark_code("Set a larger `controls.share`; <b>`") == "Set a larger <code>controls.share</code>; &lt;b&gt;`"


def test_best_and_worst_are_means_over_the_editors_of_fully_scored_items() -> None:
    scores = np.array([[[9.0, 1.0, 5.0, 10.0, 4.0]], [[7.0, 2.0, 5.0, NAN, 0.0]]])
    found = pick_highlights(scores, 0, [0], range(5), count=2)
    assert (found["best"], found["worst"]) == ([0, 2], [1, 4])
    assert found["between"] == "editors" and found["disputed"] == [4, 0]


def test_disputed_are_ranges_between_accepted_judges_about_one_edit() -> None:
    scores = np.array([[[5.0, 5.0, 5.0], [9.0, 5.5, NAN], [0.0, 10.0, 0.0]]])
    found = pick_highlights(scores, 0, [0, 1], range(3))
    assert found["between"] == "judges" and found["disputed"] == [0, 1], "the third judge is not trusted"


def test_best_items_are_those_of_the_judge_of_the_result() -> None:
    scores = np.array([[[9.0, 1.0, 5.0], [1.0, 9.0, 5.0]]])
    assert pick_highlights(scores, 1, [0], range(3), count=1)["best"] == [1]


def test_of_the_samples_of_an_item_one_is_shown_as_best_or_worst() -> None:
    scores = np.array([[[9.0, 8.0, 7.0, 6.0, 1.0, 0.0]], [[8.0, 7.0, 1.0, 2.0, 2.0, 5.0]]])
    found = pick_highlights(scores, 0, [0], ["a", "a", "b", "b", "c", "a"])
    assert (found["best"], found["worst"], found["disputed"]) == ([0, 2], [4], [2, 5, 4])


@pytest.mark.parametrize("shape", [(1, 1, 0), (2, 1, 3), (1, 2, 1)])
def test_items_without_scores_are_no_highlights(shape: tuple[int, int, int]) -> None:
    found = pick_highlights(np.full(shape, NAN), 0, list(range(shape[1])), range(shape[2]))
    assert found["best"] == found["worst"] == found["disputed"] == []


def test_an_only_item_is_not_both_best_and_worst() -> None:
    found = pick_highlights(np.array([[[4.0]]]), 0, [0], [0])
    assert (found["best"], found["worst"], found["disputed"]) == ([0], [], [])


def test_a_panel_that_is_accepted_although_one_of_its_judges_is_not_says_so() -> None:
    report = two_judges("not_accepted", "accepted")
    report.numbers["provenance"] = {"panels": {"k": {"combine": "mean", "judges": ["j", "other"], "quorum": 2}}}
    titles = [notice.title for notice in find_notices(report) if notice.severe]
    assert "The panel k is accepted, but one of its judges is not: j." in titles
    report.numbers["acceptance"]["j"] = acceptance("accepted")
    assert not any("panel k" in notice.title for notice in find_notices(report))
