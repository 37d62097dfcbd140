"""Rank editors by duels: strengths, their differences, and ranks only where the differences separate."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypedDict

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from editlane.stats.intervals import ALPHA, FEWEST_CLUSTERS, UNSEEN, Inference, Interval
from editlane.stats.many_means import infer_means
from editlane.stats.strengths import (
    Floats,
    add_wins,
    find_groups,
    fit_strengths,
    make_pseudo_values,
    score_difference,
    span_unseen,
)

FEWEST_LOST = float(UNSEEN)
"""An editor that lost less than this, in photos, may be better without limit, as far as so few photos tell. The same
holds for wins. Then no strength has an interval, because each is relative to the mean of all."""

Verdict = Literal["a_better", "b_better", "not_separable", "too_few", "not_believed"]


class Strength(TypedDict):
    n: int
    """Duels of this editor."""
    strength: float
    """Log-odds, centred at 0."""
    interval: Interval | None
    """None if an editor is open-ended."""
    rank: tuple[int, int] | None
    """The best and the worst rank that the differences leave open. Null where the judge is not believed."""


class Difference(TypedDict):
    a: str
    b: str
    n: int
    """Duels of a against b. The difference also counts duels with others."""
    difference: float
    """Strength of a less that of b."""
    interval: Interval | None
    p: float | None
    """Two-sided, of equal strengths: from the distribution of the interval, or a score test if there is none."""
    p_holm: float | None
    """Corrected over all pairs, or over all pairs and believed categories; it decides."""
    verdict: Verdict


class Ranking(TypedDict):
    """The strengths by some duels. Without an answer, `editors` and `differences` are empty and `why` is the reason."""

    n: int
    clusters: int
    why: Literal["too_few_photos", "not_connected"] | None
    groups: list[list[str]]
    """Editors that duels connect: one group, unless they are not connected."""
    open_ended: list[str]
    """Editors that won or lost nearly every duel; see FEWEST_LOST."""
    editors: dict[str, Strength]
    differences: list[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A ranking that is not decided yet."""

    ranking: Ranking
    inferences: Sequence[Inference]
    """Of each difference."""
    reversible: Sequence[bool]
    """Whether UNSEEN photos could reverse it."""


def fit_duels(duels: pd.DataFrame, editors: Sequence[str]) -> Fit:
    """Fit duels. Columns a, b, win (of a, 0..1, no NaN) and cluster. Editors without a duel are left out.

    There is no fit below FEWEST_CLUSTERS photos, or if duels do not connect all editors.
    """
    met = {*duels["a"].unique(), *duels["b"].unique()}
    names = [name for name in editors if name in met]
    place = {name: at for at, name in enumerate(names)}
    a, b = (duels[side].map(place).to_numpy(dtype=int) for side in ("a", "b"))
    wins = add_wins(a, b, duels["win"].to_numpy(dtype=float), duels["cluster"].to_numpy(), len(names))
    groups = [[names[at] for at in group] for group in find_groups(wins.sum(axis=0))]
    ranking: Ranking = {
        "n": len(duels),
        "clusters": len(wins),
        "why": "too_few_photos" if len(wins) < FEWEST_CLUSTERS else "not_connected" if len(groups) > 1 else None,
        "groups": groups,
        "open_ended": [],
        "editors": {},
        "differences": [],
    }
    if ranking["why"]:
        return Fit(ranking=ranking, inferences=(), reversible=())
    return _fit_connected(ranking, wins, names)


