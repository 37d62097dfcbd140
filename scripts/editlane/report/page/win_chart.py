"""Draw on which share of the shared items each editor scores higher than each other one, as a matrix."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from editlane.core.printable import escape_lines
from editlane.core.text_width import shorten_name
from editlane.report.load import Report
from editlane.report.page.axis import WIDTH, colour, draw_svg, draw_text
from editlane.report.page.figure import Figure
from editlane.report.texts import Texts

NAMES = 130
"""Width of the names on the left."""
LONGEST = 17
"""Columns of a name."""
CELL, HEAD = 26, 20
"""Height of a cell and of the head."""
STRONGEST = 0.55
"""Opacity of a cell whose row wins everywhere. The text stays readable on it."""


def draw_wins(report: Report, judge: str, t: Texts) -> list[Figure]:
    """Draw the matrix of this judge. Empty with fewer than three editors that share items: one pair is one number."""
    pairs = [one for one in report.numbers.get("win_rates", {}).get("judges", {}).get(judge, []) if one["n"]]
    known = {name for one in pairs for name in (one["a"], one["b"])}
    editors = [editor for editor in report.editors if editor in known]
    if len(editors) < 3:
        return []
    svg = _draw(report, judge, editors, _fill(pairs), t)
    return [Figure(title=t("wins.title", judge=judge), svg=svg, note=t("wins.note"))]


def _fill(pairs: list[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return both directions of each pair."""
    cells: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in pairs:
        interval = one["interval"]
        turned = None if interval is None else [1 - interval[1], 1 - interval[0]]
        cells[one["a"], one["b"]] = one
        cells[one["b"], one["a"]] = dict(one) | {"rate": 1 - one["rate"], "interval": turned}
    return cells


def _draw(
    report: Report, judge: str, editors: list[str], cells: Mapping[tuple[str, str], Mapping[str, Any]], t: Texts
) -> Markup:
    wide = min(60.0, (WIDTH - NAMES) / len(editors))
    body = [draw_text(NAMES + wide * (place + 0.5), 13, str(place + 1), "tick") for place in range(len(editors))]
    for row, editor in enumerate(editors):
        top, name = HEAD + CELL * row, shorten_name(escape_lines(editor), LONGEST)
        parts = [draw_text(0, top + 17, f"{row + 1}  {name}", "small", editor)]
        for column, other in enumerate(editors):
            if found := cells.get((editor, other)):
                parts.append(_draw_cell(found, (editor, other), NAMES + wide * column, top, wide, t))
        body.append(colour(report.editors.index(editor), parts))
    return draw_svg(HEAD + CELL * len(editors), t("wins.alt", judge=judge), body)


def _draw_cell(
    one: Mapping[str, Any], names: tuple[str, str], left: float, top: float, wide: float, t: Texts
) -> Markup:
    interval, rate = one["interval"], one["rate"]
    sure = interval is not None and not interval[0] <= 0.5 <= interval[1]
    between = t("wins.no_interval") if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    hover = t("wins.hover", a=names[0], b=names[1], rate=f"{100 * rate:.1f}%", interval=between, n=one["n"])
    shade = round(max(0.0, rate - 0.5) * 2 * STRONGEST, 2) if interval else 0
    return Markup(
        '<rect class="win" x="{x:g}" y="{y:g}" width="{w:g}" height="{h}" fill-opacity="{o:g}"/>'
        '<text class="{k}" x="{m:g}" y="{b:g}">{s}<title>{t}</title></text>'
    ).format(
        x=round(left + 1, 1),
        y=top + 1,
        w=round(wide - 2, 1),
        h=CELL - 2,
        o=shade,
        k="cell sure" if sure else "cell",
        m=round(left + wide / 2, 1),
        b=top + 17,
        s=f"{100 * rate:.0f}",
        t=escape_lines(hover),
    )
