"""Compute what people's votes on pairs say about the editors, and how far a pairwise judge agrees."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from editlane.core.types import State
from editlane.ratings.votes import Vote, join_votes
from editlane.stats.arena import decide, fit_duels
from editlane.stats.duels import count_pairs
from editlane.stats.votes import measure_votes, rank_systems

WINS = {"A": 1.0, "B": 0.0, "tie": 0.5, "both_bad": 0.5}
"""What a vote counts for the first editor."""


def compute_people(
    votes: pd.DataFrame,
    judges: Mapping[str, pd.DataFrame],
    items: pd.DataFrame,
    scores: pd.DataFrame,
    editors: Sequence[str],
    categories: Sequence[str],
) -> dict[str, Any]:
    """Compute the object `people` of the arena.

    votes: columns item, system_a, system_b, rater, vote, and source_sha256, a_sha256, b_sha256 and instruction_sha256,
    which are empty where the file does not tell what was voted on. judges: the pairs table of each judge. Votes of
    other items and editors, and of earlier edits, are counted and left out, even if none is left: an editor that edits
    anew must not cost the run its report.
    """
    known = votes["item"].isin(items["item_id"].astype(str))
    known &= votes["system_a"].isin(editors) & votes["system_b"].isin(editors)
    outdated = known & ~_is_current(votes, scores)
    used = votes[known & ~outdated]
    duels = _make_duels(used, items, editors)
    overall, fits = fit_duels(duels, editors), _fit_each(duels, editors, categories)
    decide([overall])
    decide(list(fits.values()))
    pairs = list(combinations(editors, 2))
    return {
        "votes": len(used),
        "raters": int(used["rater"].nunique()),
        "left_out": {"unknown": int((~known).sum()), "outdated": int(outdated.sum())},
        "pairs": [one for name in (None, *categories) for one in count_pairs(duels, pairs, name)],
        "overall": overall.ranking,
        "categories": {name: fit.ranking for name, fit in fits.items()},
        "judges": {name: _compare(used, rows) for name, rows in judges.items()},
    }


def _fit_each(duels: pd.DataFrame, editors: Sequence[str], categories: Sequence[str]) -> dict[str, Any]:
    return {name: fit_duels(duels[duels["category"] == name], editors) for name in categories}


def _is_current(votes: pd.DataFrame, scores: pd.DataFrame) -> pd.Series:
    """Tell whether each vote is on the sources and edits that the run has now. A vote that does not tell counts."""
    one = scores.drop_duplicates(["item_id", "editor"])
    keys = zip(one["item_id"].astype(str), one["editor"].astype(str), strict=True)
    edits = dict(zip(keys, one["edited_sha256"], strict=True))
    sources = dict(zip(one["item_id"].astype(str), one["source_sha256"], strict=True))

    instructions = dict(zip(one["item_id"].astype(str), one["instruction"].astype(str), strict=True))

    def check(vote: Any) -> bool:
        told = (
            (vote.source_sha256, sources.get(vote.item)),
            (vote.instruction_sha256, hashlib.sha256(instructions.get(vote.item, "").encode()).hexdigest()),
            (vote.a_sha256, edits.get((vote.item, vote.system_a))),
            (vote.b_sha256, edits.get((vote.item, vote.system_b))),
        )
        return all(not sha or sha == current for sha, current in told)

    return pd.Series([check(vote) for vote in votes.itertuples()], index=votes.index, dtype=bool)


def _make_duels(votes: pd.DataFrame, items: pd.DataFrame, editors: Sequence[str]) -> pd.DataFrame:
    """Average all votes on an item and a pair, whoever gave them and in whichever order."""
    place = {name: at for at, name in enumerate(editors)}
    turned = (votes["system_a"].map(place) > votes["system_b"].map(place)).to_numpy()
    win = votes["vote"].map(WINS).to_numpy(dtype=float)
    rows = votes.assign(
        item_id=votes["item"],
        a=np.where(turned, votes["system_b"], votes["system_a"]),
        b=np.where(turned, votes["system_a"], votes["system_b"]),
        win=np.where(turned, 1 - win, win),
        tie=votes["vote"] == "tie",
        both_bad=votes["vote"] == "both_bad",
    )
    duels = rows.groupby(["item_id", "a", "b"], sort=True)[["win", "tie", "both_bad"]].mean().reset_index()
    by_item = items.set_index(items["item_id"].astype(str))
    return duels.assign(
        category=duels["item_id"].map(by_item["category"].astype(str)),
        cluster=duels["item_id"].map(by_item["cluster"]).astype("int64"),
        fate="used",
        failed_a=False,
        failed_b=False,
    )


def _compare(votes: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any] | None:
    """Compare a judge's answers with the votes. None if it was asked about none of their pairs."""
    real = rows[rows["control"].isna()]
    keys = zip(*(real[name].astype(str) for name in ("item_id", "editor_a", "editor_b")), strict=True)
    said = [mode if state == State.SCORED else None for mode, state in zip(real["mode"], real["state"], strict=True)]
    people = votes[["item", "system_a", "system_b", "rater", "vote"]].itertuples(index=False, name=None)
    judge = (Vote(item, a, b, "", mode) for (item, a, b), mode in zip(keys, said, strict=True))
    table = join_votes((Vote(*vote) for vote in people), judge)
    if table.empty:
        return None
    return {"agreement": measure_votes(table), "kendall": rank_systems(table)["kendall"]}