def _fit_connected(ranking: Ranking, wins: Floats, names: Sequence[str]) -> Fit:
    strengths = fit_strengths(wins.sum(axis=0))
    pseudo, (lost, won) = make_pseudo_values(wins, strengths), span_unseen(wins, strengths)
    games, total = wins + wins.swapaxes(1, 2), wins.sum(axis=0)
    codes, open_ended = np.arange(len(wins)), _find_open_ended(wins)
    ranking["open_ended"] = [name for name, is_open in zip(names, open_ended, strict=True) if is_open]
    of_strengths = infer_means([(column, codes) for column in pseudo.T])
    for i, (name, found) in enumerate(zip(names, of_strengths, strict=True)):
        ends = float(lost[i, i]), float(won[i, i])
        ranking["editors"][name] = {
            "n": round(float(games[:, i].sum())),
            "strength": float(strengths[i]),
            "interval": _widen(found, ends) if found and not any(open_ended) else None,
            "rank": None,
        }
    inferences, reversible = [], []
    pairs = [(i, j, open_ended[i] or open_ended[j]) for i, j in combinations(range(len(names)), 2)]
    said = (score_difference(wins, strengths, i, j) if ended else pseudo[:, i] - pseudo[:, j] for i, j, ended in pairs)
    of_pairs = infer_means([(values, codes) for values in said])
    for (i, j, ended), found in zip(pairs, of_pairs, strict=True):
        if found is None:  # one cluster per value, and enough of them
            raise AssertionError("photos were counted before")
        spans = sorted(float(one[i] - one[j]) for one in (lost[i], won[i], lost[j], won[j]))
        ends = spans[0], spans[-1]
        inferences.append(found)
        reversible.append(ends[0] <= 0 <= ends[1])
        ranking["differences"].append(
            {
                "a": names[i],
                "b": names[j],
                "n": round(float(total[i, j] + total[j, i])),
                "difference": float(strengths[i] - strengths[j]),
                "interval": None if ended else _widen(found, ends),
                "p": None,
                "p_holm": None,
                "verdict": "too_few",
            }
        )
    return Fit(ranking=ranking, inferences=inferences, reversible=reversible)


def _find_open_ended(wins: Floats) -> Sequence[bool]:
    """Mark editors whose losses, or wins, are worth less than FEWEST_LOST photos."""
    games = (wins + wins.swapaxes(1, 2)).sum(axis=2)
    with np.errstate(invalid="ignore"):
        won, lost = (np.nan_to_num(one / games).sum(axis=0) for one in (wins.sum(axis=2), wins.sum(axis=1)))
    return [bool(one) for one in np.minimum(won, lost) < FEWEST_LOST]


def _widen(found: Inference, ends: Interval) -> Interval:
    low, high = found.interval or (found.mean, found.mean)
    return min(low, ends[0]), max(high, ends[1])


def decide(family: Sequence[Fit]) -> None:
    """Decide all differences of one family by p with Holm's correction, and then the ranks."""
    tests = [
        (one, inferred, reversible)
        for fit in family
        for one, inferred, reversible in zip(fit.ranking["differences"], fit.inferences, fit.reversible, strict=True)
    ]
    if not tests:
        return
    corrected = multipletests([inferred.p for _, inferred, _ in tests], method="holm")[1]
    for (one, inferred, reversible), p in zip(tests, map(float, corrected), strict=True):
        if inferred.p < ALPHA and reversible:
            continue
        one["p"], one["p_holm"] = inferred.p, p
        one["verdict"] = "not_separable" if p >= ALPHA else "a_better" if one["difference"] > 0 else "b_better"
    for fit in family:
        _rank(fit.ranking)


def _rank(ranking: Ranking) -> None:
    better = [
        (one["a"], one["b"]) if one["verdict"] == "a_better" else (one["b"], one["a"])
        for one in ranking["differences"]
        if one["verdict"] in ("a_better", "b_better")
    ]
    for name, found in ranking["editors"].items():
        above, below = (sum(pair[side] == name for pair in better) for side in (1, 0))
        found["rank"] = 1 + above, len(ranking["editors"]) - below


def distrust(ranking: Ranking, editors: Sequence[str]) -> None:
    """Take verdicts and ranks from a ranking by a judge that is believed about no editor but `editors`."""
    for one in ranking["differences"]:
        if not {one["a"], one["b"]} <= set(editors):
            one["verdict"] = "not_believed"
    for name, found in ranking["editors"].items():
        if name not in editors:
            found["rank"] = None
