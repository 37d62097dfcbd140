"""What the report says in words, its leaderboard and its notices, from numbers made by hand."""

import re
from typing import Any

import pandas as pd
import pytest
from made_report import acceptance, better, cell, comparison, made_report, spread

from editlane.report.cells import format_interval, format_p, format_percent, format_rate, format_signed
from editlane.report.leaderboard import find_rank_ranges, make_leaderboards
from editlane.report.load import Report
from editlane.report.notices import find_notices
from editlane.report.statements import JudgeStatements, make_comparison_tables, make_statements
from editlane.report.summary import make_legacy_tables, make_preservation_tables, make_score_tables
from editlane.report.texts import LANGUAGES, load_texts
from editlane.report.trust import make_trust_tables

EN, ZH = map(load_texts, LANGUAGES)


def said(report: Report) -> JudgeStatements:
    (one,) = make_statements(report, EN)
    return one


def test_the_sentence_of_a_difference_has_effect_interval_p_and_n() -> None:
    one = said(made_report(comparisons=[better("A", "B", "因果")]))
    assert [str(statement) for statement in one.categories] == [
        "A scores higher than B on shared items in 因果: +0.80 [0.30, 1.30], p = 0.020, n = 50"
    ], "p is the corrected one"
    assert one.categories[0].winner == 0


def test_the_winner_comes_first_and_sees_a_positive_difference() -> None:
    one = said(made_report(comparisons=[better("A", "B", difference=-0.8, interval=[-1.3, -0.3], verdict="b_better")]))
    assert str(one.overall[0]) == (
        "B scores higher than A by the macro mean of shared items: +0.80 [0.30, 1.30], p = 0.020, n = 50"
    )
    assert one.overall[0].winner == 1


def test_what_is_not_separable_says_how_much_could_have_been_seen() -> None:
    rows = [comparison("A", "B", "物理"), comparison("A", "B", detectable=None, n=3, left_out=2)]
    one = said(made_report(comparisons=rows))
    assert str(one.categories[0]) == (
        "A and B are not separable on shared items in 物理: +0.10 [−0.50, 0.70], p = 0.800, n = 50; "
        "a true difference of 1.20 would be found in about 4 of 5 such samples"
    )
    assert str(one.overall[0]) == (
        "A and B are not separable by the macro mean of shared items: +0.10 [−0.50, 0.70], p = 0.800, n = 3; "
        "2 items left out"
    )
    assert one.overall[0].winner is None


def test_a_comparison_without_common_items_says_so() -> None:
    nothing = {"n": 0, "difference": None, "interval": None, "p": None, "p_holm": None, "detectable": None}
    rows = [
        comparison("A", "B", "物理", **nothing, verdict="no_common_items", left_out=50),
        comparison("A", "B", "因果", **nothing | {"n": 2, "difference": 0.4, "clusters": 1}, verdict="too_few"),
    ]
    one = said(made_report(comparisons=rows))
    assert list(map(str, one.categories)) == [
        "Too few source images to compare A and B in 因果: +0.40, n = 2, from 1 source image",
        "A and B cannot be compared in 物理: no item has a score for both; 50 items left out",
    ]


def test_a_very_small_p_is_not_printed_as_zero() -> None:
    assert "p < 0.001," in str(said(made_report(comparisons=[better("A", "B", p_holm=0.0001)])).overall[0])
    assert [format_p(p) for p in (None, 0.0009, 0.001, 0.0504, 1.0)] == ["–", "< 0.001", "0.001", "0.050", "1.000"]


def test_statements_are_ordered_by_strength() -> None:
    rows = [
        comparison("A", "B", "物理"),
        better("A", "B", "因果", p_holm=0.03),
        better("A", "B", "环境", p_holm=0.001),
        better("A", "B", "社会", p_holm=0.03, difference=-2.0, verdict="b_better"),
    ]
    found = said(made_report(comparisons=rows, categories=["物理", "因果", "环境", "社会"])).categories
    assert [re.findall(r"in (\w+)", one.claim)[0] for one in found] == ["环境", "社会", "因果", "物理"]


