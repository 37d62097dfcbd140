"""Compute what pairwise judges and people say about editors against each other, for report.json."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from editlane.report.arena_method import find_method
from editlane.report.belief import list_believed
from editlane.report.people_votes import compute_people
from editlane.stats.arena import Fit, Ranking, decide, distrust, fit_duels
from editlane.stats.duels import count_pairs, make_duels, measure_position
from editlane.stats.intervals import mean_interval
from editlane.stats.pair_acceptance import accept_pairs

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""


def compute_arena(
    pairs: pd.DataFrame | None,
    votes: pd.DataFrame | None,
    items: pd.DataFrame,
    scores: pd.DataFrame,
    editors: Sequence[str],
    categories: Sequence[str],
    made: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any] | None:
    """Compute the object `arena`. None without pairs and votes.

    pairs: the pairs table. votes: see `compute_people`. items: columns item_id, category, cluster. scores: any judge's
    rows, which tell what each edit is. made: the provenance of the pairs table.
    """
    if pairs is None and votes is None:
        return None
    judges = [] if pairs is None else list(dict.fromkeys(pairs["judge"].astype(str)))
    by_judge = {judge: pairs[pairs["judge"] == judge] for judge in judges} if pairs is not None else {}
    clusters = dict(zip(items["item_id"].astype(str), items["cluster"], strict=True))
    return {
        "definition_version": DEFINITION_VERSION,
        "judges": {
            judge: {"method": find_method(made, judge)} | _compute_judge(rows, clusters, editors, categories)
            for judge, rows in by_judge.items()
        },
        "people": None if votes is None else compute_people(votes, by_judge, items, scores, editors, categories),
    }


def _compute_judge(
    rows: pd.DataFrame, clusters: Mapping[str, int], editors: Sequence[str], categories: Sequence[str]
) -> dict[str, Any]:
    controls, real = rows[rows["control"].notna()], rows[rows["control"].isna()]
    acceptance = accept_pairs(controls.assign(cluster=controls["item_id"].astype(str).map(clusters)))
    duels = make_duels(real, editors, clusters)
    pairs = list(combinations(editors, 2))
    accepted = acceptance["verdict"] == "accepted"
    believed = list_believed(acceptance, "categories", categories)
    trusted = list_believed(acceptance, "editors", editors) if accepted else []
    used = duels[(duels["fate"] == "used") & duels["category"].isin(believed)]
    failing = _count_failures(duels[duels["category"].isin(believed)])
    overall = rank(used, editors, trusted)
    by_category = rank_each(duels[duels["fate"] == "used"], editors, trusted, categories, believed if accepted else [])
    return {
        "questions": len(real),
        "states": {str(name): int(count) for name, count in real["state"].value_counts().sort_index().items()},
        "acceptance": dict(acceptance),
        "position": measure_position(duels["first"], duels["cluster"]),
        "consistent": _measure_consistency(duels),
        "pairs": [one for name in (None, *categories) for one in count_pairs(duels, pairs, name)],
        "believed": list(believed) if accepted else [],
        "overall": overall,
        "categories": by_category,
        "failure_loses": rank(failing, editors, trusted) if len(failing) > len(used) else None,
    }


def rank(duels: pd.DataFrame, editors: Sequence[str], trusted: Sequence[str]) -> Ranking:
    """Rank the editors by duels that are used. Only those in `trusted` get verdicts and ranks."""
    fit = fit_duels(duels, editors)
    decide([fit])
    distrust(fit.ranking, trusted)
    return fit.ranking


def rank_each(
    duels: pd.DataFrame,
    editors: Sequence[str],
    trusted: Sequence[str],
    categories: Sequence[str],
    believed: Sequence[str],
) -> dict[str, Ranking]:
    """Rank the editors within each category. The `believed` ones are corrected for one another, others unranked."""
    fits: dict[str, Fit] = {name: fit_duels(duels[duels["category"] == name], editors) for name in categories}
    decide([fit for name, fit in fits.items() if name in believed])
    for name, fit in fits.items():
        distrust(fit.ranking, trusted if name in believed else [])
    return {name: fit.ranking for name, fit in fits.items()}


def _count_failures(duels: pd.DataFrame) -> pd.DataFrame:
    """Return the used duels, and those that one editor loses because it has no edit."""
    lost = duels["failed_a"] != duels["failed_b"]
    wins = duels["win"].where(~lost, np.where(duels["failed_a"], 0.0, 1.0))
    return duels.assign(win=wins)[(duels["fate"] == "used") | lost]


def _measure_consistency(duels: pd.DataFrame) -> dict[str, Any]:
    """Compute how often both orders have the same answer."""
    used = duels[duels["fate"] == "used"]
    alike = used["alike"].astype(float).to_numpy()
    return {
        "count": int(alike.sum()),
        "n": len(used),
        "share": float(alike.mean()) if len(used) else None,
        "interval": mean_interval(alike, used["cluster"].to_numpy(), (0.0, 1.0)) if len(used) else None,
    }
