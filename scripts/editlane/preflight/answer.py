"""Say in the terminal what a run found, in the words of the report: its answer, the judges, the editors' means.

The numbers and the answer are those of report.json. Nothing is computed here, and a judge that is not accepted has no
means here, as it has none on the page.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editlane.core.printable import escape
from editlane.core.text_width import measure_width, shorten_name
from editlane.report.cells import NONE, format_coverage, format_mean, format_number
from editlane.report.claims import say_claim, say_others, say_verdict
from editlane.report.texts import Texts, load_texts

GAP = 2
"""Spaces between columns."""
LONGEST = 28
"""Columns of a name in a cell of its own."""
WIDEST = 160
"""A wider terminal is used up to here: longer lines are hard to follow."""

VERSION = 1
"""The `definition_version` of the answers that can be said."""

Numbers = Mapping[str, Any]
Rows = list[list[str]]


def read_numbers(page: Path) -> Numbers | None:
    """Read the report.json beside a page. None if it is missing, damaged, or of a version without this answer."""
    try:
        numbers = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    answer = numbers.get("answer") if isinstance(numbers, dict) else None
    return numbers if isinstance(answer, dict) and answer.get("definition_version") == VERSION else None


def list_sentences(numbers: Numbers, t: Texts) -> list[str]:
    """List what stands below the table: how to read it, the answer as on the page, and whether judges are accepted."""
    answer = numbers["answer"]
    legend = [] if answer["judge"] is None else [t("answer.legend", judge=answer["judge"])]
    claim, evidence = say_claim(answer, answer["judge"], t)
    lines = [*legend, t("notice.full_stop", text=claim), evidence, *say_others(answer, t)]
    lines += [_describe(judge, found, t) for judge, found in answer["judges"].items()]
    if numbers["missing"]:
        lines.append(t("answer.partial", n=numbers["missing"]))
    return [escape(line) for line in lines if line]


def _describe(judge: str, found: Numbers, t: Texts) -> str:
    """Say whether a judge is accepted, and where an accepted one is not believed."""
    names = [one["name"] for one in found["left_out"]]
    key = "answer.of_judge_in_part" if names else "answer.of_judge"
    return t(key, judge=judge, said=say_verdict(found, t), names=t.join(names))


def lay_out(numbers: Numbers, t: Texts, width: int) -> list[Rows]:
    """Lay the means of all editors out in one table: an editor per row where that fits, else an editor per column.

    Editors that do not fit side by side follow in further blocks of the table. The first row of each is its head.
    """
    judge, editors = numbers["answer"]["judge"], numbers["editors"]
    if judge is None:
        return [_lay_out_coverage(editors, t)]
    order = numbers["answer"]["judges"][judge]["order"]
    categories = list(editors[order[0]][judge]["categories"])
    heads = [t("column.macro"), t("column.coverage"), *(_fit(name) for name in categories)]
    columns = [[_fit(editor), *_make_cells(editors[editor][judge], categories, t)] for editor in order]
    rows = [[t("head.editor"), *heads], *columns]
    if _measure(rows) <= min(width, WIDEST):
        return [rows]
    room = max(measure_width(cell) for column in columns for cell in column[1:])
    columns = [[shorten_name(column[0], room), *column[1:]] for column in columns]
    first = [t("head.editor"), *heads]
    widest = max(measure_width(cell) for column in columns for cell in column)
    beside = max(1, (width - max(map(measure_width, first))) // (widest + GAP))
    return [
        [list(row) for row in zip(first, *columns[start : start + beside], strict=True)]
        for start in range(0, len(columns), beside)
    ]


def _lay_out_coverage(editors: Numbers, t: Texts) -> Rows:
    """Lay out how many of the scores each editor has, over all judges."""
    rows = [[t("head.editor"), t("column.coverage")]]
    for editor, by_judge in editors.items():
        counts = [sum(one["overall"][name] for one in by_judge.values()) for name in ("scored", "n")]
        rows.append([_fit(editor), format_coverage(*counts)])
    return rows


def _fit(name: str) -> str:
    return shorten_name(escape(name), LONGEST)


def _make_cells(cell: Numbers, categories: Sequence[str], t: Texts) -> list[str]:
    macro, overall = cell["macro"], cell["overall"]
    cells = [format_mean(macro["mean"], macro["interval"]), format_coverage(overall["scored"], overall["n"])]
    return [*cells, *(_format_category(cell["categories"][name], t) for name in categories)]


def _format_category(spread: Numbers, t: Texts) -> str:
    if not spread["scored"]:
        return f"{NONE} (0)"
    mean, std = format_number(spread["mean"]), format_number(spread["std"])
    return t("answer.cell", mean=mean, std=std, n=spread["scored"])


def _measure(rows: Rows) -> int:
    return sum(_find_widths(rows)) + GAP * (len(rows[0]) - 1)


def _find_widths(rows: Rows) -> list[int]:
    return [max(map(measure_width, column)) for column in zip(*rows, strict=True)]


def align(rows: Rows, widths: Sequence[int]) -> list[str]:
    """Align the rows in columns, the first to the left and the others to the right, with a line under the head."""
    lines = [
        (" " * GAP)
        .join(_pad(cell, width, left=place == 0) for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        .rstrip()
        for row in rows
    ]
    return [lines[0], "-" * (sum(widths) + GAP * (len(widths) - 1)), *lines[1:]]


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - measure_width(text))
    return text + space if left else space + text


def print_answer(page: Path, language: str) -> None:
    """Print the answer of the report beside a page, if it has one that can be read."""
    t, numbers = load_texts(language), read_numbers(page)
    try:
        blocks = lay_out(numbers, t, shutil.get_terminal_size().columns) if numbers else []
        sentences = list_sentences(numbers, t) if numbers else []
    except (LookupError, TypeError, AttributeError, ValueError):  # a report.json that was changed by hand
        return
    if not blocks:
        return
    # Blocks stand below each other, so their columns are equally wide.
    shared = [_find_widths(block) for block in blocks]
    widths = [max(of[place] for of in shared if place < len(of)) for place in range(len(shared[0]))]
    if not (sys.stdout.isatty() and _print_richly(blocks, widths, sentences)):
        print("\n\n".join(["\n".join(align(block, widths[: len(block[0])])) for block in blocks]))
        print("\n".join(["", *sentences]))


def _print_richly(blocks: Sequence[Rows], widths: Sequence[int], sentences: Sequence[str]) -> bool:
    """Print all in a terminal. False if the package rich is missing, which is needed for nothing else here."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    console = Console(highlight=False, markup=False, emoji=False)
    needed = max(console.width, sum(widths) + GAP * len(widths))
    for rows in blocks:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for place, (head, width) in enumerate(zip(rows[0], widths, strict=False)):
            table.add_column(Text(head), justify="right" if place else "left", min_width=width, no_wrap=True)
        for row in rows[1:]:
            table.add_row(*(Text(cell, style="" if place else "bold") for place, cell in enumerate(row)))
        console.print(table, width=needed)
        console.print()
    for sentence in sentences:
        console.print(Text(sentence))
    return True