@pytest.mark.parametrize("verdict", ["not_accepted", "not_tested"])
def test_nobody_is_called_better_by_a_judge_that_is_not_accepted(verdict: str) -> None:
    judged = acceptance(verdict, reasons=["blank_edit", "swapped"] if verdict == "not_accepted" else [])
    report = made_report(comparisons=[better("A", "B"), better("A", "B", "因果")], accepted=judged)
    one = said(report)
    assert (one.overall, one.categories, one.matrix, one.accepted) == ((), (), None, False)
    expected = {
        "not_accepted": "does not tell real edits from controls here: blank image, source and edit swapped.",
        "not_tested": "j is not tested on this dataset, so nothing is ranked: its controls are missing",
    }
    assert expected[verdict] in one.verdict
    (table,) = make_comparison_tables(report, EN)
    assert {line.cells[-1] for group in table.groups for line in group.lines} == {f"judge {verdict.replace('_', ' ')}"}
    (board,) = make_leaderboards(report, EN)
    assert "Rank" not in board.columns and board.title == "Not ranked: scores by j"
    notice = find_notices(report)[0]
    assert notice.severe and notice.title.startswith("Nothing is ranked by j")


def test_a_judge_with_too_few_answers_is_not_called_blind() -> None:
    one = said(made_report(accepted=acceptance("not_tested", too_few=["swapped"])))
    assert "too few answers to these controls: source and edit swapped" in one.verdict
    assert "cannot tell" not in one.verdict


def test_an_only_editor_has_nothing_to_be_compared_with() -> None:
    one = said(made_report({"A": cell(6.8)}))
    assert str(one.overall[0]) == (
        "A has a macro mean of 6.80 [6.40, 7.20] over its scored items. "
        "There is one editor only, so there is nothing to compare it with."
    )
    assert str(said(made_report({"A": cell(None)})).overall[0]).startswith("A has no score.")


def test_many_editors_lead_with_a_matrix() -> None:
    names = "ABCD"
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    rows = [better(a, b, verdict="b_better", difference=-0.8) if a == "A" else comparison(a, b) for a, b in pairs]
    matrix = said(made_report({name: cell(6.0) for name in names}, rows)).matrix
    assert matrix is not None and matrix.columns == tuple(names)
    first, second = (line.cells for line in matrix.groups[0].lines[:2])
    assert first == ("", "▼ −0.80", "▼ −0.80", "▼ −0.80")
    assert second == ("▲ +0.80", "", "≈ +0.10", "≈ +0.10")
    assert said(made_report({name: cell(6.0) for name in "ABC"})).matrix is None


def test_a_leaderboard_is_ordered_by_the_macro_mean_and_ranks_are_ranges() -> None:
    rows = [
        better("A", "B", difference=-0.8, verdict="b_better"),
        better("A", "C", difference=-0.9, verdict="b_better"),
        comparison("B", "C"),
    ]
    report = made_report({"A": cell(5.0), "B": cell(6.0), "C": cell(7.0)}, rows)
    assert find_rank_ranges(report, "j") == {"A": (3, 3), "B": (1, 2), "C": (1, 2)}
    (board,) = make_leaderboards(report, EN)
    assert board.title == "Ranked by the macro mean, judged by j"
    assert [(line.name, line.cells[:3]) for line in board.groups[0].lines] == [
        ("C", ("1–2", "7.00 [6.60, 7.40]", "2 / 2")),
        ("B", ("1–2", "6.00 [5.60, 6.40]", "2 / 2")),
        ("A", ("3", "5.00 [4.60, 5.40]", "2 / 2")),
    ]
    assert [line.editor for line in board.groups[0].lines] == [2, 1, 0], "each keeps its colour"


def test_a_rank_is_a_range_where_missing_scores_could_reverse_it() -> None:
    """A is scored on 71 of 120 items; bounds of the difference that overlap zero leave the order open."""
    row = better("A", "B", left_out=49, bounds=[-3.2, 3.8])
    report = made_report({"A": cell(6.8), "B": cell(6.0)}, [row])
    assert find_rank_ranges(report, "j") == {"A": (1, 2), "B": (1, 2)}
    assert str(said(report).overall[0]) == (
        "A scores higher than B by the macro mean of shared items: +0.80 [0.30, 1.30], p = 0.020, n = 50; "
        "49 items left out, whose scores could put it anywhere from −3.20 to +3.80"
    )
    clear = made_report({"A": cell(6.8), "B": cell(6.0)}, [better("A", "B", left_out=1, bounds=[0.6, 1.0])])
    assert find_rank_ranges(clear, "j") == {"A": (1, 1), "B": (2, 2)}


