"""Say in the terminal what a run found: the editors' means, whether the judge is accepted, who is best.

The numbers are those of report.json. Nothing is computed here, and nothing is ranked by a judge that is not accepted.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editlane.core.printable import escape
from editlane.core.text_width import measure_width, shorten_name
from editlane.report.texts import Texts, load_texts

NONE = "–"
GAP = 2
"""Spaces between columns."""
LONGEST = 28
"""Columns of a name in a cell of its own."""
WIDEST = 160
"""A wider terminal is used up to here: longer lines are hard to follow."""

Numbers = Mapping[str, Any]
Rows = list[list[str]]


def read_numbers(page: Path) -> Numbers | None:
    """Read the report.json beside a page. None if it is missing, damaged, or about nothing."""
    try:
        numbers = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(numbers, dict) and all(isinstance(numbers.get(key), dict) for key in ("editors", "acceptance"))
    return numbers if known and numbers["editors"] and numbers["acceptance"] else None


def list_sentences(numbers: Numbers, t: Texts) -> list[str]:
    """List what stands below the table: how to read it, the judge, what can be said, the other judges."""
    first = choose_judge(numbers)
    lines = [t("last_words.legend", judge=first), describe_judge(numbers, first, t)]
    if is_accepted(numbers, first):
        lines.append(say_best(numbers, first, t))
    lines += [_describe_in_short(numbers, judge, t) for judge in numbers["acceptance"] if judge != first]
    if numbers.get("missing"):
        lines.append(t("last_words.partial", n=numbers["missing"]))
    return [escape(line) for line in lines if line]


def choose_judge(numbers: Numbers) -> str:
    """Return the judge whose scores are shown, as on the page: an accepted panel, an accepted judge, or the first."""
    panels = numbers.get("provenance", {}).get("panels") or {}
    judges: list[str] = list(numbers["acceptance"])
    return min(judges, key=lambda judge: (not is_accepted(numbers, judge), judge not in panels))


def is_accepted(numbers: Numbers, judge: str) -> bool:
    """Return whether editors are ranked by this judge."""
    return bool(numbers["acceptance"][judge]["verdict"] == "accepted")


def describe_judge(numbers: Numbers, judge: str, t: Texts) -> str:
    """Say whether the judge is accepted, and where an accepted one is not believed."""
    found = numbers["acceptance"][judge]
    if found["verdict"] != "accepted":
        return t(f"last_words.{found['verdict']}", judge=judge)
    categories = next(iter(numbers["editors"].values()))[judge]["categories"]
    doubted = [
        name
        for part, names in (("categories", categories), ("editors", numbers["editors"]))
        for name in names
        if found[part].get(name, {}).get("verdict") != "told_apart"
    ]
    return t("last_words.in_part" if doubted else "last_words.accepted", judge=judge, names=t.join(doubted))


def say_best(numbers: Numbers, judge: str, t: Texts) -> str:
    """Say in one sentence which editors are best, by the ranks of the report. "" for a report that has none."""
    if len(numbers["editors"]) == 1:
        return t("last_words.single")
    if "ranks" not in numbers:
        return ""
    ranks = numbers["ranks"].get(judge, {})
    best = [editor for editor, (first, _) in ranks.items() if first == 1]
    if not best or len(ranks) < 2:
        return t("last_words.best_none")
    if len(best) == 1:
        return t(
            "last_words.best" if len(ranks) == len(numbers["editors"]) else "last_words.best_ranked", editor=best[0]
        )
    return t("last_words.best_of", editors=t.join(best))


def _describe_in_short(numbers: Numbers, judge: str, t: Texts) -> str:
    """Describe a further judge in one line; the means of one that is not accepted are left to the report."""
    said = describe_judge(numbers, judge, t)
    if not is_accepted(numbers, judge):
        return said
    return t("last_words.short", said=said, best=say_best(numbers, judge, t)) if len(numbers["editors"]) > 1 else said


def lay_out(numbers: Numbers, t: Texts, width: int) -> list[Rows]:
    """Lay the means of all editors out in one table: an editor per row where that fits, else an editor per column.

    Editors that do not fit side by side follow in further blocks of the table. The first row of each is its head.
    """
    judge = choose_judge(numbers)
    order = _order(numbers, judge)
    categories = list(next(iter(numbers["editors"].values()))[judge]["categories"])
    heads = [t("last_words.macro"), t("last_words.coverage"), *(_fit(name) for name in categories)]
    columns = [[_fit(editor), *_make_cells(numbers["editors"][editor][judge], categories, t)] for editor in order]
    rows = [[t("last_words.editor"), *heads], *columns]
    if _measure(rows) <= min(width, WIDEST):
        return [rows]
    room = max(measure_width(cell) for column in columns for cell in column[1:])
    columns = [[shorten_name(column[0], room), *column[1:]] for column in columns]
    first = [t("last_words.editor"), *heads]
    widest = max(measure_width(cell) for column in columns for cell in column)
    beside = max(1, (width - max(map(measure_width, first))) // (widest + GAP))
    return [
        [list(row) for row in zip(first, *columns[start : start + beside], strict=True)]
        for start in range(0, len(columns), beside)
    ]


def _fit(name: str) -> str:
    return shorten_name(escape(name), LONGEST)


def _order(numbers: Numbers, judge: str) -> list[str]:
    """Order the editors by their ranks; in the order of the run if nothing is ranked."""
    ranks = numbers.get("ranks", {}).get(judge, {})
    last = (len(numbers["editors"]) + 1, 0)
    return sorted(numbers["editors"], key=lambda editor: tuple(ranks.get(editor, last)))


def _make_cells(cell: Numbers, categories: Sequence[str], t: Texts) -> list[str]:
    macro, overall = cell["macro"], cell["overall"]
    mean = _format(macro["mean"])
    if macro["interval"]:
        mean += f" [{', '.join(map(_format, macro['interval']))}]"
    coverage = NONE if overall["coverage"] is None else f"{_floor_percent(overall['coverage'])}%"
    counts = f"{overall['scored']}/{overall['n']} {coverage}"
    return [mean, counts, *(_format_category(cell["categories"][name], t) for name in categories)]


def _format_category(spread: Numbers, t: Texts) -> str:
    if not spread["scored"]:
        return f"{NONE} (0)"
    return t("last_words.cell", mean=_format(spread["mean"]), std=_format(spread["std"]), n=spread["scored"])


def _format(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _floor_percent(share: float) -> int:
    """Return whole percents, 100 only if nothing is missing."""
    return 100 if share >= 1 else min(99, round(100 * share))


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
    except (LookupError, TypeError, AttributeError):  # another version's report.json, or one that was changed by hand
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
