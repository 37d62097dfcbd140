"""The tables of a report as CSV and LaTeX."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from report_run import load, write_run

from editlane.report.cells import Group, Line, Table
from editlane.report.exports import csv_text, latex
from editlane.report.exports.files import name_safely
from editlane.report.write import write_report

HOSTILE = "=cmd|' /C calc'!A0"


def test_texts_from_outside_are_no_formulas_and_numbers_stay_numbers() -> None:
    cells = [
        HOSTILE,
        "+1+1",
        "-x",
        "@SUM(A1)",
        "＝1",
        "−0.35",
        "+0.80",
        "-2",
        "12.5%",
        "–",
        "–x",
        None,
        0.1 + 0.2,
        True,
    ]
    assert list(map(csv_text.format_cell, cells)) == [
        *(f"'{HOSTILE}", "'+1+1", "'-x", "'@SUM(A1)", "'＝1"),
        *("-0.35", "+0.80", "-2", "12.5%", "", "–x", "", "0.30000000000000004", "true"),
    ]


def test_csv_keeps_commas_quotes_and_lines_in_their_cell() -> None:
    text = csv_text.format_rows([["a", "b"], ['say "hi", 你好', "two\nlines\x1b"]])
    assert text == 'a,b\r\n"say ""hi"", 你好",two lines\\x1b\r\n'
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ['say "hi", 你好', "two lines\\x1b"]]


def test_every_mark_of_latex_is_escaped() -> None:
    assert latex.format_text(r"50% of_a & b #1 {x} $y$ ~^\ 猫") == (
        r"50\% of\_a \& b \#1 \{x\} \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{} 猫"
    )
    assert latex.format_text("[−0.35, 2] --x* a<b|c") == (r"{[}$-$0.35, 2{]} -{}-x{*} a\textless{}b\textbar{}c")
    assert latex.format_text("two\nlines ▲ ≈ ±") == r"two lines $\triangle$ $\approx$ $\pm$"


def test_a_table_in_latex_has_rules_between_groups_and_names_each_group_once() -> None:
    lines = (Line(name="a_1", cells=("1.00",)), Line(name="b", cells=("–",)))
    groups = (Group(name="物理", lines=lines), Group(name="x", lines=lines[:1]), Group(name="none", lines=()))
    table = Table(title="A\nline", heads=("Category", "Editor"), columns=("Mean",), groups=groups)
    assert latex.format_table(table).splitlines() == [
        "% A line",
        "% Needs \\usepackage{booktabs}; symbols need amssymb and textcomp, Chinese needs ctex.",
        "\\begin{tabular}{llr}",
        "\\toprule",
        "Category & Editor & Mean \\\\",
        "\\midrule",
        "物理 & a\\_1 & 1.00 \\\\",
        " & b & -- \\\\",
        "\\midrule",
        "x & a\\_1 & 1.00 \\\\",
        "\\bottomrule",
        "\\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("name", "safe"),
    [("Qwen3-VL-32B", "Qwen3-VL-32B"), ("a/../b", "a-..-b-"), ("评审", ""), ("a" * 99, "a" * 32 + "-")],
)
def test_file_names_are_ascii_and_stay_apart(name: str, safe: str) -> None:
    found = name_safely(name)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", found) and found.startswith(safe)
    assert name_safely(name) == found != name_safely(name + "甲")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "demo"
    scores = {(HOSTILE, "J"): [8.0, 4.0, 9.0, 1 / 3, 3.0], ("b", "J"): [5.0, 1.0, 2.0, 2.5, 1.0]}
    scores |= {(editor, judge): of for (editor, _), of in list(scores.items()) for judge in ("j", "评审")}
    write_run(run, scores)  # type: ignore[arg-type]
    write_report(load(run), [], run_dir=run, out_dir=run / "report")
    return run / "report"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_of_the_tidy_tables_are_those_of_the_json_to_the_last_digit(folder: Path) -> None:
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    headline = {(row["editor"], row["judge"]): row for row in read(folder / "tables/headline.csv")}
    assert set(headline) == {(editor, judge) for editor in (f"'{HOSTILE}", "b") for judge in ("J", "j", "评审")}
    found, macro = headline[f"'{HOSTILE}", "J"], numbers["editors"][HOSTILE]["J"]["macro"]
    assert float(found["mean"]) == macro["mean"] and (found["low"], found["best_rank"]) == ("", "")
    assert found["acceptance"] == "not_tested"
    categories = read(folder / "tables/categories.csv")
    spread = numbers["editors"]["b"]["评审"]["categories"]["物理"]
    (row,) = (one for one in categories if (one["editor"], one["judge"], one["category"]) == ("b", "评审", "物理"))
    assert [float(row[name]) for name in ("n", "scored", "mean", "std")] == [2, 2, spread["mean"], spread["std"]]
    pair = next(one for one in read(folder / "tables/comparisons.csv") if one["judge"] == "J")
    assert float(pair["difference"]) == numbers["comparisons"]["J"][0]["difference"]
    assert {row["criterion"] for row in read(folder / "tables/criteria.csv")} == {"category", "instruction"}


def test_every_table_has_both_files_and_names_that_differ_also_without_regard_to_case(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "tables").iterdir())
    assert len({name.lower() for name in names}) == len(names)
    assert {"scores-J.csv", "scores-j-2.csv", "states.csv", "states.tex", "comparisons-J.tex"} <= set(names)
    assert all(name.isascii() for name in names)
    shown = {name.removesuffix(".tex") for name in names if name.endswith(".tex")}
    assert {f"{name}.csv" for name in shown} <= set(names)


def test_an_editor_that_is_named_like_a_formula_is_none_in_any_file(folder: Path) -> None:
    for path in (folder / "tables").glob("*.csv"):
        rows = csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""))
        cells = [cell for row in rows for cell in row]
        assert cells and not [cell for cell in cells if re.match(r"[=@]|[-+](?!\d+(\.\d+)?%?$)", cell)], path.name
