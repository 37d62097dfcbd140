"""State each comparison in one sentence, the strongest first, but only for accepted judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.report.cells import (
    NONE,
    SMALL_P,
    Group,
    Line,
    Table,
    format_interval,
    format_number,
    format_p,
    format_signed,
    label_editor,
    name_categories,
)
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts
from editlane.report.trust import explain_verdict, get_verdict, is_accepted, name_left_out, name_missed_controls

Comparison = Mapping[str, Any]

SHOWN = 8
"""Statements that are shown; the others are collapsed."""

FEW = 3
"""Above this number of editors, a matrix is added to the sentences."""

LONG = 40
"""A table of comparisons with more rows is collapsed."""

BETTER = ("a_better", "b_better")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    claim: str
    space: str
    """The separator of claim and evidence."""
    evidence: str
    winner: int | None = None
    """Index of the better editor."""

    def __str__(self) -> str:
        return f"{self.claim}{self.space}{self.evidence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeStatements:
    """The statements based on one judge."""

    judge: str
    accepted: bool
    verdict: str
    """The sentence about the judge itself."""
    matrix: Table | None
    """All editors against all, if there are many."""
    overall: tuple[Statement, ...]
    categories: tuple[Statement, ...]

    @property
    def separable(self) -> int:
        """Number of comparisons in the categories in which one editor is better."""
        return sum(statement.winner is not None for statement in self.categories)


def make_statements(report: Report, t: Texts) -> list[JudgeStatements]:
    """Make the statements of each judge."""
    return [_by_judge(report, judge, t) for judge in report.judges]


def _by_judge(report: Report, judge: str, t: Texts) -> JudgeStatements:
    accepted = is_accepted(report, judge)
    left_out = name_left_out(report, judge, t)
    sentence = t(
        "said.in_part" if left_out else f"said.{explain_verdict(report, judge)}",
        judge=judge,
        controls=name_missed_controls(report, judge, t),
        names=left_out,
    )
    overall: Sequence[Statement] = ()
    categories: Sequence[Statement] = ()
    if accepted and len(report.editors) == 1:
        overall = [_make_single_statement(report, judge, t)]
    elif accepted:
        believed = [one for one in report.numbers["comparisons"][judge] if one["verdict"] != "not_believed"]
        by_strength = sorted(believed, key=_rank_weakness)
        overall = [_make_statement(report, judge, one, t) for one in by_strength if one["category"] is None]
        categories = [_make_statement(report, judge, one, t) for one in by_strength if one["category"] is not None]
    return JudgeStatements(
        judge=judge,
        accepted=accepted,
        verdict=sentence,
        matrix=_make_matrix(report, judge, t) if accepted and len(report.editors) > FEW else None,
        overall=tuple(overall),
        categories=tuple(categories),
    )


def _make_single_statement(report: Report, judge: str, t: Texts) -> Statement:
    editor = report.editors[0]
    macro, scored = (report.numbers["editors"][editor][judge][name] for name in ("macro", "overall"))
    bounds = f" {format_interval(macro['interval'])}" if macro["interval"] else ""
    claim = t("said.single", editor=editor, mean=format_number(macro["mean"]), interval=bounds)
    none = t("said.single_none", editor=editor)
    nothing = t("said.nothing_to_compare")
    return Statement(claim=claim if scored["scored"] else none, space=t("page.space"), evidence=nothing)


def _rank_weakness(one: Comparison) -> tuple[int, float, float]:
    """Return a sort key that puts the strongest statement first: separable ones, then the others, each by p."""
    order = (*BETTER, "prefers", "not_separable", "too_few", "no_common_items")
    p = _get_deciding_p(one)
    return (max(order.index(one["verdict"]), 1), 1.0 if p is None else p, -abs(one["difference"] or 0))


def _get_deciding_p(one: Comparison) -> float | None:
    """Return the p that decides the verdict."""
    return None if one["p_holm"] is None else float(one["p_holm"])


def _make_statement(report: Report, judge: str, one: Comparison, t: Texts) -> Statement:
    verdict, category = one["verdict"], one["category"]
    names = {"a": one["a"], "b": one["b"], "category": category}
    where = "" if category is None else "_in"
    left_out = _format_left_out(one, t)
    winner, loser = (one["a"], one["b"]) if _get_sign(one) > 0 else (one["b"], one["a"])
    if verdict == "prefers":
        preferred = _format_preference(report, judge, one, t)
        claim = t(f"said.prefers{where}", winner=winner, loser=loser, category=category)
        return Statement(claim=claim, space=t("page.space"), evidence=_format_evidence(one, t) + preferred)
    if verdict in BETTER:
        return Statement(
            claim=t(f"said.better{where}", winner=winner, loser=loser, category=category),
            space=t("page.space"),
            evidence=_format_evidence(one, t) + left_out,
            winner=report.editors.index(winner),
        )
    evidence = t("said.no_common_evidence") if verdict == "no_common_items" else _format_evidence(one, t)
    if verdict == "too_few":
        evidence += t("said.too_few_evidence", n=one["clusters"])
    elif verdict == "not_separable" and one["detectable"] is not None:
        evidence += t("said.detectable", detectable=format_number(one["detectable"]))
    claim = t(f"said.{verdict}{where}", **names)
    return Statement(claim=claim, space=t("page.space"), evidence=evidence + left_out)


def _get_sign(one: Comparison) -> int:
    """Return -1 if the statement is about b - a, because that is positive and it says so."""
    return -1 if one["verdict"] in (*BETTER, "prefers") and one["difference"] < 0 else 1


def _format_preference(report: Report, judge: str, one: Comparison, t: Texts) -> str:
    """Say how much more the judge gives the winner's edits under another instruction."""
    [found] = [
        preference
        for preference in report.numbers["preferences"][judge]
        if (preference["a"], preference["b"]) == (one["a"], one["b"])
    ]
    sign = _get_sign(one)
    bounds = sorted(sign * bound for bound in found["interval"])
    return t("said.preference", difference=format_signed(sign * found["difference"]), interval=format_interval(bounds))


