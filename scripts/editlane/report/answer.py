"""Answer the report's question in a few lines: which editor is better, how surely, and what it took."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from markupsafe import Markup

from editlane.core.types import SCALE
from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_coverage,
    format_mean,
    format_number,
    format_percent,
    label_editor,
)
from editlane.report.leaderboard import Ranks, find_rank_ranges, format_rank, order_editors
from editlane.report.load import Report
from editlane.report.texts import Texts
from editlane.report.trust import explain_verdict, get_verdict, is_accepted, list_shown, name_left_out

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
    """In how many categories it is higher than every other editor."""
    coverage: str
    seconds: str
    first: bool
    """True if it may be the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One of the few figures beside the answer."""

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
    axis: tuple[float, float]
    """Ends of the forest plot's axis."""
    figures: tuple[Figure, ...]


def make_answer(report: Report, t: Texts) -> Answer:
    """Make the answer by the first accepted judge, a panel before others; without one, say that nothing is ranked."""
    judge = choose_judge(report)
    axis = _find_axis(report, judge)
    claim, evidence = _claim(report, judge, t)
    accepted = [one for one in report.judges if is_accepted(report, one) and one != judge]
    first = _list_first(report, judge) if accepted and judge else []
    return Answer(
        judge=judge,
        claim=claim,
        evidence=evidence,
        others=tuple(_claim_by(report, one, first, t) for one in accepted),
        lines=() if judge is None else _make_lines(report, judge, axis, t),
        axis=axis,
        figures=tuple(_make_figures(report, t)),
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


def choose_judge(report: Report) -> str | None:
    """Return the judge whose scores stand first: an accepted panel, or judge; else one that was not tested."""
    panels = report.numbers["provenance"].get("panels") or {}
    shown = list_shown(report)
    order = sorted(shown, key=lambda judge: (not is_accepted(report, judge), judge not in panels))
    return order[0] if order else None


def _claim_by(report: Report, judge: str, first: Sequence[str], t: Texts) -> str:
    if len(first) > 1 and _list_first(report, judge) == first:
        return t("answer.by_same", judge=judge)
    claim, evidence = _claim(report, judge, t)
    return t("answer.by", judge=judge, claim=claim, evidence=evidence)


def _claim(report: Report, judge: str | None, t: Texts) -> tuple[str, str]:
    """Return the claim and its evidence."""
    if judge is None:
        return t("answer.nothing"), t("answer.nothing_why")
    if not is_accepted(report, judge):
        return t("answer.not_tested", judge=judge), t("answer.not_tested_why")
    if len(report.editors) == 1:
        return t("answer.single", editor=report.editors[0]), t(
            "answer.macro", mean=_macro_of(report, report.editors[0], judge, t)
        )
    ranks, first = find_rank_ranges(report, judge), _list_first(report, judge)
    if not first:
        return t("answer.unranked"), ""
    if len(first) == 1 and ranks[first[0]][1] == 1:
        mean = _macro_of(report, first[0], judge, t)
        counts = {"k": count_ahead(report, first[0], judge), "all": len(report.categories)}
        why = "answer.best_why" if counts["k"] else "answer.best_only"
        return t("answer.best", editor=first[0]), t(why, mean=mean, **counts)
    if len(first) == 1:
        return t("answer.perhaps", editor=first[0]), t("answer.macro", mean=_macro_of(report, first[0], judge, t))
    return t("answer.open"), t("answer.open_why", n=len(first), names=t.join(first))


def _list_first(report: Report, judge: str) -> list[str]:
    """List the editors that may be the best, in the order of the report."""
    ranks = find_rank_ranges(report, judge)
    return [editor for editor in report.editors if ranks.get(editor, (0, 0))[0] == 1]


def _macro_of(report: Report, editor: str, judge: str, t: Texts) -> str:
    macro = report.numbers["editors"][editor][judge]["macro"]
    return format_mean(macro["mean"], macro["interval"]) if macro["categories"] else t("page.no_data")


def count_ahead(report: Report, editor: str, judge: str) -> int:
    """Count the categories in which the editor is higher than every other one, by the corrected p."""
    won: dict[str, int] = {}
    for one in report.numbers["comparisons"][judge]:
        winner = {"a_better": one["a"], "b_better": one["b"]}.get(one["verdict"])
        if one["category"] is not None and winner == editor:
            won[one["category"]] = won.get(one["category"], 0) + 1
    return sum(count == len(report.editors) - 1 for count in won.values())


def _make_lines(report: Report, judge: str, axis: tuple[float, float], t: Texts) -> tuple[EditorLine, ...]:
    ranks = find_rank_ranges(report, judge) if is_accepted(report, judge) else None
    ordered = order_editors(report, judge, ranks)
    return tuple(_make_line(report, report.editors.index(editor), judge, ranks, axis, t) for editor in ordered)


def _make_line(
    report: Report, place: int, judge: str, ranks: Ranks | None, axis: tuple[float, float], t: Texts
) -> EditorLine:
    editor = report.editors[place]
    cell = report.numbers["editors"][editor][judge]
    ahead = t("answer.ahead", k=count_ahead(report, editor, judge), all=len(report.categories))
    return EditorLine(
        name=label_editor(report, place, t),
        editor=place,
        rank=NONE if ranks is None else format_rank(ranks.get(editor), t),
        macro=_macro_of(report, editor, judge, t),
        forest=_draw_forest(cell["macro"]["mean"], cell["macro"]["interval"], axis),
        ahead=NONE if ranks is None or len(report.editors) == 1 else ahead,
        coverage=format_coverage(cell["overall"]["scored"], cell["overall"]["n"]),
        seconds=_format_seconds(_find_seconds(report).get(editor), t),
        first=ranks is not None and ranks.get(editor, (0, 0))[0] == 1,
    )


def _find_axis(report: Report, judge: str | None) -> tuple[float, float]:
    """Return whole numbers around all means and intervals, within the scale."""
    macros = [] if judge is None else [report.numbers["editors"][editor][judge]["macro"] for editor in report.editors]
    ends = [end for macro in macros if macro["mean"] is not None for end in (macro["interval"] or [macro["mean"]])]
    if not ends:
        return SCALE[0], SCALE[1]
    low, high = max(SCALE[0], floor(min(ends))), min(SCALE[1], ceil(max(ends)))
    return (low, high) if high > low else (max(SCALE[0], low - 1), min(SCALE[1], high + 1))


def _draw_forest(mean: float | None, interval: Sequence[float] | None, axis: tuple[float, float]) -> Markup:
    """Draw one mean with its interval. The cell beside it has the numbers."""

    def to_x(score: float) -> float:
        return round(EDGE + (score - axis[0]) / (axis[1] - axis[0]) * (WIDTH - 2 * EDGE), 1)

    ticks = "".join(f"M{to_x(value):g} 0v{HEIGHT}" for value in range(int(axis[0]), int(axis[1]) + 1))
    parts = [Markup('<path class="grid" d="{d}"/>').format(d=ticks)]
    if interval is not None:
        ends = {"l": to_x(interval[0]), "r": to_x(interval[1])}
        parts.append(Markup('<path class="interval" d="M{l:g} 9H{r:g}"/>').format(**ends))
    if mean is not None:
        parts.append(Markup('<path class="mean" d="M{x:g} 3l6 6l-6 6l-6 -6z"/>').format(x=to_x(mean)))
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


def _make_figures(report: Report, t: Texts) -> list[Figure]:
    return [*(_judge(report, judge, t) for judge in report.judges), _coverage(report, t), _cost(report, t)]


def _judge(report: Report, judge: str, t: Texts) -> Figure:
    verdict, left_out = get_verdict(report, judge), name_left_out(report, judge, t)
    in_part = verdict == "accepted" and left_out
    return Figure(
        label=t("head.judge"),
        text=judge,
        detail=t("answer.accepted_in_part" if in_part else f"answer.{explain_verdict(report, judge)}_short"),
        link="trust",
        good=verdict == "accepted" and not in_part,
    )


def _coverage(report: Report, t: Texts) -> Figure:
    overall = [report.numbers["editors"][editor][judge]["overall"] for editor, judge in report.cells]
    scored, n = sum(one["scored"] for one in overall), sum(one["n"] for one in overall)
    detail = t("answer.scored", scored=scored, n=n)
    return Figure(
        label=t("column.coverage"), text=format_percent(scored / n if n else None), detail=detail, link="states"
    )


def _cost(report: Report, t: Texts) -> Figure:
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
    return Figure(label=t("costs.title"), text=text, detail=per_edit, link="costs" if total["attempts"] else "run")
