"""Format tables as CSV (RFC 4180) that a spreadsheet takes for data and never for formulas."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from editlane.core.printable import escape
from editlane.report.cells import NONE, Table

_NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?%?")
_FORMULA = "=+-@＝＋－＠\t\r"
"""A spreadsheet takes a cell that begins with one of these for a formula. Some take the wide forms for it, too."""


def format_table(table: Table) -> str:
    """Return a table's heads and lines as shown. Numbers have the minus sign of ASCII, and missing ones are empty."""
    names = len(table.heads)
    lines = [(group.name, line.name)[-names:] + line.cells for group in table.groups for line in group.lines]
    return format_rows([[*table.heads, *table.columns], *lines])


def format_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return records with a head. Numbers keep all their digits; None is an empty cell."""
    return format_rows([columns, *([record.get(column) for column in columns] for record in records)])


def format_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV. Texts are made safe for spreadsheets."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([list(map(format_cell, row)) for row in rows])
    return out.getvalue()


def format_cell(value: Any) -> str:
    """Format one cell: a text in one line, a number in full, truth as `true` or `false`."""
    if value is None or value == NONE:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = escape(" ".join(str(value).split()))
    if _NUMBER.fullmatch(text):
        return text.replace("−", "-")
    return f"'{text}" if text.startswith(tuple(_FORMULA)) else text
