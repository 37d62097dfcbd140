"""Show how the time in which devices were held was spent, as bars, a table and a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from editlane.core.printable import escape_lines
from editlane.lanes.costs import PARTS
from editlane.report.cells import Group, Line, Table, format_number, format_percent
from editlane.report.costs import label_costs, name_stage, name_work, sort_by_editor
from editlane.report.load import Report
from editlane.report.page.charts import WIDTH, fit_label
from editlane.report.texts import Texts

STRIP = 40
"""Height of one bar with its line of text."""
BAR = 12

Costs = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """The contents of the section besides its table."""

    sentence: str
    legend: Sequence[tuple[int, str]]
    """(index in PARTS, name) of the parts that took time."""
    panels: Sequence[tuple[str, Markup]]
    """(stage, its bars)."""


def summarise_time(report: Report, t: Texts) -> TimeSpent | None:
    """Make the sentence, the legend and the bars. None if no lane has recorded its costs."""
    costs = report.numbers["costs"]
    if not costs["total"]["attempts"]:
        return None
    return TimeSpent(
        sentence=_sentence(costs, t),
        legend=[(PARTS.index(part), t(f"time.part.{part}")) for part in _parts(costs)],
        panels=[(name, _panel(name, bars, t)) for name, bars in _bars(report, costs, t)],
    )


def make_time_tables(report: Report, t: Texts) -> list[Table]:
    """Make the table of the numbers behind the bars. Empty if no lane has recorded its costs."""
    costs = report.numbers["costs"]
    if not costs["total"]["attempts"]:
        return []
    hours, parts = _in_hours(costs), _parts(costs)
    groups = [
        Group(
            name=name,
            lines=tuple(
                Line(name=label, cells=_cells(one, parts, hours=hours), editor=place) for label, place, one in bars
            ),
        )
        for name, bars in _bars(report, costs, t)
    ]
    unit = t("costs.hours" if hours else "costs.seconds")
    columns = (t("time.once"), t("time.held", unit=unit), *(t(f"time.part.{part}") for part in parts), t("time.share"))
    return [
        Table(
            title=t("time.table"),
            heads=(t("head.stage"), t("head.editor")),
            columns=columns,
            groups=tuple(groups),
        )
    ]


Bar = tuple[str, int | None, Costs]
"""Label, the editor's index, and its costs."""


def _bars(report: Report, costs: Costs, t: Texts) -> list[tuple[str, list[Bar]]]:
    """List the editors of each stage that held a device, then the total."""
    groups = []
    for judge in (None, *report.judges):
        worked = [one for one in sort_by_editor(report, costs["stages"], judge) if one["held_seconds"]]
        bars: list[Bar] = [(*label_costs(report, one, t), one) for one in worked]
        if bars:
            groups.append((name_stage(judge, t), bars))
    return [*groups, (t("page.overall"), [(t("costs.all"), None, costs["total"])])]


def _parts(costs: Costs) -> list[str]:
    """List the parts that took any time."""
    return [part for part in PARTS if costs["total"]["parts"][part] > 0]


def _in_hours(costs: Costs) -> bool:
    return bool(costs["total"]["held_seconds"] >= 3600)


def _cells(one: Costs, parts: Sequence[str], *, hours: bool) -> tuple[str, ...]:
    held, loaded = one["held_seconds"], one["attempts"] - (one["died"] or 0)
    return (
        format_number(one["load_seconds"] / loaded if loaded else None, 1),
        format_number(held / 3600, 2) if hours else format_number(held, 1),
        *(format_percent(one["parts"][part] / held) for part in parts),
        format_percent(one["busy_share"]),
    )


def _sentence(costs: Costs, t: Texts) -> str:
    total, loss = costs["total"], costs["largest_loss"]
    hours = _in_hours(costs)
    held = format_number(total["held_seconds"] / (3600 if hours else 1), 2 if hours else 1)
    first = t(
        "time.sentence",
        held=f"{held} {t('costs.hours' if hours else 'costs.seconds')}",
        busy=format_percent(total["parts"]["busy"] / total["held_seconds"]),
        outside=format_percent(total["busy_share"]),
    )
    if loss is None:
        return first
    where = name_work(loss["judge"], loss["editor"], t)
    advice = t(f"time.advice.{loss['part']}")
    found = t("time.largest", part=t(f"time.part.{loss['part']}"), share=format_percent(loss["share"]), where=where)
    return t("time.sentences", first=first, second=found, third=advice)


def _panel(name: str, bars: Sequence[Bar], t: Texts) -> Markup:
    body = Markup("").join(_bar(bar, STRIP * place, t) for place, bar in enumerate(bars))
    return Markup('<svg viewBox="0 0 {w} {h}" role="img" aria-label="{alt}">{body}</svg>').format(
        w=WIDTH, h=STRIP * len(bars) - 6, alt=escape_lines(t("time.alt", name=name)), body=body
    )


def _bar(bar: Bar, top: int, t: Texts) -> Markup:
    """Draw one line of text and, below it, the shares of the parts at the width of the panel."""
    label, place, one = bar
    busy = t("time.busy", share=format_percent(one["parts"]["busy"] / one["held_seconds"]))
    key = Markup("")
    if place is not None:
        square = '<rect class="key" x="0" y="{y}" width="8" height="8" rx="1.5" style="--c:var(--e{e})"/>'
        key = Markup(square).format(y=top + 4, e=place % 8)
    texts = Markup('<text x="{x}" y="{y}">{label}</text><text class="numbers" x="{w}" y="{y}">{busy}</text>')
    left = 0 if place is None else 13
    return (
        key
        + texts.format(x=left, y=top + 12, w=WIDTH, label=fit_label(label, busy), busy=busy)
        + _draw_parts(one, top, t)
    )


def _draw_parts(one: Costs, top: int, t: Texts) -> Markup:
    held, left, drawn = one["held_seconds"], 0.0, []
    rect = '<rect class="part" x="{x}" y="{y}" width="{w}" height="{h}" fill="var(--t{n})"><title>{said}</title></rect>'
    for place, part in enumerate(PARTS):
        wide = WIDTH * one["parts"][part] / held
        if wide >= 0.05:  # thinner ones are invisible
            said = f"{t(f'time.part.{part}')} {format_percent(one['parts'][part] / held)}"
            shape = {"x": round(left, 1), "y": top + 18, "w": round(wide, 1), "h": BAR, "n": place}
            drawn.append(Markup(rect).format(**shape, said=said))
        left += wide
    return Markup("").join(drawn)
