"""Draw quality against seconds per edit, with the intervals of both."""

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

TOP, BOTTOM, LEFT = 20, 220, 30
ROW = 32
"""Height of an editor's lines below the chart."""
LONGEST = 46
"""Columns of a name."""


def draw_speed(report: Report, judge: str, t: Texts) -> list[Figure]:
    """Draw the macro mean of each believed editor against its seconds. Empty unless two editors have both."""
    believed = list_believed(report.numbers["acceptance"][judge], "editors", report.editors)
    speeds = report.numbers.get("speed", {}).get("editors", {})
    points = [
        (place, report.numbers["editors"][editor][judge]["macro"], speeds[editor])
        for place, editor in enumerate(report.editors)
        if editor in believed
        and editor in speeds
        and speeds[editor]["mean"] is not None
        and report.numbers["editors"][editor][judge]["macro"]["mean"] is not None
    ]
    if len(points) < 2:
        return []
    devices = sorted({name for _, _, speed in points for name in speed["devices"]})
    notes = [t("speed.note")]
    if len(devices) > 1:
        notes.append(t("speed.devices", names=t.join(devices)))
    svg = _draw(report, judge, points, t)
    return [Figure(title=t("speed.title", judge=judge), svg=svg, note=t("page.space").join(notes))]


def _draw(report: Report, judge: str, points: list[tuple[int, Any, Any]], t: Texts) -> Markup:
    seconds = [end for *_, speed in points for end in (*(speed["interval"] or ()), speed["mean"])]
    means = [end for _, macro, _ in points for end in (*(macro["interval"] or ()), macro["mean"])]
    across = fit_axis([0.0, *seconds], LEFT, WIDTH - 12, (0.0, float("inf")))
    up = fit_axis(means, BOTTOM, TOP, (0.0, 10.0))
    front = report.numbers["speed"]["fronts"].get(judge, [])
    body = [*_draw_grid(across, up, t)]
    for number, (place, macro, speed) in enumerate(points, start=1):
        on_front = report.editors[place] in front
        body.append(colour(place, _draw_point(across, up, macro, speed, str(number), on_front)))
    digits = 2 if all(speed["mean"] >= 1 for *_, speed in points) else 3
    for number, (place, macro, speed) in enumerate(points, start=1):
        name = label_editor(report, place, t)
        said = t(
            "speed.line",
            mean=format_mean(macro["mean"], macro["interval"]),
            seconds=format_mean(speed["mean"], speed["interval"], digits),
            n=speed["n"],
        )
        top = BOTTOM + 42 + ROW * (number - 1)
        kind = "better" if report.editors[place] in front else "open"
        lines = [
            draw_mark(6, top + 8, kind),
            draw_text(16, top + 12, f"{number}  {shorten_name(escape_lines(name), LONGEST)}", hover=name),
            draw_text(16, top + 26, said, "small"),
        ]
        body.append(colour(place, lines))
    return draw_svg(BOTTOM + 42 + ROW * len(points), t("speed.alt", judge=judge), body)


def _draw_grid(across: Axis, up: Axis, t: Texts) -> list[Markup]:
    body = [
        draw_text(0, 12, t("column.macro"), "small"),
        draw_text(WIDTH, BOTTOM + 30, t("speed.axis"), "numbers small"),
    ]
    for value in across.list_ticks():
        x = across.place(value)
        body += [draw_line("grid", (x, TOP), (x, BOTTOM)), draw_text(x, BOTTOM + 14, f"{value:g}", "tick")]
    for value in up.list_ticks():
        y = up.place(value)
        body += [draw_line("grid", (LEFT, y), (WIDTH - 12, y)), draw_text(LEFT - 12, y + 4, f"{value:g}", "tick")]
    return body


def _draw_point(across: Axis, up: Axis, macro: Any, speed: Any, number: str, on_front: bool) -> list[Markup]:
    x, y = across.place(speed["mean"]), up.place(macro["mean"])
    parts = []
    if speed["interval"]:
        low, high = (across.place(end) for end in speed["interval"])
        parts.append(draw_line("thin", (low, y), (high, y)))
    if macro["interval"]:
        low, high = (up.place(end) for end in macro["interval"])
        parts.append(draw_line("thin", (x, low), (x, high)))
    return [*parts, draw_mark(x, y, "better" if on_front else "open"), draw_text(x + 6, y - 6, number, "small")]
