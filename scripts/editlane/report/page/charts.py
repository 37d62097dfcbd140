"""Draw the scores as SVG: one panel per judge and category, with one strip per editor.

A strip shows the distribution as a histogram, the mean and its interval. Text stays text, so that the browser renders
any script. Colours are the page's CSS variables, so that they follow light and dark mode. The page's tables have the
same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from editlane.core.printable import escape_lines
from editlane.core.text_width import measure_width, shorten_name
from editlane.core.types import SCALE, State
from editlane.report.cells import format_mean, get_category, label_editor, name_categories
from editlane.report.load import Report
from editlane.report.texts import Texts
from editlane.stats.summaries import Spread

WIDTH = 360
MARGIN = 8
STRIP = 52
"""Height of a strip with its line of text and its columns."""
CENTRE = 31
HALF = 12
"""The columns of a strip lie within HALF of its CENTRE."""
MEAN = 45
"""Vertical position of the mean and its interval."""
BINS = 40
"""Columns of a histogram: a quarter of a point each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The scores of one editor in one category, and their statistics."""

    label: str
    editor: int
    scores: np.ndarray
    """float64, without missing scores."""
    spread: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The editors in one category, or over all items, by one judge."""

    name: str
    svg: Markup


def draw_panels(report: Report, t: Texts) -> list[tuple[str, list[Panel]]]:
    """Draw the panels of each judge: all items together, then each category."""
    names = ["editor", "judge", "category"]
    scored = report.scores.loc[report.scores["state"] == State.SCORED, [*names, "score"]]
    groups = scored.astype(dict.fromkeys(names, str)).groupby(names, sort=False)["score"]
    scores = {key: group.to_numpy(dtype=np.float64) for key, group in groups}
    return [
        (judge, [_panel(report, judge, category, name, scores, t) for category, name in name_categories(report, t)])
        for judge in report.judges
    ]


def _panel(
    report: Report, judge: str, category: str | None, name: str, scores: Mapping[Any, np.ndarray], t: Texts
) -> Panel:
    strips = []
    for place, editor in enumerate(report.editors):
        wanted = report.categories if category is None else [category]
        found = [scores[editor, judge, one] for one in wanted if (editor, judge, one) in scores]
        strips.append(
            Strip(
                label=label_editor(report, place, t),
                editor=place,
                scores=np.concatenate(found) if found else np.empty(0),
                spread=get_category(report.numbers["editors"][editor][judge], category),
            )
        )
    return Panel(name=name, svg=draw_panel(name, strips, t))


def draw_panel(name: str, strips: Sequence[Strip], t: Texts) -> Markup:
    """Draw the strips below each other over one axis, as one SVG."""
    bottom = STRIP * len(strips)
    lines = "".join(f"v{STRIP - 18}m0 18" for _ in strips)
    ticks = range(int(SCALE[0]), int(SCALE[1]) + 1, 2)
    grid = Markup("").join(
        Markup('<path class="grid" d="M{x} 18{lines}"/><text class="tick" x="{x}" y="{t}">{v}</text>').format(
            x=_to_x(value), lines=lines, t=bottom + 13, v=value
        )
        for value in ticks
    )
    body = Markup("").join(_draw_strip(strip, STRIP * place, t) for place, strip in enumerate(strips))
    return Markup('<svg viewBox="0 0 {w} {h}" role="img" aria-label="{alt}">{grid}{body}</svg>').format(
        w=WIDTH, h=bottom + 18, alt=escape_lines(t("charts.alt", name=name)), grid=grid, body=body
    )


def _draw_strip(strip: Strip, top: int, t: Texts) -> Markup:
    s = strip.spread
    text = f"{format_mean(s['mean'], s['interval'])}  {s['scored']}/{s['n']}" if s["scored"] else t("page.no_data")
    parts = [
        Markup('<rect class="key" x="{x}" y="{y}" width="8" height="8" rx="1.5"/>').format(x=0, y=top + 4),
        Markup('<text x="{x}" y="{y}">{label}</text>').format(x=13, y=top + 12, label=fit_label(strip.label, text)),
        Markup('<text class="numbers" x="{x}" y="{y}">{said}</text>').format(x=WIDTH, y=top + 12, said=text),
    ]
    if len(strip.scores):
        parts.append(Markup('<path class="bars" d="{d}"/>').format(d=draw_bars(strip.scores, top + CENTRE + HALF - 3)))
    parts += _draw_mean(s, top)
    return Markup('<g style="--c:var(--e{e})">{parts}</g>').format(e=strip.editor % 8, parts=Markup("").join(parts))


def _draw_mean(s: Spread, top: int) -> list[Markup]:
    """Draw the bounds, the interval within them, the median and the mean."""
    y, parts = top + MEAN, []
    if s["bounds"]:
        left, right = map(_to_x, s["bounds"])
        bar = '<path class="bounds" d="M{l} {y}H{r}M{l} {a}v6M{r} {a}v6"/>'
        parts.append(Markup(bar).format(l=left, r=right, y=y, a=y - 3))
    if s["interval"]:
        left, right = map(_to_x, s["interval"])
        parts.append(Markup('<path class="interval" d="M{l} {y}H{r}"/>').format(l=left, r=right, y=y))
    if s["median"] is not None and s["mean"] is not None:
        median = '<path class="median" d="M{x} {a}v{h}"/>'
        parts.append(Markup(median).format(x=_to_x(s["median"]), a=top + CENTRE - HALF, h=2 * HALF - 3))
        diamond = '<path class="mean" d="M{x} {a}l5 5l-5 5l-5 -5z"/>'
        parts.append(Markup(diamond).format(x=_to_x(s["mean"]), a=y - 5))
    return parts


def draw_bars(scores: np.ndarray, bottom: int) -> str:
    """Return an SVG path of columns on the line `bottom`. The largest is as high as the strip."""
    counts, edges = np.histogram(scores, bins=BINS, range=SCALE)
    there = np.flatnonzero(counts)
    left, heights = _to_pixels(edges), np.round(2 * (HALF - 2) * counts / counts.max(), 1)
    wide = round((WIDTH - 2 * MARGIN) / BINS - 0.4, 1)
    return "".join(f"M{left[bin]:g} {bottom}v-{max(heights[bin], 0.3):g}h{wide:g}V{bottom}z" for bin in there)


def _to_pixels(scores: np.ndarray) -> np.ndarray:
    share = (scores - SCALE[0]) / (SCALE[1] - SCALE[0])
    return np.round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)


def _to_x(score: float) -> float:
    return float(_to_pixels(np.array(score)))


def fit_label(label: str, text: str) -> str:
    """Escape the label, and shorten it so that it does not overlap `text`, which is on the right."""
    return shorten_name(escape_lines(label), 54 - measure_width(text))
