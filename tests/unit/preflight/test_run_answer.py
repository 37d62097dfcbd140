"""The last words of a workflow in the terminal: the answer of the page, the means, whether judges are accepted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_report import acceptance, better, cell, comparison, made_report, spread

from editlane.core.text_width import measure_width
from editlane.preflight.answer import lay_out, list_sentences, print_answer
from editlane.report.answer import make_answer
from editlane.report.conclusion import conclude
from editlane.report.load import Report
from editlane.report.texts import LANGUAGES, load_texts

EN = load_texts("en")


def written(report: Report) -> dict[str, Any]:
    """What report.json has of it."""
    numbers: dict[str, Any] = json.loads(json.dumps(report.numbers | {"answer": conclude(report)}))
    return numbers


def believed(*editors: str) -> dict[str, Any]:
    """The acceptance of a judge that is believed of these editors."""
    return acceptance() | {"editors": dict.fromkeys(editors, acceptance()["editors"]["A"])}


def judged_by(judges: dict[str, dict[str, Any]], panels: tuple[str, ...] = (), **more: Any) -> Report:
    """A report of A and B by several judges, by each of which A is higher."""
    report = made_report({"A": cell(7.0), "B": cell(6.0)}, **more)
    numbers = report.numbers
    for name in ("failures_as_zero", "preferences", "noise", "canary"):
        numbers[name] = dict.fromkeys(judges, numbers[name]["j"])
    numbers["acceptance"] = judges
    numbers["comparisons"] = {judge: [better("A", "B")] for judge in judges}
    numbers["editors"] = {editor: dict.fromkeys(judges, of["j"]) for editor, of in numbers["editors"].items()}
    numbers["provenance"] = {"panels": {name: {} for name in panels}}
    report.judges[:] = judges
    return report


TWO = made_report({"B": cell(6.0), "A": cell(7.0)}, [better("A", "B")])


def test_a_wide_terminal_has_a_row_per_editor_the_best_first() -> None:
    (rows,) = lay_out(written(TWO), EN, 160)
    assert rows[0] == ["Editor", "Macro mean", "Coverage", "物理", "因果"]
    assert rows[1] == ["A", "7.00 [6.60, 7.40]", "100 / 100 (100.0%)", "7.00 ± 1.00 (50)", "7.00 ± 1.00 (50)"]
    assert [row[0] for row in rows] == ["Editor", "A", "B"]


def test_many_editors_stand_in_blocks_that_fit_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"千问图像编辑模型-非常长的名字-{place}" for place in range(8)]
    numbers = written(made_report(dict.fromkeys(names, cell(6.0)), accepted=believed(*names)))
    blocks = lay_out(numbers, EN, 80)
    assert [len(rows[0]) - 1 for rows in blocks] == [3, 3, 2]
    assert [row[0] for row in blocks[0]] == ["Editor", "Macro mean", "Coverage", "物理", "因果"]
    assert len({name for rows in blocks for name in rows[0]}) == 9, "the ends of the names tell them apart"
    (tmp_path / "report.json").write_text(json.dumps(numbers))
    monkeypatch.setenv("COLUMNS", "80")
    print_answer(tmp_path / "report.html", "en")
    tables = [line for line in capsys.readouterr().out.split("\n\nBy j: macro mean [")[0].splitlines() if line]
    assert {measure_width(line) for line in tables[:7]} == {measure_width(tables[1])} and len(tables) == 18
    assert all(measure_width(line) <= 80 for line in tables)


THREE = {"A": cell(7.0), "B": cell(6.0), "C": cell(9.0)}
CASES = {
    "best": TWO,
    "best_of_ranked": made_report(THREE, [better("A", "B"), better("A", "B", "物理")], believed("A", "B")),
    "perhaps": made_report(THREE, [better("A", "B"), better("B", "C"), comparison("A", "C")]),
    "open": made_report(THREE, [comparison("A", "B")], believed("A", "B")),
    "unranked": made_report(THREE, [], believed("A")),
    "single": made_report({"A": cell(7.0)}),
    "not_tested": made_report(accepted=acceptance("not_tested")),
    "nothing": made_report(accepted=acceptance("not_accepted", reasons=["blank_edit"])),
    "panel": judged_by({"j": acceptance(), "p": acceptance()}, panels=("p",)),
    "blind panel": judged_by({"j": acceptance("not_tested"), "p": acceptance("not_accepted")}, panels=("p",)),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES)
def test_the_terminal_says_what_the_page_says(case: str, language: str) -> None:
    t = load_texts(language)
    page, said = make_answer(CASES[case], t), list_sentences(written(CASES[case]), t)
    stop = "." if language == "en" else "。"
    wanted = [page.claim + stop, *filter(None, [page.evidence]), *page.others]
    assert said[bool(page.lines) :][: len(wanted)] == wanted
    (rows,) = lay_out(written(CASES[case]), t, 160)
    assert [row[:3] for row in rows[1:]] == [[line.name, line.macro, line.coverage] for line in page.lines] or (
        not page.lines and len(rows[0]) == 2
    )


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_what_it_is_called(case: str) -> None:
    answer = conclude(CASES[case])
    kinds = {of["kind"] for of in answer["judges"].values()}
    assert case in kinds or case in ("panel", "blind panel")
    assert answer["judge"] == {"nothing": None, "panel": "p"}.get(case, "j")


def test_an_editor_of_which_the_judge_is_not_believed_is_not_among_the_others_that_are_beaten() -> None:
    report = CASES["best_of_ranked"]
    answer = make_answer(report, EN)
    assert answer.claim == "A scores highest of the editors that can be ranked"
    assert answer.evidence == (
        "Macro mean 7.00 [6.60, 7.40], higher than that of every other editor that can be ranked; "
        "ahead of all of them in 1 of 2 categories, too. Not ranked: C."
    )
    assert [(line.name, line.rank, line.ahead) for line in answer.lines] == [
        ("A", "1", "1 of 2"),
        ("B", "2", "0 of 2"),
        ("C", "–", "–"),
    ]


def test_one_believed_editor_has_nobody_to_be_ranked_with() -> None:
    answer = make_answer(CASES["unranked"], EN)
    assert (answer.claim, answer.evidence) == ("No editor can be ranked", "")
    assert {(line.rank, line.ahead, line.first) for line in answer.lines} == {("–", "–", False)}


def test_a_judge_that_is_not_accepted_has_its_verdict_and_coverage_and_no_means() -> None:
    numbers = written(CASES["nothing"])
    assert lay_out(numbers, EN, 160) == [
        [["Editor", "Coverage"], ["A", "100 / 100 (100.0%)"], ["B", "100 / 100 (100.0%)"]]
    ]
    said = list_sentences(numbers, EN)
    assert said[0] == "Nothing can be said about the editors."
    assert said[-1] == "Judge j: not accepted: does not tell controls apart"
    assert not any(mean in " ".join(said) for mean in ("6.80", "6.00"))


def test_other_judges_have_a_sentence_if_accepted_and_each_its_verdict() -> None:
    partly = acceptance() | {"categories": {"物理": acceptance()["categories"]["物理"]}}
    numbers = written(judged_by({"k": acceptance("not_accepted"), "j": acceptance(), "l": partly}))
    assert list_sentences(numbers, EN)[1:] == [
        "A scores highest.",
        "Macro mean 7.00 [6.60, 7.40], higher than every other editor's. "
        "In no single category is it ahead of all of them.",
        "By l: A scores highest. Macro mean 7.00 [6.60, 7.40], higher than every other editor's. "
        "In no single category is it ahead of all of them.",
        "Judge k: not accepted: does not tell controls apart",
        "Judge j: accepted",
        "Judge l: accepted in part, not for 因果",
    ]


def test_missing_scores_have_no_numbers_and_are_told() -> None:
    numbers = written(made_report({"A": cell(None), "B": cell(6.0)}, missing=3))
    (rows,) = lay_out(numbers, EN, 160)
    assert rows[1] == ["A", "–", "0 / 100 (0.0%)", "– (0)", "– (0)"]
    assert list_sentences(numbers, EN)[-1] == "3 rows are still missing."


def test_coverage_is_all_only_if_nothing_is_missing() -> None:
    few = cell(6.0, overall=spread(6.0, n=10_000, scored=9_997))
    (rows,) = lay_out(written(made_report({"A": few, "B": cell(6.0)})), EN, 160)
    assert rows[1][2] == "9997 / 10000 (99.9%)"


OLD = json.dumps({name: of for name, of in written(TWO).items() if name != "answer"})
LATER = json.dumps(written(TWO) | {"answer": {"definition_version": 2}})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"answer": {"definition_version": 1}}', '{"answer": 3', OLD, LATER])
def test_a_report_of_another_version_or_a_damaged_one_has_no_answer(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(text)
    print_answer(tmp_path / "report.html", "en")
    assert capsys.readouterr().out == ""


def test_names_cannot_command_the_terminal() -> None:
    red = "\x1b[31mA"
    numbers = written(made_report({red: cell(7.0), "B": cell(6.0)}, [better(red, "B")], believed(red, "B")))
    (rows,) = lay_out(numbers, EN, 160)
    assert "\x1b" not in "".join(map("".join, rows)) + "".join(list_sentences(numbers, EN))


def test_the_terminal_does_not_wait_for_what_only_the_report_needs() -> None:
    code = f"import sys; sys.path[:] = {sys.path}; import editlane.preflight.answer; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
