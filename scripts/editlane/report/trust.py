"""Show whether a judge can be trusted: its controls, repeats and canary set."""

from collections.abc import Mapping
from typing import Any

from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_interval,
    format_number,
    format_p,
    format_percent,
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


def name_missed_controls(report: Report, judge: str, t: Texts) -> str:
    """Name the controls that the judge does not tell apart from real edits, or else those with too few scores."""
    acceptance = report.numbers["acceptance"][judge]
    return t.join(t(f"control.{control}") for control in acceptance["reasons"] or acceptance["too_few"])


def explain_verdict(report: Report, judge: str) -> str:
    """Return the verdict, or `too_few_controls` if a judge has controls, but too few scores to be tested."""
    verdict = get_verdict(report, judge)
    return "too_few_controls" if verdict == "not_tested" and report.numbers["acceptance"][judge]["too_few"] else verdict


def make_trust_tables(report: Report, t: Texts) -> list[Table]:
    """Make tables of each judge's acceptance, then of noise and canaries. Tables without data are omitted."""
    return [*_acceptance(report, t), *_noise(report, t), *_canary(report, t)]


def _acceptance(report: Report, t: Texts) -> list[Table]:
    """Make two tables for each judge with controls: over all categories, then, collapsed, by category."""
    titles, found = title_columns(t, "scored", "mean", "auc", "auc_interval", "verdict"), []
    for judge in report.judges:
        controls = report.numbers["acceptance"][judge]["controls"]
        overall = [_line(t(f"control.{name}"), numbers["overall"], t) for name, numbers in controls.items()]
        groups = tuple(
            Group(
                name=t(f"control.{name}"),
                lines=tuple(
                    _line(one, numbers["categories"][one], t)
                    for one in report.categories
                    if one in numbers["categories"]
                ),
            )
            for name, numbers in controls.items()
        )
        together = Table(
            title=t("trust.acceptance", judge=judge),
            heads=(t("head.control"),),
            columns=titles,
            groups=(Group(name="", lines=(_real_edits(report, judge, t), *overall)),),
            note=_verdict(report, judge, t),
            strong=2,
        )
        heads, title = (t("head.control"), t("head.category")), t("trust.acceptance_in", judge=judge)
        apart = Table(title=title, heads=heads, columns=titles, groups=groups, folded=True)
        found += [together, apart] if controls else []
    return found


def _line(name: str, c: Mapping[str, Any], t: Texts) -> Line:
    mean = format_number(c["mean"]) if c["scored"] else t("page.no_data")
    cells = (
        f"{c['scored']} / {c['n']}",
        mean,
        format_number(c["auc"]),
        format_interval(c["interval"]),
        t(f"trust.{c['verdict']}"),
    )
    return Line(name=name, cells=cells)


def _real_edits(report: Report, judge: str, t: Texts) -> Line:
    """Make the line of the real edits that the controls are compared with."""
    real = report.numbers["acceptance"][judge]["real"]
    cells = (str(real["scored"]), format_number(real["mean"]), NONE, NONE, NONE)
    return Line(name=t("trust.real_edits"), cells=cells)


def _verdict(report: Report, judge: str, t: Texts) -> str:
    acceptance = report.numbers["acceptance"][judge]
    verdict = t(f"trust.verdict_{acceptance['verdict']}", controls=name_missed_controls(report, judge, t))
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
        title=t(f"trust.{what}"),
        heads=(t("head.judge"),),
        columns=title_columns(t, *names),
        groups=(Group(name="", lines=lines),),
        note=t(f"trust.{what}_note"),
    )
    return [table] if lines else []
