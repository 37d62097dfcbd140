"""Accept a judge only where it tells its controls apart from real edits."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from editlane.core.types import DEGRADED, SAME_FOR_ALL, WRONG, State
from editlane.stats.intervals import ALPHA, Interval, rate_interval

ASKED = (State.SCORED, State.JUDGE_UNREADABLE, State.JUDGE_FAILED)
"""States of the rows that were sent to the judge."""

BEST = 0.3
"""A control is missed if it scores like the best of the real edits, this share of them. So a judge that sees misses
none while up to two thirds of the edits fail, and a blind one misses this share."""

HALF_BLIND = 0.5
"""All controls together must show that a judge misses less than this share of what a blind one would."""

LEVEL = ALPHA / 2
"""Level of the tests, which are one-sided."""

FEWEST_PAIRS = 6
"""Pairs that must be in the right order, to be told from chance: 2^-6 < LEVEL."""

TOGETHER, COPIES = "together", "degraded"
"""Names of the results over all controls that show no edit or a wrong one, and over all degraded copies."""

Verdict = Literal["told_apart", "not_told_apart", "too_few"]

Floats = npt.NDArray[np.float64]


class ControlResult(TypedDict):
    """Some controls against the real edits."""

    n: int
    """Controls planned. A question that is the same for several editors counts once."""
    scored: int
    mean: float | None
    """Mean score of the controls, 0..10."""
    missed: float | None
    """Controls that score like the best real edits. Of degraded copies: those that score above their own edit, and half
    of those that tie with it."""
    interval: Interval | None
    """95 % interval of missed / scored."""
    chance: float | None
    """Share that a judge misses which cannot tell them apart."""
    p: float | None
    """One-sided, of a judge that cannot tell them apart."""
    verdict: Verdict


class RealEdits(TypedDict):
    """The real edits that the controls are compared with."""

    scored: int
    mean: float | None
    unsure: int
    """Those of which the tables do not say whether they differ from their source."""


class Acceptance(TypedDict):
    """The verdict on one judge for one dataset."""

    verdict: Literal["accepted", "not_accepted", "not_tested"]
    reasons: list[str]
    """Results of `controls` that were not told apart from real edits."""
    too_few: list[str]
    """Results of `controls` with too few scores, of controls or of real edits, to reach a verdict."""
    calls: int
    """Extra questions that the judge was asked as controls."""
    share: float | None
    """calls / real edits judged."""
    real: RealEdits
    categories: dict[str, ControlResult]
    """By category: all controls that show no edit or a wrong one."""
    editors: dict[str, ControlResult]
    """By editor: those of them whose question depends on the editor, in the categories that were told apart."""
    controls: dict[str, ControlResult]
    """By control, then COPIES and TOGETHER."""


def accept(real: pd.DataFrame, controls: pd.DataFrame) -> Acceptance:
    """Test where a judge tells its controls apart from real edits.

    real: the judged edits, columns item_id, editor, category, score (NaN = not scored, or not to be compared) and
    optionally unchanged. controls: the judge's controls of `types.ACCEPTANCE`, columns control, item_id, editor,
    category, state and score. A control that was not judged has the state of its edit.

    Each category is tested, each editor, and each control. The judge is accepted for the categories and editors that
    pass, if every control does. It is not tested if none fails but some have too few scores.
    """
    asked = _count_once(controls)
    wrong = asked[asked["control"].isin(list(map(str, WRONG)))]
    own = wrong[~wrong["control"].isin(list(map(str, SAME_FOR_ALL)))]
    categories = _compare_each(real, wrong, "category")
    kept = _list_told_apart(categories)
    editors = _compare_each(_within(real, kept), _within(own, kept), "editor", list(real["editor"].unique()))
    results = _compare_controls(real, asked, kept) if len(controls) else {}
    reasons = [name for name, found in results.items() if found["verdict"] == "not_told_apart"]
    too_few = [name for name, found in results.items() if found["verdict"] == "too_few"]
    blind = any(one["verdict"] == "not_told_apart" for one in (*categories.values(), *editors.values()))
    passes = results and kept and _list_told_apart(editors) and not reasons and not too_few
    scores = _scored(real["score"])
    calls = int(asked["state"].isin(ASKED).sum()) if len(asked) else 0
    return {
        "verdict": "accepted" if passes else "not_accepted" if reasons or blind else "not_tested",
        "reasons": reasons,
        "too_few": too_few,
        "calls": calls,
        "share": calls / len(real) if len(real) else None,
        "real": {
            "scored": len(scores),
            "mean": float(scores.mean()) if len(scores) else None,
            "unsure": int((real["score"].notna() & real["unchanged"].isna()).sum()) if "unchanged" in real else 0,
        },
        "categories": categories,
        "editors": editors,
        "controls": results,
    }


def compare_controls(real: npt.ArrayLike, control: npt.ArrayLike, planned: int) -> ControlResult:
    """Compare the scores of real edits (m,) with those of controls (n,). NaN (not scored) is ignored.

    A control is missed if it scores as high as the BEST share of the real edits, and above the lowest score. p is
    Fisher's exact test of missed controls against those real edits: where both are drawn from one distribution, that is
    the precedence test (Nelson 1963). There are too few scores if not even a judge that misses none could be told from
    chance.
    """
    edits, controls = _scored(real), _scored(control)
    result = _make_result(planned, controls)
    if not len(edits) or not len(controls):
        return result
    limit = _find_limit(edits, controls)
    best, missed = int((edits >= limit).sum()), int((controls >= limit).sum())

    def test(count: int) -> float:
        table = [[best, len(edits) - best], [count, len(controls) - count]]
        return float(stats.fisher_exact(table, alternative="greater").pvalue)

    p = test(missed)
    return _complete(result, missed, chance=best / len(edits), p=p, best_p=p if p < LEVEL else test(0))


def compare_copies(own: npt.ArrayLike, copies: npt.ArrayLike, planned: int) -> ControlResult:
    """Compare the scores of degraded copies (n,) with those of their `own` edits (n,), in pairs; NaN is ignored.

    p is that of the paired t test. An edit that failed has nothing to lose, so there are too few pairs if fewer than
    FEWEST_PAIRS have an edit above the lowest score.
    """
    edits, worse = np.asarray(own, dtype=np.float64), np.asarray(copies, dtype=np.float64)
    both = ~np.isnan(edits - worse)
    edits, worse = edits[both], worse[both]
    result, differences = _make_result(planned, worse), edits - worse
    if not len(differences):
        return result
    missed = float((differences < 0).sum() + (differences == 0).sum() / 2)
    if np.ptp(differences) < 1e-9:  # equal but for rounding: no variance
        p = 0.0 if differences[0] > 0 else 1.0
    else:
        p = float(stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue)
    telling = int((edits > min(edits.min(), worse.min())).sum())
    return _complete(result, missed, chance=0.5, p=p, best_p=0.0 if telling >= FEWEST_PAIRS else 1.0)


def _find_limit(edits: Floats, controls: Floats) -> float:
    """Return the lowest score of the BEST share of the edits, above the lowest of all scores if there is any."""
    above_lowest = edits[edits > min(edits.min(), controls.min())]
    limit = float(np.quantile(edits, 1 - BEST, method="higher"))
    return max(limit, float(above_lowest.min())) if len(above_lowest) else limit


def _count_once(controls: pd.DataFrame) -> pd.DataFrame:
    """Drop all but one of the questions that are the same for several editors."""
    same = controls["control"].isin(list(map(str, SAME_FOR_ALL)))
    return controls[~(same & controls.duplicated(["control", "item_id"]))]


def _compare_each(
    real: pd.DataFrame, controls: pd.DataFrame, column: str, names: Iterable[str] | None = None
) -> dict[str, ControlResult]:
    if not len(controls):
        return {}
    edits, asked = (
        {name: part.to_numpy() for name, part in rows.groupby(column, sort=False)["score"]} for rows in (real, controls)
    )
    nothing = np.empty(0)
    return {
        str(name): compare_controls(edits.get(name, nothing), part := asked.get(name, nothing), len(part))
        for name in (asked if names is None else names)
    }


def _list_told_apart(results: dict[str, ControlResult]) -> list[str]:
    return [name for name, found in results.items() if found["verdict"] == "told_apart"]


def _compare_controls(real: pd.DataFrame, asked: pd.DataFrame, kept: Sequence[str]) -> dict[str, ControlResult]:
    """Compare each control, then the degraded copies and the others, each together.

    A control is compared in the categories that the other controls tell apart. If it chose them itself, a judge that is
    blind to it would be left with those where it was lucky.
    """
    found: dict[str, ControlResult] = {}
    wrong = asked[asked["control"].isin(list(map(str, WRONG)))]
    parts = []
    for control in WRONG:
        same = wrong["control"] == str(control)
        where = _list_told_apart(_compare_each(real, wrong[~same], "category"))
        part = _within(wrong[same], where)["score"]
        found[str(control)] = compare_controls(_within(real, where)["score"], part, len(part))
        parts.append(part)
    copies, names = _within(asked[asked["control"].isin(list(map(str, DEGRADED)))], kept), ["item_id", "editor"]
    pairs = copies[[*names, "score"]].merge(real[[*names, "score"]], "left", names, suffixes=("", "_real"))
    found[COPIES] = compare_copies(pairs["score_real"], pairs["score"], len(copies))
    every = pd.concat(parts)
    found[TOGETHER] = _require_half(compare_controls(_within(real, kept)["score"], every, len(every)))
    return found


def _within(rows: pd.DataFrame, categories: Sequence[str]) -> pd.DataFrame:
    """Return the rows of these categories, or all if there are none."""
    return rows[rows["category"].isin(categories)] if categories else rows


def _require_half(found: ControlResult) -> ControlResult:
    """Require that the judge misses less than HALF_BLIND of what a blind one would."""
    if found["interval"] and found["chance"] and found["verdict"] == "told_apart":
        allowed, lowest = HALF_BLIND * found["chance"], rate_interval(0, found["scored"])
        if found["interval"][1] >= allowed:
            found["verdict"] = "not_told_apart" if lowest and lowest[1] < allowed else "too_few"
    return found


def _make_result(planned: int, controls: Floats) -> ControlResult:
    return {
        "n": planned,
        "scored": len(controls),
        "mean": float(controls.mean()) if len(controls) else None,
        "missed": None,
        "interval": None,
        "chance": None,
        "p": None,
        "verdict": "too_few",
    }


def _complete(result: ControlResult, missed: float, *, chance: float, p: float, best_p: float) -> ControlResult:
    """Add the verdict. `best_p`: the p of a judge that misses none, or any below LEVEL."""
    verdict: Verdict = "told_apart" if p < LEVEL else "not_told_apart"
    return result | {
        "missed": missed,
        "interval": rate_interval(missed, result["scored"]),
        "chance": chance,
        "p": p,
        "verdict": verdict if best_p < LEVEL else "too_few",
    }


def _scored(scores: npt.ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    return values[~np.isnan(values)]
