"""Show editors against each other: by pairwise judges, and by people."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from editlane.report.arena_method import explain_method
from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_interval,
    format_mean,
    format_p,
    format_percent,
    format_share,
    format_signed,
    make_editor_lines,
    name_categories,
)
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts
from editlane.report.together import LONG

ORDER = ("controls", "strengths", "differences", "wins", "pairs")
"""The tables of one judge, or of people."""


def make_arena_tables(report: Report, t: Texts) -> list[Table]:
    """Make the tables of each pairwise judge, then of people. There are none without pairs and votes.

    A judge that is not accepted has its controls and what became of its pairs, as a judge that scores has.
    """
    arena = report.numbers.get("arena")
    if not arena:
        return []
    tables = []
    for judge, found in arena["judges"].items():
        own = {"controls": _controls(report, found, judge, t), "pairs": _counts(found, judge, t)}
        if found["acceptance"]["verdict"] != "not_accepted":
            own |= _make_results(report, found, judge, t)
        tables += _name_files(own, judge)
    if people := arena["people"]:
        who = t("arena.people")
        tables += [*_name_files(_make_results(report, people, who, t), "people"), *_agreement(people, t)]
    return [table for table in tables if any(group.lines for group in table.groups)]


def _make_results(report: Report, found: Mapping[str, Any], who: str, t: Texts) -> dict[str, Table]:
    """Make the tables that judges and people both have."""
    return {
        "strengths": _strengths(report, found, who, t),
        "differences": _differences(found, who, t),
        "wins": _win_rates(report, found, who, t),
    }


def _name_files(tables: Mapping[str, Table], who: str) -> list[Table]:
    """Say of each table what its files are called, in ORDER. Their names do not depend on the language."""
    return [replace(tables[name], about=(name, who)) for name in ORDER if name in tables]


def _controls(report: Report, found: Mapping[str, Any], judge: str, t: Texts) -> Table:
    """Show what a judge says about controls, in total, by category and by editor."""
    acceptance = found["acceptance"]
    parts = {
        "by_control": {t(f"arena.control.{name}"): one for name, one in acceptance["controls"].items()},
        "by_category": _order(acceptance["categories"], report.categories),
        "by_editor": _order(acceptance["editors"], report.editors),
    }
    groups = [
        Group(
            name=t(f"trust.{part}"), lines=tuple(Line(name=name, cells=_control(one, t)) for name, one in lines.items())
        )
        for part, lines in parts.items()
        if lines
    ]
    itself, position = acceptance["itself"], found["position"]
    return Table(
        title=t("arena.controls", who=judge),
        heads=(t("trust.where"), t("head.control")),
        columns=(
            t("column.n"),
            t("column.scored"),
            *(t(f"arena.column.{name}") for name in ("won", "lost", "lead")),
            t("column.verdict"),
        ),
        groups=tuple(groups),
        note=t("page.space").join(
            (
                t(f"arena.{acceptance['verdict']}"),
                t(
                    "arena.position",
                    n=position["n"],
                    pairs=_format_bias(position),
                    itself=_format_bias(itself),
                    verdict=t(f"arena.itself.{acceptance['itself_verdict']}"),
                    alike=format_share(found["consistent"]["share"], found["consistent"]["interval"]),
                ),
            )
        ),
    )


def _order(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Put the entries in the order of the report."""
    return {name: found[name] for name in names if name in found}


def _control(one: Mapping[str, Any], t: Texts) -> tuple[str, ...]:
    lead = format_signed(one["difference"])
    if one["interval"]:
        lead += f" {format_interval(one['interval'])}"
    shares = (format_percent(one[name]) for name in ("won", "lost"))
    return (str(one["n"]), str(one["scored"]), *shares, lead, t(f"trust.{one['verdict']}"))


def _format_bias(position: Mapping[str, Any]) -> str:
    bias = position["bias"]
    interval = f" {format_interval(bias['interval'])}" if bias["interval"] else ""
    return format_signed(bias["value"]) + interval


def _strengths(report: Report, found: Mapping[str, Any], who: str, t: Texts) -> Table:
    """Show ranks and strengths, overall and in each category, and if failures lost."""
    failing = found.get("failure_loses")
    groups = []
    for category, name in name_categories(report, t, "arena.overall" if found.get("believed") else "arena.every"):
        ranking = found["overall"] if category is None else found["categories"][category]
        other = failing if category is None else None
        if ranking["why"]:
            text = t(f"arena.why.{ranking['why']}", n=ranking["clusters"], groups=_name_groups(ranking, t))
            groups.append(Group(name=name, lines=(Line(name=text, cells=(NONE,) * (4 if failing else 3)),)))
            continue
        cells = {
            editor: (
                _format_rank(one["rank"]),
                _format_strength(one),
                str(one["n"]),
                *([_format_strength(other["editors"].get(editor)) if other else NONE] if failing else []),
            )
            for editor, one in ranking["editors"].items()
        }
        groups.append(Group(name=name, lines=make_editor_lines(report, cells, t)))
    columns = [t("column.rank"), t("arena.column.strength"), t("arena.column.duels")]
    return Table(
        title=t("arena.strengths", who=who),
        heads=(t("trust.where"), t("head.editor")),
        columns=(*columns, *([t("arena.column.failure_loses")] if failing else [])),
        groups=tuple(groups),
        note=_explain_strengths(found, t),
        strong=1,
    )


