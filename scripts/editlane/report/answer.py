"""Answer the report's question in a few lines: which editor is better, how surely, and what it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from markupsafe import Markup

from editlane.core.types import SCALE
from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_coverage,
    format_number,
    format_percent,
    label_editor,
)
from editlane.report.claims import format_macro, is_wholly_accepted, say_claim, say_others, say_verdict
from editlane.report.conclusion import conclude
from editlane.report.leaderboard import format_rank
from editlane.report.load import Report
from editlane.report.page.axis import Axis, draw_line, draw_mark
from editlane.report.texts import Texts

WIDTH, HEIGHT, EDGE = 240, 18, 7
"""Size of a line of the forest plot, and its margin, in units of its view box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorLine:
    """One editor on the first screen."""

    name: str
    editor: int
    """Its index in the report, which selects its colour."""
    rank: str
    macro: str
    forest: Markup
    ahead: str
    """In how many categories it is higher than every other ranked editor."""
    coverage: str
    seconds: str
    first: bool
    """True if it may be the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFact:
    """One of the few facts beside the answer."""

    label: str
    text: str
    detail: str
    link: str
    """Name of the section with the rest."""
    good: bool = True
    """False if a reader has to know before the answer is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    judge: str | None
    """The judge whose means are shown; None if no judge is shown."""
    claim: str
    evidence: str
    others: tuple[str, ...]
    """What the other accepted judges say."""
    lines: tuple[EditorLine, ...]
    axis: Axis
    """The forest plot's axis."""
    figures: tuple[KeyFact, ...]


def make_answer(report: Report, t: Texts) -> Answer:
    """Put what the report concludes into words, with a line of each editor by the judge of the result."""
    found = conclude(report)
    judge = found["judge"]
    axis = _find_axis(report, judge)
    claim, evidence = say_claim(found, judge, t)
    return Answer(
        judge=judge,
        claim=claim,
        evidence=evidence,
        others=tuple(say_others(found, t)),
        lines=() if judge is None else _make_lines(report, judge, found["judges"][judge], axis, t),
        axis=axis,
        figures=tuple(_make_figures(report, found, t)),
    )


def tabulate_answer(answer: Answer, t: Texts) -> Table:
    """Make a table of the editors on the first screen."""
    lines = tuple(
        Line(name=one.name, cells=(one.rank, one.macro, one.ahead, one.coverage, one.seconds), editor=one.editor)
        for one in answer.lines
    )
    columns = ("column.rank", "answer.macro_head", "answer.ahead_head", "column.coverage", "answer.seconds_head")
    return Table(
        title=t("answer.table", judge=answer.judge),
        heads=(t("head.editor"),),
        columns=tuple(map(t, columns)),
        groups=(Group(name="", lines=lines),),
    )


def _make_lines(report: Report, judge: str, found: Mapping[str, Any], axis: Axis, t: Texts) -> tuple[EditorLine, ...]:
    places = map(report.editors.index, found["order"])
    return tuple(_make_line(report, place, judge, found, axis, t) for place in places)


def _make_line(report: Report, place: int, judge: str, found: Mapping[str, Any], axis: Axis, t: Texts) -> EditorLine:
    editor = report.editors[place]
    cell = report.numbers["editors"][editor][judge]
    ahead = found["ahead"].get(editor)
    return EditorLine(
        name=label_editor(report, place, t),
        editor=place,
        rank=format_rank(found["ranks"].get(editor), t),
        macro=format_macro(cell["macro"], t),
        forest=_draw_forest(cell["macro"]["mean"], cell["macro"]["interval"], axis),
        ahead=NONE if ahead is None else t("answer.ahead", k=ahead, all=len(report.categories)),
        coverage=format_coverage(cell["overall"]["scored"], cell["overall"]["n"]),
        seconds=_format_seconds(_find_seconds(report).get(editor), t),
        first=editor in found["ranks"] and editor in found["editors"],
    )


