"""Show whether a judge can be trusted: its controls, repeats and canary set."""

from collections.abc import Mapping
from typing import Any

from editlane.report.belief import list_believed
from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_interval,
    format_number,
    format_p,
    format_percent,
    format_share,
    format_signed,
)
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts


def get_verdict(report: Report, judge: str) -> str:
    """Return `accepted`, `not_accepted` or `not_tested`. Only the scores of an accepted judge are ranked."""
    return str(report.numbers["acceptance"][judge]["verdict"])


def is_accepted(report: Report, judge: str) -> bool:
    return get_verdict(report, judge) == "accepted"


def is_shown(report: Report, judge: str) -> bool:
    """Return whether a judge's scores are shown. Those of a judge that failed its test stay in report.json."""
    return get_verdict(report, judge) != "not_accepted"


def list_shown(report: Report) -> list[str]:
    """List the judges whose scores are shown."""
    return [judge for judge in report.judges if is_shown(report, judge)]


def name_missed_controls(report: Report, judge: str, t: Texts) -> str:
    """Name what the judge does not tell apart from real edits, or else the controls with too few scores.

    That is a control; or, if every single one is told apart, a category or an editor.
    """
    acceptance = report.numbers["acceptance"][judge]
    blind = acceptance["verdict"] == "not_accepted"
    if controls := acceptance["reasons" if blind else "too_few"]:
        return t.join(t(f"control.{control}") for control in controls)
    verdict = "not_told_apart" if blind else "too_few"
    parts = [*acceptance["categories"].items(), *acceptance["editors"].items()]
    return t.join(name for name, found in parts if found["verdict"] == verdict)


def list_left_out(report: Report, judge: str) -> list[tuple[str, str]]:
    """List where an accepted judge is not believed, with the verdicts there: the categories, then the editors."""
    acceptance = report.numbers["acceptance"][judge]
    return [
        (name, acceptance[of].get(name, {"verdict": "too_few"})["verdict"])
        for of, every in (("categories", report.categories), ("editors", report.editors))
        for name in every
        if not list_believed(acceptance, of, [name])
    ]


def name_left_out(report: Report, judge: str, t: Texts) -> str:
    """Name where an accepted judge is not believed, and why; "" if it is believed everywhere."""
    return t.join(f"{name} ({t(f'trust.{verdict}')})" for name, verdict in list_left_out(report, judge))


def explain_verdict(report: Report, judge: str) -> str:
    """Return the verdict, or `too_few_controls` if a judge has controls, but too few scores to be tested."""
    verdict = get_verdict(report, judge)
    return "too_few_controls" if verdict == "not_tested" and report.numbers["acceptance"][judge]["too_few"] else verdict


def make_trust_tables(report: Report, t: Texts) -> list[Table]:
    """Make tables of each judge's acceptance, then of noise and canaries. Tables without data are omitted."""
    return [*_acceptance(report, t), *_noise(report, t), *_canary(report, t)]


def _acceptance(report: Report, t: Texts) -> list[Table]:
    """Make a table for each judge with controls: by control, by category and by editor."""
    found = []
    for judge in report.judges:
        acceptance = report.numbers["acceptance"][judge]
        parts = {
            "by_control": {t(f"control.{name}"): one for name, one in acceptance["controls"].items()},
            "by_category": {one: acceptance["categories"].get(one) for one in report.categories},
            "by_editor": {one: acceptance["editors"].get(one) for one in report.editors},
        }
        groups = [
            Group(name=t(f"trust.{name}"), lines=tuple(_line(of, one, t) for of, one in lines.items() if one))
            for name, lines in parts.items()
        ]
        if acceptance["controls"]:
            table = Table(
                about=(judge,),
                title=t("trust.acceptance", judge=judge),
                heads=(t("trust.where"), t("head.control")),
                columns=title_columns(t, "scored", "mean", "missed", "chance", "verdict"),
                groups=(Group(name=t("trust.real_edits"), lines=(_real_edits(report, judge, t),)), *groups),
                note=_verdict(report, judge, t),
                strong=2,
            )
            found.append(table)
    return found


def _line(name: str, c: Mapping[str, Any], t: Texts) -> Line:
    share = c["missed"] / c["scored"] if c["missed"] is not None else None
    cells = (
        f"{c['scored']} / {c['n']}",
        format_number(c["mean"]) if c["scored"] else t("page.no_data"),
        NONE if share is None else f"{c['missed']:g}, {format_share(share, c['interval'])}",
        format_percent(c["chance"]),
        t(f"trust.{c['verdict']}"),
    )
    return Line(name=name, cells=cells)


def _real_edits(report: Report, judge: str, t: Texts) -> Line:
    """Make the line of the real edits that the controls are compared with."""
    real = report.numbers["acceptance"][judge]["real"]
    unsure = t("trust.unsure", n=real["unsure"]) if real["unsure"] else NONE
    cells = (str(real["scored"]), format_number(real["mean"]), NONE, NONE, unsure)
    return Line(name=t("page.overall"), cells=cells)


def _verdict(report: Report, judge: str, t: Texts) -> str:
    acceptance = report.numbers["acceptance"][judge]
    verdict = t(f"trust.verdict_{acceptance['verdict']}", controls=name_missed_controls(report, judge, t))
    if left_out := name_left_out(report, judge, t):
        verdict = t("trust.verdict_in_part", names=left_out)
    if judge in (report.numbers["provenance"].get("panels") or {}):
        return t("page.space").join((verdict, t("trust.combined")))
    calls, share = t("trust.calls", n=acceptance["calls"]), acceptance["share"]
    cost = t("trust.calls_plain" if share is None else "trust.calls_share", calls=calls, share=format_percent(share))
    return t("page.space").join((verdict, cost))


def _noise(report: Report, t: Texts) -> list[Table]:
    names = ("kind", "items", "repeats", "within", "between", "largest")
    lines = tuple(
        Line(
            name=judge,
            cells=(
                t(f"trust.{noise['kind']}"),
                *(str(noise[name]) for name in ("items", "repeats")),
                *(format_number(noise[name]) for name in ("within_sd", "between_sd", "largest")),
            ),
        )
        for judge in report.judges
        if (noise := report.numbers["noise"][judge])
    )
    return _by_judge(t, "noise", names, lines)


def _canary(report: Report, t: Texts) -> list[Table]:
    names = ("n", "mean", "reference", "difference", "p", "moved")
    lines = tuple(
        Line(
            name=judge,
            cells=(
                str(canary["n"]),
                format_number(canary["mean"]),
                canary["reference_run"] or t("trust.no_reference"),
                format_canary_difference(canary) or NONE,
                format_p(canary["p"]),
                t("page.yes" if canary["moved"] else "page.no") if canary["reference_run"] else NONE,
            ),
        )
        for judge in report.judges
        if (canary := report.numbers["canary"][judge])
    )
    return _by_judge(t, "canary", names, lines)


def format_canary_difference(canary: Mapping[str, Any]) -> str:
    """Format the difference of this run minus the earlier one, with its interval."""
    bounds = canary["interval"]
    return format_signed(canary["difference"]) + (f" {format_interval(bounds)}" if bounds else "")


def _by_judge(t: Texts, what: str, names: tuple[str, ...], lines: tuple[Line, ...]) -> list[Table]:
    table = Table(
        about=(what,),
        title=t(f"trust.{what}"),
        heads=(t("head.judge"),),
        columns=title_columns(t, *names),
        groups=(Group(name="", lines=lines),),
        note=t(f"trust.{what}_note"),
    )
    return [table] if lines else []
