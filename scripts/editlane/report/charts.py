"""Score distributions as SVG: one panel per category, in it one strip per editor and judge, in it one dot per item.

Text stays text, so that the browser renders any script; colours are the page's CSS variables, so that they follow light
and dark. The same numbers stand in the page's tables.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from editlane.metrics import Spread
from editlane.report.load import Report
from editlane.report.summary import editor_label, number
from editlane.types import SCALE, State

WIDTH = 360
MARGIN = 8
STRIP = 50
"""Height of a strip: a line of text, then the dots."""
CENTRE = 31
HALF = 12
"""The dots of a strip lie within HALF of its CENTRE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The scores of one editor by one judge in one category, and their numbers."""

    label: str
    editor: int
    scores: Sequence[float]
    spread: Spread


def draw_panels(report: Report) -> list[tuple[str, Markup]]:
    """(name, SVG) of all items together, then of every category."""
    scores: dict[tuple[str, str, str | None], list[float]] = defaultdict(list)
    for (_, editor, judge), row in report.rows.items():
        if row["state"] == State.SCORED:
            scores[editor, judge, None].append(row["score"])
            scores[editor, judge, row["category"]].append(row["score"])
    panels = []
    for category in (None, *report.categories):
        strips = []
        for editor, judge in report.cells:
            cell = report.numbers["editors"][editor][judge]
            place = report.editors.index(editor)
            judged = f" · {judge}" if len(report.judges) > 1 else ""
            strips.append(
                Strip(
                    label=editor_label(report, place) + judged,
                    editor=place,
                    scores=scores[editor, judge, category],
                    spread=cell["overall"] if category is None else cell["categories"][category],
                )
            )
        name = "Overall" if category is None else category
        panels.append((name, draw_panel(name, strips)))
    return panels


def draw_panel(name: str, strips: Sequence[Strip]) -> Markup:
    """One SVG: the strips below each other over one axis."""
    bottom = STRIP * len(strips)
    lines = "".join(f"v{STRIP - 18}m0 18" for _ in strips)
    ticks = range(int(SCALE[0]), int(SCALE[1]) + 1, 2)
    grid = Markup("").join(
        Markup('<path class="grid" d="M{x} 18{lines}"/><text class="tick" x="{x}" y="{t}">{v}</text>').format(
            x=_x(value), lines=lines, t=bottom + 13, v=value
        )
        for value in ticks
    )
    body = Markup("").join(_draw_strip(strip, STRIP * place) for place, strip in enumerate(strips))
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="Scores in {name}: one dot per item, by editor and judge; '
        'the numbers stand in the tables above.">{grid}{body}</svg>'
    ).format(w=WIDTH, h=bottom + 18, name=name, grid=grid, body=body)


def _draw_strip(strip: Strip, top: int) -> Markup:
    spread, y = strip.spread, top + CENTRE
    said = f"{number(spread['mean'])}  {spread['scored']}/{spread['n']}"
    parts = [
        Markup('<rect class="key" x="{x}" y="{y}" width="8" height="8" rx="1.5"/>').format(x=0, y=top + 4),
        Markup('<text x="{x}" y="{y}">{label}</text>').format(x=13, y=top + 12, label=_fitted(strip.label)),
        Markup('<text class="said" x="{x}" y="{y}">{said}</text>').format(x=WIDTH, y=top + 12, said=said),
    ]
    if spread["bounds"]:
        left, right = map(_x, spread["bounds"])
        bar = '<path class="bounds" d="M{l} {y}H{r}M{l} {a}v6M{r} {a}v6"/>'
        parts.append(Markup(bar).format(l=left, r=right, y=y + HALF, a=y + HALF - 3))
    if strip.scores and spread["mean"] is not None and spread["median"] is not None:
        step = 6 if len(strip.scores) <= 60 else 4 if len(strip.scores) <= 240 else 3
        dots = "".join(f"M{dot_x} {y + dot_y:g}h0" for dot_x, dot_y in swarm(strip.scores, step))
        parts.append(Markup('<path class="dots" stroke-width="{s}" d="{d}"/>').format(s=step, d=dots))
        median, mean = _x(spread["median"]), _x(spread["mean"])
        parts.append(Markup('<path class="median" d="M{x} {a}v{h}"/>').format(x=median, a=y - HALF, h=2 * HALF - 3))
        diamond = '<path class="mean" d="M{x} {a}l5 5l-5 5l-5 -5z"/>'
        parts.append(Markup(diamond).format(x=mean, a=y + HALF - 5))
    return Markup('<g style="--c:var(--e{e})">{parts}</g>').format(e=strip.editor % 8, parts=Markup("").join(parts))


def swarm(scores: Sequence[float], step: int) -> list[tuple[float, float]]:
    """(x, distance from the strip's centre) of one dot per score, in pixels.

    Dots of the same column of `step` pixels stand side by side, closer together where the column is full.
    """
    columns: dict[int, list[float]] = defaultdict(list)
    for score in sorted(scores):
        columns[round(_x(score) / step)].append(_x(score))
    dots = []
    for column in columns.values():
        gap = min(step, 2 * (HALF - step) / max(len(column) - 1, 1))
        first = -gap * (len(column) - 1) / 2 - 2
        dots += [(x, round(first + gap * place, 1)) for place, x in enumerate(column)]
    return dots


def _x(score: float) -> float:
    share = (score - SCALE[0]) / (SCALE[1] - SCALE[0])
    return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)


def _fitted(label: str) -> str:
    return label if len(label) <= 38 else label[:37] + "…"
