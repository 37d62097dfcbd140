"""Draw the differences of editors as a forest plot: one line per pair, around zero."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from editlane.core.printable import escape_lines
from editlane.core.text_width import shorten_name
from editlane.report.cells import format_interval, format_signed
from editlane.report.load import Report
from editlane.report.page.axis import WIDTH, Axis, colour, draw_line, draw_mark, draw_svg, draw_text, fit_axis
from editlane.report.page.figure import Figure
from editlane.report.statements import BETTER
from editlane.report.texts import Texts
from editlane.stats.comparisons import REACH

MOST_PAIRS = 15
"""With more pairs, only those with the editor of the highest macro mean are drawn."""

LINE, MARGIN = 44, 8
"""Height of a pair: its names, its numbers, its interval."""
LONGEST = 26
"""Columns of a name."""

Comparison = Mapping[str, Any]


def draw_forest(report: Report, judge: str, t: Texts) -> list[Figure]:
    """Draw the macro means' differences by this judge, the strongest first. Empty without a difference."""
    every = [one for one in report.numbers["comparisons"][judge] if one["category"] is None]
    pairs = [_turn(one) for one in every if one["difference"] is not None]
    best = max(report.editors, key=lambda editor: report.numbers["editors"][editor][judge]["macro"]["mean"] or 0.0)
    notes = [t("forest.note")]
    if len(pairs) > MOST_PAIRS:
        pairs = [one for one in pairs if best in (one["a"], one["b"])]
        notes.append(t("forest.only_best", editor=best))
    if not pairs:
        return []
    pairs.sort(key=lambda one: (one["verdict"] not in BETTER, -one["difference"]))
    svg = _draw(report, judge, pairs, t)
    return [Figure(title=t("forest.title", judge=judge), svg=svg, note=t("page.space").join(notes))]


def _turn(one: Comparison) -> Comparison:
    """Turn a comparison so that its difference is not negative."""
    if one["difference"] >= 0:
        return one
    interval = None if one["interval"] is None else sorted(-end for end in one["interval"])
    return dict(one) | {"a": one["b"], "b": one["a"], "difference": -one["difference"], "interval": interval}


def _draw(report: Report, judge: str, pairs: Sequence[Comparison], t: Texts) -> Markup:
    ends = [end for one in pairs for end in (*(one["interval"] or ()), one["difference"], 0.0)]
    axis, bottom = fit_axis(ends, MARGIN, WIDTH - MARGIN, (-REACH, REACH)), LINE * len(pairs)
    body = [_draw_tick(axis, value, len(pairs)) for value in axis.list_ticks()]
    for place, one in enumerate(pairs):
        body.append(colour(report.editors.index(one["a"]), _draw_pair(axis, one, LINE * place, t)))
    return draw_svg(bottom + 18, t("forest.alt", judge=judge), body)


def _draw_tick(axis: Axis, value: float, pairs: int) -> Markup:
    """Draw a value below the chart, and its line through the intervals, but not through the texts."""
    x, kind = axis.place(value), "median" if value == 0 else "grid"
    text = f"{value:+g}".replace("-", "−") if value else "0"
    lines = [draw_line(kind, (x, LINE * place + 30), (x, LINE * place + 42)) for place in range(pairs)]
    return Markup("").join([*lines, draw_text(x, LINE * pairs + 13, text, "tick")])


def _draw_pair(axis: Axis, one: Comparison, top: float, t: Texts) -> list[Markup]:
    names = {side: shorten_name(escape_lines(one[side]), LONGEST) for side in ("a", "b")}
    verdict = t(f"comparisons.{one['verdict']}", a=one["a"], b=one["b"])
    said = f"{format_signed(one['difference'])} {format_interval(one['interval']) if one['interval'] else ''}".strip()
    full = t("forest.hover", a=one["a"], b=one["b"], said=said, n=one["n"], verdict=verdict)
    y = top + 36
    parts = [
        draw_text(0, top + 12, t("comparisons.against", **names), hover=full),
        draw_text(WIDTH, top + 26, said, "numbers"),
        draw_text(0, top + 26, shorten_name(escape_lines(verdict), 29), "small"),
    ]
    better = one["verdict"] in BETTER
    if one["interval"]:
        low, high = (axis.place(end) for end in one["interval"])
        parts.append(draw_line("interval" if better else "thin", (low, y), (high, y)))
    kind = "better" if better else "open" if one["verdict"] == "not_separable" else "none"
    return [*parts, draw_mark(axis.place(one["difference"]), y, kind)]
