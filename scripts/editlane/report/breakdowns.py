"""Compute what is explored beside the comparisons: by difficulty, tag and turn, win rates, quality against seconds.

Nothing here is corrected for the number of its figures, and nothing is ranked by it. Judges that are not accepted have
none of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from editlane.report.belief import list_believed
from editlane.report.chains import list_turns
from editlane.stats.speed import find_front, measure_speed
from editlane.stats.summaries import summarise_scores
from editlane.stats.win_rates import count_wins

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""

MOST_VALUES = 20
"""Tags that are shown: those of most items. The number of the others is told."""

KINDS = ("difficulty", "tag", "turn")


def compute_explorations(
    rows: pd.DataFrame,
    items: pd.DataFrame,
    editors: Sequence[str],
    acceptance: Mapping[str, Mapping[str, Any]],
    cells: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Compute `breakdowns`, `win_rates` and `speed` of report.json.

    rows: item_id, category, editor, judge, cluster, score (NaN unless scored), and edit_seconds, edit_device if known.
    items: item_id, and difficulty, tags and after if the dataset has any. acceptance: by judge. cells: the numbers of
    an editor by a judge. provenance: of the run, which tells whose edits were made elsewhere.
    """
    accepted = [judge for judge, found in acceptance.items() if found["verdict"] == "accepted"]
    believed = {judge: _keep_believed(rows[rows["judge"] == judge], acceptance[judge]) for judge in accepted}
    of_whom = {judge: list_believed(acceptance[judge], "editors", editors) for judge in accepted}
    return {
        "breakdowns": _break_down(believed, items, editors),
        "win_rates": {
            "definition_version": DEFINITION_VERSION,
            "judges": {judge: count_wins(of, of_whom[judge]) for judge, of in believed.items()},
        },
        "speed": _compute_speed(rows, editors, of_whom, cells, list_made_elsewhere(provenance)),
    }


def _keep_believed(rows: pd.DataFrame, acceptance: Mapping[str, Any]) -> pd.DataFrame:
    """Keep the rows of the categories and editors where the judge is believed."""
    categories = list_believed(acceptance, "categories", rows["category"].astype(str).unique())
    editors = list_believed(acceptance, "editors", rows["editor"].astype(str).unique())
    return rows[rows["category"].isin(categories) & rows["editor"].isin(editors)]


def _break_down(believed: Mapping[str, pd.DataFrame], items: pd.DataFrame, editors: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"definition_version": DEFINITION_VERSION}
    for kind in KINDS:
        labels = _list_labels(items, kind)
        counts = labels["value"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
        shown = [str(value) for value in counts.index[:MOST_VALUES]]
        found[kind] = {
            "values": {value: int(counts[value]) for value in shown},
            "more": max(len(counts) - MOST_VALUES, 0),
            "without": len(items) - labels["item_id"].nunique(),
            "judges": {judge: _summarise(rows, labels, shown, editors) for judge, rows in believed.items()},
        }
    return found


def _list_labels(items: pd.DataFrame, kind: str) -> pd.DataFrame:
    """List each item's difficulty, each of its tags once, or the number of a turn: columns item_id, value, in the order
    of the items, in which a turn never stands before a former one."""
    if kind == "turn":
        turns = list_turns(items)
        return pd.DataFrame({"item_id": turns["item_id"], "value": turns["turn"].astype(str)}, dtype=object)
    column = {"difficulty": "difficulty", "tag": "tags"}[kind]
    if column not in items:
        return pd.DataFrame({"item_id": [], "value": []}, dtype=object)
    labels = items[["item_id", column]].astype(object).explode(column).rename(columns={column: "value"})
    return labels[labels["value"].notna()].drop_duplicates()


def _summarise(
    rows: pd.DataFrame, labels: pd.DataFrame, values: Iterable[str], editors: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Summarise the scores of each editor under each value. n counts the items of believed categories."""
    joined = rows.astype({"item_id": object}).merge(labels, on="item_id")
    of_value = dict(list(joined.groupby("value", sort=False)))
    none = joined.iloc[:0]
    found: dict[str, dict[str, Any]] = {}
    for value in values:
        of = of_value.get(value, none)
        by_editor = {str(editor): part for editor, part in of.groupby(of["editor"].astype(str), sort=False)}
        found[value] = {}
        for editor in (name for name in editors if name in by_editor):
            part = by_editor[editor]
            spread = summarise_scores(part["score"], part["cluster"], len(part))
            found[value][editor] = dict(spread) | {"too_few": spread["interval"] is None}
    return found


def list_made_elsewhere(provenance: Mapping[str, Any]) -> list[str]:
    """List the editors whose edits were given as files: their seconds are those of reading a file."""
    records = provenance.get("editors")
    found = records.items() if isinstance(records, Mapping) else ()
    return [name for name, record in found if isinstance(record, Mapping) and record.get("adapter") == "given"]


def _compute_speed(
    rows: pd.DataFrame,
    editors: Sequence[str],
    of_whom: Mapping[str, Sequence[str]],
    cells: Mapping[str, Mapping[str, Any]],
    elsewhere: Sequence[str],
) -> dict[str, Any]:
    """Compute `speed`. of_whom: the believed editors of each accepted judge."""
    known = "edit_seconds" in rows and "edit_device" in rows
    timed = [editor for editor in editors if editor not in elsewhere] if known else []
    speeds = {editor: measure_speed(rows[rows["editor"] == editor]) for editor in timed}
    seconds = {editor: speed["mean"] for editor, speed in speeds.items()}
    return {
        "definition_version": DEFINITION_VERSION,
        "editors": speeds,
        "fronts": {
            judge: find_front({name: cells[name][judge]["macro"]["mean"] for name in believed}, seconds)
            for judge, believed in of_whom.items()
        },
    }
