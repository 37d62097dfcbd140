"""Draw the differences of two runs as SVG: one panel per pair of editors, one line per category around zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from editlane.core.printable import escape_lines
from editlane.report.cells import format_interval, format_signed
from editlane.report.page.charts import MARGIN, WIDTH, fit_label
from editlane.report.runs.words import name_judge, name_pair
from editlane.report.texts import Texts

LINE = 36
"""Height of a category, in pixels: its text, and its interval below."""

ENDS = (0.5, 1.0, 2.0, 4.0, 6.0, 10.0)
"""Ends of the axis, in points of the 0..10 scale; the first that holds all intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferencePanel:
    """The differences of one pair of editors by one judge."""

    title: str
    svg: Markup


def draw_differences(numbers: Mapping[str, Any], t: Texts) -> list[DifferencePanel]:
    """Draw a panel for each pair of editors, judge and run. All have the same axis."""
    panels = [
        (place, one["run"], judge, rows)
        for place, one in enumerate(numbers["comparisons"], start=1)
        for judge in one["judges"]
        for rows in _group_pairs(judge["comparisons"])
    ]
    ends = [abs(end) for *_, rows in panels for row in rows for end in (row["interval"] or [row["difference"] or 0.0])]
    reach = next(end for end in ENDS if end >= min(max(ends, default=0.0), ENDS[-1]))
    drawn = []
    for place, run, judge, rows in panels:
        pair, by = name_pair(rows[0], numbers["reference"], t), name_judge(judge, run, t)
        title = " · ".join((pair, by, run)) if len(numbers["comparisons"]) > 1 else f"{pair} · {by}"
        drawn.append(
            DifferencePanel(title=title, svg=_draw(rows, place, reach, t("runs.chart.alt", pair=pair, judge=by), t))
        )
    return drawn


def _group_pairs(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    pairs = dict.fromkeys((row["editor"], row["editor_in_run"]) for row in rows)
    return [[row for row in rows if (row["editor"], row["editor_in_run"]) == pair] for pair in pairs]


def _draw(rows: Sequence[Mapping[str, Any]], place: int, reach: float, alt: str, t: Texts) -> Markup:
    bottom = LINE * len(rows)
    ticks = Markup("").join(
        Markup('<path class="grid" d="M{x} 18V{b}"/><text class="tick" x="{x}" y="{y}">{v}</text>').format(
            x=_to_x(value, reach), b=bottom, y=bottom + 13, v=f"{value:+g}".replace("+0", "0").replace("-", "−")
        )
        for value in (-reach, -reach / 2, 0.0, reach / 2, reach)
    )
    zero = Markup('<path class="median" d="M{x} 18V{b}"/>').format(x=_to_x(0.0, reach), b=bottom)
    body = Markup("").join(_draw_row(row, LINE * number, reach, t) for number, row in enumerate(rows))
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{alt}" style="--c:var(--e{e})">{ticks}{zero}{body}</svg>'
    ).format(w=WIDTH, h=bottom + 18, alt=escape_lines(alt), e=place % 8, ticks=ticks, zero=zero, body=body)


def _draw_row(row: Mapping[str, Any], top: int, reach: float, t: Texts) -> Markup:
    difference, interval = row["difference"], row["interval"]
    said = t("page.no_data") if difference is None else format_signed(difference)
    said += f" {format_interval(interval)}" if interval else ""
    name = t("page.macro") if row["category"] is None else row["category"]
    label = '<text x="0" y="{y}">{label}</text><text class="numbers" x="{w}" y="{y}">{said}</text>'
    parts = [Markup(label).format(y=top + 12, w=WIDTH, label=fit_label(name, said), said=said)]
    if interval:
        left, right = (_to_x(end, reach) for end in interval)
        parts.append(Markup('<path class="interval" d="M{l} {y}H{r}"/>').format(l=left, r=right, y=top + 25))
    if difference is not None:
        diamond = '<path class="mean" d="M{x} {a}l5 5l-5 5l-5 -5z"/>'
        parts.append(Markup(diamond).format(x=_to_x(difference, reach), a=top + 20))
    return Markup("").join(parts)


def _to_x(difference: float, reach: float) -> float:
    share = (max(-reach, min(reach, difference)) + reach) / (2 * reach)
    return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)