def test_an_editor_that_fails_its_hard_items_is_not_first_and_failures_as_zero_are_a_ranking_of_their_own() -> None:
    zero = {
        "editors": {"A": cell(3.5)["macro"], "B": cell(6.0)["macro"]},
        "failed": {"A": 49, "B": 0},
        "comparisons": [better("A", "B", difference=-2.5, interval=[-3.0, -2.0], verdict="b_better")],
    }
    rows = [better("A", "B", left_out=49, bounds=[-3.2, 3.8])]
    report = made_report({"A": cell(6.8), "B": cell(6.0)}, rows, failures_as_zero={"j": zero})
    board, as_zero = make_leaderboards(report, EN)
    assert [(line.name, line.cells[0]) for line in board.groups[0].lines] == [("B", "1–2"), ("A", "1–2")]
    assert as_zero.folded and as_zero.title == "If failures count as 0: ranked by the macro mean, judged by j"
    assert [(line.name, line.cells) for line in as_zero.groups[0].lines] == [
        ("B", ("1", "6.00 [5.60, 6.40]", "2 / 2", "0 / 100")),
        ("A", ("2", "3.50 [3.10, 3.90]", "2 / 2", "49 / 100")),
    ]


def test_an_editor_without_scores_stands_last_and_without_a_rank() -> None:
    report = made_report({"A": cell(None), "B": cell(6.0)}, [comparison("A", "B", verdict="no_common_items", n=0)])
    (board,) = make_leaderboards(report, EN)
    assert [(line.name, line.cells[:4]) for line in board.groups[0].lines] == [
        ("B", ("1", "6.00 [5.60, 6.40]", "2 / 2", "6.00 [5.50, 6.50]")),
        ("A", ("–", "no data", "0 / 2", "no data")),
    ]


def test_where_no_editor_has_a_score_every_row_still_fits_its_table() -> None:
    (board,) = make_leaderboards(made_report({"A": cell(None), "B": cell(None)}), EN)
    assert {len(line.cells) for line in board.groups[0].lines} == {len(board.columns)}


def test_an_empty_category_prints_no_data() -> None:
    one = cell(6.0)
    one["categories"]["因果"] = spread(None, n=0)
    table = make_score_tables(made_report({"A": one}), EN)[0]
    (line,) = table.groups[2].lines
    assert line.cells == ("0 / 0", "no data", "–", "–", "–", "–", "–", "–", "0 / 0", "–")


def test_the_acceptance_table_says_what_the_judge_cannot_tell() -> None:
    blind = {"n": 20, "scored": 16, "mean": 6.1, "missed": 4, "interval": [0.1, 0.5], "chance": 0.3, "p": 0.4}
    blind["verdict"] = "not_told_apart"
    judged = acceptance("not_accepted", reasons=["blank_edit"], real={"scored": 196, "mean": 6.4, "unsure": 3})
    judged["controls"]["blank_edit"] = judged["categories"]["物理"] = blind
    (table,) = make_trust_tables(made_report(accepted=judged), EN)
    assert table.note == (
        "Not accepted: real edits and controls are not told apart here: blank image. "
        "20 control questions, 10.0% of the number of edits judged."
    )
    cells = ("16 / 20", "6.10", "4, 25.0% [10.0, 50.0]", "30.0%", "not told apart")
    real, *groups = table.groups
    assert (real.lines[0].cells[:2], real.lines[0].cells[-1]) == (("196", "6.40"), "perhaps unchanged: 3")
    assert [group.name for group in groups] == ["each control", "in each category", "about each editor"]
    assert {line.name: line.cells for line in groups[0].lines}["blank image"] == cells
    assert {line.name: line.cells for line in groups[1].lines}["物理"] == cells
    assert make_trust_tables(made_report(accepted=acceptance("not_tested")), EN) == []


def blind_in(*names: str) -> dict[str, Any]:
    """Make the acceptance of a judge that is not believed in these categories and editors."""
    judged = acceptance()
    for of in ("categories", "editors"):
        judged[of] = {
            name: found | ({"verdict": "not_told_apart"} if name in names else {}) for name, found in judged[of].items()
        }
    return judged


