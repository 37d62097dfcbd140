"""Rank the editors by their macro mean, but only if the judge is accepted."""

from collections.abc import Mapping, Sequence
from typing import Any

from editlane.report.belief import list_believed
from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_coverage,
    format_mean,
    format_rate,
    label_editor,
)
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts
from editlane.report.trust import get_verdict, is_accepted, name_left_out

Ranks = Mapping[str, tuple[int, int]]
"""Editor -> its best and its worst rank."""


def make_leaderboards(report: Report, t: Texts) -> list[Table]:
    """Make one table for each judge, and, collapsed, one in which failed edits count as 0 if there are any."""
    found = []
    for judge in report.judges:
        found.append(_make_leaderboard(report, judge, t))
        if is_accepted(report, judge) and report.numbers["failures_as_zero"][judge]:
            found.append(_make_zero_leaderboard(report, judge, t))
    return found


def _make_leaderboard(report: Report, judge: str, t: Texts) -> Table:
    accepted = is_accepted(report, judge)
    ranks = find_rank_ranges(report, judge) if accepted else None
    note = "ranked" if accepted else "not_tested" if get_verdict(report, judge) == "not_tested" else "not_ranked"
    left_out = name_left_out(report, judge, t)
    if left_out:
        note = "in_part"
    rank = ["rank"] if accepted else []
    lines = (_make_line(report, editor, judge, ranks, t) for editor in order_editors(report, judge, ranks))
    return Table(
        about=(judge,),
        title=t("leaderboard.ranked" if accepted else "leaderboard.not_ranked", judge=judge),
        heads=(t("head.editor"),),
        columns=title_columns(t, *rank, "macro", "categories", "micro", "coverage", "unchanged_rate"),
        groups=(Group(name="", lines=tuple(lines)),),
        note=t(f"leaderboard.note_{note}", names=left_out),
        strong=len(rank),
    )


def _make_zero_leaderboard(report: Report, judge: str, t: Texts) -> Table:
    numbers = report.numbers["failures_as_zero"][judge]
    scored = [e for e in report.editors if numbers["editors"][e]["categories"]]
    ranks = _rank(numbers["comparisons"], _list_ranked(report, judge, scored))
    lines = tuple(
        Line(
            name=label_editor(report, place := report.editors.index(editor), t),
            cells=(
                format_rank(ranks.get(editor), t),
                *_format_macro(numbers["editors"][editor], t),
                f"{numbers['failed'][editor]} / {len(report.items)}",
            ),
            editor=place,
        )
        for editor in order_editors(report, judge, ranks)
    )
    return Table(
        about=(judge, "failures_as_zero"),
        title=t("leaderboard.as_zero", judge=judge),
        heads=(t("head.editor"),),
        columns=title_columns(t, "rank", "macro", "categories", "failed"),
        groups=(Group(name="", lines=lines),),
        note=t("leaderboard.note_as_zero"),
        strong=1,
        folded=True,
    )


def order_editors(report: Report, judge: str, ranks: Ranks | None) -> list[str]:
    """Order by rank. Where ranks are equal, an editor that fails its hard items does not come first for that."""
    if ranks is None:
        return list(report.editors)
    as_zero = report.numbers["failures_as_zero"][judge]
    last = (len(report.editors) + 1, 0)

    def key(editor: str) -> tuple[int, int, float]:
        macro = as_zero["editors"][editor] if as_zero else report.numbers["editors"][editor][judge]["macro"]
        return (*ranks.get(editor, last), -(macro["mean"] or 0.0))

    return sorted(report.editors, key=key)


def _make_line(report: Report, editor: str, judge: str, ranks: Ranks | None, t: Texts) -> Line:
    cell = report.numbers["editors"][editor][judge]
    overall, place = cell["overall"], report.editors.index(editor)
    unchanged, no_data = overall["unchanged"], t("page.no_data")
    cells = (
        *_format_macro(cell["macro"], t),
        format_mean(overall["mean"], overall["interval"]) if overall["scored"] else no_data,
        format_coverage(overall["scored"], overall["n"]),
        format_rate(unchanged["count"], unchanged["n"], unchanged["interval"]),
    )
    rank = [] if ranks is None else [format_rank(ranks.get(editor), t)]
    return Line(name=label_editor(report, place, t), cells=(*rank, *cells), editor=place)


def _format_macro(macro: Mapping[str, Any], t: Texts) -> tuple[str, str]:
    mean = format_mean(macro["mean"], macro["interval"]) if macro["categories"] else t("page.no_data")
    return mean, f"{macro['categories']} / {macro['of']}"


def format_rank(places: tuple[int, int] | None, t: Texts) -> str:
    """Format a rank, or the range that the comparisons leave open."""
    if places is None:
        return NONE
    best, worst = places
    return str(best) if best == worst else t("leaderboard.rank_range", best=best, worst=worst)


def find_rank_ranges(report: Report, judge: str) -> Ranks:
    """Return the best and the worst rank by the macro mean of the scored items.

    Editors without a score, and those of which the judge is not believed, have none.
    """
    scored = [e for e in report.editors if report.numbers["editors"][e][judge]["macro"]["categories"]]
    return _rank(report.numbers["comparisons"][judge], _list_ranked(report, judge, scored))


def list_ranks(report: Report) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the rank ranges by judge and editor, for report.json. A judge that is not accepted ranks nobody."""
    return {
        judge: dict(find_rank_ranges(report, judge)) if is_accepted(report, judge) else {} for judge in report.judges
    }


def _list_ranked(report: Report, judge: str, editors: Sequence[str]) -> list[str]:
    return list_believed(report.numbers["acceptance"][judge], "editors", editors)


def _rank(comparisons: Sequence[Mapping[str, Any]], editors: Sequence[str]) -> Ranks:
    """Return the best and the worst rank of each editor that the comparisons of the macro means allow.

    A comparison counts only if no scores in the place of missing ones could reverse it.
    """
    better, worse = dict.fromkeys(editors, 0), dict.fromkeys(editors, 0)
    for one in comparisons:
        if one["category"] is None and one["verdict"] in ("a_better", "b_better") and not is_open(one):
            winner, loser = (one["a"], one["b"]) if one["verdict"] == "a_better" else (one["b"], one["a"])
            better[loser] += 1
            worse[winner] += 1
    return {editor: (1 + better[editor], len(editors) - worse[editor]) for editor in editors}


def is_open(one: Mapping[str, Any]) -> bool:
    """Return whether missing scores could take the sign of a difference away."""
    low, high = one["bounds"]
    return bool(low <= 0 <= high)
