"""Axes of the charts: round ticks, and texts and lines at their places."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from editlane.core.printable import escape_lines

WIDTH = 360
"""Width of every chart, in units that are pixels on a phone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A linear axis from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value is drawn; values beyond the ends are drawn there."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def list_ticks(self) -> list[float]:
        """List the round values between the ends."""
        step = round_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(step * place, 10) for place in range(first, last + 1)]


def round_step(about: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, ... and their decimal parts that is no less."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= about * (1 - 1e-9))


def fit_axis(values: Iterable[float], start: float, end: float, limits: tuple[float, float]) -> Axis:
    """Make an axis that holds all values, with round ends within the limits."""
    found = list(values)
    low, high = min(found), max(found)
    step = round_step(max(high - low, 1e-3) / 4)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    low, high = max(low, limits[0]), min(high, limits[1])
    return Axis(low=low, high=max(high, low + step), start=start, end=end)


def draw_text(x: float, y: float, text: str, kind: str = "", hover: str = "") -> Markup:
    """Draw a text, with what a pointer that rests on it shows."""
    title = Markup("<title>{}</title>").format(escape_lines(hover)) if hover else Markup("")
    name = Markup(' class="{}"').format(kind) if kind else Markup("")
    return Markup('<text{k} x="{x:g}" y="{y:g}">{s}{t}</text>').format(k=name, x=x, y=y, s=escape_lines(text), t=title)


def draw_mark(x: float, y: float, kind: str) -> Markup:
    """Draw a mark: `better`, a filled diamond; `open`, a hollow circle; `none`, a hollow square."""
    shapes = {
        "better": '<path class="mean" d="M{x:g} {top:g}l5 5l-5 5l-5 -5z"/>',
        "open": '<circle class="hollow" cx="{x:g}" cy="{y:g}" r="4"/>',
        "none": '<rect class="hollow" x="{left:g}" y="{up:g}" width="7" height="7"/>',
    }
    return Markup(shapes[kind]).format(x=x, y=y, top=y - 5, left=x - 3.5, up=y - 3.5)


def draw_line(kind: str, *points: Sequence[float]) -> Markup:
    """Draw a line through points."""
    return Markup('<path class="{k}" d="M{d}"/>').format(k=kind, d="L".join(f"{x:g} {y:g}" for x, y in points))


def draw_svg(height: float, alt: str, body: Iterable[Markup], editor: int | None = None) -> Markup:
    """Put the parts of a chart together, with a text for those who do not see it."""
    colour = Markup(' style="--c:var(--e{})"').format(editor % 8) if editor is not None else Markup("")
    return Markup('<svg viewBox="0 0 {w} {h:g}" role="img" aria-label="{alt}"{c}>{body}</svg>').format(
        w=WIDTH, h=height, alt=escape_lines(alt), c=colour, body=Markup("").join(body)
    )


def colour(editor: int, parts: Iterable[Markup]) -> Markup:
    """Draw the parts in an editor's colour."""
    return Markup('<g style="--c:var(--e{e})">{p}</g>').format(e=editor % 8, p=Markup("").join(parts))