def _name_groups(ranking: Mapping[str, Any], t: Texts) -> str:
    return " | ".join(t.join(group) for group in ranking["groups"])


def _explain_strengths(found: Mapping[str, Any], t: Texts) -> str:
    parts = []
    if "votes" in found:
        parts.append(t("arena.votes", n=found["votes"], raters=found["raters"], **found["left_out"]))
    parts += [*explain_method(found, t), t("arena.strengths_note")]
    if ended := found["overall"]["open_ended"]:
        parts.append(t("arena.open_ended", editors=t.join(ended)))
    return t("page.space").join(parts)


def _format_rank(rank: Sequence[int] | None) -> str:
    if rank is None:
        return NONE
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def _format_strength(one: Mapping[str, Any] | None) -> str:
    return NONE if one is None else format_mean(one["strength"], one["interval"])


def _differences(found: Mapping[str, Any], who: str, t: Texts) -> Table:
    lines = tuple(
        Line(
            name=t("comparisons.against", a=one["a"], b=one["b"]),
            cells=(
                str(one["n"]),
                format_signed(one["difference"]) + (f" {format_interval(one['interval'])}" if one["interval"] else ""),
                format_p(one["p_holm"]),
                t(f"arena.verdict.{one['verdict']}", a=one["a"], b=one["b"]),
            ),
        )
        for one in found["overall"]["differences"]
    )
    return Table(
        title=t("arena.differences", who=who),
        heads=(t("column.pair"),),
        columns=(t("arena.column.duels"), *title_columns(t, "difference", "p_holm", "verdict")),
        groups=(Group(name="", lines=lines),),
        folded=len(lines) > LONG,
    )


def _win_rates(report: Report, found: Mapping[str, Any], who: str, t: Texts) -> Table:
    """Show how often the editor of the row wins against that of the column."""
    rates = {}
    for one in found["pairs"]:
        if one["category"] is None and one["n"]:
            rate, interval = one["win_rate"], one["interval"]
            turned = interval and (1 - interval[1], 1 - interval[0])
            rates[one["a"], one["b"]] = f"{format_share(rate, interval)} ({one['n']})"
            rates[one["b"], one["a"]] = f"{format_share(1 - rate, turned)} ({one['n']})"
    cells = {a: [rates.get((a, b), NONE) for b in report.editors] for a in report.editors}
    return Table(
        title=t("arena.win_rates", who=who),
        heads=(t("head.editor"),),
        columns=tuple(report.editors),
        groups=(Group(name="", lines=make_editor_lines(report, cells, t)),),
        note=t("arena.win_rates_note"),
    )


def _counts(found: Mapping[str, Any], judge: str, t: Texts) -> Table:
    """Show what became of the pairs that were asked."""
    names = ("asked", "n", "one_order", "failed_a", "failed_b", "unreadable")
    lines = tuple(
        Line(
            name=t("comparisons.against", a=one["a"], b=one["b"]),
            cells=(
                *(str(one[name]) for name in names),
                *(format_percent(one[name]) for name in ("tie", "both_bad")),
            ),
        )
        for one in found["pairs"]
        if one["category"] is None
    )
    return Table(
        title=t("arena.counts", who=judge),
        heads=(t("column.pair"),),
        columns=tuple(t(f"arena.column.{name}") for name in (*names, "tie", "both_bad")),
        groups=(Group(name="", lines=lines),),
        folded=len(lines) > LONG,
    )


def _agreement(people: Mapping[str, Any], t: Texts) -> list[Table]:
    """Show how far each judge agrees with people."""
    lines = []
    for judge, found in people["judges"].items():
        if found is not None:
            agreement, accuracy = found["agreement"], found["agreement"]["accuracy"]
            shares = (format_share(accuracy[name]["share"], accuracy[name]["interval"]) for name in ("four", "three"))
            estimates = (format_mean(one["value"], one["interval"]) for one in (agreement["kappa"], found["kendall"]))
            cells = (str(agreement["votes"]), str(agreement["unreadable"]), *shares, *estimates)
            lines.append(Line(name=judge, cells=cells))
    table = Table(
        about=("agreement",),
        title=t("arena.agreement"),
        heads=(t("head.judge"),),
        columns=tuple(t(f"arena.column.{name}") for name in ("votes", "unread", "four", "three", "kappa", "kendall")),
        groups=(Group(name="", lines=tuple(lines)),),
        note=t("arena.agreement_note"),
    )
    return [table] if lines else []
