"""List the items without a score, and the reasons."""

from dataclasses import dataclass

from editlane.core.types import State
from editlane.report.load import Report
from editlane.report.texts import Texts

SHOWN = 200
"""Failures listed on the page. The scores table has all of them."""

REASON = ["item", "editor", "state", "error_kind", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Rows of one item and editor without a score, for the same reason."""

    item_id: str
    category: str
    editor: str
    place: int
    """The editor's index in the report."""
    judges: str
    state: str
    kind: str
    error: str


def find_failures(report: Report, t: Texts) -> tuple[list[Failure], int]:
    """Find the first SHOWN failures, ordered by item and editor, and the number of all failures.

    Judges with the same failure are merged.
    """
    failed = report.scores.loc[report.scores["state"] != State.SCORED, [*REASON, "judge"]]
    failed = failed.astype(dict.fromkeys(("editor", "judge", "state"), str))
    failed = failed.astype({"error_kind": object, "error": object}).fillna({"error_kind": "", "error": ""})
    places = {editor: place for place, editor in enumerate(report.editors)}
    judges = {judge: place for place, judge in enumerate(report.judges)}
    failed = failed.assign(place=failed["editor"].map(places), by=failed["judge"].map(judges))
    failed = failed.sort_values(["item", "place", "by"], kind="stable")
    first = failed.drop_duplicates(REASON)
    shown = failed.merge(first.head(SHOWN)[REASON], on=REASON)
    together = shown.groupby([*REASON, "place"], sort=False, observed=True)["judge"].agg(t.join).reset_index()
    items = report.items.loc[together["item"]]
    rows = zip(together.to_dict("records"), items["item_id"], items["category"].astype(str), strict=True)
    failures = [
        Failure(
            item_id=item_id,
            category=category,
            editor=row["editor"],
            place=row["place"],
            judges=row["judge"],
            state=t(f"state.{row['state']}"),
            kind=row["error_kind"],
            error=row["error"],
        )
        for row, item_id, category in rows
    ]
    return failures, len(first)
