"""Pick the items whose pictures come first: the best, the worst and the most disputed ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editlane.report.conclusion import choose_judge
from editlane.report.load import Report

COUNT = 5
"""Items of each kind, at most."""

Scores = NDArray[np.float64]


def find_trusted(report: Report) -> list[int]:
    """Return the places of the accepted judges. The judge of the result comes first."""
    found = _find_judges(report, "accepted")
    first = choose_judge(report) if len(found) > 1 else None
    return sorted(found, key=lambda place: report.judges[place] != first)


def find_rejected(report: Report) -> list[int]:
    """Return the places of the judges that are not accepted."""
    return _find_judges(report, "not_accepted")


def _find_judges(report: Report, verdict: str) -> list[int]:
    acceptance = report.numbers.get("acceptance", {})
    return [place for place, judge in enumerate(report.judges) if acceptance.get(judge, {}).get("verdict") == verdict]


def pick_highlights(scores: Scores, trusted: Sequence[int], count: int = COUNT) -> dict[str, Any]:
    """Pick items from scores of shape (editors, judges, items), NaN where there is none.

    `judge` is the place of the judge whose scores count: the first trusted one, else the first. Best and worst are the
    items with the highest and the lowest mean over the editors, of those that have a score for the most editors.
    Disputed are those with the largest range: `between` two trusted judges about one editor's edit, or, with fewer than
    two, between the editors by `judge`. Equal items stay in their order. An item is best or worst, not both.
    """
    judge = trusted[0] if trusted else 0
    means = _mean_over_editors(scores[:, judge])
    there = int(np.isfinite(means).sum())
    few = min(count, (there + 1) // 2)
    best = _take(-means, few)
    worst = [item for item in _take(means, few) if item not in best]
    by_judges = len(trusted) > 1
    ranges = _find_ranges(scores[:, trusted], 1).max(axis=0) if by_judges else _find_ranges(scores[:, judge], 0)
    return {
        "judge": judge,
        "best": best,
        "worst": worst,
        "disputed": _take(-np.where(ranges > 0, ranges, np.nan), count),
        "between": "judges" if by_judges else "editors",
        "trusted": list(trusted),
    }


def _mean_over_editors(scores: Scores) -> Scores:
    """Return the mean of (editors, items) over the editors; NaN for items that more editors could have a score for."""
    counts = np.isfinite(scores).sum(axis=0)
    sums = np.nansum(scores, axis=0)
    full = (counts == counts.max(initial=0)) & (counts > 0)
    return np.where(full, sums / np.maximum(counts, 1), np.nan)


def _find_ranges(scores: Scores, axis: int) -> Scores:
    """Return the largest less the smallest score along an axis; -1 where there are fewer than two."""
    several = np.isfinite(scores).sum(axis=axis) > 1
    high = np.where(np.isfinite(scores), scores, -np.inf).max(axis=axis, initial=-np.inf)
    low = np.where(np.isfinite(scores), scores, np.inf).min(axis=axis, initial=np.inf)
    return np.where(several, high, 0.0) - np.where(several, low, 1.0)


def _take(keys: Scores, count: int) -> list[int]:
    """Return the items with the smallest keys, without those of NaN."""
    order = np.argsort(keys, kind="stable")
    return [int(item) for item in order[:count] if np.isfinite(keys[item])]
