"""Compute what several judges say together, for report.json."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from editlane.report.people_ratings import add_labels
from editlane.report.rated import Rated
from editlane.stats.disputes import (
    compare_orders,
    count_split_states,
    list_disputed,
    measure_disagreement,
    spread_scores,
)
from editlane.stats.panel import measure_agreement
from editlane.stats.panel_people import compare_with_people

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""


def compute_judges_together(
    rows: pd.DataFrame,
    editors: Sequence[str],
    categories: Sequence[str],
    judges: Sequence[str],
    provenance: Mapping[str, Any],
    rated: Rated | None = None,
) -> list[dict[str, Any]]:
    """Compute the agreement of all judges that are no panel, and of the judges of each smaller panel.

    rows: item_id, category, editor, judge, cluster, state, score (NaN unless scored). Empty with one judge. Without
    ratings by people their part is None.
    """
    return [
        _compute(rows, editors, categories, members)
        | {"panel": panel, "people": _compare_with_people(rows, members, panel, rated)}
        for panel, members in _list_groups(judges, provenance)
    ]


def _list_groups(judges: Sequence[str], provenance: Mapping[str, Any]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield (panel, judges): first all judges, without a panel's name unless it has just these."""
    found = provenance.get("panels")
    panels = {name: list(one["judges"]) for name, one in found.items()} if isinstance(found, Mapping) else {}
    every = [judge for judge in judges if judge not in panels]
    if len(every) < 2:
        return
    yield next((name for name, members in panels.items() if set(members) == set(every)), None), every
    for name, members in panels.items():
        if set(members) != set(every):
            yield name, members


def _compute(
    rows: pd.DataFrame, editors: Sequence[str], categories: Sequence[str], judges: Sequence[str]
) -> dict[str, Any]:
    edits = spread_scores(rows, judges)
    scores, clusters = edits[list(judges)].to_numpy(), edits["cluster"].to_numpy()
    by_category, by_editor = (dict(list(edits.groupby(name))) for name in ("category", "editor"))
    none = edits.iloc[:0]
    return {
        "definition_version": DEFINITION_VERSION,
        "judges": list(judges),
        "agreement": measure_agreement(scores, clusters, judges),
        "disagreement": {
            "overall": measure_disagreement(edits, judges),
            "categories": {name: measure_disagreement(by_category.get(name, none), judges) for name in categories},
            "editors": {name: measure_disagreement(by_editor.get(name, none), judges) for name in editors},
        },
        "states": count_split_states(rows, judges),
        "orders": compare_orders(edits, editors, judges),
        "disputed": list_disputed(edits, judges),
    }


def _compare_with_people(
    rows: pd.DataFrame, judges: Sequence[str], panel: str | None, rated: Rated | None
) -> dict[str, Any] | None:
    """Compare the judges, and the panel or else their plain mean, with people. None without ratings."""
    if rated is None:
        return None
    edits = add_labels(spread_scores(rows, [*judges, *([panel] if panel else [])]), rated).dropna(subset="label")
    scores = edits[list(judges)].to_numpy()
    combined = edits[panel].to_numpy() if panel else scores.mean(axis=1)
    clusters, editors = edits["cluster"].to_numpy(), edits["editor"].to_numpy()
    found = compare_with_people(edits["label"].to_numpy(), scores, combined, clusters, editors, judges)
    return {"panel": panel, **found}
