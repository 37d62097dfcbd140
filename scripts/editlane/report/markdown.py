"""The numbers of a report as Markdown."""

from collections.abc import Sequence

from editlane.report.load import Report
from editlane.report.notices import Notice
from editlane.report.summary import (
    Table,
    criterion_tables,
    error_table,
    facts,
    provenance_tables,
    score_tables,
    state_table,
)


def to_markdown(report: Report, notices: Sequence[Notice], min_coverage: float = 0.0) -> str:
    """`report.md`: the notices, then the tables of the page."""
    title = f"# Editlane report: {_text(report.numbers['run'])}"
    head = [f"- {label}: **{_text(name)}** {_text(detail)}".rstrip() for label, name, detail in facts(report)]
    quotes = [
        "\n".join([f"> **{_text(notice.title)}**", *(f"> - {_text(line)}" for line in notice.lines)])
        for notice in notices
    ]
    tables = [*score_tables(report, min_coverage), *criterion_tables(report), state_table(report)]
    errors = error_table(report)
    tables += [errors] if errors else []
    blocks = [title, "\n".join(head), *quotes, *map(_table, tables), "## How it was made"]
    blocks += [_table(table, level=3) for table in provenance_tables(report)]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table, level: int = 2) -> str:
    columns = (*table.heads, *table.columns)
    align = ["---"] * len(table.heads) + ["---:" if table.numeric else "---"] * len(table.columns)
    names = len(table.heads)
    rows = [((group.name, line.name)[-names:] + line.cells) for group in table.groups for line in group.lines]
    body = ["| " + " | ".join(map(_text, row)) + " |" for row in (columns, align, *rows)]
    return f"{'#' * level} {_text(table.title)}\n\n" + "\n".join(body)


def _text(text: str) -> str:
    """Data as one line of Markdown that neither ends a cell nor starts markup."""
    for mark in ("\\", "|", "<", "*", "_", "`", "["):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
