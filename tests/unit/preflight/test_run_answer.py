"""The last words of a workflow in the terminal: means, acceptance, who is best."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_report import acceptance, cell

from editlane.core.text_width import measure_width
from editlane.preflight.answer import lay_out, list_sentences, print_answer
from editlane.report.texts import load_texts

EN = load_texts("en")


def numbers_of(editors: dict[str, Any], *, verdict: str = "accepted", **more: Any) -> dict[str, Any]:
    """Make what report.json holds about one judge, `j`."""
    named = {"editors": dict.fromkeys(editors, acceptance()["editors"]["A"])} if verdict == "accepted" else {}
    return {
        "editors": {name: {"j": found} for name, found in editors.items()},
        "acceptance": {"j": acceptance(verdict) | named},
        "missing": 0,
    } | more


TWO = numbers_of({"B": cell(6.0), "A": cell(7.0)}, ranks={"j": {"A": [1, 1], "B": [2, 2]}})


def test_a_wide_terminal_has_a_row_per_editor_the_best_first() -> None:
    (rows,) = lay_out(TWO, EN, 160)
    assert rows[0] == ["Editor", "Macro mean", "Scored", "物理", "因果"]
    assert rows[1] == ["A", "7.00 [6.60, 7.40]", "100/100 100%", "7.00 ± 1.00 (50)", "7.00 ± 1.00 (50)"]
    assert [row[0] for row in rows] == ["Editor", "A", "B"]


def test_many_editors_stand_in_blocks_that_fit_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"千问图像编辑模型-非常长的名字-{place}" for place in range(8)]
    numbers = numbers_of({name: cell(6.0) for name in names}, ranks={"j": dict.fromkeys(names, (1, 8))})
    blocks = lay_out(numbers, EN, 80)
    assert [len(rows[0]) - 1 for rows in blocks] == [3, 3, 2]
    assert [row[0] for row in blocks[0]] == ["Editor", "Macro mean", "Scored", "物理", "因果"]
    assert len({name for rows in blocks for name in rows[0]}) == 9, "the ends of the names tell them apart"
    (tmp_path / "report.json").write_text(json.dumps(numbers))
    monkeypatch.setenv("COLUMNS", "80")
    print_answer(tmp_path / "report.html", "en")
    tables = [line for line in capsys.readouterr().out.split("\n\nBy j: macro mean [")[0].splitlines() if line]
    assert {measure_width(line) for line in tables[:7]} == {measure_width(tables[1])} and len(tables) == 18
    assert all(measure_width(line) <= 80 for line in tables)


def test_the_best_editor_is_named_or_all_that_cannot_be_told_apart() -> None:
    assert list_sentences(TWO, EN)[1:] == ["judge j: accepted", "A scores higher than every other editor."]
    tied = TWO | {"ranks": {"j": {"A": [1, 2], "B": [1, 2]}}}
    assert list_sentences(tied, EN)[-1] == "Not separable at the top: A, B."
    one_believed = TWO | {"ranks": {"j": {"A": [1, 1]}}}
    assert list_sentences(one_believed, EN)[-1] == "No editor can be ranked."
    single = numbers_of({"A": cell(7.0)}, ranks={"j": {"A": [1, 1]}})
    assert list_sentences(single, EN)[-1].startswith("There is one editor only")


@pytest.mark.parametrize("verdict", ["not_accepted", "not_tested"])
def test_a_judge_that_is_not_accepted_ranks_nobody_and_keeps_the_order_of_the_run(verdict: str) -> None:
    numbers = numbers_of({"B": cell(6.0), "A": cell(7.0)}, verdict=verdict, ranks={"j": {}})
    (rows,) = lay_out(numbers, EN, 160)
    assert [row[0] for row in rows] == ["Editor", "B", "A"]
    said = list_sentences(numbers, EN)
    assert said[1:] == [f"judge j: {verdict.replace('_', ' ')}, so nothing is ranked"]


def test_the_first_accepted_judge_has_the_table_and_the_others_a_line_each() -> None:
    numbers = numbers_of({"A": cell(7.0), "B": cell(6.0)}, ranks={"j": {"A": [1, 2], "B": [1, 2]}, "k": {}, "l": {}})
    numbers["acceptance"] = {"k": acceptance("not_accepted")} | numbers["acceptance"] | {"l": acceptance()}
    for editor, mean in (("A", 1.0), ("B", 2.0)):
        numbers["editors"][editor] |= {"k": cell(mean), "l": cell(mean)}
    numbers["acceptance"]["l"]["categories"] = {"物理": numbers["acceptance"]["l"]["categories"]["物理"]}
    assert lay_out(numbers, EN, 160)[0][1][1].startswith("7.00")
    assert list_sentences(numbers, EN)[1:] == [
        "judge j: accepted",
        "Not separable at the top: A, B.",
        "judge k: not accepted, so nothing is ranked",
        "judge l: accepted, but not for 因果. No editor can be ranked.",
    ]


def test_missing_scores_have_no_numbers_and_are_told() -> None:
    numbers = numbers_of({"A": cell(None), "B": cell(6.0)}, ranks={"j": {"B": [1, 1]}}, missing=3)
    (rows,) = lay_out(numbers, EN, 160)
    assert rows[2] == ["A", "–", "0/100 0%", "– (0)", "– (0)"]
    assert list_sentences(numbers, EN)[-1] == "3 rows are still missing."


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"editors": {"a": {}}, "acceptance": {"j": {}}}', '{"editors": 3'])
def test_a_report_of_another_version_or_a_damaged_one_has_no_answer(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(text)
    print_answer(tmp_path / "report.html", "en")
    assert capsys.readouterr().out == ""


def test_names_cannot_command_the_terminal() -> None:
    numbers = numbers_of({"\x1b[31mA": cell(7.0), "B": cell(6.0)}, ranks={"j": {"\x1b[31mA": [1, 1], "B": [2, 2]}})
    (rows,) = lay_out(numbers, EN, 160)
    assert "\x1b" not in "".join(map("".join, rows)) + "".join(list_sentences(numbers, EN))
