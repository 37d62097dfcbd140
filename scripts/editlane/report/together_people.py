"""Show how judges and panels agree with people, and whether a panel is better than its best judge."""

from collections.abc import Callable, Mapping
from typing import Any

from editlane.report.cells import Group, Line, Table, format_interval, format_mean, format_signed
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts


def make_judges_and_people(report: Report, label: Callable[[Mapping[str, Any]], str], t: Texts) -> list[Table]:
    """Make the tables of all judges and each panel against people. Empty without ratings. `label` names a group."""
    groups = [group for group in report.numbers["judges_together"] if group["people"]]
    if not groups:
        return []
    correlations = Table(
        about=("people",),
        title=t("together.with_people"),
        heads=(t("trust.where"), t("head.judge")),
        columns=title_columns(t, "edits", "photos", "spearman"),
        groups=tuple(Group(name=label(group), lines=_list_correlations(group["people"], t)) for group in groups),
        note=t("together.with_people_note"),
        strong=2,
    )
    gains = Table(
        about=("gains",),
        title=t("together.gains"),
        heads=(t("trust.where"),),
        columns=title_columns(t, "combined_by", "gain", "best", "error_correlation", "effective"),
        groups=(Group(name="", lines=tuple(_show_gain(group["people"], label(group), t) for group in groups)),),
        note=t("together.gains_note"),
        strong=1,
    )
    return [correlations, gains]


def _list_correlations(found: Mapping[str, Any], t: Texts) -> tuple[Line, ...]:
    rhos = {**found["judges"], _name_combined(found, t): found["combined"]}
    counts = (str(found["edits"]), str(found["photos"]))
    return tuple(
        Line(name=name, cells=(*counts, format_mean(one["value"], one["interval"]))) for name, one in rhos.items()
    )


def _show_gain(found: Mapping[str, Any], label: str, t: Texts) -> Line:
    gain, errors, count = (found[name] for name in ("gain", "error_correlation", "effective_judges"))
    interval = "" if gain["interval"] is None else f" {format_interval(gain['interval'])}"
    best = t.join(t("together.best_in", judge=judge, count=folds) for judge, folds in found["best"].items())
    return Line(
        name=label,
        cells=(
            _name_combined(found, t),
            format_signed(gain["value"]) + interval,
            best,
            *(format_mean(one["value"], one["interval"]) for one in (errors, count)),
        ),
    )


def _name_combined(found: Mapping[str, Any], t: Texts) -> str:
    return t("together.plain_mean") if found["panel"] is None else t("together.named", name=found["panel"])
