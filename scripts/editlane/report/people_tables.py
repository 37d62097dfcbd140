"""Show the means and differences that people's ratings and a judge's scores give together."""

from collections.abc import Iterator, Mapping
from typing import Any

from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_interval,
    format_mean,
    format_p,
    format_percent,
    format_signed,
    make_editor_lines,
)
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts
from editlane.report.trust import is_accepted

LONG = 12
"""A table with more rows is collapsed."""


def make_people_tables(report: Report, t: Texts) -> list[Table]:
    """Make the tables of each judge, and one of the sample of rated edits. Empty without ratings."""
    found = report.numbers["people"]
    if not found:
        return []
    tables = [_sample(report, t)]
    for judge in report.judges:
        tables += [_means(report, judge, t), *_differences(report, judge, t)]
    return tables


def _sample(report: Report, t: Texts) -> Table:
    found = report.numbers["people"]
    lines = tuple(
        Line(
            name=judge,
            cells=(
                str(one["rated"]),
                str(one["others"]),
                _format_difference(one["difference"]),
                format_p(one["p_holm"]),
                _tell_sample(one, t),
            ),
        )
        for judge, one in found["sample"].items()
    )
    return Table(
        about=("sample",),
        title=t("people.sample"),
        heads=(t("head.judge"),),
        columns=title_columns(t, "rated_scored", "others_scored", "difference", "p_holm", "sample"),
        groups=(Group(name="", lines=lines),),
        note=t("page.space").join(_tell_counts(found, t)),
    )


def _tell_sample(one: Mapping[str, Any], t: Texts) -> str:
    if one["p_holm"] is None:
        return t("people.untested")
    return t("people.differs" if one["differs"] else "people.no_difference")


def _tell_counts(found: Mapping[str, Any], t: Texts) -> Iterator[str]:
    """Say how many ratings there are, which are not used, and what the figures take for granted."""
    yield t("people.used", n=found["ratings"], raters=found["raters"], edits=found["edits"], items=found["items"])
    if found["scale"]:
        low, high = found["scale"]
        yield t("people.scale", low=f"{low:g}", high=f"{high:g}")
    alpha = found["raters_alpha"]
    if alpha["value"] is not None:
        yield t("people.raters_alpha", alpha=format_mean(alpha["value"], alpha["interval"]))
    elif found["raters"] > 1:
        yield t("people.raters_apart")
    for kind in ("outdated", "unknown"):
        if found[kind]:
            yield t(f"people.{kind}", n=sum(found[kind].values()), names=_list_first(list(found[kind]), t))
    if found["without_score"]:
        yield t("people.without_score", n=found["without_score"])
    if found["without_subject"]:
        yield t("people.without_subject", n=found["without_subject"])
    yield t("people.sample_note")


def _list_first(names: list[str], t: Texts) -> str:
    more = [t("people.more", n=len(names) - 5)] if len(names) > 5 else []
    return t.join([*names[:5], *more])


def _means(report: Report, judge: str, t: Texts) -> Table:
    """Make the table of means. A judge that is not accepted has no means of its own here."""
    alone = is_accepted(report, judge)
    alone_note = [t("people.means_alone")] if alone else []
    found = {editor: of[judge] for editor, of in report.numbers["people"]["editors"].items()}
    in_category = {editor: one["categories"] for editor, one in found.items()}
    macro = Group(
        name=t("page.overall"),
        lines=make_editor_lines(report, {editor: _cells(one["macro"], alone) for editor, one in found.items()}, t),
    )
    groups = tuple(
        Group(
            name=category,
            lines=make_editor_lines(report, {e: _cells(one[category], alone) for e, one in in_category.items()}, t),
        )
        for category in report.categories
    )
    return Table(
        about=("means", judge),
        title=t("people.means", judge=judge),
        heads=(t("head.category"), t("head.editor")),
        columns=title_columns(t, "rated", "photos", "people", "corrected", "narrower", *(["judge_alone"] * alone)),
        groups=(macro, *groups),
        note=t("page.space").join((t("people.means_note"), *alone_note, *_tell_unrated(report, t))),
        strong=3,
        folded=sum(len(group.lines) for group in (macro, *groups)) > LONG,
    )


def _tell_unrated(report: Report, t: Texts) -> list[str]:
    missing = report.numbers["people"]["unrated_categories"]
    return [t("people.unrated", names=t.join(missing))] if missing else []


def _cells(one: Mapping[str, Any], alone: bool) -> tuple[str, ...]:
    means = (format_mean(one[name]["value"], one[name]["interval"]) for name in ("people", "corrected", "judge"))
    people, corrected, judge = means
    cells = (str(one["rated"]), str(one["photos"]), people, corrected, _format_narrower(one["narrower"]))
    return (*cells, judge) if alone else cells


def _format_narrower(share: float | None) -> str:
    """Format how much narrower an interval became; a wider one has a minus sign."""
    if share is None:
        return NONE
    return format_percent(share) if share >= 0 else f"−{format_percent(-share)}"


def _differences(report: Report, judge: str, t: Texts) -> list[Table]:
    """Make the table of all pairs of editors; none with one editor."""
    alone = is_accepted(report, judge)
    lines = tuple(
        Line(
            name=t("comparisons.against", a=one["a"], b=one["b"]),
            cells=(
                str(one["rated"]),
                str(one["photos"]),
                *(_format_difference(one[name]) for name in ("people", "corrected")),
                _format_narrower(one["narrower"]),
                format_p(one["p_holm"]),
                t(f"comparisons.{one['verdict']}", a=one["a"], b=one["b"]),
                *([_format_difference(one["judge"])] if alone else []),
            ),
        )
        for one in report.numbers["people"]["differences"][judge]
    )
    table = Table(
        about=("differences", judge),
        title=t("people.differences", judge=judge),
        heads=(t("column.pair"),),
        columns=title_columns(
            t,
            *("rated_items", "photos", "people", "corrected", "narrower", "p_holm", "verdict"),
            *(["judge_alone"] * alone),
        ),
        groups=(Group(name="", lines=lines),),
        note=t("page.space").join((t("people.differences_note"), *([t("people.differences_alone")] if alone else []))),
        strong=3,
        folded=len(lines) > LONG,
    )
    return [table] if lines else []


def _format_difference(one: Mapping[str, Any]) -> str:
    interval = "" if one["interval"] is None else f" {format_interval(one['interval'])}"
    return format_signed(one["value"]) + interval