def test_where_an_accepted_judge_is_blind_nothing_is_said_and_the_page_says_so() -> None:
    rows = [better("A", "B"), better("A", "C", verdict="not_believed"), better("B", "C", verdict="not_believed")]
    rows.append(better("A", "B", "因果", verdict="not_believed"))
    report = made_report({name: cell(6.0) for name in "ABC"}, rows, accepted=blind_in("因果", "C"))
    one = said(report)
    assert "but not for: 因果 (not told apart), C (not told apart). Nothing is said about these" in one.verdict
    assert [one.claim for one in one.overall] == ["A scores higher than B by the macro mean of shared items:"]
    assert one.categories == ()
    (board,) = make_leaderboards(report, EN)
    assert [(line.name, line.cells[0]) for line in board.groups[0].lines] == [("A", "1"), ("B", "2"), ("C", "–")]
    assert "ranks and comparisons leave out: 因果 (not told apart), C (" in board.note
    notice = find_notices(report)[0]
    assert (
        notice.severe
        and notice.title == "j is believed in a part of this dataset only."
        and "因果 (not told apart), C" in notice.lines[0]
    )
    (trust, *_) = make_trust_tables(report, EN)
    assert trust.note.startswith("Accepted on this dataset, but not for: 因果 (not told apart), C (not told apart).")
    (table,) = make_comparison_tables(report, EN)
    assert [line.cells[-1] for group in table.groups for line in group.lines] == [
        "A higher", *["judge not believed here"] * 3,
    ]  # fmt: skip


def test_a_difference_that_may_be_the_judges_preference_is_named_and_ranks_nobody() -> None:
    row = better("A", "B", difference=-0.8, interval=[-1.3, -0.3], verdict="prefers")
    preference = {"a": "A", "b": "B", "n": [9, 9], "difference": -3.0, "interval": [-3.5, -2.5], "p_holm": 0.001}
    report = made_report(comparisons=[row], preferences={"j": [preference]})
    (statement,) = said(report).overall
    assert str(statement) == (
        "B scores higher than A by the macro mean of shared items, but the judge may only like its pictures more: "
        "+0.80 [0.30, 1.30], p = 0.020, n = 50; under another item's instruction, where both should fail, "
        "the difference is +3.00 [2.50, 3.50]"
    )
    (board,) = make_leaderboards(report, EN)
    assert {line.cells[0] for line in board.groups[0].lines} == {"1–2"}


def test_noise_and_canary_stand_beside_each_other() -> None:
    noise = {"kind": "sampled", "items": 10, "repeats": 4, "within_sd": 0.31, "between_sd": 2.0, "largest": 1.5}
    moved = {"n": 30, "mean": 5.0, "reference_run": "may", "difference": -0.7, "interval": [-1.0, -0.4], "p": 0.0001}
    report = made_report(noise={"j": noise}, canary={"j": moved | {"moved": True}})
    noises, canaries = make_trust_tables(report, EN)[1:]
    assert noises.groups[0].lines[0].cells == ("sampled again", "10", "4", "0.31", "2.00", "1.50")
    cells = ("30", "5.00", "may", "−0.70 [−1.00, −0.40]", "< 0.001", "yes")
    assert canaries.groups[0].lines[0].cells == cells
    notice = find_notices(report)[0]
    assert notice.lines == ("j: −0.70 [−1.00, −0.40] against may, p < 0.001, n = 30 in this run",) and notice.severe
    first = {"n": 30, "mean": 5.0, "reference_run": None, "difference": None, "interval": None, "p": None}
    report = made_report(canary={"j": first | {"moved": False}})
    assert make_trust_tables(report, EN)[1].groups[0].lines[0].cells == ("30", "5.00", "no earlier run", "–", "–", "–")
    assert find_notices(report) == []


def test_many_unchanged_edits_are_told_only_where_it_is_sure() -> None:
    sure = cell(overall=spread(6.0, n=100, unchanged={"count": 16, "n": 100, "interval": [0.1, 0.24]}))
    unsure = cell(overall=spread(6.0, n=100, unchanged={"count": 8, "n": 100, "interval": [0.04, 0.15]}))
    (notice,) = find_notices(made_report({"A": sure, "B": unsure}))
    assert notice.lines == ("A: 16 of 100 that could be decided, 16.0% [10.0, 24.0]",) and not notice.severe


