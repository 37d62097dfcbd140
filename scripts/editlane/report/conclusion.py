"""Conclude what a run found: by which judge, which editors may be the best, and how surely.

This is the entry `answer` of report.json, without words of a language; `claims` says it on the page, in Markdown and in
the terminal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from editlane.report.leaderboard import Ranks, find_rank_ranges, order_editors
from editlane.report.load import Report
from editlane.report.trust import explain_verdict, is_accepted, is_shown, list_left_out

DEFINITION_VERSION = 1
"""Changes with the meaning of an entry; config/numbers.md defines them."""


def conclude(report: Report) -> dict[str, Any]:
    """Return the answer of the report: the judge of the result, and what each judge says."""
    return {
        "definition_version": DEFINITION_VERSION,
        "judge": choose_judge(report),
        "categories": len(report.categories),
        "judges": {judge: _conclude_by(report, judge) for judge in report.judges},
    }


def choose_judge(report: Report) -> str | None:
    """Return the judge whose scores stand first: an accepted panel, or judge; else one that was not tested.

    A judge without a score does not stand before others that have some. None if those are all not accepted.
    """
    panels = report.numbers["provenance"].get("panels") or {}
    scoring = [judge for judge in report.judges if _has_scores(report, judge)] or report.judges
    shown = [judge for judge in scoring if is_shown(report, judge)]
    return min(shown, key=lambda judge: (not is_accepted(report, judge), judge not in panels), default=None)


def _has_scores(report: Report, judge: str) -> bool:
    """Return False if a judge has scored no edit of any editor."""
    found = [of[judge] for of in report.numbers.get("editors", {}).values() if judge in of]
    return not found or any(one["overall"]["scored"] for one in found)


def _conclude_by(report: Report, judge: str) -> dict[str, Any]:
    """Conclude by one judge. Only an accepted one ranks editors, and only if it can rank two or more."""
    ranks = find_rank_ranges(report, judge) if is_accepted(report, judge) else {}
    ranks = ranks if len(ranks) > 1 else {}
    first = [editor for editor in report.editors if ranks.get(editor, (0, 0))[0] == 1]
    kind = _find_kind(report, judge, ranks, first)
    named = list(report.editors) if kind == "single" else first
    return {
        "verdict": explain_verdict(report, judge),
        "left_out": [{"name": name, "verdict": verdict} for name, verdict in list_left_out(report, judge)],
        "kind": kind,
        "editors": named,
        "macro": _get_macro(report, named[0], judge) if len(named) == 1 else None,
        "order": order_editors(report, judge, ranks or None),
        "ranks": dict(ranks),
        "not_ranked": [editor for editor in report.editors if ranks and editor not in ranks],
        "ahead": _count_ahead(report.numbers["comparisons"][judge], list(ranks)),
    }


def _find_kind(report: Report, judge: str, ranks: Ranks, first: Sequence[str]) -> str:
    """Return what can be said: the name of its text."""
    if not is_accepted(report, judge):
        return "not_tested" if is_shown(report, judge) else "nothing"
    if len(report.editors) == 1:
        return "single"
    if not first:
        return "unranked"
    if len(first) > 1:
        return "open"
    if ranks[first[0]][1] > 1:
        return "perhaps"
    return "best" if len(ranks) == len(report.editors) else "best_of_ranked"


def _get_macro(report: Report, editor: str, judge: str) -> dict[str, Any]:
    macro = report.numbers["editors"][editor][judge]["macro"]
    return {name: macro[name] for name in ("mean", "interval")}


def _count_ahead(comparisons: Sequence[Mapping[str, Any]], ranked: Sequence[str]) -> dict[str, int]:
    """Count for each ranked editor the categories in which it is higher than every other ranked one, by Holm's p."""
    won: dict[tuple[str, str], int] = {}
    for one in comparisons:
        winner = {"a_better": one["a"], "b_better": one["b"]}.get(one["verdict"])
        if one["category"] is not None and winner and {one["a"], one["b"]} <= set(ranked):
            won[winner, one["category"]] = won.get((winner, one["category"]), 0) + 1
    return {
        editor: sum(of == editor and count == len(ranked) - 1 for (of, _), count in won.items()) for editor in ranked
    }
