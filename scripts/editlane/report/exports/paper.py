r"""Make the table of results as a paper prints it: a whole LaTeX `table` with caption, label and the best in bold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from editlane.report.belief import list_believed
from editlane.report.cells import NONE, format_interval, format_number
from editlane.report.exports.latex import format_text
from editlane.report.leaderboard import order_editors
from editlane.report.load import Report
from editlane.report.texts import Texts
from editlane.report.trust import is_accepted

NAME = "paper"

Cell = tuple[str, str]
"""What stands in a row, and small below it; both are LaTeX."""

EMPTY: Cell = (format_text(NONE), "")


def make_paper_tables(report: Report, ranks: Mapping[str, Mapping[str, Sequence[int]]], t: Texts) -> dict[str, str]:
    """Make the table of each accepted judge: judge -> LaTeX. `ranks` are those of report.json, best and worst."""
    return {judge: _make_table(report, judge, ranks[judge], t) for judge in report.judges if is_accepted(report, judge)}


def _make_table(report: Report, judge: str, ranks: Mapping[str, Sequence[int]], t: Texts) -> str:
    columns = [_make_macro(report, judge, ranks), *(_make_category(report, judge, one) for one in report.categories)]
    head = [t("head.editor"), t("column.macro"), *report.categories]
    rows = [
        line
        for editor in order_editors(report, judge, {name: (one[0], one[1]) for name, one in ranks.items()})
        for line in _format_editor(editor, [column.get(editor, EMPTY) for column in columns], report, judge, t)
    ]
    lines = [
        r"% Needs \usepackage{booktabs}; Chinese needs ctex. In two columns, use table* for table.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{format_text(t('paper.caption', judge=judge))}}}",
        rf"\label{{tab:editlane-{_name_label(judge)}}}",
        r"\small\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(map(format_text, head)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _name_label(judge: str) -> str:
    """Return the letters and digits of a judge's name, which are safe in a label."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in judge)


def _format_editor(editor: str, cells: Sequence[Cell], report: Report, judge: str, t: Texts) -> Iterator[str]:
    """Yield the editor's line of means, then that of intervals."""
    overall = report.numbers["editors"][editor][judge]["overall"]
    below = (_shrink(t("paper.scored", scored=overall["scored"], n=overall["n"])), *(small for _, small in cells))
    yield " & ".join((format_text(editor), *(large for large, _ in cells))) + r" \\"
    yield " & ".join(below) + r" \\[2pt]"


def _make_macro(report: Report, judge: str, ranks: Mapping[str, Sequence[int]]) -> dict[str, Cell]:
    """Return the cells of the macro means, by editor. Bold are those that may have rank 1."""
    best = [editor for editor, (first, _) in ranks.items() if first == 1]
    found = {editor: report.numbers["editors"][editor][judge]["macro"] for editor in report.editors}
    return _make_cells({editor: one for editor, one in found.items() if editor in ranks}, best)


def _make_category(report: Report, judge: str, category: str) -> dict[str, Cell]:
    """Return the cells of a category, by editor: none where the judge is not believed."""
    acceptance = report.numbers["acceptance"][judge]
    if not list_believed(acceptance, "categories", [category]):
        return {}
    editors = list_believed(acceptance, "editors", report.editors)
    found = {editor: report.numbers["editors"][editor][judge]["categories"].get(category) for editor in editors}
    lower = {
        {"a_better": one["b"], "b_better": one["a"]}.get(one["verdict"])
        for one in report.numbers["comparisons"][judge]
        if one["category"] == category
    }
    there = {editor: one for editor, one in found.items() if one and one["mean"] is not None}
    return _make_cells(there, [editor for editor in there if editor not in lower])


def _make_cells(found: Mapping[str, Mapping[str, Any]], best: Sequence[str]) -> dict[str, Cell]:
    """Format means and intervals. Where nobody is lower than another, nobody is bold."""
    marked = best if len(best) < len(found) else ()
    return {editor: (_format_mean(one["mean"], editor in marked), _below(one)) for editor, one in found.items()}


def _format_mean(mean: float | None, bold: bool) -> str:
    text = format_text(format_number(mean))
    return rf"\textbf{{{text}}}" if bold and mean is not None else text


def _below(one: Mapping[str, Any]) -> str:
    return _shrink(format_interval(one["interval"])) if one["interval"] else ""


def _shrink(text: str) -> str:
    return rf"{{\scriptsize {format_text(text)}}}"