def test_instructions_that_an_editor_cut_are_counted_once_for_all_judges() -> None:
    cut = {"A": [True, False, None, True], "B": [False, False, False, False], "C": [None] * 4}
    rows = [
        {"item_id": str(place), "editor": editor, "judge": judge, "prompt_truncated": one}
        for editor, found in cut.items()
        for judge in ("j", "k")
        for place, one in enumerate(found)
    ]
    scores = pd.DataFrame(rows).astype({"prompt_truncated": "boolean"})
    report = made_report({name: cell(6.0) for name in cut}, scores=scores)
    (notice,) = find_notices(report)
    assert notice.lines == ("A: 2 of 3 instructions, 66.7%",)


def test_editors_whose_edits_cannot_be_made_again_are_named_once_for_all_judges() -> None:
    used = {"A": [False, False, None, False], "B": [True] * 4, "C": [None] * 4}
    rows = [
        {"item_id": str(place), "editor": editor, "judge": judge, "prompt_truncated": None, "seed_used": one}
        for editor, found in used.items()
        for judge in ("j", "k")
        for place, one in enumerate(found)
    ]
    scores = pd.DataFrame(rows).astype({"prompt_truncated": "boolean", "seed_used": "boolean"})
    report = made_report({name: cell(6.0) for name in used}, scores=scores)
    (notice,) = find_notices(report)
    assert notice.lines[0].startswith("A: 3 of 3 edits were made without a seed that decides them.")
    assert not notice.severe
    (notice,) = find_notices(report, language="zh")
    assert notice.lines == ("A：3 张编辑图中有 3 张不由种子决定，再次请求会得到另一张图。",)


def test_edits_of_a_server_in_another_size_than_asked_are_told_once_for_all_judges() -> None:
    """Whoever asks no server has a null `seed_used`, and whoever lets the server choose a null size."""
    asked = {"A": (True, 64, 64), "B": (None, 64, 64), "C": (False, None, 80), "D": (True, 64, 80)}
    rows = [
        {"item_id": str(place), "editor": editor, "judge": judge, "prompt_truncated": None, "seed_used": used}
        | {"requested_width": wanted, "requested_height": 32}
        | {"edited_width": 80 if place else came, "edited_height": 32}
        for editor, (used, wanted, came) in asked.items()
        for judge in ("j", "k")
        for place in range(3)
    ]
    scores = pd.DataFrame(rows).astype({"prompt_truncated": "boolean", "seed_used": "boolean"})
    report = made_report({name: cell(6.0) for name in asked}, scores=scores)
    (notice,) = [one for one in find_notices(report) if "another size" in one.title]
    assert [line.partition(" pixels")[0] for line in notice.lines] == [
        "A: 2 of 3 edits, such as 80 x 32",
        "D: 3 of 3 edits, such as 80 x 32",
    ]
    assert "in place of 64 x 32. They were kept and judged as they came." in notice.lines[0]
    assert not notice.severe
    (notice,) = [one for one in find_notices(report, language="zh") if "尺寸" in one.title]
    assert notice.lines[0].startswith("A：3 张编辑图中有 2 张，例如要求 64 x 32 像素，得到 80 x 32。")


def test_items_left_out_of_a_comparison_are_told() -> None:
    rows = [comparison("A", "B", n=90, left_out=10), comparison("A", "B", "物理", n=45, left_out=5)]
    (notice,) = find_notices(made_report(comparisons=rows))
    assert notice.lines == ("j: up to 10 of 100 items (A against B)",) and not notice.severe


def test_preservation_is_described_per_category() -> None:
    metric = {"mean": 0.8, "interval": [0.75, 0.85], "median": 0.8}
    kept = {"n": 50, "measured": 48, "ssim": metric, "mae": metric, "changed_share": metric}
    kept["psnr"] = {"mean": None, "interval": None, "median": None}
    measured = {"overall": kept, "categories": {"物理": kept, "因果": kept}}
    (table,) = make_preservation_tables(made_report(preservation={"A": measured, "B": {}}), EN)
    ((name, line),) = [(group.name, group.lines) for group in table.groups if group.name == "物理"]
    assert (name, len(line)) == ("物理", 1)
    shares = "0.800 [0.750, 0.850]"
    assert line[0].cells == ("48 / 50", shares, "–", "0.80 [0.75, 0.85]", "80.0% [75.0, 85.0]")
    assert make_preservation_tables(made_report(), EN) == []