def _format_evidence(one: Comparison, t: Texts) -> str:
    """Format the difference a - b, or that in favour of the winner, with its interval, p and n."""
    sign = _get_sign(one)
    bounds = None if one["interval"] is None else sorted(sign * bound for bound in one["interval"])
    p = _get_deciding_p(one)
    small = p is not None and p < SMALL_P
    if p is None:
        return t(
            "said.evidence_without_p",
            difference=format_signed(sign * one["difference"]),
            interval=f" {format_interval(bounds)}" if bounds else "",
            n=one["n"],
        )
    return t(
        "said.evidence",
        difference=format_signed(sign * one["difference"]),
        interval=f" {format_interval(bounds)}" if bounds else "",
        p=t("said.p_small", p=SMALL_P) if small else t("said.p", p=format_p(p)),
        n=one["n"],
    )


def _format_left_out(one: Comparison, t: Texts) -> str:
    """Say how many items are left out, and what they could make of the difference in favour of the winner."""
    if not one["left_out"]:
        return ""
    said = t("said.left_out", n=one["left_out"])
    if one["verdict"] in BETTER:
        sign = _get_sign(one)
        low, high = sorted(sign * bound for bound in one["bounds"])
        said += t("said.bounds", low=format_signed(low), high=format_signed(high))
    return said


def _make_matrix(report: Report, judge: str, t: Texts) -> Table:
    """Make the table of every editor against every other, by the macro mean."""
    cells: dict[tuple[str, str], str] = {}
    for one in report.numbers["comparisons"][judge]:
        if one["category"] is None:
            difference, verdict = one["difference"], one["verdict"]
            cells[one["a"], one["b"]] = _format_matrix_cell(difference, verdict, better="a_better")
            cells[one["b"], one["a"]] = _format_matrix_cell(
                None if difference is None else -difference, verdict, "b_better"
            )
    lines = tuple(
        Line(
            name=label_editor(report, place, t),
            cells=tuple(cells.get((a, b), "") for b in report.editors),
            editor=place,
        )
        for place, a in enumerate(report.editors)
    )
    return Table(
        title=t("matrix.title", judge=judge),
        heads=(t("head.editor"),),
        columns=tuple(report.editors),
        groups=(Group(name="", lines=lines),),
        note=t("matrix.note"),
    )


def _format_matrix_cell(difference: float | None, verdict: str, better: str) -> str:
    if verdict == "not_separable":
        return f"≈ {format_signed(difference)}"
    if verdict not in BETTER:
        return NONE
    return f"{'▲' if verdict == better else '▼'} {format_signed(difference)}"


def make_comparison_tables(report: Report, t: Texts) -> list[Table]:
    """Make one table per judge: every pair of editors, by the macro mean and in each category."""
    names = ("difference", "interval", "p", "p_holm", "n", "left_out", "bounds", "detectable", "verdict")
    found = []
    for judge in report.judges:
        comparisons = report.numbers["comparisons"][judge]
        groups = tuple(
            Group(
                name=name,
                lines=tuple(
                    _make_comparison_line(report, judge, one, t) for one in comparisons if one["category"] == category
                ),
            )
            for category, name in name_categories(report, t, together="page.macro")
        )
        if comparisons:
            found.append(
                Table(
                    about=(judge,),
                    title=t("comparisons.table", judge=judge),
                    heads=(t("head.category"), t("column.pair")),
                    columns=title_columns(t, *names),
                    groups=tuple(group for group in groups if group.lines),
                    folded=len(comparisons) > LONG,
                    strong=0,
                )
            )
    return found


def _make_comparison_line(report: Report, judge: str, one: Comparison, t: Texts) -> Line:
    verdict = t(f"comparisons.{one['verdict']}", a=one["a"], b=one["b"])
    if not is_accepted(report, judge):
        verdict = t(f"comparisons.{get_verdict(report, judge)}")
    return Line(
        name=t("comparisons.against", a=one["a"], b=one["b"]),
        cells=(
            format_signed(one["difference"]),
            format_interval(one["interval"]),
            format_p(one["p"]),
            format_p(one["p_holm"]),
            str(one["n"]),
            str(one["left_out"]),
            format_interval(one["bounds"]) if one["left_out"] else NONE,
            format_number(one["detectable"]),
            verdict,
        ),
    )
