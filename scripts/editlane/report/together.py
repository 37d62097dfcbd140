"""Show how far several judges agree, and what they dispute."""

from collections.abc import Mapping
from typing import Any

from editlane.report.cells import Group, Line, Table, format_interval, format_mean, format_number, format_signed
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts
from editlane.report.together_people import make_judges_and_people

LONG = 12
"""A table with more rows is collapsed."""


def make_together_tables(report: Report, t: Texts) -> list[Table]:
    """Make the tables of all judges, then of the judges of each smaller panel. There are none with one judge."""
    groups = report.numbers["judges_together"]
    if not groups:
        return []
    tables = [_agreement(report, t), *make_judges_and_people(report, lambda group: _label(group, t), t)]
    for group in groups:
        label = _label(group, t) if len(groups) > 1 else ""
        tables += [_correlations(group, label, t), _disagreement(report, group, label, t)]
        tables += _orders(report, group, label, t) + _disputed(group, label, t)
    return tables


def _label(group: Mapping[str, Any], t: Texts) -> str:
    return group["panel"] or t("together.every")


def _title(name: str, label: str, t: Texts) -> str:
    title = t(f"together.{name}")
    return t("together.of", title=title, label=label) if label else title


def _format_estimate(estimate: Mapping[str, Any]) -> str:
    return format_mean(estimate["value"], estimate["interval"])


def _agreement(report: Report, t: Texts) -> Table:
    lines = []
    for group in report.numbers["judges_together"]:
        found = group["agreement"]
        cells = (
            str(len(group["judges"])),
            str(found["edits"]),
            str(found["clusters"]),
            *(_format_estimate(found[name]) for name in ("alpha", "mean_correlation", "effective_judges")),
        )
        lines.append(Line(name=_label(group, t), cells=cells))
    names = ("judges", "edits", "photos", "alpha", "correlation", "effective")
    return Table(
        about=("agreement",),
        title=t("together.agreement"),
        heads=(t("trust.where"),),
        columns=title_columns(t, *names),
        groups=(Group(name="", lines=tuple(lines)),),
        note=t("page.space").join((*_describe_panels(report, t), t("together.agreement_note"), *_unrated(report, t))),
    )


def _unrated(report: Report, t: Texts) -> list[str]:
    return [] if report.numbers["people"] else [t("together.unrated")]


def _describe_panels(report: Report, t: Texts) -> list[str]:
    panels = report.numbers["provenance"].get("panels") or {}
    return [
        t(
            "together.panel",
            name=name,
            combine=t(f"together.{panel['combine']}"),
            judges=t.join(_weigh(judge, panel) for judge in panel["judges"]),
            quorum=panel["quorum"],
        )
        for name, panel in panels.items()
    ]


def _weigh(judge: str, panel: Mapping[str, Any]) -> str:
    return f"{judge} ({panel['weights'][judge]:g})" if panel["combine"] == "weighted" else judge


def _correlations(group: Mapping[str, Any], label: str, t: Texts) -> Table:
    lines = tuple(
        Line(
            name=t("comparisons.against", a=one["a"], b=one["b"]),
            cells=(str(one["n"]), _format_estimate(one["spearman"])),
        )
        for one in group["agreement"]["correlations"]
    )
    return Table(
        about=("correlations", group["panel"] or "all"),
        title=_title("correlations", label, t),
        heads=(t("column.pair"),),
        columns=title_columns(t, "edits", "spearman"),
        groups=(Group(name="", lines=lines),),
        folded=len(lines) > LONG,
    )


def _disagreement(report: Report, group: Mapping[str, Any], label: str, t: Texts) -> Table:
    found = group["disagreement"]
    parts = {
        t("together.all_edits"): {t("page.overall"): found["overall"]},
        t("head.category"): {name: found["categories"][name] for name in report.categories},
        t("head.editor"): {name: found["editors"][name] for name in report.editors},
    }
    groups = tuple(
        Group(
            name=name,
            lines=tuple(
                Line(name=of, cells=(str(one["n"]), format_number(one["mean"]), format_interval(one["interval"])))
                for of, one in lines.items()
            ),
        )
        for name, lines in parts.items()
    )
    return Table(
        about=("disagreement", group["panel"] or "all"),
        title=_title("disagreement", label, t),
        heads=(t("trust.where"), t("together.which")),
        columns=title_columns(t, "edits", "range", "interval"),
        groups=groups,
        note=t("page.space").join((t("together.disagreement_note"), _tell_split(group["states"], t))),
        strong=1,
    )


def _tell_split(states: Mapping[str, Any], t: Texts) -> str:
    """Say how many edits some judges scored and others did not."""
    if not states["split"]:
        return t("together.none_split", n=states["n"])
    by_judge = t.join(f"{judge} {count}" for judge, count in states["unscored"].items() if count)
    return t("together.split", n=states["split"], asked=states["n"], judges=by_judge)


def _orders(report: Report, group: Mapping[str, Any], label: str, t: Texts) -> list[Table]:
    """Make a table of the differences between editors under each judge; none with one editor."""
    lines = tuple(
        Line(
            name=t("comparisons.against", a=one["a"], b=one["b"]),
            cells=(str(one["n"]), *map(_format_difference, one["differences"].values()), _tell_swaps(one, t)),
        )
        for one in group["orders"]
    )
    table = Table(
        about=("orders", group["panel"] or "all"),
        title=_title("orders", label, t),
        heads=(t("column.pair"),),
        columns=(t("column.n"), *(_name_judge(report, judge, t) for judge in group["judges"]), t("column.order")),
        groups=(Group(name="", lines=lines),),
        note=t("together.orders_note"),
        folded=len(lines) > LONG,
    )
    return [table] if lines else []


def _name_judge(report: Report, judge: str, t: Texts) -> str:
    verdict = report.numbers["acceptance"][judge]["verdict"]
    return judge if verdict == "accepted" else t(f"together.{verdict}", judge=judge)


def _format_difference(one: Mapping[str, Any]) -> str:
    interval = "" if one["interval"] is None else f" {format_interval(one['interval'])}"
    return format_signed(one["difference"]) + interval


def _tell_swaps(one: Mapping[str, Any], t: Texts) -> str:
    """Say whether the order is the same under all judges, or for which two it swaps."""
    intervals = [found["interval"] for found in one["differences"].values()]
    if not one["n"]:
        return t("comparisons.no_common_items")
    if one["swaps"]:
        return t.join(t("together.swap", a=a, b=b) for a, b in one["swaps"])
    if None in intervals:
        return t("comparisons.too_few")
    same = all(low > 0 for low, _ in intervals) or all(high < 0 for _, high in intervals)
    return t("together.same" if same else "comparisons.not_separable")


def _disputed(group: Mapping[str, Any], label: str, t: Texts) -> list[Table]:
    lines = tuple(
        Line(
            name=one["item_id"],
            cells=(
                one["category"],
                one["editor"],
                *(format_number(one[name]) for name in ("range", "sd")),
                *(format_number(score) for score in one["scores"].values()),
            ),
        )
        for one in group["disputed"]
    )
    table = Table(
        about=("disputed", group["panel"] or "all"),
        title=_title("disputed", label, t),
        heads=(t("head.item"),),
        columns=(t("head.category"), t("head.editor"), *title_columns(t, "range", "std"), *group["judges"]),
        groups=(Group(name="", lines=lines),),
        folded=len(lines) > LONG,
    )
    return [table] if lines else []
