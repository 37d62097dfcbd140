"""What can be said: one sentence for every comparison, the strongest first; none by a judge that is not accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.report.cells import (
    NONE,
    SMALL_P,
    Group,
    Line,
    Table,
    category_names,
    editor_label,
    interval,
    number,
    p_value,
    signed,
)
from editlane.report.load import Report
from editlane.report.summary import columns
from editlane.report.texts import Texts
from editlane.report.trust import is_accepted, missed_controls, said_of, verdict_of

Comparison = Mapping[str, Any]

SHOWN = 8
"""Statements that stand open; the others are folded."""

FEW = 3
"""Editors that are compared in sentences; more make a matrix."""

LONG = 40
"""Rows above which a table of comparisons is folded."""

BETTER = ("a_better", "b_better")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    claim: str
    space: str
    """What stands between the two."""
    evidence: str
    winner: int | None = None
    """The place of the better editor."""

    def __str__(self) -> str:
        return f"{self.claim}{self.space}{self.evidence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What can be said by one judge."""

    judge: str
    accepted: bool
    verdict: str
    """The sentence on the judge itself."""
    matrix: Table | None
    """All editors against all, where there are many."""
    overall: tuple[Statement, ...]
    categories: tuple[Statement, ...]

    @property
    def separable(self) -> int:
        """In how many comparisons in the categories one editor is better."""
        return sum(statement.winner is not None for statement in self.categories)


def what_can_be_said(report: Report, t: Texts) -> list[Said]:
    """One entry for each judge."""
    return [_by_judge(report, judge, t) for judge in report.judges]


def _by_judge(report: Report, judge: str, t: Texts) -> Said:
    accepted = is_accepted(report, judge)
    sentence = t(f"said.{said_of(report, judge)}", judge=judge, controls=missed_controls(report, judge, t))
    overall: Sequence[Statement] = ()
    categories: Sequence[Statement] = ()
    if accepted and len(report.editors) == 1:
        overall = [_single(report, judge, t)]
    elif accepted:
        by_strength = sorted(report.numbers["comparisons"][judge], key=_weakness)
        overall = [_statement(report, one, t) for one in by_strength if one["category"] is None]
        categories = [_statement(report, one, t) for one in by_strength if one["category"] is not None]
    return Said(
        judge=judge,
        accepted=accepted,
        verdict=sentence,
        matrix=_matrix(report, judge, t) if accepted and len(report.editors) > FEW else None,
        overall=tuple(overall),
        categories=tuple(categories),
    )


def _single(report: Report, judge: str, t: Texts) -> Statement:
    editor = report.editors[0]
    s = report.numbers["editors"][editor][judge]["overall"]
    bounds = f" {interval(s['interval'])}" if s["interval"] else ""
    claim = t("said.single", editor=editor, mean=number(s["mean"]), interval=bounds, n=s["scored"])
    none = t("said.single_none", editor=editor)
    nothing = t("said.nothing_to_compare")
    return Statement(claim=claim if s["scored"] else none, space=t("page.space"), evidence=nothing)


def _weakness(one: Comparison) -> tuple[int, float, float]:
    """Sorts the strongest statement first: what is better by the smallest p, then what is nearest to it."""
    order = (*BETTER, "not_separable", "too_few", "no_common_items")
    p = _p(one)
    return (max(order.index(one["verdict"]), 1), 1.0 if p is None else p, -abs(one["difference"] or 0))


def _p(one: Comparison) -> float | None:
    """The p that the verdict rests on."""
    p = one["p"] if one["category"] is None or one["p_holm"] is None else one["p_holm"]
    return None if p is None else float(p)


