"""Find what two runs have in common: items by their content, judges by their key and protocol."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import pandas as pd

from editlane.report.provenance import flatten
from editlane.report.runs.changes import hide
from editlane.report.runs.load import FinishedRun

CONTENT = ["source_sha256", "instruction", "sample", "references"]
"""What an item is: its photo, its instruction, which sample of its edits it asks for, and its further images."""

ASKED = ["category", "description", "rationale"]
"""What else a judge is told of an item."""

IDENTITY = ("adapter", "adapter_version", "model", "revision", "fingerprint", "params")
"""What is shown of a judge whose key differs."""


class ItemCounts(TypedDict):
    """How many items two runs share."""

    matched: int
    """Items of the same content, once in each run, of which the judges are told the same."""
    only_reference: int
    only_run: int
    doubled_reference: int
    """Items whose photo and instruction come more than once in the reference, or match such ones: left out."""
    doubled_run: int
    asked_otherwise: int
    """Items of the same content in another category, or with another description or rationale: left out."""


class Difference(TypedDict):
    setting: str
    reference: str | None
    run: str | None


class NotCompared(TypedDict):
    """A judge whose scores in two runs are not subtracted."""

    judge: str
    where: str
    """`both`: of this name are two different judges; `reference` or `run`: there is no such judge in the other."""
    differences: list[Difference]
    """What makes them different; empty if no setting that is recorded does."""


class SameJudge(NamedTuple):
    """The names of one judge in two runs."""

    reference: str
    run: str


def match_items(reference: FinishedRun, run: FinishedRun) -> tuple[pd.DataFrame, ItemCounts]:
    """Return the items that both runs have, sorted by content, and the counts of all.

    The frame has the columns item_reference, item_run, category, cluster (the photo), one row per item.
    """
    sides = {side: one.items for side, one in (("reference", reference), ("run", run))}
    doubled = pd.concat(
        [items.loc[items.duplicated(CONTENT, keep=False), CONTENT] for items in sides.values()]
    ).drop_duplicates()
    once = {}
    for side, items in sides.items():
        marked = items.merge(doubled, on=CONTENT, how="left", indicator="once")
        once[side] = marked[marked["once"] == "left_only"].drop(columns="once")
    both = once["reference"].merge(once["run"], on=CONTENT, suffixes=("_reference", "_run"))
    asked = [both[[f"{name}_{side}" for name in ASKED]].to_numpy() for side in sides]
    is_same = (asked[0] == asked[1]).all(axis=1)
    same = both[is_same].sort_values(CONTENT).reset_index(drop=True)
    counts: ItemCounts = {
        "matched": len(same),
        "only_reference": len(once["reference"]) - len(both),
        "only_run": len(once["run"]) - len(both),
        "doubled_reference": len(sides["reference"]) - len(once["reference"]),
        "doubled_run": len(sides["run"]) - len(once["run"]),
        "asked_otherwise": len(both) - len(same),
    }
    found = pd.DataFrame(
        {
            "item_reference": same["item_id_reference"],
            "item_run": same["item_id_run"],
            "category": same["category_run"],
            "cluster": pd.factorize(same["source_sha256"])[0],
        }
    )
    return found, counts


def identify_judge(run: FinishedRun, judge: str) -> tuple[str, str]:
    """Return what two judges must share, so that their scores may be compared: the key and the protocol's text."""
    record = run.get_record("judges", judge)
    return record["key"], record["protocol"]["sha256"]


def match_judges(reference: FinishedRun, run: FinishedRun) -> tuple[list[SameJudge], list[NotCompared]]:
    """Return the judges that are the same in both runs, whatever their names, and those that are not compared."""
    left = {judge: identify_judge(run, judge) for judge in run.judges}
    same = []
    for judge in reference.judges:
        wanted = identify_judge(reference, judge)
        names = sorted((name for name, found in left.items() if found == wanted), key=lambda name: name != judge)
        if names:
            same.append(SameJudge(judge, names[0]))
            left.pop(names[0])
    matched = {one.reference for one in same}
    others: list[NotCompared] = []
    for judge in (judge for judge in reference.judges if judge not in matched):
        is_named = judge in left
        differences = _list_differences(reference, run, judge) if is_named else []
        others.append({"judge": judge, "where": "both" if is_named else "reference", "differences": differences})
        left.pop(judge, None)
    others += [{"judge": judge, "where": "run", "differences": []} for judge in left]
    return same, others


def _list_differences(reference: FinishedRun, run: FinishedRun, judge: str) -> list[Difference]:
    first, second = (_flatten_identity(one.get_record("judges", judge)) for one in (reference, run))
    settings = dict.fromkeys([*first, *second])
    return [
        {"setting": name, "reference": first.get(name), "run": second.get(name)}
        for name in settings
        if first.get(name) != second.get(name)
    ]


def _flatten_identity(record: dict[str, Any]) -> dict[str, str]:
    shown = {name: record.get(name) for name in IDENTITY}
    protocol = {name: record["protocol"].get(name) for name in ("name", "version", "sha256")}
    return {path: hide(path, text) for path, text in flatten(shown | {"protocol": protocol})}


def match_editors(reference: FinishedRun, run: FinishedRun, chosen: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return pairs of editors, (name in the reference, name in the run): those of one name, then the `chosen` ones."""
    same = [(name, name) for name in reference.editors if name in run.editors]
    others = [(a, b) for a, b in chosen if a in reference.editors and b in run.editors and (a, b) not in same]
    return [*same, *others]