def test_old_rules_stand_beside_the_mean_of_what_is_scored() -> None:
    old = {"honest": 6.0, "old": 5.2, "difference": -0.8, "old_source_judged": None}
    old["replaced"] = {"unreadable": 3, "failed": 7}
    nothing = old | {"honest": None, "old": 0.0, "difference": None}
    one = cell(legacy={"overall": old, "categories": {"物理": old, "因果": nothing}})
    (table,) = make_legacy_tables(made_report({"A": one, "B": cell()}), EN)
    assert table.groups[0].lines[0].cells == ("6.00", "5.20", "−0.80", "–", "3", "7")
    assert table.groups[2].lines[0].cells == ("no data", "0.00", "–", "–", "3", "7")
    assert [len(group.lines) for group in table.groups] == [1, 1, 1], "B was not judged by the old protocol"
    assert make_legacy_tables(made_report(), EN) == []


def test_full_coverage_is_said_only_where_nothing_is_left_out() -> None:
    shares = [format_percent(share) for share in (1.0, 0.9999, 11 / 12, 0.57, 0.0, None)]
    assert shares == ["100.0%", "99.9%", "91.7%", "57.0%", "0.0%", "–"]


def test_numbers_have_a_sign_an_interval_and_a_dash() -> None:
    assert [format_signed(value) for value in (0.804, -0.804, 0.001, -0.001, None)] == [
        "+0.80",
        "−0.80",
        "0.00",
        "0.00",
        "–",
    ]
    assert (format_interval([-0.5, 0.7]), format_interval(None)) == ("[−0.50, 0.70]", "–")
    assert (format_rate(3, 50, [0.021, 0.162]), format_rate(0, 0, None)) == ("6.0% [2.1, 16.2]", "–")


def test_both_languages_have_the_same_texts_with_the_same_placeholders() -> None:
    assert EN.entries.keys() == ZH.entries.keys()
    for key, text in EN.entries.items():
        placeholders = (sorted(set(re.findall(r"{(\w+)}", one))) for one in (text, ZH.entries[key]))
        english, chinese = placeholders
        assert english == chinese, key


def test_chinese_says_the_same() -> None:
    report = made_report(comparisons=[better("A", "B"), better("A", "B", "因果"), comparison("A", "B", "物理")])
    (one,) = make_statements(report, ZH)
    assert str(one.overall[0]) == "按共同样本的宏平均，A 的得分高于 B：+0.80 [0.30, 1.30]，p = 0.020，n = 50"
    assert str(one.categories[1]) == (
        "在“物理”类别的共同样本上，A 与 B 无法区分：+0.10 [−0.50, 0.70]，p = 0.800，n = 50；"
        "若真实差值为 1.20，重复抽样时约有五分之四能检出"
    )
    judged = made_report(accepted=acceptance("not_accepted", reasons=["blank_edit", "swapped"]))
    assert "空白图、原图与编辑图对调。" in find_notices(judged, language="zh")[0].lines[0]


def test_only_terms_are_the_same_in_both_languages() -> None:
    same = {key for key, text in EN.entries.items() if text == ZH.entries[key] and re.search("[A-Za-z]{2}", text)}
    words = {re.sub(r"{\w+}", "", EN.entries[key]).strip() for key in same}
    assert {word for word in words if re.search("[A-Za-z]{2}", word)} == {"SSIM", "CSV", "LaTeX"}


def test_chinese_has_chinese_punctuation() -> None:
    han = "[\u3400-\u9fff]"
    for key, text in ZH.entries.items():
        assert not re.search(f"{han} ?[,;:()]|[,;:()]{han}|{han} {han}|[\uff0c\uff1b\uff1a\u3002] ", text), key


def test_a_count_of_one_has_its_own_text() -> None:
    assert [EN("facts.count_items", n=n) for n in (0, 1, 2)] == ["0 items", "1 item", "2 items"]
    with pytest.raises(KeyError, match=r"no\.such\.text"):
        EN("no.such.text")
