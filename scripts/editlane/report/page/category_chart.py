"""Draw the means of the editors in each category as small charts with one axis."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from editlane.core.printable import escape_lines
from editlane.core.text_width import shorten_name
from editlane.report.belief import list_believed
from editlane.report.cells import format_mean, label_editor
from editlane.report.load import Report
from editlane.report.page.axis import WIDTH, Axis, colour, draw_line, draw_mark, draw_svg, draw_text, fit_axis
from editlane.report.page.figure import Figure
from editlane.report.texts import Texts

LINE = 18
NAMES, NUMBERS = 118, 254
"""Where the axis begins and ends, beside the names and the numbers."""
LONGEST = 18
"""Columns of a name."""


def draw_categories(report: Report, judge: str, t: Texts) -> list[Figure]:
    """Draw the believed editors in each category where the judge is believed. Empty with one category or less."""
    acceptance = report.numbers["acceptance"][judge]
    categories = list_believed(acceptance, "categories", report.categories)
    editors = list_believed(acceptance, "editors", report.editors)
    cells = {
        category: {editor: report.numbers["editors"][editor][judge]["categories"][category] for editor in editors}
        for category in categories
    }
    drawn = {name: of for name, of in cells.items() if any(one["scored"] for one in of.values())}
    if len(drawn) < 2:
        return []
    scored = [one for of in drawn.values() for one in of.values() if one["scored"]]
    ends = [end for one in scored for end in (one["interval"] or [one["mean"]])]
    axis = fit_axis(ends, NAMES + 8, NUMBERS - 8, (0, 10))
    return [
        Figure(
            title=t("small.title", category=name, judge=judge),
            svg=_draw(report, axis, of, t("small.alt", category=name, judge=judge), t),
        )
        for name, of in drawn.items()
    ]


def _draw(report: Report, axis: Axis, of: Mapping[str, Mapping[str, Any]], alt: str, t: Texts) -> Markup:
    bottom = LINE * len(of) + 2
    body = []
    for value in axis.list_ticks()[:: 2 if len(axis.list_ticks()) > 4 else 1]:
        x = axis.place(value)
        body += [draw_line("grid", (x, 0), (x, bottom)), draw_text(x, bottom + 12, f"{value:g}", "tick")]
    for row, (editor, one) in enumerate(of.items()):
        place = report.editors.index(editor)
        body.append(colour(place, _draw_line(axis, one, LINE * row, label_editor(report, place, t), t)))
    return draw_svg(bottom + 16, alt, body)


def _draw_line(axis: Axis, one: Mapping[str, Any], top: float, name: str, t: Texts) -> list[Markup]:
    y, said = top + 9, t("page.no_data")
    if one["scored"]:
        said = format_mean(one["mean"], one["interval"])
    hover = f"{name}: {said}, {one['scored']}/{one['n']}"
    parts = [
        draw_text(0, top + 13, shorten_name(escape_lines(name), LONGEST), "small", hover),
        draw_text(WIDTH, top + 13, said, "numbers small"),
    ]
    if one["interval"]:
        low, high = (axis.place(end) for end in one["interval"])
        parts.append(draw_line("interval", (low, y), (high, y)))
    if one["scored"]:
        parts.append(draw_mark(axis.place(one["mean"]), y, "better"))
    return parts
