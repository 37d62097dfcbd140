"""Pick the items whose pictures come first: the best, the worst and the most disputed ones."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editlane.report.conclusion import choose_judge
from editlane.report.load import Report
from editlane.report.trust import get_verdict

COUNT = 5
"""Items of each kind, at most."""

Scores = NDArray[np.float64]


def find_lead(report: Report) -> int:
    """Return the place of the judge of the result; the first if there is none."""
    judge = choose_judge(report)
    return 0 if judge is None else report.judges.index(judge)


def find_compared(report: Report) -> list[int]:
    """Return the places of the accepted judges without panels, which would be compared with their own members."""
    panels = report.numbers["provenance"].get("panels") or {}
    return [place for place in _find_judges(report, "accepted") if report.judges[place] not in panels]


def find_rejected(report: Report) -> list[int]:
    """Return the places of the judges that are not accepted."""
    return _find_judges(report, "not_accepted")


def _find_judges(report: Report, verdict: str) -> list[int]:
    return [place for place, judge in enumerate(report.judges) if get_verdict(report, judge) == verdict]


def pick_highlights(
    scores: Scores, judge: int, compared: Sequence[int], first: Sequence[object], count: int = COUNT
) -> dict[str, Any]:
    """Pick items from scores of shape (editors, judges, items), NaN where there is none.

    `judge` is the place of the judge of the result, and `first` tells of each item which one it is a sample of. Best
    and worst are the items with the highest and the lowest mean over the editors by this judge, of those that have a
    score for the most editors. Disputed are those with the largest range: `between` two of the `compared` judges about
    one editor's edit, or, with fewer than two, between the editors by `judge`. Equal items stay in their order. Of all
    samples of an item one is shown at most, as best or worst, not both.
    """
    means = _mean_over_editors(scores[:, judge])
    there = len({of for of, mean in zip(first, means, strict=True) if np.isfinite(mean)})
    few = min(count, (there + 1) // 2)
    best = _take(-means, few, first)
    worst = _take(means, min(few, there - len(best)), first, {first[item] for item in best})
    by_judges = len(compared) > 1
    ranges = _find_ranges(scores[:, compared], 1).max(axis=0) if by_judges else _find_ranges(scores[:, judge], 0)
    return {
        "judge": judge,
        "best": best,
        "worst": worst,
        "disputed": _take(-np.where(ranges > 0, ranges, np.nan), count, first),
        "between": "judges" if by_judges else "editors",
        "compared": list(compared),
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


def _take(keys: Scores, count: int, first: Sequence[object], without: AbstractSet[object] = frozenset()) -> list[int]:
    """Return the items with the smallest keys, but NaN; of those of one `first`, and not of `without`, one."""
    taken: list[int] = []
    seen = set(without)
    for item in map(int, np.argsort(keys, kind="stable")):
        if len(taken) == count or not np.isfinite(keys[item]):  # NaN is sorted last
            break
        if first[item] not in seen:
            seen.add(first[item])
            taken.append(item)
    return taken
