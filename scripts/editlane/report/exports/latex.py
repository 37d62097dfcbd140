r"""Format tables as LaTeX: a `tabular` with the rules of the package booktabs.

Chinese texts stay as they are, and need XeLaTeX or LuaLaTeX with ctex, or pdfLaTeX with CJKutf8.
"""

import re

from editlane.core.printable import escape
from editlane.report.cells import Table

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "≈": r"$\approx$",
    "▲": r"$\triangle$",
    "▼": r"$\triangledown$",
    "“": "``",
    "”": "''",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}
"""`[` and `*` would be an option of the `\\\\` before them."""

_LETTERS = re.compile("|".join(map(re.escape, _ESCAPED)))


def format_table(table: Table) -> str:
    """Return the table as LaTeX, with its title in a comment."""
    names = len(table.heads)
    columns = "l" * names + ("r" if table.numeric else "l") * len(table.columns)
    groups = [
        [
            [*([group.name if place == 0 else ""] if names == 2 else []), line.name, *line.cells]
            for place, line in enumerate(group.lines)
        ]
        for group in table.groups
        if group.lines
    ]
    return format_tabular(table.title, columns, [*table.heads, *table.columns], groups)


def format_tabular(title: str, columns: str, head: list[str], groups: list[list[list[str]]]) -> str:
    """Return a `tabular`: its column types, its head, and groups of rows with a rule between."""
    lines = [
        f"% {escape(' '.join(title.split()))}",
        r"% Needs \usepackage{booktabs}; symbols need amssymb and textcomp, Chinese needs ctex.",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _format_row(head),
    ]
    for rows in groups:
        lines += [r"\midrule", *map(_format_row, rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _format_row(cells: list[str]) -> str:
    return " & ".join(map(format_text, cells)) + r" \\"


def format_text(text: str) -> str:
    """Escape a text as one line of LaTeX. Hyphens in a row stay hyphens."""
    line = escape(" ".join(text.split()))
    return _LETTERS.sub(lambda found: _ESCAPED[found[0]], re.sub("-(?=-)", "-\0", line)).replace("\0", "{}")
