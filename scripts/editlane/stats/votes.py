"""Compare a judge's votes on pairs of edits with those of people."""

from collections.abc import Iterable
from typing import Any, TypedDict

import evalica
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from editlane.stats.intervals import Interval, mean_interval, rate_interval
from editlane.stats.resampled import Estimate, estimate, undefined_estimate

RESAMPLES = 500
"""Bootstrap samples of the Bradley-Terry scores, each of which is fitted anew."""

FEWEST_SYSTEMS = 3

_WINNERS = {"A": evalica.Winner.X, "B": evalica.Winner.Y}


class Share(TypedDict):
    count: int
    n: int
    share: float | None
    interval: Interval | None
    """95 %: Wilson's, or over items if these have several votes."""


class Agreement(TypedDict):
    votes: int
    """Votes of people. Each is compared with the judge's vote on the same pair."""
    unreadable: int
    """Votes for which the judge gave none that can be read. They count as wrong in the accuracies."""
    accuracy: dict[str, Share]
    """`four`: A, B, tie, both bad. `three`: the two ties are one. `four_of_readable` and `three_of_readable`: over the
    readable votes only, which flatters a judge that answers rarely."""
    kappa: Estimate
    """Cohen's kappa of four classes, over the readable votes."""
    first_better: dict[str, Share]
    """Of the votes for one of two edits, those for the first one shown, by `people` and `judge`. A judge far from the
    people has a position bias."""
    consistent: Share
    """Pairs that the judge saw in both orders and judged alike."""


class Ranking(TypedDict):
    """Systems by Bradley-Terry scores of all votes; ties count half for each."""

    people: dict[str, Estimate]
    """Logarithms of the scores, centred at 0."""
    judge: dict[str, Estimate]
    kendall: Estimate
    """Kendall's tau-b of both."""


def measure_votes(votes: pd.DataFrame, mirrored: Iterable[tuple[str, str]] = ()) -> Agreement:
    """Compare votes. Columns item, vote (A, B, tie or both_bad) and judge (also other texts, or None if unreadable).

    mirrored: the judge's votes on one pair in both orders, each as seen from the first.
    """
    people, judge = votes["vote"].to_numpy(dtype=object), votes["judge"].to_numpy(dtype=object)
    items, readable = votes["item"].to_numpy(dtype=object), votes["judge"].notna().to_numpy()
    pairs = list(mirrored)
    right = {"four": people == judge, "three": _merge_ties(people) == _merge_ties(judge)}
    return {
        "votes": len(votes),
        "unreadable": int((~readable).sum()),
        "accuracy": {name: _share(correct, items) for name, correct in right.items()}
        | {f"{name}_of_readable": _share(correct[readable], items[readable]) for name, correct in right.items()},
        "kappa": _kappa(people[readable], judge[readable]),
        "first_better": {
            name: _share(decided[np.isin(decided, ("A", "B"))] == "A", items[np.isin(decided, ("A", "B"))])
            for name, decided in (("people", people), ("judge", judge))
        },
        "consistent": _share(np.array([one == other for one, other in pairs], dtype=bool), np.arange(len(pairs))),
    }


def _merge_ties(votes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    return np.where(votes == "both_bad", "tie", votes)


def _share(hits: npt.ArrayLike, items: npt.NDArray[Any]) -> Share:
    found = np.asarray(hits, dtype=bool)
    count, n = int(found.sum()), len(found)
    alone = len(set(items.tolist())) == n
    interval = rate_interval(count, n) if alone else mean_interval(found.astype(np.float64), items.astype(str), (0, 1))
    return {"count": count, "n": n, "share": count / n if n else None, "interval": interval}


def _kappa(people: npt.NDArray[np.object_], judge: npt.NDArray[np.object_]) -> Estimate:
    names = sorted({*people, *judge})
    table = pd.crosstab(pd.Categorical(people, names), pd.Categorical(judge, names), dropna=False).to_numpy()
    if len(names) < 2 or table.sum(axis=0).max(initial=0) == table.sum() == table.sum(axis=1).max(initial=0):
        return undefined_estimate("all votes are equal")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = cohens_kappa(table)
    if not np.isfinite([found.kappa_low, found.kappa_upp]).all():
        return {"value": float(found.kappa), "interval": None, "why": "no interval: too few different votes"}
    ends = max(-1.0, float(found.kappa_low)), min(1.0, float(found.kappa_upp))
    return {"value": float(found.kappa), "interval": ends, "why": None}


def rank_systems(votes: pd.DataFrame, *, seed: int = 0) -> Ranking:
    """Rank systems by the votes of people and of the judge on the same pairs.

    Columns item, system_a, system_b, vote, judge. Votes that the judge lacks count for neither. Intervals draw items.
    """
    both = votes[votes["judge"].isin(["A", "B", "tie", "both_bad"])]
    systems = sorted({*both["system_a"], *both["system_b"]})
    why = f"fewer than {FEWEST_SYSTEMS} systems have votes of both"
    if len(systems) < FEWEST_SYSTEMS:
        return {"people": {}, "judge": {}, "kendall": undefined_estimate(why)}
    codes, items = pd.factorize(both["item"])
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), size=RESAMPLES)
    weights = np.vstack([np.ones(len(items)), drawn])[:, codes]
    people, judge = (np.stack([_fit(both, column, systems, row) for row in weights]) for column in ("vote", "judge"))
    taus = np.array([stats.kendalltau(x, y).statistic for x, y in zip(people, judge, strict=True)])
    return {
        "people": {name: estimate(people[:, place]) for place, name in enumerate(systems)},
        "judge": {name: estimate(judge[:, place]) for place, name in enumerate(systems)},
        "kendall": estimate(taus, "all systems have the same score"),
    }


def _fit(votes: pd.DataFrame, column: str, systems: list[str], weights: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    winners = [_WINNERS.get(vote, evalica.Winner.Draw) for vote in votes[column]]  # pandas would make them numbers
    found = evalica.bradley_terry(votes["system_a"], votes["system_b"], winners, weights=list(weights))
    logarithms = np.log(found.scores.reindex(systems).to_numpy(dtype=np.float64).clip(1e-9))
    centred: npt.NDArray[Any] = logarithms - logarithms.mean()
    return centred
