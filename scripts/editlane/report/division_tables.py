"""Show how the editors divide the labour, what choosing one by category would gain, and who pays more for no more."""

from collections.abc import Mapping
from typing import Any

from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_interval,
    format_mean,
    format_number,
    format_p,
    format_signed,
    make_editor_lines,
)
from editlane.report.load import Report
from editlane.report.texts import Texts
from editlane.stats.division import FEWEST_ITEMS
from editlane.stats.effort import MARGIN


def make_division_tables(report: Report, t: Texts) -> list[Table]:
    """Make two tables for each accepted judge; one that says why there are no figures; none with one editor."""
    tables = []
    for judge, found in (report.numbers.get("editors_together") or {}).items():
        if found is None or found["why"] == "judge_not_accepted":
            continue
        if found["why"]:
            tables.append(_too_few(found, judge, t))
        else:
            tables += [_figures(found, judge, t), _efforts(report, found["volume_king_phenomenon"], judge, t)]
    return tables


def _too_few(found: Mapping[str, Any], judge: str, t: Texts) -> Table:
    lines = (Line(name=name, cells=(str(count),)) for name, count in found["items"].items())
    return Table(
        about=("division", judge),
        title=t("division.title", judge=judge),
        heads=(t("head.category"),),
        columns=(t("column.items"),),
        groups=(Group(name="", lines=tuple(lines)),),
        note=t("division.too_few", fewest=FEWEST_ITEMS),
        folded=True,
    )


def _figures(found: Mapping[str, Any], judge: str, t: Texts) -> Table:
    lines = []
    differentiation, gain = found["overall_differentiation"], found["routing_gain"]
    if differentiation:
        null = t(
            "division.nothing",
            mean=format_number(differentiation["null_mean"], 3),
            p95=format_number(differentiation["null_p95"], 3),
            p=format_p(differentiation["p"]),
        )
        lines.append(("differentiation", (format_number(differentiation["value"], 3), null)))
    if gain:
        told = [t(f"division.why.{gain['why']}")] if gain["why"] else []
        told.append(t("division.apparent", gain=format_signed(gain["apparent"]), best=gain["best"]))
        choice = t.join(f"{category}: {editor}" for category, editor in gain["choice"].items())
        interval = f" {format_interval(gain['interval'])}" if gain["interval"] else ""
        lines.append(("gain", (format_signed(gain["value"]) + interval, t("page.space").join((*told, choice)))))
    for name, key in (("closeness", "competition_intensity"), ("winners", "effective_winners")):
        mean = format_mean(found[key]["value"], found[key]["interval"])
        lines.append((name, (mean, t(f"division.{name}_note"))))
    left_out = [name for name in found["items"] if name not in found["categories"]]
    note = t("division.left_out", fewest=FEWEST_ITEMS, categories=t.join(left_out)) if left_out else ""
    return Table(
        about=("division", judge),
        title=t("division.title", judge=judge),
        heads=(t("division.figure"),),
        columns=(t("column.value"), t("division.beside")),
        groups=(Group(name="", lines=tuple(Line(name=t(f"division.{name}"), cells=cells) for name, cells in lines)),),
        note=note,
        numeric=False,
    )


def _efforts(report: Report, found: Mapping[str, Any], judge: str, t: Texts) -> Table:
    cells = {
        editor: (
            format_mean(one["seconds"], one["seconds_interval"]),
            str(one["timed"]),
            format_number(one["score"]),
            t.join(one["no_more_than"]) or NONE,
        )
        for editor, one in found["editors"].items()
    }
    return Table(
        about=("effort", judge),
        title=t("division.effort", judge=judge),
        heads=(t("head.editor"),),
        columns=(
            t("division.seconds"),
            t("division.timed"),
            t("column.macro"),
            t("division.no_more_than"),
        ),
        groups=(Group(name="", lines=make_editor_lines(report, cells, t)),),
        note=t("division.effort_note", margin=f"{MARGIN:g}"),
    )
