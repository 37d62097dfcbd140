"""Format a report as Markdown."""

import re
from collections.abc import Sequence

from editlane.core.printable import escape
from editlane.report.answer import make_answer, tabulate_answer
from editlane.report.cells import Table
from editlane.report.load import Report
from editlane.report.notices import Notice
from editlane.report.sections import make_sections
from editlane.report.statements import SHOWN, JudgeStatements, Statement, make_statements
from editlane.report.summary import list_facts
from editlane.report.texts import Texts
from editlane.report.time_breakdown import summarise_time

_CODE = re.compile(r"(?<!`)`[\w-][\w .,:{}=/-]*`(?!`)")
"""Code in the report's own texts: the name of a key, a command."""


def to_markdown(report: Report, notices: Sequence[Notice], t: Texts, min_coverage: float = 0.0) -> str:
    """Return the text of `report.md`: the notices, the answer, the facts, then the sections of the page."""
    title = f"# {t('page.kicker')}: {format_text(report.numbers['run'])}"
    head = [
        f"- {one.label}: **{format_text(one.name)}** {format_text(one.detail)}".rstrip()
        for one in list_facts(report, t)
    ]
    quotes = [
        "\n".join([f"> **{format_prose(notice.title)}**", *(f"> - {format_prose(line)}" for line in notice.lines)])
        for notice in notices
    ]
    blocks = [title, *quotes, *_answer(report, t), "\n".join(head)]
    for section in make_sections(report, t, min_coverage):
        if section.name == "said":
            blocks += [f"## {section.title}", section.hint]
            blocks += [block for said in make_statements(report, t) for block in _said(said, t)]
        elif section.tables:
            spent = summarise_time(report, t) if section.name == "time" else None
            said = [format_text(spent.sentence)] if spent else []
            blocks += [f"## {section.title}", section.hint, *said, *map(format_table, section.tables)]
    return "\n\n".join(blocks) + "\n"


def _answer(report: Report, t: Texts) -> list[str]:
    """Return what the first screen of the page has."""
    answer = make_answer(report, t)
    said = [format_prose(text) for text in (answer.evidence, *answer.others) if text]
    figures = [
        f"- {one.label}: **{format_text(one.text)}** {format_text(one.detail)}".rstrip() for one in answer.figures
    ]
    blocks = [f"## {t('answer.title')}", f"**{format_text(answer.claim)}**", *said, "\n".join(figures)]
    return [*blocks, format_table(tabulate_answer(answer, t))] if answer.lines else blocks


def _said(said: JudgeStatements, t: Texts) -> list[str]:
    blocks = [f"### {format_text(t('said.by', judge=said.judge))}", format_prose(said.verdict)]
    if said.matrix:
        blocks.append(format_table(said.matrix))
    for statements in (said.overall, said.categories):
        lines = [f"- {_format_statement(one)}" for one in statements[:SHOWN]]
        if len(statements) > SHOWN:
            lines.append(f"- {format_text(t('said.see_table', n=len(statements) - SHOWN))}")
        if lines:
            blocks.append("\n".join(lines))
    return blocks


def _format_statement(one: Statement) -> str:
    claim = format_text(one.claim) if one.winner is None else f"**{format_text(one.claim)}**"
    return f"{claim}{one.space}{format_text(one.evidence)}"


def format_table(table: Table) -> str:
    """Return a table with its title and note."""
    columns = (*table.heads, *table.columns)
    align = ["---"] * len(table.heads) + ["---:" if table.numeric else "---"] * len(table.columns)
    names = len(table.heads)
    rows = [((group.name, line.name)[-names:] + line.cells) for group in table.groups for line in group.lines]
    body = ["| " + " | ".join(map(format_text, row)) + " |" for row in (columns, align, *rows)]
    note = f"{format_prose(table.note)}\n\n" if table.note else ""
    return f"### {format_text(table.title)}\n\n{note}" + "\n".join(body)


def format_prose(text: str) -> str:
    """Escape a text of the report as `format_text` does, but leave code in it, such as `controls.share`, as code."""
    text, found, place = escape(" ".join(text.split())), "", 0
    for code in _CODE.finditer(text):
        found += _escape_marks(text[place : code.start()]) + code[0]
        place = code.end()
    return found + _escape_marks(text[place:])


def format_text(text: str) -> str:
    """Escape data as one printable line of Markdown, so that it neither ends a cell nor starts markup."""
    return _escape_marks(escape(" ".join(text.split())))


def _escape_marks(text: str) -> str:
    for mark in ("\\", "|", "<", "*", "_", "`", "["):
        text = text.replace(mark, "\\" + mark)
    return text
