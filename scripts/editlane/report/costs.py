"""Make the tables of the run's costs: by stage, then by lane."""

from collections.abc import Mapping, Sequence
from typing import Any

from editlane.core.device_names import shorten_device_ids
from editlane.core.paths import COMPARE
from editlane.report.cells import NONE, Group, Line, Table, format_number, format_percent, format_seconds, label_editor
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts

Costs = Mapping[str, Any]

LONG = 12
"""The table of lanes is collapsed if there are more lanes."""

GIB = 2**30

TIMES = ("load", "busy", "idle")
ON_GPU = ("gpu_hours", "peak_memory")
OF_SERVERS = ("requests", "images", "paid")


def make_cost_tables(report: Report, t: Texts) -> list[Table]:
    """Make the tables of stages with their sum, and of lanes. Empty if no lane has recorded its costs."""
    costs = report.numbers["costs"]
    if not costs["total"]["attempts"]:
        return []
    scale = Scale(costs["total"], t, mixed=_is_mixed(costs))
    return [_stages(report, costs, scale, t), _lanes(report, costs["lanes"], scale, t)]


class Scale:
    """The columns of both tables, in hours, or in seconds below one hour in total. GPU columns need a GPU, and those of
    requests an editor or a judge on a server."""

    def __init__(self, total: Costs, t: Texts, *, mixed: bool = False) -> None:
        """`mixed`: prices have several currencies, so that each has its own and there is no sum."""
        self.hours, self.mixed = total["held_seconds"] >= 3600, mixed
        self.on_gpu = [
            name for name in (*ON_GPU, *OF_SERVERS) if total.get(name) is not None or (mixed and name == "paid")
        ]
        unit = t("costs.hours" if self.hours else "costs.seconds")
        times = (t(f"costs.{name}", unit=unit) for name in TIMES)
        priced = {name: t(f"costs.{name}", currency=total.get("currency") or "") for name in OF_SERVERS}
        if mixed:
            priced["paid"] = t("costs.paid_mixed")
        special = (priced.get(name) or title_columns(t, name)[0] for name in self.on_gpu)
        self.titles = (*title_columns(t, "items", "seconds"), *times, *title_columns(t, "busy_share"), *special)

    def cells(self, costs: Costs) -> tuple[str, ...]:
        """Format the cells under `titles`."""
        if not costs["attempts"] and costs.get("requests") is None:
            return (str(costs["items"]), *[NONE] * (len(self.titles) - 1))
        held, memory = costs["held_seconds"], costs["peak_memory"]
        on_gpu = {
            "gpu_hours": format_number(costs["gpu_hours"], 2 if self.hours else 3),
            "peak_memory": format_number(None if memory is None else memory / GIB, 1),
            **{name: format_number(costs.get(name), _count_digits(name, costs)) for name in OF_SERVERS},
        }
        if self.mixed and costs.get("currency") and costs.get("paid") is not None:
            on_gpu["paid"] += f" {costs['currency']}"
        times = (costs[f"{name}_seconds"] for name in TIMES)
        per_unit = 3600 if self.hours else 1
        return (
            str(costs["items"]),
            format_seconds(costs["seconds_per_item"]),
            *(format_number(None if time is None else time / per_unit, 2 if self.hours else 1) for time in times),
            format_percent(costs["busy_seconds"] / held if held else None),
            *(on_gpu[name] for name in self.on_gpu),
        )


def _count_digits(name: str, costs: Costs) -> int:
    """Return the digits after the point of a column; a price of fractions of a cent has more."""
    return 0 if name != "paid" else 4 if 0 < (costs.get(name) or 0) < 0.1 else 2


def _is_mixed(costs: Mapping[str, Any]) -> bool:
    """Return whether something was paid in each of several currencies."""
    return costs["total"].get("paid") is None and any(one.get("paid") is not None for one in costs["stages"])


def _stages(report: Report, costs: Costs, scale: Scale, t: Texts) -> Table:
    def line(one: Costs) -> Line:
        name, place = label_costs(report, one, t)
        return Line(name=name, cells=(str(one["lanes"]), str(one["attempts"]), *scale.cells(one)), editor=place)

    total = costs["total"]
    lanes = str(sum(one["lanes"] for one in costs["stages"]))
    sums = (NONE, NONE, *scale.cells(total)[2:])  # the sum of edits and judge calls means nothing
    together = Line(name=t("costs.all"), cells=(lanes, str(total["attempts"]), *sums))
    groups = [
        Group(
            name=name_stage(judge, t), lines=tuple(line(one) for one in sort_by_editor(report, costs["stages"], judge))
        )
        for judge in (None, *report.judges)
    ]
    return Table(
        title=t("costs.table"),
        heads=(t("head.stage"), t("head.editor")),
        columns=(*title_columns(t, "lanes", "processes"), *scale.titles),
        groups=(*(group for group in groups if group.lines), Group(name=t("page.overall"), lines=(together,))),
        note=t("costs.killed"),
    )


def _lanes(report: Report, lanes: Sequence[Costs], scale: Scale, t: Texts) -> Table:
    several = len({one["host"] for one in lanes if one["host"]}) > 1
    places = ("device", "host") if several else ("device",)

    def line(one: Costs) -> Line:
        return Line(
            name=" · ".join(
                [
                    *_name_pairs(one, t),
                    str(one["lane"]),
                    *(shorten_device_ids(one[place], 8) for place in places if one[place]),
                ]
            ),
            cells=(str(one["attempts"]), *scale.cells(one)),
            editor=label_costs(report, one, t)[1],
        )

    groups = [
        Group(name=name_work(judge, editor, t), lines=tuple(line(one) for one in of_editor))
        for judge in (None, *report.judges)
        for editor in (None, *report.editors)
        if (of_editor := [one for one in lanes if (one["editor"], one["judge"]) == (editor, judge)])
    ]
    return Table(
        about=("lanes",),
        title=t("costs.lanes"),
        heads=(t("head.stage"), " · ".join([t("head.lane"), *(t(f"head.{place}") for place in places)])),
        columns=(*title_columns(t, "processes"), *scale.titles),
        groups=tuple(groups),
        folded=len(lanes) > LONG,
    )


def _name_pairs(one: Costs, t: Texts) -> list[str]:
    """Return what tells a lane of the arena from the judge's other lanes."""
    return [t("costs.pairs")] if one["stage"] == COMPARE else []


def name_stage(judge: str | None, t: Texts) -> str:
    """Name the stage: editing, or judging by this judge."""
    return t("costs.edit") if judge is None else t("costs.score", judge=judge)


def name_work(judge: str | None, editor: str | None, t: Texts) -> str:
    """Name the stage and, unless it is about the edits of all, the editor."""
    return name_stage(judge, t) + (f" · {editor}" if editor is not None else "")


def label_costs(report: Report, costs: Costs, t: Texts) -> tuple[str, int | None]:
    """Return the editor's name and index; those of no editor for a judge, which judges the edits of all."""
    if costs["editor"] is None:
        return t("costs.pairs" if costs["stage"] == COMPARE else "costs.of_all"), None
    place = report.editors.index(costs["editor"])
    return label_editor(report, place, t), place


def sort_by_editor(report: Report, stages: Sequence[Costs], judge: str | None) -> list[Costs]:
    """Return the rows of this judge, or of editing, in the order of the report's editors."""
    order = [None, *report.editors]
    return sorted((one for one in stages if one["judge"] == judge), key=lambda one: order.index(one["editor"]))