def _statement(report: Report, one: Comparison, t: Texts) -> Statement:
    verdict, category = one["verdict"], one["category"]
    names = {"a": one["a"], "b": one["b"], "category": category}
    where = "" if category is None else "_in"
    left_out = t("said.left_out", n=one["left_out"]) if one["left_out"] else ""
    if verdict in BETTER:
        winner, loser = (one["a"], one["b"]) if verdict == "a_better" else (one["b"], one["a"])
        return Statement(
            claim=t(f"said.better{where}", winner=winner, loser=loser, category=category),
            space=t("page.space"),
            evidence=_evidence(one, t) + left_out,
            winner=report.editors.index(winner),
        )
    evidence = {
        "not_separable": t("said.not_detectable", n=one["n"]),
        "too_few": t("said.too_few_evidence", n=one["n"], clusters=one["clusters"]),
        "no_common_items": t("said.no_common_evidence"),
    }[verdict]
    if verdict == "not_separable" and one["detectable"] is not None:
        evidence = t("said.detectable", n=one["n"], detectable=number(one["detectable"]))
    claim = t(f"said.{verdict}{where}", **names)
    return Statement(claim=claim, space=t("page.space"), evidence=evidence + left_out)


def _evidence(one: Comparison, t: Texts) -> str:
    """The difference as the winner sees it, its interval, p and n."""
    sign = 1 if one["verdict"] == "a_better" else -1
    bounds = None if one["interval"] is None else sorted(sign * bound for bound in one["interval"])
    p = _p(one)
    small = p is not None and p < SMALL_P
    return t(
        "said.evidence",
        difference=signed(sign * one["difference"]),
        interval=f" {interval(bounds)}" if bounds else "",
        p=t("said.p_small", p=SMALL_P) if small else t("said.p", p=p_value(p)),
        n=one["n"],
    )


def _matrix(report: Report, judge: str, t: Texts) -> Table:
    """Every editor against every other, over all items."""
    cells: dict[tuple[str, str], str] = {}
    for one in report.numbers["comparisons"][judge]:
        if one["category"] is None:
            difference, verdict = one["difference"], one["verdict"]
            cells[one["a"], one["b"]] = _matrix_cell(difference, verdict, better="a_better")
            cells[one["b"], one["a"]] = _matrix_cell(None if difference is None else -difference, verdict, "b_better")
    lines = tuple(
        Line(
            name=editor_label(report, place, t),
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


def _matrix_cell(difference: float | None, verdict: str, better: str) -> str:
    if verdict == "not_separable":
        return f"≈ {signed(difference)}"
    if verdict not in BETTER:
        return NONE
    return f"{'▲' if verdict == better else '▼'} {signed(difference)}"


def comparison_tables(report: Report, t: Texts) -> list[Table]:
    """One per judge: every pair of editors, over all items and in every category."""
    names = ("difference", "interval", "p", "p_holm", "n", "left_out", "detectable", "verdict")
    found = []
    for judge in report.judges:
        comparisons = report.numbers["comparisons"][judge]
        groups = tuple(
            Group(
                name=name,
                lines=tuple(
                    _comparison_line(report, judge, one, t) for one in comparisons if one["category"] == category
                ),
            )
            for category, name in category_names(report, t)
        )
        if comparisons:
            found.append(
                Table(
                    title=t("comparisons.table", judge=judge),
                    heads=(t("head.category"), t("column.pair")),
                    columns=columns(t, *names),
                    groups=tuple(group for group in groups if group.lines),
                    folded=len(comparisons) > LONG,
                    strong=0,
                )
            )
    return found


def _comparison_line(report: Report, judge: str, one: Comparison, t: Texts) -> Line:
    verdict = t(f"comparisons.{one['verdict']}", a=one["a"], b=one["b"])
    if one["verdict"] in BETTER and not is_accepted(report, judge):
        verdict = t(
            "comparisons.not_tested" if verdict_of(report, judge) == "not_tested" else "comparisons.not_believed"
        )
    return Line(
        name=t("comparisons.against", a=one["a"], b=one["b"]),
        cells=(
            signed(one["difference"]),
            interval(one["interval"]),
            p_value(one["p"]),
            p_value(one["p_holm"]),
            str(one["n"]),
            str(one["left_out"]),
            number(one["detectable"]),
            verdict,
        ),
    )