def _find_axis(report: Report, judge: str | None) -> Axis:
    """Return an axis with whole ends around all means and intervals, within the scale."""
    macros = [] if judge is None else [report.numbers["editors"][editor][judge]["macro"] for editor in report.editors]
    ends = [end for macro in macros if macro["mean"] is not None for end in (macro["interval"] or [macro["mean"]])]
    low, high = (max(SCALE[0], floor(min(ends))), min(SCALE[1], ceil(max(ends)))) if ends else SCALE
    if high <= low:
        low, high = max(SCALE[0], low - 1), min(SCALE[1], high + 1)
    return Axis(low=low, high=high, start=EDGE, end=WIDTH - EDGE)


def _draw_forest(mean: float | None, interval: Sequence[float] | None, axis: Axis) -> Markup:
    """Draw one mean with its interval. The cell beside it has the numbers."""
    ticks = "".join(f"M{axis.place(value):g} 0v{HEIGHT}" for value in range(int(axis.low), int(axis.high) + 1))
    parts = [Markup('<path class="grid" d="{d}"/>').format(d=ticks)]
    if interval is not None:
        parts.append(draw_line("interval", *((axis.place(end), HEIGHT / 2) for end in interval)))
    if mean is not None:
        parts.append(draw_mark(axis.place(mean), HEIGHT / 2, "better"))
    body = Markup("").join(parts)
    return Markup('<svg viewBox="0 0 {w} {h}" aria-hidden="true">{body}</svg>').format(w=WIDTH, h=HEIGHT, body=body)


def _find_seconds(report: Report) -> dict[str, float]:
    """Return the mean seconds of an edit of each editor that made its own."""
    speeds = report.numbers.get("speed", {}).get("editors", {})
    return {editor: speed["mean"] for editor, speed in speeds.items() if speed["mean"] is not None}


def _format_seconds(seconds: float | None, t: Texts) -> str:
    if seconds is None:
        return NONE
    return t("answer.seconds", seconds=format_number(seconds, 1 if seconds >= 10 else 2 if seconds >= 0.1 else 3))


def _make_figures(report: Report, found: Mapping[str, Any], t: Texts) -> list[KeyFact]:
    return [*(_judge(judge, of, t) for judge, of in found["judges"].items()), _coverage(report, t), _cost(report, t)]


def _judge(judge: str, found: Mapping[str, Any], t: Texts) -> KeyFact:
    return KeyFact(
        label=t("head.judge"),
        text=judge,
        detail=say_verdict(found, t),
        link="trust",
        good=is_wholly_accepted(found),
    )


def _coverage(report: Report, t: Texts) -> KeyFact:
    overall = [report.numbers["editors"][editor][judge]["overall"] for editor, judge in report.cells]
    scored, n = sum(one["scored"] for one in overall), sum(one["n"] for one in overall)
    detail = t("answer.scored", scored=scored, n=n)
    return KeyFact(
        label=t("column.coverage"), text=format_percent(scored / n if n else None), detail=detail, link="states"
    )


def _cost(report: Report, t: Texts) -> KeyFact:
    """Say how long devices were held, in GPU-hours if there are any, and how long an edit takes."""
    total, seconds = report.numbers["costs"]["total"], _find_seconds(report)
    hours, held = total.get("gpu_hours"), total.get("held_seconds")
    text = NONE
    if hours is not None:
        text = t("answer.gpu_hours", hours=format_number(hours, 2))
    elif held is not None:
        hourly = held >= 3600
        text = t("answer.hours" if hourly else "answer.held", time=format_number(held / 3600 if hourly else held, 1))
    low, high = (min(seconds.values()), max(seconds.values())) if seconds else (None, None)
    ends = [_format_seconds(low, t), _format_seconds(high, t)]
    per_edit = t("answer.per_edit", time=" – ".join(dict.fromkeys(ends))) if seconds else t("answer.no_costs")
    return KeyFact(label=t("costs.title"), text=text, detail=per_edit, link="costs" if total["attempts"] else "run")
