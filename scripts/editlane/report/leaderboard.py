"""Rank the editors by their macro mean, but only if the judge is accepted."""

from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_mean,
    format_percent,
    format_rate,
    label_editor,
)
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts
from editlane.report.trust import get_verdict, is_accepted


def make_leaderboards(report: Report, t: Texts) -> list[Table]:
    """Make one table for each judge."""
    return [_leaderboard(report, judge, t) for judge in report.judges]


def _leaderboard(report: Report, judge: str, t: Texts) -> Table:
    accepted = is_accepted(report, judge)
    ranks = find_rank_ranges(report, judge) if accepted else None
    order = sorted(report.editors, key=lambda editor: -_headline(report, editor, judge)) if accepted else report.editors
    note = "ranked" if accepted else "not_tested" if get_verdict(report, judge) == "not_tested" else "not_ranked"
    rank = ["rank"] if accepted else []
    return Table(
        title=t("leaderboard.ranked" if accepted else "leaderboard.not_ranked", judge=judge),
        heads=(t("head.editor"),),
        columns=title_columns(t, *rank, "macro", "categories", "micro", "scored", "coverage", "unchanged_rate"),
        groups=(Group(name="", lines=tuple(_line(report, editor, judge, ranks, t) for editor in order)),),
        note=t(f"leaderboard.note_{note}"),
        strong=len(rank),
    )


def _headline(report: Report, editor: str, judge: str) -> float:
    mean = report.numbers["editors"][editor][judge]["macro"]["mean"]
    return float("-inf") if mean is None else float(mean)


def _line(report: Report, editor: str, judge: str, ranks: dict[str, tuple[int, int]] | None, t: Texts) -> Line:
    cell = report.numbers["editors"][editor][judge]
    overall, macro, place = cell["overall"], cell["macro"], report.editors.index(editor)
    unchanged, no_data = overall["unchanged"], t("page.no_data")
    cells = (
        format_mean(macro["mean"], macro["interval"]) if macro["categories"] else no_data,
        f"{macro['categories']} / {macro['of']}",
        format_mean(overall["mean"], overall["interval"]) if overall["scored"] else no_data,
        f"{overall['scored']} / {overall['n']}",
        format_percent(overall["coverage"]),
        format_rate(unchanged["count"], unchanged["n"], unchanged["interval"]),
    )
    rank = [] if ranks is None else [_rank(ranks.get(editor), t)]
    return Line(name=label_editor(report, place, t), cells=(*rank, *cells), editor=place)


def _rank(places: tuple[int, int] | None, t: Texts) -> str:
    if places is None:
        return NONE
    best, worst = places
    return str(best) if best == worst else t("leaderboard.rank_range", best=best, worst=worst)


def find_rank_ranges(report: Report, judge: str) -> dict[str, tuple[int, int]]:
    """Return the best and the worst rank of each editor that the comparisons over all items allow.

    Editors without a score have no rank.
    """
    ranked = [e for e in report.editors if report.numbers["editors"][e][judge]["overall"]["scored"]]
    better, worse = dict.fromkeys(ranked, 0), dict.fromkeys(ranked, 0)
    for one in report.numbers["comparisons"][judge]:
        if one["category"] is None and one["verdict"] in ("a_better", "b_better"):
            winner, loser = (one["a"], one["b"]) if one["verdict"] == "a_better" else (one["b"], one["a"])
            better[loser] += 1
            worse[winner] += 1
    return {editor: (1 + better[editor], len(ranked) - worse[editor]) for editor in ranked}
