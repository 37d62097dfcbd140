"""Compute what people's ratings say about editors and judges, for report.json."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from editlane.report.rated import Rated
from editlane.stats.disputes import spread_scores
from editlane.stats.intervals import ALPHA
from editlane.stats.prediction_powered import compare_rated, correct_means

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""


def compute_people_ratings(
    rows: pd.DataFrame, rated: Rated | None, editors: Sequence[str], categories: Sequence[str], judges: Sequence[str]
) -> dict[str, Any] | None:
    """Compute means and differences on people's scale. None without ratings.

    rows: item_id, category, editor, judge, cluster, state, score (NaN unless scored). Each judge's scores are corrected
    on their own.
    """
    if rated is None:
        return None
    edits = add_labels(spread_scores(rows, judges), rated)
    labels = edits["label"].to_numpy()
    there = edits[~np.isnan(labels)]
    return {
        "definition_version": DEFINITION_VERSION,
        **rated.counts,
        "unrated_categories": [name for name in categories if name not in set(there["category"])],
        "sample": _compare_samples(edits, categories, judges),
        "editors": {
            editor: {judge: _correct(edits[edits["editor"] == editor], judge, categories) for judge in judges}
            for editor in editors
        },
        "differences": {judge: _compare_editors(edits, editors, judge, categories) for judge in judges},
    }


def add_labels(edits: pd.DataFrame, rated: Rated) -> pd.DataFrame:
    """Add the column `label` to edits of `spread_scores`, NaN = not rated."""
    return edits.merge(rated.labels, on=["item_id", "editor"], how="left").astype({"label": np.float64})


def _correct(edits: pd.DataFrame, judge: str, categories: Sequence[str]) -> dict[str, Any]:
    labels, scores, clusters, named = (edits[name].to_numpy() for name in ("label", judge, "cluster", "category"))
    return dict(correct_means(labels, scores, clusters, named, categories))


def _compare_editors(
    edits: pd.DataFrame, editors: Sequence[str], judge: str, categories: Sequence[str]
) -> list[dict[str, Any]]:
    """Compare every pair of editors on the items of both. Holm's correction is over the pairs."""
    of = {editor: edits[edits["editor"] == editor].set_index("item_id") for editor in editors}
    found = []
    for a, b in combinations(editors, 2):
        shared = of[a].index.intersection(of[b].index).sort_values()
        first, second = of[a].loc[shared], of[b].loc[shared]
        both = second.assign(**{name: first[name] - second[name] for name in ("label", judge)})
        one = _correct(both.reset_index(), judge, categories)
        found.append({"a": a, "b": b, **one["macro"], "rated_categories": one["rated_categories"]})
    tested = [one for one in found if one["p"] is not None]
    corrected = multipletests([one["p"] for one in tested], method="holm")[1] if tested else ()
    for one in found:
        one["p_holm"], one["verdict"] = None, "not_separable" if one["p"] is not None else "too_few"
    for one, p in zip(tested, map(float, corrected), strict=True):
        one["p_holm"] = p
        if p < ALPHA:
            one["verdict"] = "a_better" if one["corrected"]["value"] > 0 else "b_better"
    return found


def _compare_samples(edits: pd.DataFrame, categories: Sequence[str], judges: Sequence[str]) -> dict[str, Any]:
    """Compare each judge's scores of rated edits with those of the others. `differs` by Holm's correction."""
    rated = ~np.isnan(edits["label"].to_numpy())
    found = {
        judge: compare_rated(
            edits[judge].to_numpy(), rated, edits["cluster"].to_numpy(), edits["category"].to_numpy(), categories
        )
        for judge in judges
    }
    tested = [judge for judge in judges if found[judge]["p"] is not None]
    corrected = multipletests([found[judge]["p"] for judge in tested], method="holm")[1] if tested else ()
    p_holm = dict(zip(tested, map(float, corrected), strict=True))
    return {
        judge: {
            **found[judge],
            "p_holm": p_holm.get(judge),
            "differs": judge in p_holm and p_holm[judge] < ALPHA,
        }
        for judge in judges
    }
