"""Compute the object of comparison.json: each further run against the first one, the reference."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from editlane.core.errors import UserError
from editlane.core.types import State
from editlane.report.belief import list_believed
from editlane.report.runs.changes import list_changes, list_protocol_changes
from editlane.report.runs.drift import Drift, measure_drift
from editlane.report.runs.load import FinishedRun
from editlane.report.runs.matching import SameJudge, match_editors, match_items, match_judges
from editlane.stats.comparisons import Compared, compare_pair, correct
from editlane.stats.preference import SHARE, explains, measure_preferences

Row = dict[str, Any]

SIDES = ("run", "reference")
"""A difference is that of the run - the reference."""


class _Case(NamedTuple):
    """One judge in two runs, with the items of both."""

    reference: FinishedRun
    run: FinishedRun
    judge: SameJudge
    items: pd.DataFrame
    drift: Sequence[Drift]

    @property
    def sides(self) -> list[tuple[FinishedRun, str, str]]:
        """(run, the judge's name there, the column of its item ids), in the order of SIDES."""
        return [(self.run, self.judge.run, "item_run"), (self.reference, self.judge.reference, "item_reference")]

    def list_believed(self, kind: str, names: Sequence[str]) -> list[str]:
        """List those of the `categories` where both runs believe the judge; see report/belief.py."""
        for run, judge, _ in self.sides:
            names = list_believed(run.report["acceptance"][judge], kind, names)
        return list(names)

    @property
    def is_accepted(self) -> bool:
        return all(run.report["acceptance"][judge]["verdict"] == "accepted" for run, judge, _ in self.sides)


def compare_runs(runs: Sequence[FinishedRun], chosen: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Compare each run with the first one. `chosen` are pairs of editors, (name in the first, name in the others).

    Scores are subtracted where judge, protocol, photo and instruction are the same, and nowhere else. A judge's p
    values are Holm-corrected over all its comparisons of macro means, and over all those in categories.
    """
    reference, *others = runs
    found: list[dict[str, Any]] = []
    families: dict[str, list[tuple[_Case, Row, Compared]]] = {}
    for run in others:
        items, counts = match_items(reference, run)
        same, not_compared = match_judges(reference, run)
        judges = []
        for judge in same:
            case = _Case(reference, run, judge, items, measure_drift(reference, run, judge))
            compared = [one for pair in match_editors(reference, run, chosen) for one in _compare_editors(case, pair)]
            families.setdefault(judge.reference, []).extend((case, row, pair) for row, pair in compared)
            judges.append(_describe_judge(case) | {"comparisons": [row for row, _ in compared]})
        found.append({"run": run.name, "items": counts, "judges": judges, "not_compared": not_compared})
    for family in families.values():
        _decide(family)
    return {
        "reference": reference.name,
        "runs": [_describe_run(run) for run in runs],
        "comparisons": found,
        "changes": list_changes(runs),
        "protocols": list_protocol_changes(runs),
    }


def _describe_run(run: FinishedRun) -> Row:
    return {"name": run.name, "items": len(run.items), "editors": run.editors, "judges": run.judges}


def _describe_judge(case: _Case) -> Row:
    accepted = {
        side: run.report["acceptance"][judge]["verdict"]
        for side, (run, judge, _) in zip(SIDES, case.sides, strict=True)
    }
    record = case.reference.get_record("judges", case.judge.reference)
    return {
        "judge": case.judge.reference,
        "judge_in_run": case.judge.run,
        "key": record["key"],
        "protocol_sha256": record["protocol"]["sha256"],
        "acceptance": accepted,
        "drift": case.drift,
    }


def _compare_editors(case: _Case, pair: tuple[str, str]) -> list[tuple[Row, Compared]]:
    """Compare an editor of the reference with one of the run, by the macro mean and in each category."""
    columns = [
        _get_column(run, judge, editor, case.items[ids])
        for (run, judge, ids), editor in zip(case.sides, reversed(pair), strict=True)
    ]
    readable = pd.Series(True, index=case.items.index)
    for column in columns:
        readable &= column["state"].to_numpy() != State.SOURCE_UNREADABLE
    categories = list(dict.fromkeys(case.items["category"]))
    named = case.items["category"].to_numpy(dtype=str)
    every = np.isin(named, case.list_believed("categories", categories))
    scores = [column["score"].to_numpy(dtype=np.float64) for column in columns]
    keys = [column["judge_key"].to_numpy(dtype=object) for column in columns]
    if not (keys[0] == keys[1]).all():
        raise UserError(
            f"Rows of the judge {case.judge.run} in {case.run.name} have other keys than in {case.reference.name}, "
            "though their reports name the same judge. Something else changed a table; make both again."
        )
    edits = [column["edited_sha256"].to_numpy(dtype=object) for column in columns]
    has_same_edit = (edits[0] == edits[1]) & pd.notna(edits[0])
    compared = compare_pair(
        (pair[1], pair[0]), scores[0], scores[1], case.items.assign(readable=readable), categories, every
    )
    return [
        (_count(named == one["category"] if one["category"] else every, scores, has_same_edit), (one, inferred))
        for one, inferred in compared
    ]


def _get_column(run: FinishedRun, judge: str, editor: str, items: pd.Series) -> pd.DataFrame:
    """Return the rows of one editor by one judge, in the order of these item ids."""
    rows = run.scores[(run.scores["judge"] == judge) & (run.scores["editor"] == editor)]
    return rows.set_index("item_id").loc[items]


def _count(there: npt.NDArray[np.bool_], scores: Sequence[npt.NDArray[np.float64]], same: npt.NDArray[np.bool_]) -> Row:
    """Count among the items that are `there` those without a score, in each run, and those whose edit is the same."""
    failed = {side: int(np.isnan(of[there]).sum()) for side, of in zip(SIDES, scores, strict=True)}
    return {"items": int(there.sum()), "not_scored": failed, "same_edits": int(same[there].sum())}


def _decide(family: Sequence[tuple[_Case, Row, Compared]]) -> None:
    """Correct the p values of one judge, take the verdict where it is not believed, and fill in the rows."""
    correct([compared for _, _, compared in family if compared[0]["category"] is None])
    correct([compared for case, _, compared in family if _is_in_believed_category(case, compared)])
    for case, row, compared in family:
        one = compared[0]
        _withhold(case, row, compared)
        row |= {"editor": one["b"], "editor_in_run": one["a"]}
        row |= {name: value for name, value in one.items() if name not in ("a", "b")}


def _is_in_believed_category(case: _Case, compared: Compared) -> bool:
    category = compared[0]["category"]
    return category is not None and bool(case.list_believed("categories", [category]))


def _withhold(case: _Case, row: Row, compared: Compared) -> None:
    """Take the verdict where a run does not believe the judge, or where the difference may be the judge's own."""
    one = compared[0]
    editors = [one["a"], one["b"]]
    believed = case.is_accepted and (one["category"] is None or _is_in_believed_category(case, compared))
    for (run, judge, _), editor in zip(case.sides, editors, strict=True):
        believed = believed and bool(list_believed(run.report["acceptance"][judge], "editors", [editor]))
    if not believed:
        one["verdict"] = "not_believed"
    elif one["verdict"] in ("a_better", "b_better"):
        difference = one["difference"] or 0.0
        if row["same_edits"] == row["items"] or _may_be_drift(case.drift, difference):
            one["verdict"] = "drift"
        elif _may_be_preference(case, editors, difference):
            one["verdict"] = "prefers"


def _may_be_drift(drift: Sequence[Drift], difference: float) -> bool:
    """Return whether the judge moved in the direction of a difference, by SHARE of it or more."""
    sign = 1 if difference > 0 else -1
    return any(one["moved"] and sign * (one["difference"] or 0.0) >= SHARE * abs(difference) for one in drift)


def _may_be_preference(case: _Case, editors: Sequence[str], difference: float) -> bool:
    """Return whether the judge may only like the pictures of one more; see stats/preference.py."""
    controls = [
        run.controls[(run.controls["judge"] == judge) & (run.controls["editor"] == editor)].assign(editor=side)
        for (run, judge, _), editor, side in zip(case.sides, editors, SIDES, strict=True)
    ]
    found = measure_preferences(pd.concat(controls), SIDES)
    return bool(found) and explains(found[0], difference)
